"""What the part is called: a visitor's words, checked before they become part of a prompt."""

from __future__ import annotations

import unicodedata

from vlmad_core.datasets.catalogue import category_noun
from vlmad_core.datasets.images import DEFAULT_LIMITS, ImageLimits
from vlmad_core.errors import DatasetError


def category_words(text: str, limits: ImageLimits = DEFAULT_LIMITS) -> str:
    """A category in words, as prompts are to name it.

    Control and formatting characters become blanks, blanks are joined, and the name of a category folder becomes
    the words that the benchmark uses for it. All else stays as it is: braces and markup are letters to a prompt.

    Args:
        text: As typed, e.g. ``metal nut`` or ``metal_nut``.
        limits: ``max_words`` is the greatest length.

    Raises:
        DatasetError: If it is empty, too long, or holds no letter or digit.

    Examples:
        >>> category_words("  metal_nut ")
        'metal nut'
    """
    if len(text) > 20 * limits.max_words:  # nothing below needs to look at a novel
        raise _too_long(len(text), limits)
    plain = "".join(" " if unicodedata.category(c).startswith("C") else c for c in unicodedata.normalize("NFC", text))
    plain = " ".join(plain.split())
    if not plain:
        raise DatasetError("The part has no name.", "Say in a word or two what it is: the prompts need it.")
    if len(plain) > limits.max_words:
        raise _too_long(len(plain), limits)
    if not any(c.isalnum() for c in plain):
        raise DatasetError(
            "The part's name holds no letters or digits.", "Say in a word or two what it is, e.g. metal nut."
        )
    return category_noun(plain)


def _too_long(length: int, limits: ImageLimits) -> DatasetError:
    return DatasetError(
        f"The part's name has {length:,} characters, more than the {limits.max_words} allowed.",
        "Say in a word or two what it is, e.g. metal nut.",
    )
