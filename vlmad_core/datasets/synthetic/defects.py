"""Defects: what goes wrong on a surface, as changes of colour, relief, gloss and outline.

A defect is a function ``(surface, frame, rng, size, strength) -> Surface``. ``size`` is about its radius or half
its length in half-widths, ``strength`` in (0, 1] how much it stands out. Masks are not drawn here: they are
measured afterwards as the difference of the two renderings.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from vlmad_core.datasets.synthetic.fields import Array, Frame, Rng, blur, colour, mix, noise, smoothstep, warp
from vlmad_core.datasets.synthetic.shapes import (
    blob,
    crack_lines,
    draw_lines,
    pick_edge,
    pick_inside,
    scribble,
    stroke,
    walk,
)
from vlmad_core.datasets.synthetic.surface import Surface

Defect = Callable[[Surface, Frame, Rng, float, float], Surface]


def _contrasting(surface: Surface, centre: tuple[float, float], frame: Frame, rng: Rng) -> Array:
    """A colour clearly lighter or darker than the surface around ``centre``, or of another hue."""
    row = int(np.clip((centre[1] + 1) / frame.pixel, 0, frame.size - 1))
    col = int(np.clip((centre[0] + 1) / frame.pixel, 0, frame.size - 1))
    local = float(surface.albedo[max(row - 4, 0) : row + 5, max(col - 4, 0) : col + 5].mean())
    value = (0.02, 0.2) if local > 0.45 or (local > 0.22 and rng.random() < 0.6) else (0.65, 0.98)
    return colour(rng, saturation=(0.0, 0.85), value=value)


def _paint(surface: Surface, weight: Array, tint: Array) -> Surface:
    on_item = weight * smoothstep(0.2, 0.8, surface.cover)
    return replace(
        surface,
        albedo=mix(surface.albedo, np.broadcast_to(tint, surface.albedo.shape), on_item),
        metal=surface.metal * (1.0 - on_item),
    )


def scratch(surface: Surface, frame: Frame, rng: Rng, size: float, strength: float) -> Surface:
    """One to three thin lines, lighter or darker than the surface, with a groove."""
    centre = pick_inside(surface.cover, rng, 0.5 * size)
    lines = np.zeros_like(surface.height)
    width = float(rng.uniform(0.014, 0.03))
    bend = float(rng.choice([0.01, 0.05, 0.12]))
    for _ in range(int(rng.choice([1, 1, 2, 3]))):
        shifted = (centre[0] + float(rng.normal(0, 0.06)), centre[1] + float(rng.normal(0, 0.06)))
        lines = np.maximum(lines, stroke(frame, rng, shifted, 2.2 * size, width, bend))
    lighter = bool(rng.random() < 0.6) and float(surface.albedo.mean()) < 0.75
    scuffed = _paint(surface, lines * (0.3 + 0.6 * strength), np.full(3, 0.9 if lighter else 0.08, np.float32))
    return replace(scuffed, height=surface.height - blur(lines, 0.5) * 0.02 * strength)


def stain(surface: Surface, frame: Frame, rng: Rng, size: float, strength: float) -> Surface:
    """A translucent discoloured patch with a drying rim."""
    centre = pick_inside(surface.cover, rng, 0.4 * size)
    patch = blob(frame, rng, centre, size, 0.3, float(rng.uniform(0.1, 0.6)))
    rim = np.clip(patch - blur(patch, 0.03 / frame.pixel), 0, 1) * float(rng.uniform(0, 1.2))
    tint = _contrasting(surface, centre, frame, rng)
    wash = (
        surface.albedo * (0.35 + 0.65 * tint)
        if rng.random() < 0.5
        else mix(surface.albedo, tint[None, None], 0.7 * patch)
    )
    weight = np.clip(patch * (0.3 + 0.6 * strength) + rim, 0, 1) * smoothstep(0.2, 0.8, surface.cover)
    return replace(surface, albedo=mix(surface.albedo, wash, weight), gloss=surface.gloss + 0.1 * patch)


def hole(surface: Surface, frame: Frame, rng: Rng, size: float, strength: float) -> Surface:
    """A pit or perforation with a steep edge and a dark bottom."""
    centre = pick_inside(surface.cover, rng, 0.7 * size)
    patch = blob(frame, rng, centre, 0.55 * size, float(rng.uniform(0.02, 0.2)))
    bottom = (
        surface.albedo * 0.12
        if rng.random() < 0.7
        else np.broadcast_to(colour(rng, value=(0.7, 0.95)), surface.albedo.shape)
    )
    return replace(
        surface,
        albedo=mix(surface.albedo, bottom, patch * (0.45 + 0.55 * strength)),
        height=surface.height - blur(patch, 0.8) * 0.06,
        metal=surface.metal * (1 - patch),
        gloss=surface.gloss * (1 - patch),
    )


def dent(surface: Surface, frame: Frame, rng: Rng, size: float, strength: float) -> Surface:
    """A smooth hollow: seen by its shading alone."""
    centre = pick_inside(surface.cover, rng, 0.7 * size)
    bowl = blur(blob(frame, rng, centre, 0.8 * size, 0.15, 0.9), 0.12 * size / frame.pixel)
    depth = size * (0.3 + 0.6 * strength)
    return replace(
        surface, height=surface.height - depth * bowl, albedo=surface.albedo * (1 - 0.12 * strength * bowl)[..., None]
    )


def chip(surface: Surface, frame: Frame, rng: Rng, size: float, strength: float) -> Surface:
    """A piece broken out of the edge; on a sheet, a flake that shows the rough inside."""
    centre = pick_edge(surface.cover, rng)
    bite = blob(frame, rng, centre, 0.9 * size, 0.35)
    rough = noise(rng, frame.size, 25, 0.9)
    if float(surface.cover.mean()) < 0.97 and rng.random() < 0.6:
        return replace(surface, cover=surface.cover * (1 - bite), height=surface.height - 0.04 * blur(bite, 1.0))
    core = np.clip(float(surface.albedo.mean()) * float(rng.choice([0.45, 1.7])), 0.05, 0.95)
    exposed = np.float32(core) * (1 + 0.15 * rough)[..., None] * np.ones(3, np.float32)
    weight = bite * (0.5 + 0.5 * strength)
    return replace(
        surface,
        albedo=mix(surface.albedo, np.clip(exposed, 0, 1), weight),
        height=surface.height - bite * (0.03 + 0.008 * rough),
        gloss=surface.gloss * (1 - bite),
        metal=surface.metal * (1 - 0.7 * bite),
    )


def contamination(surface: Surface, frame: Frame, rng: Rng, size: float, strength: float) -> Surface:
    """Foreign particles: one lump or a sprinkling of crumbs that stand on the surface."""
    centre = pick_inside(surface.cover, rng, 0.5 * size)
    tint = _contrasting(surface, centre, frame, rng)
    count = int(rng.choice([1, 3, 7, 14]))
    grains = np.zeros_like(surface.height)
    for _ in range(count):
        spot = (centre[0] + float(rng.normal(0, 0.5 * size)), centre[1] + float(rng.normal(0, 0.5 * size)))
        spot = centre if count == 1 else spot
        radius = (0.5 if count == 1 else float(rng.uniform(0.1, 0.3))) * size
        grains = np.maximum(grains, blob(frame, rng, spot, max(radius, 0.02), 0.3))
    grains = grains * (surface.cover > 0.3)
    texture = 1 + 0.2 * noise(rng, frame.size, 30, 0.8)
    dirty = _paint(surface, grains * (0.5 + 0.5 * strength), np.clip(tint * texture[..., None], 0, 1))
    return replace(dirty, height=surface.height + 0.03 * blur(grains, 0.8))


def cut(surface: Surface, frame: Frame, rng: Rng, size: float, strength: float) -> Surface:
    """A straight gash with a dark bottom and a raised lip."""
    centre = pick_inside(surface.cover, rng, 0.5 * size)
    width = float(rng.uniform(0.03, 0.06))
    state = rng.bit_generator.state
    gash = stroke(frame, rng, centre, 2.0 * size, width, 0.02)
    rng.bit_generator.state = state
    lip = stroke(frame, rng, centre, 2.0 * size, width * 2.4, 0.02)
    opened = _paint(surface, gash * (0.5 + 0.5 * strength), surface.albedo * 0.1)
    return replace(opened, height=surface.height + 0.02 * blur(lip, 0.8) - 0.06 * blur(gash, 0.7))


def burn(surface: Surface, frame: Frame, rng: Rng, size: float, strength: float) -> Surface:
    """A scorched patch, black at its heart and brown at its fringe."""
    centre = pick_inside(surface.cover, rng, 0.4 * size)
    patch = blob(frame, rng, centre, 1.1 * size, 0.3, 0.9) * np.clip(1 + 0.2 * noise(rng, frame.size, 18, 0.8), 0, 1.2)
    heart = smoothstep(0.45, 0.95, patch)
    brown = surface.albedo * np.array([0.45, 0.28, 0.16], np.float32)
    toned = mix(surface.albedo, brown, np.clip(patch, 0, 1) * (0.4 + 0.6 * strength))
    return _paint(
        replace(surface, albedo=toned), heart * (0.4 + 0.5 * strength), np.array([0.03, 0.025, 0.02], np.float32)
    )


def fibre(surface: Surface, frame: Frame, rng: Rng, size: float, strength: float) -> Surface:
    """A hair or thread lying on the surface."""
    centre = pick_inside(surface.cover, rng, 0.5 * size)
    thread = stroke(frame, rng, centre, 3.0 * size, float(rng.uniform(0.014, 0.028)), 0.35)
    shadow = np.roll(blur(thread, 0.7), (1, 1), (0, 1)) * 0.35
    tint = _contrasting(surface, centre, frame, rng)
    shaded = replace(surface, albedo=surface.albedo * (1 - shadow)[..., None])
    laid = _paint(shaded, thread * (0.6 + 0.4 * strength), tint)
    return replace(laid, height=surface.height + 0.012 * blur(thread, 0.6))


def print_mark(surface: Surface, frame: Frame, rng: Rng, size: float, strength: float) -> Surface:
    """Ink where none should be: a few angular glyphs."""
    centre = pick_inside(surface.cover, rng, 0.6 * size)
    width = float(rng.uniform(0.02, 0.045))
    ink = draw_lines(frame, [(glyph, width) for glyph in scribble(rng, centre, 0.9 * size)])
    return _paint(surface, ink * (0.5 + 0.5 * strength), _contrasting(surface, centre, frame, rng))


def bent(surface: Surface, frame: Frame, rng: Rng, size: float, strength: float) -> Surface:
    """A local deformation: outline and pattern pushed aside."""
    centre = pick_edge(surface.cover, rng)
    reach = 1.6 * size
    weight = np.exp(-((frame.u - centre[0]) ** 2 + (frame.v - centre[1]) ** 2) / (2 * (0.6 * reach) ** 2))
    push = (0.35 + 0.4 * strength) * size / frame.pixel
    heading = float(rng.uniform(0, 2 * np.pi))
    rows, cols = push * np.sin(heading) * weight, push * np.cos(heading) * weight
    fold = 0.05 * weight.astype(np.float32)
    return replace(
        surface,
        albedo=warp(surface.albedo, rows, cols),
        height=warp(surface.height, rows, cols) + fold,
        gloss=warp(surface.gloss, rows, cols),
        metal=warp(surface.metal, rows, cols),
        cover=warp(surface.cover, rows, cols),
    )


def crack(surface: Surface, frame: Frame, rng: Rng, size: float, strength: float) -> Surface:
    """A jagged dark fissure with branches."""
    centre = pick_inside(surface.cover, rng, 0.3 * size)
    gap = draw_lines(frame, crack_lines(rng, centre, 2.6 * size, float(rng.uniform(0.02, 0.045))))
    opened = _paint(surface, gap * (0.45 + 0.5 * strength), surface.albedo * 0.08)
    return replace(opened, height=surface.height - 0.025 * blur(gap, 0.6))


def corrosion(surface: Surface, frame: Frame, rng: Rng, size: float, strength: float) -> Surface:
    """Rust or tarnish: a blotchy rough orange-brown or greenish bloom."""
    centre = pick_inside(surface.cover, rng, 0.3 * size)
    patch = blob(frame, rng, centre, 1.2 * size, 0.4, 0.8)
    blotch = smoothstep(-0.3, 0.8, noise(rng, frame.size, 14, 0.7) + 2.2 * (patch - 0.6)) * (patch > 0.02)
    hue = (0.04, 0.09) if rng.random() < 0.75 else (0.4, 0.5)
    tint = colour(rng, hue, (0.5, 0.85), (0.15, 0.45)) * (1 + 0.25 * noise(rng, frame.size, 40, 0.7))[..., None]
    eaten = _paint(surface, blotch * (0.45 + 0.5 * strength), np.clip(tint, 0, 1))
    return replace(
        eaten,
        gloss=surface.gloss * (1 - blotch),
        height=surface.height + 0.004 * blotch * noise(rng, frame.size, 35, 0.8),
    )


def blister(surface: Surface, frame: Frame, rng: Rng, size: float, strength: float) -> Surface:
    """One or more smooth bumps under the surface."""
    centre = pick_inside(surface.cover, rng, 0.6 * size)
    swell = np.zeros_like(surface.height)
    for k in range(int(rng.choice([1, 1, 2, 4]))):
        spot = centre if k == 0 else (centre[0] + float(rng.normal(0, size)), centre[1] + float(rng.normal(0, size)))
        radius = size * float(rng.uniform(0.35, 0.8))
        swell = np.maximum(swell, radius * np.sqrt(blob(frame, rng, spot, radius, 0.08, 0.9)))
    raised = surface.height + blur(swell, 1.0) * (0.5 + 0.5 * strength)
    return replace(surface, height=raised, gloss=np.clip(surface.gloss + 0.25 * (swell > 0), 0, 1).astype(np.float32))


def wear(surface: Surface, frame: Frame, rng: Rng, size: float, strength: float) -> Surface:
    """A rubbed patch: pattern and relief faded, gloss changed."""
    centre = pick_inside(surface.cover, rng, 0.4 * size)
    patch = blob(frame, rng, centre, 1.2 * size, 0.25, 0.5) * (0.6 + 0.4 * strength)
    faded = blur(surface.albedo, 0.12 / frame.pixel) * float(rng.choice([0.7, 1.35]))
    return replace(
        surface,
        albedo=mix(surface.albedo, np.clip(faded, 0, 1), patch),
        height=surface.height * (1 - patch) + blur(surface.height, 0.08 / frame.pixel) * patch,
        gloss=surface.gloss * (1 - patch),
    )


def discoloured(surface: Surface, frame: Frame, rng: Rng, size: float, strength: float) -> Surface:
    """A region of another hue (wrong batch of dye, overheated, bleached) with its pattern intact."""
    centre = pick_inside(surface.cover, rng, 0.2 * size)
    patch = blob(frame, rng, centre, 1.4 * size, 0.2, 0.25) * smoothstep(0.2, 0.8, surface.cover)
    tint = colour(rng, saturation=(0.5, 0.9), value=(0.6, 0.95))
    brightness = surface.albedo.mean(-1, keepdims=True)
    shifted = np.clip(brightness * tint / max(float(tint.mean()), 0.1), 0, 1)
    return replace(surface, albedo=mix(surface.albedo, shifted, patch * (0.35 + 0.65 * strength)))


def broken(surface: Surface, frame: Frame, rng: Rng, size: float, strength: float) -> Surface:
    """A large piece gone from the edge, leaving a jagged outline and splinters."""
    centre = pick_edge(surface.cover, rng)
    bite = blob(frame, rng, centre, 1.5 * size, 0.5)
    jag = smoothstep(0.3, 0.7, bite + 0.18 * noise(rng, frame.size, 16, 0.9) * (bite > 0.02))
    lines = [(walk(rng, centre, 2.4 * size, 0.4), 0.02)]
    opened = _paint(surface, draw_lines(frame, lines) * strength, surface.albedo * 0.15)
    if float(surface.cover.mean()) > 0.97:
        return replace(
            opened, albedo=mix(opened.albedo, surface.albedo * 0.15, jag), height=surface.height - 0.06 * jag
        )
    return replace(opened, cover=surface.cover * (1 - jag), height=surface.height - 0.05 * blur(jag, 1.0))


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
