"""Captions for rendered inspection images: a noun, a state, a sentence around them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

NORMAL_STATES = (
    "{}",
    "flawless {}",
    "perfect {}",
    "unblemished {}",
    "intact {}",
    "undamaged {}",
    "normal {}",
    "good {}",
    "clean {}",
    "{} without flaw",
    "{} without defect",
    "{} without damage",
    "{} in good condition",
)
ABNORMAL_STATES = (
    "damaged {}",
    "broken {}",
    "defective {}",
    "faulty {}",
    "anomalous {}",
    "abnormal {}",
    "imperfect {}",
    "{} with flaw",
    "{} with defect",
    "{} with damage",
    "{} with an anomaly",
)
_STRUCTURAL = frozenset(
    {"scratch", "hole", "dent", "chip", "cut", "burn", "bent", "crack", "broken", "wear", "missing_part"}
)
_PARTED = frozenset({"hole", "chip", "cut", "bent", "crack", "broken"})
_BLEMISH = frozenset(
    {"scratch", "stain", "dent", "fibre", "print", "blister", "wear", "discoloured", "crack", "misaligned"}
)
USES: Mapping[str, frozenset[str]] = {
    "damaged {}": _STRUCTURAL,
    "{} with damage": _STRUCTURAL,
    "broken {}": _PARTED,
    "imperfect {}": _BLEMISH,
    "{} with flaw": _BLEMISH,
}
"""Abnormal states that people say of some defects only; the others are said of all."""
TEMPLATES = (
    "{}",
    "a {}.",
    "the {}.",
    "a photo of a {}.",
    "a photo of the {}.",
    "a cropped photo of a {}.",
    "a cropped photo of the {}.",
    "a close-up photo of a {}.",
    "a close-up photo of the {}.",
    "a bright photo of a {}.",
    "a bright photo of the {}.",
    "a dark photo of a {}.",
    "a dark photo of the {}.",
    "a blurry photo of a {}.",
    "a blurry photo of the {}.",
    "a jpeg corrupted photo of a {}.",
    "a jpeg corrupted photo of the {}.",
    "a low resolution photo of a {}.",
    "a black and white photo of the {}.",
    "a photo of a small {}.",
    "a photo of the small {}.",
    "a photo of a large {}.",
    "a photo of the large {}.",
    "a photo of one {}.",
    "a photo of a {} for visual inspection.",
    "a photo of the {} for visual inspection.",
    "a photo of a {} for anomaly detection.",
    "a photo of the {} for anomaly detection.",
    "an image of a {}.",
    "there is a {} in the scene.",
    "this is the {} in the scene.",
)
GENERIC_NOUNS = ("object", "part", "product", "item", "component", "surface", "material", "texture", "sample", "thing")
"""Nouns that are true of everything."""

OTHER_WORDS = (
    "bottle", "cable", "capsule", "carpet", "grid", "hazelnut", "leather", "nut", "pill", "screw", "tile",
    "toothbrush", "transistor", "wood", "zipper", "candle", "cashew", "gum", "pasta", "circuit board", "solar cell",
    "cookie", "biscuit", "bracket", "bearing", "spring", "valve", "gasket", "connector", "fabric", "paper", "glass",
    "plastic", "rubber", "ceramic", "pipe", "plate", "sheet", "lens", "coin", "key", "ring", "tube", "foil", "rope",
)  # fmt: skip
"""Nouns that stand for parts never rendered: a caption's state must count whatever the noun is."""

RARE_STATES = ("{}", "normal {}", "anomalous {}", "abnormal {}", "{} with an anomaly")
"""States in words that captions seldom use."""

_SPECIFIC_SHARE = 0.4
_OWN_NOUN_SHARE = 0.55
_GENERIC_NOUN_SHARE = 0.20


@dataclass(frozen=True)
class Caption:
    """A caption and what it claims.

    Attributes:
        text: The sentence.
        abnormal: Whether it says that something is wrong.
        noun: The rendered noun it names; None if it is true of any.
        defects: The defects of which it is true; None if of all.
    """

    text: str
    abnormal: bool
    noun: str | None
    defects: frozenset[str] | None


def caption_pair(
    rng: np.random.Generator,
    noun: str,
    defect: str,
    phrases: Mapping[str, Sequence[str]],
    rare: float = 1.0,
) -> tuple[Caption, Caption]:
    """A normal and an abnormal caption that share noun and template: each the other's hard negative.

    Args:
        rng: Source of chance.
        noun: What the image shows, in words.
        defect: The defect of the abnormal image of the pair.
        phrases: For each defect the phrases that name it, e.g. ``a scratch``.
        rare: How often one of ``RARE_STATES`` is drawn, relative to one of the others.
    """
    draw = rng.random()
    if draw < _OWN_NOUN_SHARE:
        word, claimed = noun, None if noun in GENERIC_NOUNS else noun
    else:
        words = GENERIC_NOUNS if draw < _OWN_NOUN_SHARE + _GENERIC_NOUN_SHARE else OTHER_WORDS
        word, claimed = str(rng.choice(words)), None
    template = str(rng.choice(TEMPLATES))
    normal = Caption(_compose(template, _state(rng, NORMAL_STATES, rare), word), False, claimed, None)
    if rng.random() < _SPECIFIC_SHARE:
        true_of: frozenset[str] | None = frozenset({defect})
        state = "{} with " + str(rng.choice(phrases[defect]))
    else:
        fitting = [state for state in ABNORMAL_STATES if state not in USES or defect in USES[state]]
        state = _state(rng, fitting, rare)
        true_of = USES.get(state)
    return normal, Caption(_compose(template, state, word), True, claimed, true_of)


def _state(rng: np.random.Generator, states: Sequence[str], rare: float) -> str:
    weights = np.array([rare if state in RARE_STATES else 1.0 for state in states])
    return str(rng.choice(states, p=weights / weights.sum()))


def all_captions(nouns: Sequence[str], phrases: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Every state in a few templates for every noun: what the tokenizer learns its vocabulary from."""
    specific = [f"{{}} with {phrase}" for options in phrases.values() for phrase in options]
    for noun in (*nouns, *GENERIC_NOUNS, *OTHER_WORDS):
        for number, state in enumerate((*NORMAL_STATES, *ABNORMAL_STATES, *specific)):
            yield _compose(TEMPLATES[number % len(TEMPLATES)], state, noun)
    for template in TEMPLATES:
        yield _compose(template, "{}", "object")


def _compose(template: str, state: str, noun: str) -> str:
    return template.replace("{}", state.replace("{}", noun))
