"""Random training scenes: which item, background, light, camera and defect."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass

import numpy as np

from vlmad_core.factory.renderer.camera import draw_camera
from vlmad_core.factory.renderer.defects import ALL_DEFECTS, TRAINING_DEFECTS, Defect
from vlmad_core.factory.renderer.fields import Frame, Rng, colour, make_frame, noise
from vlmad_core.factory.renderer.inventions import (
    INVENTED_PARTS,
    INVENTED_TEXTURES,
    STRUCTURAL_FAULTS,
    Fault,
    with_fault,
)
from vlmad_core.factory.renderer.materials import TRAINING_MATERIALS, VALIDATION_MATERIALS, Material
from vlmad_core.factory.renderer.objects import TRAINING_OBJECTS, VALIDATION_OBJECTS, Object
from vlmad_core.factory.renderer.scene import Photograph, take_pair
from vlmad_core.factory.renderer.surface import Surface, draw_light, place, sheet

GENERIC_WEIGHT = 3.0


@dataclass(frozen=True)
class Split:
    """What pairs are drawn from.

    Attributes:
        materials: Textures by noun.
        objects: Objects by noun.
        defects: Defect types by name.
        structural: Names of faults that are made while an item is built.
    """

    materials: dict[str, Material]
    objects: dict[str, Object]
    defects: dict[str, Defect]
    structural: tuple[str, ...] = ()


SPLITS = {
    "train": Split(TRAINING_MATERIALS, TRAINING_OBJECTS, TRAINING_DEFECTS),
    "invented": Split(INVENTED_TEXTURES, INVENTED_PARTS, ALL_DEFECTS, STRUCTURAL_FAULTS),
    "validation": Split(VALIDATION_MATERIALS, VALIDATION_OBJECTS, ALL_DEFECTS),
}
"""Training on named categories; training on items that are nothing in particular; categories held out."""


@dataclass(frozen=True)
class DrawnPair:
    """A training example.

    Attributes:
        category: Noun of the item.
        kind: ``texture`` or ``object``.
        defect: Defect type of the damaged picture.
        normal: The undamaged picture.
        damaged: The same with a defect.
    """

    category: str
    kind: str
    defect: str
    normal: Photograph
    damaged: Photograph


def draw_ground(rng: Rng, frame: Frame) -> Surface:
    """A background for objects: plain, softly uneven, or one of the training materials."""
    kind = rng.random()
    if kind < 0.6:
        value = (0.02, 0.12) if rng.random() < 0.5 else ((0.85, 1.0) if rng.random() < 0.5 else (0.2, 0.7))
        base = colour(rng, saturation=(0.0, 0.25), value=value)
        amount = float(rng.choice([0.0, 0.03, 0.08]))
        return sheet(frame, base * (1 + amount * noise(rng, frame.size, float(rng.choice([4, 40])), 0.8))[..., None])
    names = list(TRAINING_MATERIALS)
    return TRAINING_MATERIALS[names[int(rng.integers(len(names)))]](rng, rng, frame)


def draw_item(
    name: str, rng: Rng, size: int, materials: dict[str, Material], objects: dict[str, Object]
) -> tuple[Surface, Frame]:
    """Build a random instance of a category in a random pose."""
    if name in materials:
        frame = make_frame(size, float(rng.normal(0, 0.1)), float(rng.uniform(0.7, 1.4)), *rng.uniform(-1, 1, 2))
        return materials[name](rng, rng, frame), frame
    frame = make_frame(size, float(rng.uniform(0, 2 * np.pi)), float(rng.uniform(0.75, 1.2)), *rng.normal(0, 0.06, 2))
    surface, cover = objects[name](rng, rng, frame)
    return place(surface, draw_ground(rng, frame), cover, float(rng.choice([0.0, 0.03, 0.08]))), frame


def draw_pair(rng: Rng, size: int, split: str = "train", attempts: int = 12) -> DrawnPair:
    """Render a random pair.

    Args:
        rng: Source of all randomness.
        size: Pixels per side.
        split: One of ``SPLITS``.
        attempts: How many defects to try on one item before another item is drawn.

    Returns:
        The pair. A visible defect is guaranteed.
    """
    materials, objects, defects = SPLITS[split].materials, SPLITS[split].objects, SPLITS[split].defects
    names = [*materials, *objects]
    weights = np.array([GENERIC_WEIGHT if name == "generic" else 1.0 for name in names])
    # Half textures, half objects, however many of each there are.
    weights[: len(materials)] *= 0.5 / weights[: len(materials)].sum()
    weights[len(materials) :] *= 0.5 / weights[len(materials) :].sum()
    types = [*defects, *SPLITS[split].structural]
    while True:
        name = names[int(rng.choice(len(names), p=weights))]
        before = deepcopy(rng)
        surface, frame = draw_item(name, rng, size, materials, objects)
        light, camera = draw_light(rng), draw_camera(rng)
        for _ in range(attempts):
            defect = types[int(rng.integers(len(types)))]
            extent = float(np.exp(rng.uniform(np.log(0.09), np.log(0.5))))
            strength = float(rng.uniform(0.25, 1.0))
            if defect in defects:
                damaged = defects[defect](surface, frame, rng, extent, strength)
            else:
                damaged, _ = draw_item(name, deepcopy(before), size, *with_fault(Fault(defect, rng)))
            pictures = take_pair(surface, damaged, light, camera, frame, rng)
            if pictures is not None:
                kind = "texture" if name in materials else "object"
                return DrawnPair(name, kind, defect, *pictures)
