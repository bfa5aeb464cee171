"""Defects that lie on a surface or change its colour: dirt, stains, threads, ink, heat, rust, wear.

Each is a function ``(surface, frame, rng, size, strength) -> Surface``, see ``defects``. Dirt and ink have the
colours of real matter; liquids tint what they wet instead of covering it, so the texture shows through.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from vlmad_core.factory.renderer.fields import Array, Frame, Rng, blur, colour, mix, noise, smoothstep
from vlmad_core.factory.renderer.shapes import draw_lines, patch, pick_inside, scribble, stroke
from vlmad_core.factory.renderer.surface import Surface

_MATTER = (
    (0.02, 0.02, 0.02),  # soot
    (0.07, 0.055, 0.04),  # earth
    (0.05, 0.035, 0.02),  # tar
    (0.2, 0.1, 0.045),  # rust
    (0.32, 0.22, 0.12),  # wood
    (0.42, 0.4, 0.37),  # dust
    (0.62, 0.6, 0.56),  # plaster
    (0.82, 0.8, 0.76),  # chalk
    (0.03, 0.05, 0.13),  # blue ink
    (0.32, 0.06, 0.045),  # red lead
)
_CASTS = (
    (1.15, 0.92, 0.5),  # straw, from heat or age
    (0.95, 0.62, 0.36),  # bronze
    (0.5, 0.66, 1.05),  # blue, from more heat
    (0.6, 0.48, 0.7),  # purple, between the two
    (0.62, 0.5, 0.4),  # tarnish
    (0.66, 0.74, 0.5),  # olive, from grease
    (1.4, 1.4, 1.42),  # bleached
)


def around(surface: Surface, centre: tuple[float, float], frame: Frame) -> Array:
    """Mean colour of the surface near a point, [3]."""
    row = int(np.clip((centre[1] + 1) / frame.pixel, 0, frame.size - 1))
    col = int(np.clip((centre[0] + 1) / frame.pixel, 0, frame.size - 1))
    reach = max(2, frame.size // 40)
    near = surface.albedo[max(row - reach, 0) : row + reach + 1, max(col - reach, 0) : col + reach + 1]
    return np.asarray(near.mean(axis=(0, 1)), np.float32)


def matter(surface: Surface, centre: tuple[float, float], frame: Frame, rng: Rng, vivid: float = 0.1) -> Array:
    """A colour of dirt, ink or thread that stands out from the surface at ``centre``; rarely a vivid one."""
    local = float(around(surface, centre, frame).mean()) ** 0.6
    tint = np.zeros(3, np.float32)
    for _ in range(12):
        if rng.random() < vivid:
            tint = colour(rng, saturation=(0.3, 0.8), value=(0.15, 0.8))
        else:
            base = np.asarray(_MATTER[int(rng.integers(len(_MATTER)))], np.float32)
            tint = np.clip(base * rng.uniform(0.85, 1.2) * rng.uniform(0.92, 1.08, 3), 0, 1).astype(np.float32)
        if abs(float(tint.mean()) ** 0.6 - local) > 0.16:
            break
    return tint


def paint(surface: Surface, weight: Array, tint: Array) -> Surface:
    """Cover the surface with another matter; nothing sticks outside the item."""
    on_item = weight * smoothstep(0.2, 0.8, surface.cover)
    return replace(
        surface,
        albedo=mix(surface.albedo, np.broadcast_to(tint, surface.albedo.shape), on_item),
        metal=surface.metal * (1.0 - on_item),
        gloss=surface.gloss * (1.0 - 0.7 * on_item),
    )


def stain(surface: Surface, frame: Frame, rng: Rng, size: float, strength: float) -> Surface:
    """A dried liquid: it tints what it wets, is uneven inside, dense at its rim, with a few drops beside it."""
    centre = pick_inside(surface.cover, rng, 0.4 * size)
    pool = patch(frame, rng, centre, size, float(rng.uniform(0.3, 0.8)), float(rng.uniform(0.12, 0.8)))
    for _ in range(int(rng.integers(0, 4))):
        angle, away = float(rng.uniform(0, 2 * np.pi)), float(rng.uniform(1.1, 1.7)) * size
        spot = (centre[0] + away * np.cos(angle), centre[1] + away * np.sin(angle))
        pool = np.maximum(pool, patch(frame, rng, spot, float(rng.uniform(0.06, 0.2)) * size, 0.3, 0.3))
    rim = np.clip(pool - blur(pool, 0.05 / frame.pixel), 0, 1) * float(rng.uniform(0.3, 2.0))
    uneven = np.clip(1 + 0.3 * noise(rng, frame.size, 2.0 / size, 0.9), 0.3, 1.7)
    density = np.clip(pool * uneven * (0.35 + 0.45 * strength) + 0.8 * rim, 0, 1.2) * smoothstep(
        0.2, 0.8, surface.cover
    )
    if rng.random() < 0.7 or float(surface.albedo.mean()) > 0.7:
        passed = np.asarray(
            [(0.3, 0.27, 0.24), (0.45, 0.27, 0.14), (0.22, 0.2, 0.2), (0.5, 0.42, 0.2)][int(rng.integers(4))],
            np.float32,
        )
        wet = surface.albedo * passed ** density[..., None]
    else:
        chalk = np.asarray((0.55, 0.54, 0.5), np.float32)[None, None]
        wet = mix(surface.albedo, chalk * (0.5 + 0.5 * uneven[..., None]), np.clip(0.6 * density, 0, 0.8))
    gloss = surface.gloss + float(rng.uniform(-0.5, 0.3)) * pool * surface.gloss
    return replace(surface, albedo=wet.astype(np.float32), gloss=gloss)


def contamination(surface: Surface, frame: Frame, rng: Rng, size: float, strength: float) -> Surface:
    """Foreign matter: a lump or a scatter of crumbs of all sizes standing on the surface, in a film of their dust."""
    centre = pick_inside(surface.cover, rng, 0.5 * size)
    tint = matter(surface, centre, frame, rng)
    count = int(rng.choice([1, 4, 9, 16]))
    grains = np.zeros_like(surface.height)
    for k in range(count):
        near = (centre[0] + float(rng.normal(0, 0.5 * size)), centre[1] + float(rng.normal(0, 0.5 * size)))
        spot = centre if k == 0 else near
        radius = size * (float(rng.uniform(0.4, 0.75)) if count == 1 else 0.09 + 0.3 * float(rng.random()) ** 2)
        grains = np.maximum(grains, patch(frame, rng, spot, max(radius, 0.02), 0.55, 0.12))
    on_item = smoothstep(0.2, 0.8, surface.cover)
    grains = grains * on_item
    crumbly = noise(rng, frame.size, 28, 0.7)
    film = blur(grains, 0.35 * size / frame.pixel) * np.clip(0.5 + 0.5 * crumbly, 0, 1) * on_item
    dusted = replace(surface, albedo=mix(surface.albedo, tint[None, None], np.clip(0.7 * strength * film, 0, 0.5)))
    # Dirt takes on some of the relief and pattern below it.
    below = surface.albedo.mean(axis=-1) / np.maximum(blur(surface.albedo.mean(axis=-1), 0.05 / frame.pixel), 0.02)
    grit = 0.18 * crumbly + 0.1 * noise(rng, frame.size, 60, 0.5) + 0.35 * (np.clip(below, 0.3, 1.7) - 1)
    texture = np.clip(1 + grit, 0.4, 1.6)[..., None]
    dirty = paint(dusted, grains * (0.65 + 0.35 * strength), np.clip(tint * texture, 0, 1))
    # The lump is round at its flanks and shades itself and what it stands on.
    swell = blur(grains, 1.0) * (0.035 + 0.006 * crumbly)
    occluded = 1 - 0.4 * np.clip(blur(grains, 0.025 / frame.pixel) - grains, 0, 1)
    return replace(dirty, height=surface.height + swell, albedo=dirty.albedo * occluded[..., None])


def burn(surface: Surface, frame: Frame, rng: Rng, size: float, strength: float) -> Surface:
    """A scorched patch: brown fringe, charred heart, matt and slightly sunken."""
    centre = pick_inside(surface.cover, rng, 0.4 * size)
    heat = patch(frame, rng, centre, 1.25 * size, 0.6, 1.1)
    speckle = np.clip(1 + 0.25 * noise(rng, frame.size, 16, 0.8), 0.4, 1.7)
    density = np.clip(heat, 0, 1) ** 1.5 * speckle * (1.0 + 1.5 * strength) * smoothstep(0.2, 0.8, surface.cover)
    charred = surface.albedo * np.exp(-density[..., None] * np.asarray((0.75, 1.1, 1.45), np.float32))
    ash = (
        smoothstep(0.75, 1.0, heat) * smoothstep(0.4, 1.4, noise(rng, frame.size, 12, 0.9)) * float(rng.uniform(0, 0.5))
    )
    matt = 1 - np.clip(0.8 * density, 0, 1)
    return replace(
        surface,
        albedo=mix(charred, np.full(3, 0.3, np.float32)[None, None], ash).astype(np.float32),
        gloss=surface.gloss * matt,
        metal=surface.metal * matt,
        height=surface.height - 0.015 * heat * strength + 0.004 * heat * noise(rng, frame.size, 30, 0.7),
    )


def fibre(surface: Surface, frame: Frame, rng: Rng, size: float, strength: float) -> Surface:
    """A hair, thread or tuft of lint lying on the surface; round, so one flank is lit."""
    centre = pick_inside(surface.cover, rng, 0.5 * size)
    tint = matter(surface, centre, frame, rng, vivid=0.2)
    width = float(rng.uniform(0.011, 0.022))
    thread = np.zeros_like(surface.height)
    for _ in range(int(rng.choice([1, 1, 1, 3]))):
        start = (centre[0] + float(rng.normal(0, 0.1 * size)), centre[1] + float(rng.normal(0, 0.1 * size)))
        length = size * float(rng.uniform(2.4, 4.5))
        thread = np.maximum(thread, stroke(frame, rng, start, length, width, float(rng.uniform(0.12, 0.4))))
    occluded = 1 - 0.45 * np.clip(blur(thread, 0.014 / frame.pixel) - 0.5 * thread, 0, 1)
    shaded = replace(surface, albedo=surface.albedo * occluded[..., None])
    laid = paint(shaded, thread * (0.7 + 0.3 * strength), tint)
    return replace(laid, height=surface.height + 0.016 * blur(thread, 0.6))


def print_mark(surface: Surface, frame: Frame, rng: Rng, size: float, strength: float) -> Surface:
    """Ink where none should be: a few angular glyphs, drying unevenly and bleeding a little."""
    centre = pick_inside(surface.cover, rng, 0.6 * size)
    width = float(rng.uniform(0.02, 0.045))
    lines = draw_lines(frame, [(glyph, width) for glyph in scribble(rng, centre, 0.9 * size)])
    dry = smoothstep(-1.6, 0.1, noise(rng, frame.size, 35, 0.6))
    ink = np.clip(blur(lines, 0.004 / frame.pixel) * (0.35 + 0.65 * dry), 0, 1)
    return paint(surface, ink * (0.6 + 0.35 * strength), matter(surface, centre, frame, rng, vivid=0.35))


def corrosion(surface: Surface, frame: Frame, rng: Rng, size: float, strength: float) -> Surface:
    """Rust or tarnish: pitted blotches of several browns (or greens) in a paler bleeding halo."""
    centre = pick_inside(surface.cover, rng, 0.3 * size)
    bloom = patch(frame, rng, centre, 1.3 * size, 0.9, 0.9)
    blotch = smoothstep(-0.1, 0.55, 0.55 * noise(rng, frame.size, 9, 0.75) + 2.0 * (bloom - 0.55))
    on_item = smoothstep(0.2, 0.8, surface.cover)
    green = rng.random() < 0.06
    hue = (0.4, 0.48) if green else (0.035, 0.085)
    fresh = colour(rng, hue, (0.55, 0.85), (0.28, 0.5))
    old = colour(rng, hue, (0.4, 0.7), (0.06, 0.16))
    tone = smoothstep(-1.2, 1.2, noise(rng, frame.size, 14, 0.8))
    rust = mix(np.broadcast_to(old, surface.albedo.shape), np.broadcast_to(fresh, surface.albedo.shape), tone)
    halo = np.clip(blur(bloom, 0.15 * size / frame.pixel) * (0.25 + 0.35 * strength), 0, 1) * on_item
    bled = replace(surface, albedo=mix(surface.albedo, surface.albedo * (0.4 + 0.6 * fresh / fresh.max()), halo))
    eaten = paint(bled, blotch * (0.6 + 0.4 * strength), np.clip(rust, 0, 1))
    scale = 0.008 * noise(rng, frame.size, 35, 0.7) - 0.01 * tone
    return replace(eaten, height=surface.height + blotch * scale)


def wear(surface: Surface, frame: Frame, rng: Rng, size: float, strength: float) -> Surface:
    """Rubbing: streaks along one direction fade the pattern, flatten the relief and change the gloss."""
    centre = pick_inside(surface.cover, rng, 0.4 * size)
    area = patch(frame, rng, centre, 1.5 * size, 0.6, 1.3)
    streaks = noise(rng, frame.size, 22, 0.7, 9.0, float(rng.uniform(0, np.pi)))
    relief = surface.height - blur(surface.height, 0.06 / frame.pixel)
    raised = relief / max(float(relief.std()), 1e-4)
    hard = 0.85 + 0.2 * strength + 0.3 * streaks + 0.08 * np.clip(raised, -2, 2)
    rubbed = smoothstep(0.2, 0.95, area * hard)
    paler = bool(rng.random() < 0.65)
    faded = blur(surface.albedo, 0.1 / frame.pixel) * (1.0 + 0.1 * streaks[..., None])
    faded = np.clip(faded * 0.85 + 0.12 if paler else faded * 0.6, 0, 1)
    weight = rubbed * (0.55 + 0.35 * strength) * smoothstep(0.2, 0.8, surface.cover)
    polish = 0.5 if paler else -0.5
    flat = surface.height * (1 - 0.8 * rubbed) + 0.8 * blur(surface.height, 0.08 / frame.pixel) * rubbed
    return replace(
        surface,
        albedo=mix(surface.albedo, faded, weight),
        height=(flat - 0.0015 * rubbed * streaks).astype(np.float32),
        gloss=np.clip(surface.gloss * (1 + polish * weight), 0, 1).astype(np.float32),
        metal=np.clip(surface.metal * (1 + 0.4 * polish * weight), 0, 1).astype(np.float32),
    )


def discoloured(surface: Surface, frame: Frame, rng: Rng, size: float, strength: float) -> Surface:
    """A region tinted by heat, age, dye or bleach, fading outwards, its pattern intact."""
    centre = pick_inside(surface.cover, rng, 0.2 * size)
    area = patch(frame, rng, centre, 1.6 * size, 0.45, 0.9) * smoothstep(0.2, 0.8, surface.cover)
    cast = np.asarray(_CASTS[int(rng.integers(len(_CASTS)))], np.float32)
    if rng.random() < 0.35:
        # Heat leaves bands: one tint at the heart, another around it.
        second = np.asarray(_CASTS[int(rng.integers(4))], np.float32)
        cast = mix(np.broadcast_to(cast, surface.albedo.shape), second[None, None], smoothstep(0.5, 0.9, area))
    cloudy = np.clip(1 + 0.2 * noise(rng, frame.size, 5, 0.9), 0.4, 1.5)
    weight = np.clip(area * cloudy * (0.55 + 0.45 * strength), 0, 1)
    return replace(surface, albedo=mix(surface.albedo, np.clip(surface.albedo * cast, 0, 1), weight))
