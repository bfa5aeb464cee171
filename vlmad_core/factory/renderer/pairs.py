"""Training pairs with the words that describe them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from vlmad_core.factory.renderer import defects, materials, objects
from vlmad_core.factory.renderer.sampling import draw_pair

_NOUNS = {"generic": "textured surface"}
_STREAMS = {"train": 0, "validation": 1, "invented": 2}
"""What tells the chance of one split from that of another."""

TRAINING_NOUNS: tuple[str, ...] = tuple(
    _NOUNS.get(name, name) for name in (*materials.TRAINING_MATERIALS, *objects.TRAINING_OBJECTS)
)
VALIDATION_NOUNS: tuple[str, ...] = (*materials.VALIDATION_MATERIALS, *objects.VALIDATION_OBJECTS)
TRAINING_DEFECTS: tuple[str, ...] = tuple(defects.TRAINING_DEFECTS)
VALIDATION_DEFECTS: tuple[str, ...] = tuple(defects.ALL_DEFECTS)

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
class TrainingPair:
    """The same scene without and with a defect.

    Attributes:
        normal: Undamaged rendering, uint8 [size, size, 3].
        abnormal: Damaged rendering under the same light, uint8 [size, size, 3]; its sensor noise is its own.
        mask: Where they differ visibly, bool [size, size].
        noun: What is shown, in natural words.
        defect: One of ``VALIDATION_DEFECTS`` (a superset of ``TRAINING_DEFECTS``), or of inventions also one of
            ``inventions.STRUCTURAL_FAULTS``.
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
        split: One of ``sampling.SPLITS``: named categories, inventions, or categories that training never shows.

    Returns:
        The pair.
    """
    rng = np.random.default_rng([seed, index, _STREAMS[split]])
    pair = draw_pair(rng, size, split)
    noun = _NOUNS.get(pair.category, pair.category)
    return TrainingPair(pair.normal.image, pair.damaged.image, pair.damaged.mask, noun, pair.defect)
