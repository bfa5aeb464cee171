"""Objects the bundled CLIP is trained on, and two that only judge its training.

An object is a function ``(look, inst, frame) -> (Surface, cover)``; the scene lays it on a background.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vlmad_core.factory.renderer.fields import (
    Array,
    Frame,
    Rng,
    colour,
    inside,
    mix,
    noise,
    sd_box,
    sd_segment,
    smoothstep,
)
from vlmad_core.factory.renderer.surface import Surface, sheet, solid

Object = Callable[[Rng, Rng, Frame], tuple[Surface, Array]]

STEEL = ((0.5, 0.68), (0.0, 0.12), (0.45, 0.8))
"""Hue, saturation and value ranges of grey metals."""
BRASS = ((0.09, 0.14), (0.3, 0.6), (0.5, 0.8))


def metal_colour(look: Rng) -> Array:
    """Draw the colour of a steel, brass or copper part."""
    ranges = (STEEL, STEEL, BRASS, ((0.04, 0.07), (0.4, 0.6), (0.5, 0.75)))[int(look.integers(4))]
    return colour(look, *ranges)


def dome(distance: Array, width: float, depth: float) -> Array:
    """Rounded edge: height rises over ``width`` from the rim (signed distance 0) inwards to ``depth``."""
    t = np.clip(-distance / width, 0.0, 1.0)
    return (depth * np.sqrt(1.0 - (1.0 - t) ** 2)).astype(np.float32)


def machined(look: Rng, inst: Rng, frame: Frame, radial: bool) -> Array:
    """Relative brightness of turning (concentric) or milling marks, mean about 1."""
    n = frame.size
    if radial:
        radius = np.hypot(frame.x, frame.y)
        marks = np.sin(radius * float(look.uniform(60, 140)) + 0.5 * noise(inst, n, 6, 1.2))
        return (1 + 0.04 * marks + 0.04 * noise(inst, n, 40, 0.6)).astype(np.float32)
    return (1 + 0.05 * noise(inst, n, 50, 0.6, 15, float(look.uniform(0, 3))) + 0.0 * frame.x).astype(np.float32)


def washer(look: Rng, inst: Rng, frame: Frame) -> tuple[Surface, Array]:
    """Flat ring of metal."""
    radius = np.hypot(frame.x, frame.y)
    outer, inner = float(look.uniform(0.7, 0.85)), float(look.uniform(0.28, 0.5))
    distance = np.maximum(radius - outer, inner - radius)
    marks = machined(look, inst, frame, True)
    surface = sheet(
        frame, metal_colour(look) * marks[..., None], dome(distance, 0.05, 0.05), 0.2, float(look.uniform(0.4, 0.9))
    )
    return surface, inside(distance, frame)


def gear(look: Rng, inst: Rng, frame: Frame) -> tuple[Surface, Array]:
    """Spur gear with a bore and a recessed web."""
    radius, angle = np.hypot(frame.x, frame.y), np.arctan2(frame.y, frame.x)
    teeth = int(look.integers(10, 26))
    wave = np.tanh(2.5 * np.sin(teeth * angle)) * float(look.uniform(0.04, 0.07))
    bore = float(look.uniform(0.14, 0.26))
    distance = np.maximum(radius - 0.74 - wave, bore - radius)
    web = smoothstep(0.58, 0.55, radius) * smoothstep(bore + 0.1, bore + 0.13, radius)
    height = dome(distance, 0.04, 0.05) - 0.05 * web
    tint = metal_colour(look) * (machined(look, inst, frame, True) * (1 - 0.2 * web))[..., None]
    return sheet(frame, tint, height, 0.2, float(look.uniform(0.3, 0.8))), inside(distance, frame)


def button(look: Rng, inst: Rng, frame: Frame) -> tuple[Surface, Array]:
    """Sewing button with two or four holes."""
    radius = np.hypot(frame.x, frame.y)
    outer = float(look.uniform(0.65, 0.8))
    holes = int(look.choice([2, 4]))
    turn = np.pi / 4
    distance = radius - outer
    for k in range(holes):
        a = turn + 2 * np.pi * k / holes
        distance = np.maximum(distance, 0.085 - np.hypot(frame.x - 0.2 * np.cos(a), frame.y - 0.2 * np.sin(a)))
    rim = smoothstep(outer - 0.22, outer - 0.14, radius)
    cloud = 1 + float(look.uniform(0, 0.2)) * noise(inst, frame.size, 4, 1.0, 2)
    tint = colour(look, saturation=(0.0, 0.8), value=(0.2, 0.95)) * cloud[..., None]
    return sheet(frame, tint, dome(distance, 0.1, 0.06) + 0.05 * rim, 0.35), inside(distance, frame)


def coin(look: Rng, inst: Rng, frame: Frame) -> tuple[Surface, Array]:
    """Coin with rim, dotted border and an embossed motif."""
    radius, angle = np.hypot(frame.x, frame.y), np.arctan2(frame.y, frame.x)
    distance = radius - 0.78
    rim = smoothstep(0.68, 0.72, radius)
    beads = smoothstep(0.3, 0.7, np.sin(angle * 48)) * smoothstep(0.05, 0.02, np.abs(radius - 0.62))
    petals = int(look.integers(3, 9))
    motif = smoothstep(
        0.03, -0.03, radius - 0.33 - 0.13 * np.cos(petals * angle + float(look.uniform(0, 6)))
    ) - smoothstep(0.2, 0.16, radius)
    height = dome(distance, 0.03, 0.05) + 0.02 * rim + 0.012 * beads + 0.02 * motif
    tint = metal_colour(look) * (machined(look, inst, frame, False) * (1 - 0.06 * motif))[..., None]
    return sheet(frame, tint, height, 0.2, 0.6), inside(distance, frame)


def tablet(look: Rng, inst: Rng, frame: Frame) -> tuple[Surface, Array]:
    """Pressed medicine tablet with a break line."""
    radius = np.hypot(frame.x / float(look.uniform(0.7, 1.0)), frame.y)
    distance = (radius - 0.72).astype(np.float32)
    line = smoothstep(0.045, 0.01, np.abs(frame.y)) * float(look.choice([0, 1, 1]))
    powder = 1 + 0.03 * noise(inst, frame.size, 50, 0.5)
    speck = smoothstep(2.4, 2.9, noise(inst, frame.size, 30, 1.2)) * float(look.choice([0, 0.3]))
    tint = colour(look, saturation=(0.0, 0.4), value=(0.75, 0.95)) * (powder * (1 - speck))[..., None]
    return sheet(frame, tint, dome(distance, 0.5, 0.18) - 0.05 * line, 0.05), inside(distance, frame)


def rubber_ring(look: Rng, inst: Rng, frame: Frame) -> tuple[Surface, Array]:
    """Sealing ring of round section."""
    radius = np.hypot(frame.x, frame.y)
    thick = float(look.uniform(0.09, 0.16))
    distance = np.abs(radius - float(look.uniform(0.5, 0.64))) - thick
    base = colour(look, saturation=(0.0, 0.7), value=(0.06, 0.35))
    tint = base * (1 + 0.08 * noise(inst, frame.size, 40, 0.6))[..., None]
    return sheet(frame, tint, dome(distance, thick, thick), 0.25), inside(distance, frame)


def screw(look: Rng, inst: Rng, frame: Frame) -> tuple[Surface, Array]:
    """Screw from the side: head, shank with thread, tip."""
    pitch = float(look.uniform(0.08, 0.13))
    head = sd_box(frame.x + 0.68, frame.y, 0.14, 0.34, 0.08)
    thread = 0.5 + 0.5 * np.sin(2 * np.pi * (frame.x / pitch + 0.35 * frame.y / 0.2))
    taper = 0.19 * smoothstep(0.85, 0.55, frame.x) + 0.001
    shank = np.maximum(np.abs(frame.y) - taper - 0.025 * thread, np.maximum(frame.x - 0.85, -0.68 - frame.x))
    distance = np.minimum(head, shank)
    body = np.sqrt(np.clip(1 - (frame.y / 0.3) ** 2, 0.05, 1))
    height = 0.25 * body + 0.02 * thread * (head > 0)
    tint = metal_colour(look) * ((0.75 + 0.25 * thread) * machined(look, inst, frame, False))[..., None]
    return sheet(frame, tint, height.astype(np.float32), 0.3, 0.7), inside(distance.astype(np.float32), frame)


def chip(look: Rng, inst: Rng, frame: Frame) -> tuple[Surface, Array]:
    """Integrated circuit with pins on two sides and a printed marking."""
    pins = int(look.integers(4, 10))
    body = sd_box(frame.x, frame.y, 0.7, 0.42, 0.03)
    comb = np.abs(((frame.x + 0.7) / 1.4 * pins) % 1.0 - 0.5) / pins * 1.4 - 0.045
    legs = np.maximum(np.maximum(comb, np.abs(frame.y) - 0.62), np.abs(frame.x) - 0.68)
    distance = np.minimum(body, legs)
    is_body = inside(body, frame)
    rows = int(look.integers(1, 4))
    glyph_seed = np.random.default_rng(int(look.integers(1 << 30)))
    glyphs = glyph_seed.random((rows * 3, 26)) < 0.55
    gx = np.clip(((frame.x + 0.5) * 26).astype(int), 0, 25)
    gy = np.clip(((frame.y + 0.06 * rows) / 0.12 * 3).astype(int), 0, rows * 3 - 1)
    shown = (np.abs(frame.x) < 0.5) & (np.abs(frame.y) < 0.06 * rows) & (gx % 4 != 0)
    ink = (glyphs[gy, gx] & shown).astype(np.float32) * 0.7
    dot = smoothstep(0.06, 0.045, np.hypot(frame.x + 0.56, frame.y - 0.28))
    black = (
        colour(look, saturation=(0.0, 0.1), value=(0.06, 0.16))
        * (1 + 0.1 * noise(inst, frame.size, 50, 0.6))[..., None]
    )
    tint = mix(mix(colour(look, *STEEL), black, is_body), solid(frame, 0.8)[..., None], np.maximum(ink, dot * 0.4))
    height = 0.12 * is_body - 0.03 * dot + dome(distance, 0.02, 0.02)
    surface = sheet(frame, tint, height, 0.15, ((1 - is_body) * 0.8).astype(np.float32))
    return surface, inside(distance.astype(np.float32), frame)


def bottle_cap(look: Rng, inst: Rng, frame: Frame) -> tuple[Surface, Array]:
    """Crown cork from above: fluted rim and a printed disc."""
    radius, angle = np.hypot(frame.x, frame.y), np.arctan2(frame.y, frame.x)
    flute = 0.03 * np.cos(21 * angle)
    distance = radius - 0.76 - flute
    disc = smoothstep(0.56, 0.53, radius)
    star = smoothstep(0.02, -0.02, radius - 0.3 - 0.1 * np.cos(int(look.integers(3, 8)) * angle))
    tint = mix(colour(look), colour(look), disc)
    tint = mix(tint, colour(look, value=(0.5, 0.95)), star)
    height = dome(distance, 0.2, 0.12) + smoothstep(0.55, 0.78, radius) * flute
    return sheet(frame, tint * machined(look, inst, frame, False)[..., None], height, 0.35, 0.25), inside(
        distance.astype(np.float32), frame
    )


def bracket(look: Rng, inst: Rng, frame: Frame) -> tuple[Surface, Array]:
    """Angle plate with drilled holes."""
    wide = float(look.uniform(0.26, 0.36))
    upright = sd_box(frame.x + 0.7 - wide, frame.y, wide, 0.72, 0.08)
    foot = sd_box(frame.x, frame.y - 0.72 + wide, 0.7, wide, 0.08)
    distance = np.minimum(upright, foot)
    for hx, hy in ((-0.7 + wide, -0.4), (-0.7 + wide, 0.72 - wide), (0.4, 0.72 - wide)):
        distance = np.maximum(distance, 0.11 - np.hypot(frame.x - hx, frame.y - hy))
    painted = float(look.choice([0.0, 0.8]))
    base = colour(look) if painted == 0.0 else metal_colour(look)
    tint = base * machined(look, inst, frame, False)[..., None]
    return sheet(frame, tint, dome(distance, 0.04, 0.05), 0.2, painted), inside(distance, frame)


def fuse(look: Rng, inst: Rng, frame: Frame) -> tuple[Surface, Array]:
    """Glass fuse from the side, with metal caps (validation only)."""
    distance = sd_box(frame.x, frame.y, 0.82, 0.24, 0.05)
    cap = (np.abs(frame.x) > 0.5).astype(np.float32)
    wire = smoothstep(0.03, 0.012, sd_segment(frame.x, frame.y + 0.02 * np.sin(9 * frame.x), (-0.5, 0), (0.5, 0)))
    glass = colour(look, saturation=(0.0, 0.15), value=(0.5, 0.75))
    tint = mix(mix(glass, solid(frame, 0.15)[..., None], wire), metal_colour(look), cap)
    height = 0.22 * np.sqrt(np.clip(1 - (frame.y / 0.25) ** 2, 0.03, 1)) + 0.015 * cap
    shade = 1 + 0.03 * noise(inst, frame.size, 20, 0.8)
    return sheet(frame, tint * shade[..., None], height.astype(np.float32), 0.5, cap * 0.8), inside(distance, frame)


def knob(look: Rng, inst: Rng, frame: Frame) -> tuple[Surface, Array]:
    """Knurled control knob from above with a pointer (validation only)."""
    radius, angle = np.hypot(frame.x, frame.y), np.arctan2(frame.y, frame.x)
    distance = (radius - 0.74 - 0.02 * np.sign(np.sin(36 * angle))).astype(np.float32)
    top = smoothstep(0.56, 0.53, radius)
    pointer = smoothstep(0.05, 0.03, sd_segment(frame.x, frame.y, (0.0, -0.2), (0.0, -0.5)))
    base = colour(look, saturation=(0.0, 0.5), value=(0.1, 0.4))
    tint = mix(base * (1 + 0.25 * top)[..., None], colour(look, value=(0.7, 1.0)), pointer)
    height = dome(distance, 0.12, 0.1) + 0.05 * top
    return sheet(
        frame, tint * machined(look, inst, frame, True)[..., None], height, 0.3, float(look.choice([0, 0.5]))
    ), inside(distance, frame)


TRAINING_OBJECTS: dict[str, Object] = {
    "washer": washer,
    "gear": gear,
    "button": button,
    "coin": coin,
    "tablet": tablet,
    "rubber ring": rubber_ring,
    "screw": screw,
    "chip": chip,
    "bottle cap": bottle_cap,
    "bracket": bracket,
}
VALIDATION_OBJECTS: dict[str, Object] = {"fuse": fuse, "knob": knob}
