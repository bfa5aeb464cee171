"""Defects: what goes wrong on a surface, as changes of colour, relief, gloss and outline.

A defect is a function ``(surface, frame, rng, size, strength) -> Surface``. ``size`` is about its radius or half
its length in half-widths, ``strength`` in (0, 1] how much it stands out. They change the scene before light falls
on it, so highlights, shading, defocus and noise are those of the picture. Masks are not drawn here: they are
measured afterwards as the difference of the two renderings.

Here are those of the substance itself: scratches, dents, cracks, holes, chips, deformation. Damage is relief first:
its highlights and shadows come from the scene's light, colour changes only where the inside shows. What lies on a
surface is in ``defect_marks``; the tables at the end name all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from vlmad_core.factory.renderer.defect_marks import (
    around,
    burn,
    contamination,
    corrosion,
    discoloured,
    fibre,
    paint,
    print_mark,
    stain,
    wear,
)
from vlmad_core.factory.renderer.fields import Array, Frame, Rng, blur, mix, noise, smoothstep, warp
from vlmad_core.factory.renderer.shapes import crack_lines, draw_lines, patch, pick_edge, pick_inside, stroke
from vlmad_core.factory.renderer.surface import Surface

Defect = Callable[[Surface, Frame, Rng, float, float], Surface]


def _inside_colour(surface: Surface, centre: tuple[float, float], frame: Frame, rng: Rng) -> Array:
    """Colour of freshly exposed matter: paler or darker than the skin, of about its hue, [3]."""
    local = around(surface, centre, frame)
    if float(local.mean()) < 0.5 and rng.random() < 0.7:
        return np.clip(0.5 * local + 0.5 * float(rng.uniform(0.45, 0.75)), 0, 1).astype(np.float32)
    return (local * float(rng.uniform(0.35, 0.6))).astype(np.float32)


def _gaussian(frame: Frame, centre: tuple[float, float], sigma: float) -> Array:
    square = (frame.u - centre[0]) ** 2 + (frame.v - centre[1]) ** 2
    return np.exp(-square / (2 * sigma * sigma)).astype(np.float32)


def _moved(surface: Surface, rows: Array, cols: Array) -> Surface:
    """The surface with its outline, pattern and relief pushed aside by so many pixels."""
    return replace(
        surface,
        albedo=warp(surface.albedo, rows, cols),
        height=warp(surface.height, rows, cols),
        gloss=warp(surface.gloss, rows, cols),
        metal=warp(surface.metal, rows, cols),
        cover=warp(surface.cover, rows, cols),
    )


def scratch(surface: Surface, frame: Frame, rng: Rng, size: float, strength: float) -> Surface:
    """One to four strokes of the same motion: grooves with burrs that skip here and there, and glint on metal."""
    centre = pick_inside(surface.cover, rng, 0.5 * size)
    width = float(rng.uniform(0.013, 0.026))
    bend, heading = float(rng.choice([0.01, 0.04, 0.09])), float(rng.uniform(0, 2 * np.pi))
    lines = np.zeros_like(surface.height)
    for _ in range(int(rng.choice([1, 2, 3, 4]))):
        aside = (centre[0] + float(rng.normal(0, 0.045)), centre[1] + float(rng.normal(0, 0.045)))
        length = size * float(rng.uniform(1.6, 3.0))
        turned = heading + float(rng.normal(0, 0.07))
        lines = np.maximum(lines, stroke(frame, rng, aside, length, width * float(rng.uniform(0.6, 1.1)), bend, turned))
    skipping = smoothstep(-1.9, -0.2, noise(rng, frame.size, 9, 0.8))
    lines = lines * (0.25 + 0.75 * skipping)
    scuff = blur(lines, 0.016 / frame.pixel)
    burr = np.clip(scuff - 0.6 * lines, 0, 1)
    tint = _inside_colour(surface, centre, frame, rng)
    scuffed = paint(surface, np.clip(lines * (0.5 + 0.45 * strength) + 0.3 * strength * burr, 0, 1), tint)
    # A groove in metal stays metal: it is its flanks that light up.
    kept = surface.metal * (1 - 0.3 * lines)
    depth = 0.012 + 0.016 * strength
    return replace(scuffed, metal=kept, height=surface.height - depth * blur(lines, 0.5) + 0.35 * depth * burr)


def hole(surface: Surface, frame: Frame, rng: Rng, size: float, strength: float) -> Surface:
    """A pit or perforation: shaded wall, dark bottom, frayed paler rim."""
    centre = pick_inside(surface.cover, rng, 0.7 * size)
    pit = patch(frame, rng, centre, 0.6 * size, float(rng.uniform(0.15, 0.5)), float(rng.uniform(0.05, 0.3)))
    frayed = np.clip(blur(pit, 0.02 / frame.pixel) - pit, 0, 1) * np.clip(
        0.6 + 0.6 * noise(rng, frame.size, 25, 0.7), 0, 1.5
    )
    local = around(surface, centre, frame)
    rimmed = paint(surface, np.clip(frayed * float(rng.uniform(0.3, 1.0)), 0, 0.7), np.clip(local * 0.6 + 0.3, 0, 1))
    rough = np.clip(1 + 0.3 * noise(rng, frame.size, 30, 0.7), 0.3, 2)[..., None]
    bottom = np.clip(local * float(rng.choice([0.08, 0.14, 0.3])) * rough, 0, 1)
    opened = paint(rimmed, pit * (0.7 + 0.3 * strength), bottom)
    return replace(opened, height=surface.height - 0.09 * blur(pit, 1.2) + 0.012 * frayed)


def dent(surface: Surface, frame: Frame, rng: Rng, size: float, strength: float) -> Surface:
    """A smooth hollow with a slight rim, seen by its shading and by what it does to pattern and highlights."""
    centre = pick_inside(surface.cover, rng, 0.7 * size)
    radius, turn, flat = 1.4 * size, float(rng.uniform(0, np.pi)), float(rng.uniform(0.5, 1.0))
    dx, dy = frame.u - centre[0], frame.v - centre[1]
    c, s = np.cos(turn), np.sin(turn)
    along, across = c * dx + s * dy, (c * dy - s * dx) / flat
    wobble = 1 + 0.12 * noise(rng, frame.size, 1.0 / radius, 1.2)
    ratio = np.hypot(along, across) / (radius * wobble)
    bowl = np.exp(-2.2 * ratio**2).astype(np.float32)
    rim = np.exp(-(((ratio - 1.15) / 0.3) ** 2)).astype(np.float32)
    depth = radius * (0.16 + 0.24 * strength)
    pinch = 0.3 * size / frame.pixel * bowl
    angle = np.arctan2(dy, dx)
    pressed = _moved(surface, pinch * np.sin(angle), pinch * np.cos(angle))
    crushed = pressed.height * (1 - 0.5 * strength * bowl)
    return replace(
        pressed,
        cover=surface.cover,
        height=(crushed - depth * bowl + 0.12 * depth * rim).astype(np.float32),
        albedo=pressed.albedo * (1 - 0.25 * strength * bowl)[..., None],
    )


def chip(surface: Surface, frame: Frame, rng: Rng, size: float, strength: float) -> Surface:
    """A piece broken out: at an edge the outline is gone, elsewhere tilted fresh facets lie below the skin."""
    centre = pick_edge(surface.cover, rng)
    bite = patch(frame, rng, centre, 1.1 * size, 0.5, 0.06)
    gone = np.zeros_like(bite)
    if float(surface.cover.mean()) < 0.97:
        gone = patch(frame, rng, centre, float(rng.uniform(0.5, 1.0)) * size, 0.5, 0.05)
    tilt = float(rng.uniform(0, 2 * np.pi))
    ramp = ((frame.u - centre[0]) * np.cos(tilt) + (frame.v - centre[1]) * np.sin(tilt)).astype(np.float32)
    facets = 0.25 * ramp + 0.012 * noise(rng, frame.size, 12, 1.1) + 0.005 * noise(rng, frame.size, 35, 0.7)
    tint = _inside_colour(surface, centre, frame, rng)
    grain = np.clip(1 + 0.2 * noise(rng, frame.size, 40, 0.6), 0.5, 1.6)[..., None]
    # A fresh break keeps some of what the skin showed.
    fresh = mix(np.clip(tint * grain, 0, 1) * np.ones_like(surface.albedo), surface.albedo, np.full_like(bite, 0.4))
    edge = np.clip(blur(bite, 0.012 / frame.pixel) - bite, 0, 1) + np.clip(bite - blur(bite, 0.012 / frame.pixel), 0, 1)
    broken_off = paint(surface, bite * (0.65 + 0.35 * strength), fresh)
    lit = np.clip(broken_off.albedo * (1 + 0.7 * edge[..., None]), 0, 1).astype(np.float32)
    return replace(
        broken_off,
        albedo=lit,
        height=(surface.height + bite * (facets - 0.03 - 0.03 * strength)).astype(np.float32),
        cover=surface.cover * (1 - gone),
    )


def cut(surface: Surface, frame: Frame, rng: Rng, size: float, strength: float) -> Surface:
    """A straight gash gaping in its middle: dark inside, the pattern parted, lips raised and frayed."""
    centre = pick_inside(surface.cover, rng, 0.5 * size)
    heading = float(rng.uniform(0, 2 * np.pi))
    width = float(rng.uniform(0.025, 0.05)) * (0.7 + 0.6 * strength)
    state = rng.bit_generator.state
    gash = stroke(frame, rng, centre, 2.6 * size, width, 0.02, heading)
    rng.bit_generator.state = state
    lips = stroke(frame, rng, centre, 2.7 * size, width * 2.6, 0.02, heading)
    frayed = np.clip(lips - gash, 0, 1) * smoothstep(-0.8, 1.0, noise(rng, frame.size, 30, 0.7))
    tint = np.clip(around(surface, centre, frame) * 0.7 + 0.25, 0, 1)
    normal = (-np.sin(heading), np.cos(heading))
    side = np.sign((frame.u - centre[0]) * normal[0] + (frame.v - centre[1]) * normal[1])
    push = -side * blur(lips, 1.0) * width / frame.pixel
    parted = _moved(surface, push * normal[1], push * normal[0])
    torn = paint(replace(parted, cover=surface.cover), 0.55 * frayed, tint)
    opened = paint(torn, gash * (0.65 + 0.35 * strength), surface.albedo * 0.1)
    return replace(opened, height=surface.height + 0.025 * blur(lips, 1.0) - 0.07 * blur(gash, 0.7))


def bent(surface: Surface, frame: Frame, rng: Rng, size: float, strength: float) -> Surface:
    """A local deformation: outline and pattern pushed aside, the sheet buckled so that it catches the light."""
    centre = pick_edge(surface.cover, rng)
    sigma = 0.8 * size
    weight = _gaussian(frame, centre, sigma)
    heading = float(rng.uniform(0, 2 * np.pi))
    if float(surface.cover.mean()) < 0.97:
        # Blows come from outside, so the outline moves in or out, not along itself.
        heading = float(np.arctan2(centre[1], centre[0])) + float(rng.choice([0.0, np.pi])) + float(rng.normal(0, 0.4))
    push = (0.55 + 0.45 * strength) * size / frame.pixel
    moved = _moved(surface, push * np.sin(heading) * weight, push * np.cos(heading) * weight)
    along = ((frame.u - centre[0]) * np.cos(heading) + (frame.v - centre[1]) * np.sin(heading)) / sigma
    buckle = (0.1 + 0.15 * strength) * size * weight * (1 - along**2)
    return replace(moved, height=(moved.height + buckle).astype(np.float32))


def crack(surface: Surface, frame: Frame, rng: Rng, size: float, strength: float) -> Surface:
    """A fracture with branches: dark where it gapes, a hairline elsewhere, one bank lower than the other."""
    centre = pick_inside(surface.cover, rng, 0.3 * size)
    width = float(rng.uniform(0.018, 0.045)) * (0.7 + 0.5 * strength)
    gap = draw_lines(frame, crack_lines(rng, centre, 3.0 * size, width))
    crumbled = np.clip(blur(gap, 0.012 / frame.pixel) - 0.5 * gap, 0, 1) * smoothstep(
        0.0, 1.5, noise(rng, frame.size, 18, 0.8)
    )
    tint = np.clip(around(surface, centre, frame) * 0.7 + 0.2, 0, 1)
    flaked = paint(surface, np.clip(1.2 * crumbled, 0, 0.6), tint)
    opened = paint(flaked, gap * (0.65 + 0.3 * strength), surface.albedo * 0.08)
    bank = np.roll(blur(gap, 0.02 / frame.pixel), (1, 1), (0, 1)) * 0.012 * strength
    return replace(opened, height=surface.height - 0.035 * blur(gap, 0.6) - bank)


def blister(surface: Surface, frame: Frame, rng: Rng, size: float, strength: float) -> Surface:
    """One or more domes under the skin, glossier than what surrounds them."""
    centre = pick_inside(surface.cover, rng, 0.6 * size)
    swell = np.zeros_like(surface.height)
    for k in range(int(rng.choice([1, 2, 4, 6]))):
        spot = centre if k == 0 else (centre[0] + float(rng.normal(0, size)), centre[1] + float(rng.normal(0, size)))
        radius = size * float(rng.uniform(0.3, 0.75))
        flat = float(rng.uniform(0.65, 1.0))
        square = ((frame.u - spot[0]) / radius) ** 2 + ((frame.v - spot[1]) / (radius * flat)) ** 2
        wobble = 1 + 0.15 * noise(rng, frame.size, 1.0 / radius, 1.1)
        swell = np.maximum(swell, radius * np.clip(1 - square * wobble, 0, 1) ** 0.9)
    skin = blur((swell > 0).astype(np.float32), 0.8)
    return replace(
        surface,
        height=(surface.height + blur(swell.astype(np.float32), 1.0) * (0.35 + 0.35 * strength)).astype(np.float32),
        gloss=np.clip(surface.gloss + 0.12 * skin, 0, 1).astype(np.float32),
        albedo=np.clip(surface.albedo * (1 + 0.15 * skin[..., None]), 0, 1).astype(np.float32),
    )


def broken(surface: Surface, frame: Frame, rng: Rng, size: float, strength: float) -> Surface:
    """A large piece gone from the edge, with fresh break surface along it and a crack running on."""
    centre = pick_edge(surface.cover, rng)
    state = rng.bit_generator.state
    bite = patch(frame, rng, centre, 1.5 * size, 0.8, 0.05)
    rng.bit_generator.state = state
    bank = patch(frame, rng, centre, 1.75 * size, 0.8, 0.05)
    tint = (
        _inside_colour(surface, centre, frame, rng)
        * np.clip(1 + 0.2 * noise(rng, frame.size, 30, 0.7), 0.5, 1.6)[..., None]
    )
    gap = draw_lines(frame, crack_lines(rng, centre, 3.5 * size, 0.025))
    opened = paint(paint(surface, gap * strength, surface.albedo * 0.1), bank * 0.8, np.clip(tint, 0, 1))
    sunk = opened.height - 0.04 * blur(bank, 1.0) * (1 + 0.2 * noise(rng, frame.size, 20, 0.8))
    if float(surface.cover.mean()) > 0.97:
        return replace(paint(opened, bite * 0.9, surface.albedo * 0.12), height=(sunk - 0.05 * bite).astype(np.float32))
    return replace(opened, cover=surface.cover * (1 - bite), height=sunk.astype(np.float32))


TRAINING_DEFECTS: dict[str, Defect] = {
    "scratch": scratch,
    "stain": stain,
    "hole": hole,
    "dent": dent,
    "chip": chip,
    "contamination": contamination,
    "cut": cut,
    "burn": burn,
    "fibre": fibre,
    "print": print_mark,
    "bent": bent,
}
UNSEEN_DEFECTS: dict[str, Defect] = {
    "crack": crack,
    "corrosion": corrosion,
    "blister": blister,
    "wear": wear,
    "discoloured": discoloured,
    "broken": broken,
}
ALL_DEFECTS: dict[str, Defect] = {**TRAINING_DEFECTS, **UNSEEN_DEFECTS}
