"""Random training pairs, an item without and with a defect, and the words that describe them."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from vlmad_core.factory.renderer.camera import draw_camera, take_pair
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
from vlmad_core.factory.renderer.surface import Surface, draw_light, place, sheet

GENERIC_WEIGHT = 3.0
ATTEMPTS = 12
"""How many defects are tried on one item before another item is drawn."""

_NOUNS = {"generic": "textured surface"}
_STREAMS = {"train": 0, "validation": 1, "invented": 2}
"""What tells the chance of one split from that of another."""

TRAINING_NOUNS: tuple[str, ...] = tuple(_NOUNS.get(name, name) for name in (*TRAINING_MATERIALS, *TRAINING_OBJECTS))
DEFECT_PHRASES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "scratch": ("a scratch", "scratches", "a scratch mark"),
        "stain": ("a stain", "stains", "a discoloured spot", "a liquid mark"),
        "hole": ("a hole", "holes", "a pit", "a missing piece of surface"),
        "dent": ("a dent", "dents", "a hollow"),
        "chip": ("a chipped edge", "a broken edge", "a flake missing", "a broken part"),
        "contamination": ("contamination", "dirt", "foreign particles", "a foreign body"),
        "cut": ("a cut", "a gash", "cuts"),
        "burn": ("a burn", "a burn mark", "a scorched spot"),
        "fibre": ("a fibre", "a hair", "a loose thread"),
        "print": ("a print mark", "ink", "unwanted print"),
        "bent": ("a bend", "a deformation", "a bent part"),
        "crack": ("a crack", "cracks", "a fissure"),
        "corrosion": ("corrosion", "rust", "a rusty spot"),
        "blister": ("a blister", "bubbles", "a bump"),
        "wear": ("wear", "a worn spot", "abrasion"),
        "discoloured": ("a discoloured area", "the wrong colour", "discolouration"),
        "broken": ("a broken part", "breakage", "a missing piece"),
        "missing_part": ("a missing part", "something missing", "an empty place"),
        "misaligned": ("a misaligned part", "a part out of place", "misalignment"),
    }
)
"""Words for each defect type, to be read after "with"."""


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
class TrainingPair:
    """The same scene without and with a defect.

    Attributes:
        normal: Undamaged rendering, uint8 [size, size, 3].
        abnormal: Damaged rendering under the same light, uint8 [size, size, 3]; its sensor noise is its own.
        mask: Where they differ visibly, bool [size, size].
        noun: What is shown, in natural words.
        defect: One of the split's defects or structural faults.
    """

    normal: NDArray[np.uint8]
    abnormal: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    noun: str
    defect: str


def render_pair(seed: int, index: int, size: int = 160, split: str = "train") -> TrainingPair:
    """Render pair number ``index``; the result depends on the arguments only, not on what was rendered before.

    Args:
        seed: Seed of the collection.
        index: Number of the pair, from 0.
        size: Pixels per side.
        split: One of ``SPLITS``: named categories, inventions, or categories that training never shows.

    Returns:
        The pair.
    """
    return _draw_pair(np.random.default_rng([seed, index, _STREAMS[split]]), size, SPLITS[split])


def _draw_ground(rng: Rng, frame: Frame) -> Surface:
    """A background for objects: plain, softly uneven, or one of the training materials."""
    kind = rng.random()
    if kind < 0.6:
        value = (0.02, 0.12) if rng.random() < 0.5 else ((0.85, 1.0) if rng.random() < 0.5 else (0.2, 0.7))
        base = colour(rng, saturation=(0.0, 0.25), value=value)
        amount = float(rng.choice([0.0, 0.03, 0.08]))
        return sheet(frame, base * (1 + amount * noise(rng, frame.size, float(rng.choice([4, 40])), 0.8))[..., None])
    names = list(TRAINING_MATERIALS)
    return TRAINING_MATERIALS[names[int(rng.integers(len(names)))]](rng, rng, frame)


def _draw_item(
    name: str, rng: Rng, size: int, materials: dict[str, Material], objects: dict[str, Object]
) -> tuple[Surface, Frame]:
    """Build a random instance of a category in a random pose."""
    if name in materials:
        frame = make_frame(size, float(rng.normal(0, 0.1)), float(rng.uniform(0.7, 1.4)), *rng.uniform(-1, 1, 2))
        return materials[name](rng, rng, frame), frame
    frame = make_frame(size, float(rng.uniform(0, 2 * np.pi)), float(rng.uniform(0.75, 1.2)), *rng.normal(0, 0.06, 2))
    surface, cover = objects[name](rng, rng, frame)
    return place(surface, _draw_ground(rng, frame), cover, float(rng.choice([0.0, 0.03, 0.08]))), frame


def _draw_pair(rng: Rng, size: int, split: Split) -> TrainingPair:
    """Draw item, light, camera and defect until the defect is visible."""
    materials, objects, defects = split.materials, split.objects, split.defects
    names = [*materials, *objects]
    weights = np.array([GENERIC_WEIGHT if name == "generic" else 1.0 for name in names])
    # Half textures, half objects, however many of each there are.
    weights[: len(materials)] *= 0.5 / weights[: len(materials)].sum()
    weights[len(materials) :] *= 0.5 / weights[len(materials) :].sum()
    types = [*defects, *split.structural]
    while True:
        name = names[int(rng.choice(len(names), p=weights))]
        before = deepcopy(rng)
        surface, frame = _draw_item(name, rng, size, materials, objects)
        light, camera = draw_light(rng), draw_camera(rng)
        for _ in range(ATTEMPTS):
            defect = types[int(rng.integers(len(types)))]
            extent = float(np.exp(rng.uniform(np.log(0.09), np.log(0.5))))
            strength = float(rng.uniform(0.25, 1.0))
            if defect in defects:
                damaged = defects[defect](surface, frame, rng, extent, strength)
            else:
                damaged, _ = _draw_item(name, deepcopy(before), size, *with_fault(Fault(defect, rng)))
            pictures = take_pair(surface, damaged, light, camera, frame, rng)
            if pictures is not None:
                normal, damaged_one = pictures
                noun = _NOUNS.get(name, name)
                return TrainingPair(normal.image, damaged_one.image, damaged_one.mask, noun, defect)
