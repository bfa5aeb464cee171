"""Parts and textures that are nothing in particular: each is drawn anew, as a category of its own.

What is learnt on a handful of categories is learnt about these: a detector then tells normal from abnormal on them
and hardly on others. An invention is composed at random from outlines, zones, holes and repeated elements, in any
material; its noun says no more than "part" or "textured surface". Where elements repeat, one of them can be missing
or out of place: faults of the item, not of its surface, which only the other elements tell.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from vlmad_core.factory.renderer.fields import (
    Array,
    Frame,
    Rng,
    colour,
    inside,
    mix,
    noise,
    sd_box,
    sd_polygon,
    smoothstep,
)
from vlmad_core.factory.renderer.materials import TRAINING_MATERIALS, Material
from vlmad_core.factory.renderer.objects import Object, dome, machined, metal_colour
from vlmad_core.factory.renderer.surface import Surface, sheet

_GENERIC_SHARE = 0.4
"""Share of inventions made of a random texture; the others are of a plain, machined or named material."""

MISSING, MISALIGNED = "missing_part", "misaligned"
STRUCTURAL_FAULTS = (MISSING, MISALIGNED)
"""Faults that are made while an invention is built."""
_LEAST_ELEMENTS = 5
"""So many equal elements show that one of them is missing; fewer leave it open."""


@dataclass(frozen=True)
class Fault:
    """A fault of an element in every group of repeated elements.

    Attributes:
        kind: One of ``STRUCTURAL_FAULTS``.
        chance: Draws which element; the invention's own chance is untouched, so that all else stays equal.
    """

    kind: str
    chance: Rng

    def of(self, elements: NDArray[np.bool_], *cell: Array) -> NDArray[np.bool_]:
        """The cell of a random element.

        Args:
            elements: [size, size] where elements are.
            cell: [size, size] each, numbers that together name the cell to which a pixel belongs.

        Returns:
            [size, size], true all over that cell; nowhere if too few elements are in the picture.
        """
        seen = np.stack([values[elements] for values in cell], axis=-1)
        found = np.unique(seen, axis=0)
        if len(found) < _LEAST_ELEMENTS:
            return np.zeros_like(elements)
        chosen = found[int(self.chance.integers(len(found)))]
        return np.logical_and.reduce([values == number for values, number in zip(cell, chosen, strict=True)])

    def shift(self) -> tuple[float, float]:
        """How far a misaligned element is off, in its own half-widths."""
        length, angle = float(self.chance.uniform(0.5, 1.2)), float(self.chance.uniform(0, 2 * np.pi))
        return length * float(np.cos(angle)), length * float(np.sin(angle))


def with_fault(fault: Fault) -> tuple[dict[str, Material], dict[str, Object]]:
    """The builders of inventions, with a structural fault."""
    return (
        {name: partial(invented_texture, fault=fault) for name in INVENTED_TEXTURES},
        {name: partial(invented_part, fault=fault) for name in INVENTED_PARTS},
    )


def invented_texture(look: Rng, inst: Rng, frame: Frame, fault: Fault | None = None) -> Surface:
    """A material, on two of three pictures interrupted by a regular pattern of a second one."""
    base = _any_material(look, inst, frame)
    if look.random() < 1 / 3:
        return base
    return _overlay(base, _any_material(look, inst, frame), _pattern(look, inst, frame, fault), look)


def invented_part(look: Rng, inst: Rng, frame: Frame, fault: Fault | None = None) -> tuple[Surface, Array]:
    """A random outline with bores, filled with a material, zones of others, and repeated elements."""
    distance = _outline(look, frame)
    for _ in range(int(look.choice([0, 0, 1, 1, 2]))):
        distance = np.maximum(distance, -_arrangement(look, frame, 0.03, 0.2, fault))
    surface = _any_material(look, inst, frame)
    for _ in range(int(look.integers(0, 3))):
        surface = _overlay(surface, _any_material(look, inst, frame), inside(_zone(look, frame), frame), look)
    for _ in range(int(look.integers(0, 3))):
        elements = inside(_arrangement(look, frame, 0.02, 0.12, fault), frame)
        surface = _overlay(surface, _plain(look, inst, frame), elements, look)
    rounded = dome(distance, float(np.exp(look.uniform(np.log(0.03), np.log(0.5)))), float(look.uniform(0.02, 0.15)))
    bulge = float(look.choice([0.0, 0.0, look.uniform(0.05, 0.25)]))
    barrel = bulge * np.sqrt(np.clip(1 - frame.y**2, 0.02, 1))
    height = (surface.height + rounded + barrel).astype(np.float32)
    finished = sheet(frame, surface.albedo, height, surface.gloss, surface.metal)
    return finished, inside(distance.astype(np.float32), frame)


def _any_material(look: Rng, inst: Rng, frame: Frame) -> Surface:
    if look.random() < _GENERIC_SHARE:
        return TRAINING_MATERIALS["generic"](look, inst, frame)
    if look.random() < 0.5:
        return _plain(look, inst, frame)
    names = list(TRAINING_MATERIALS)
    return TRAINING_MATERIALS[names[int(look.integers(len(names)))]](look, inst, frame)


def _plain(look: Rng, inst: Rng, frame: Frame) -> Surface:
    """Metal, plastic or paint: one colour with fine marks, at times cloudy."""
    marks = machined(look, inst, frame, bool(look.random() < 0.5)) if look.random() < 0.6 else np.float32(1)
    cloud = 1 + float(look.choice([0.0, 0.05, 0.15])) * noise(inst, frame.size, float(look.uniform(3, 12)), 1.0)
    metal = bool(look.random() < 0.4)
    base = metal_colour(look) if metal else colour(look, saturation=(0.0, 0.9), value=(0.05, 0.95))
    shine = float(look.uniform(0.3, 0.9)) if metal else 0.0
    grain = float(look.uniform(0, 0.002)) * noise(inst, frame.size, float(look.uniform(10, 40)), 0.8)
    return sheet(frame, base * (marks * cloud)[..., None], grain, float(look.uniform(0.02, 0.5)), shine)


def _overlay(below: Surface, above: Surface, cover: Array, look: Rng) -> Surface:
    """One surface on or in another, raised or recessed, mixed by a soft mask."""
    step = float(look.choice([-1, 0, 1])) * float(look.uniform(0.01, 0.08))
    keep = 1 - cover
    return Surface(
        mix(below.albedo, above.albedo, cover),
        (below.height * keep + (above.height + step) * cover).astype(np.float32),
        (below.gloss * keep + above.gloss * cover).astype(np.float32),
        (below.metal * keep + above.metal * cover).astype(np.float32),
        below.cover,
        below.ground,
        below.lift,
    )


def _outline(look: Rng, frame: Frame) -> Array:
    """Signed distance to a random outline, about as large as the picture."""
    x, y = frame.x, frame.y
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    kind = int(look.integers(6))
    if kind == 0:
        return np.hypot(x / float(look.uniform(0.5, 1.0)), y) - float(look.uniform(0.55, 0.8))
    if kind == 1:
        wide, high = (float(v) for v in look.uniform(0.25, 0.8, 2))
        return sd_box(x, y, wide, high, float(look.uniform(0, 1)) * min(wide, high))
    if kind == 2:
        return sd_polygon(x, y, float(look.uniform(0.5, 0.7)), int(look.integers(3, 9)))
    if kind == 3:
        middle, half_width = float(look.uniform(0.45, 0.65)), float(look.uniform(0.07, 0.2))
        return np.abs(radius - middle) - half_width
    if kind == 4:
        waves = [float(look.normal(0, 0.12 / k)) * np.cos(k * angle + float(look.uniform(0, 6.3))) for k in range(2, 7)]
        teeth = float(look.choice([0.0, 0.04])) * np.tanh(2 * np.sin(int(look.integers(5, 25)) * angle))
        return radius - 0.62 * (1 + np.sum(waves, axis=0)) - teeth
    parts = []
    for _ in range(int(look.integers(2, 4))):
        cx, cy = (float(v) for v in look.uniform(-0.4, 0.4, 2))
        if look.random() < 0.5:
            parts.append(np.hypot(x - cx, y - cy) - float(look.uniform(0.2, 0.45)))
        else:
            parts.append(sd_box(x - cx, y - cy, float(look.uniform(0.15, 0.6)), float(look.uniform(0.1, 0.4)), 0.05))
    return np.minimum.reduce(parts)


def _zone(look: Rng, frame: Frame) -> Array:
    """Signed distance to a part of the item: a disc or ring, a band, an inset box, one side."""
    kind = int(look.integers(4))
    if kind == 0:
        distance = np.hypot(frame.x, frame.y) - float(look.uniform(0.15, 0.6))
        return np.abs(distance) - float(look.uniform(0.02, 0.12)) if look.random() < 0.5 else distance
    if kind == 1:
        return np.abs(_along(look, frame) - float(look.uniform(-0.4, 0.4))) - float(look.uniform(0.03, 0.25))
    if kind == 2:
        cx, cy = (float(v) for v in look.uniform(-0.3, 0.3, 2))
        wide, high = (float(v) for v in look.uniform(0.1, 0.45, 2))
        return sd_box(frame.x - cx, frame.y - cy, wide, high, float(look.uniform(0, 0.1)))
    return _along(look, frame) - float(look.uniform(-0.4, 0.4))


def _arrangement(look: Rng, frame: Frame, least: float, most: float, fault: Fault | None) -> Array:
    """Signed distance to equal elements (discs, boxes, bars) on a circle, along a line, on a lattice, or just one."""
    size = float(np.exp(look.uniform(np.log(least), np.log(most))))
    shape, ratio = int(look.integers(3)), float(look.uniform(0.4, 2.5))
    kind = int(look.integers(4))
    x, y = frame.x, frame.y
    cell: tuple[Array, ...] = ()
    if kind == 0:
        count = int(look.integers(2, 13))
        circle = float(look.uniform(0.2, 0.6))
        pitch = 2 * np.pi / count
        turned = np.arctan2(y, x) + float(look.uniform(0, pitch))
        cell, angle = (np.floor(turned / pitch) % count,), turned % pitch - pitch / 2
        radius = np.hypot(x, y)
        x, y = radius * np.cos(angle) - circle, radius * np.sin(angle)
        size = min(size, 0.4 * circle * pitch)
    elif kind == 3:
        cx, cy = (float(v) for v in look.uniform(-0.4, 0.4, 2))
        x, y = x - cx, y - cy
        size *= 2
    else:
        pitch = size * float(look.uniform(2.6, 6))
        reach = max(1, round(float(look.uniform(0.3, 0.7)) / pitch))
        column = np.clip(np.round(x / pitch), -reach, reach)
        shift = 0.5 * pitch * (column % 2) * float(look.choice([0, 1]))
        rows = reach if kind == 1 else 0
        offset = float(look.uniform(-0.4, 0.4)) if kind == 2 else 0.0
        y = y - offset - shift
        row = np.clip(np.round(y / pitch), -rows, rows)
        x, y, cell = x - column * pitch, y - row * pitch, (column, row)

    def distance(x: Array, y: Array) -> Array:
        if shape == 0:
            return np.hypot(x, y) - size
        return sd_box(x, y, size * min(1.0, ratio), size * min(1.0, 1 / ratio), 0.3 * size * float(shape == 2))

    plain = distance(x, y)
    if fault is None or not cell:
        return plain
    faulty = fault.of(plain < 0, *cell)
    if fault.kind == MISSING:
        return np.where(faulty, size, plain)
    dx, dy = fault.shift()
    return np.where(faulty, distance(x - dx * size, y - dy * size), plain)


def _pattern(look: Rng, inst: Rng, frame: Frame, fault: Fault | None) -> Array:
    """Where the second material of a texture shows, [size, size] in [0, 1]: stripes, tiles, dots, bars, a weave."""
    pitch = float(np.exp(look.uniform(np.log(0.1), np.log(0.7))))
    wobble = float(look.choice([0.0, 0.0, 0.05])) * noise(inst, frame.size, 4, 1.3)
    x, y = frame.x / pitch + wobble, frame.y / (pitch * float(look.uniform(0.4, 1.0))) - wobble
    share, soft = float(look.uniform(0.1, 0.5)), 1.5 * frame.pixel / pitch
    kind = int(look.integers(4))
    if kind == 0:
        return smoothstep(share + soft, share - soft, np.abs((x % 1.0) - 0.5) * 2)
    row = np.floor(y)
    offset = float(look.choice([0.0, 0.5]))
    column = np.floor(x + offset * row)
    u, v = x + offset * row - column - 0.5, y - row - 0.5
    across = (np.floor(x) + row) % 2 == 0

    def cover(u: Array, v: Array) -> Array:
        if kind == 1:
            joint = 0.5 - 0.25 * share
            return smoothstep(joint - soft, joint + soft, np.maximum(np.abs(u), np.abs(v)))
        if kind == 2:
            return smoothstep(share + soft, share - soft, np.hypot(u, v))
        long, wide = np.where(across, u, v), np.where(across, v, u)
        return smoothstep(soft, -soft, np.maximum(np.abs(long) - 0.4, np.abs(wide) - 0.5 * share))

    plain = cover(u, v)
    if fault is None:
        return plain
    # Of tiles, the joints are the second material; a missing tile is all joint.
    empty = 1.0 if kind == 1 else 0.0
    faulty = fault.of(np.abs(plain - empty) > 0.5, column, row)
    if fault.kind == MISSING:
        return np.where(faulty, empty, plain)
    dx, dy = fault.shift()
    return np.where(faulty, cover(u - 0.5 * share * dx, v - 0.5 * share * dy), plain)


def _along(look: Rng, frame: Frame) -> Array:
    return frame.x if look.random() < 0.5 else frame.y


INVENTED_TEXTURES: dict[str, Material] = {"textured surface": invented_texture}
INVENTED_PARTS: dict[str, Object] = {"part": invented_part}
