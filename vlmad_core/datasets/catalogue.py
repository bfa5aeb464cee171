"""What is known of published data sets: their names and image counts, and their categories in words.

``official.yaml`` holds the sets and the counts their authors state, ``names.yaml`` what the methods' authors call
categories in prompts. Such a name is part of the prompt and moves scores, so a run records which table it used.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from vlmad_core.datasets.images import DEFAULT_LIMITS, ImageLimits
from vlmad_core.errors import DatasetError

Counts = tuple[int, int, int]
"""Normal train, normal test, defective test images."""

NameTable = Literal["spaced", "raw", "pad", "aa", "object"]
NAME_TABLES: tuple[NameTable, ...] = get_args(NameTable)
"""The tables there are; ``spaced`` is the default, ``raw`` what APRIL-GAN was trained and tested with."""


@dataclass(frozen=True)
class OfficialSet:
    """A published data set.

    Attributes:
        key: Its identifier, the one reported results use.
        title: Its name in words.
        source: Where the set and its counts come from.
        licence: Licence of its images, None where none is stated.
        names: Patterns (lower case) of folder names it goes by.
        counts: By category; empty where unknown.
        total: Over all categories; None where unknown.
        everything: Normal and defective images in all, for sets without a published split; None otherwise.
        kinds: ``texture`` or ``object`` by category.
        n_categories: How many categories it has; None where unknown.
    """

    key: str
    title: str
    source: str
    licence: str | None
    names: tuple[str, ...]
    counts: Mapping[str, Counts] = field(default_factory=dict)
    total: Counts | None = None
    everything: tuple[int, int] | None = None
    kinds: Mapping[str, str] = field(default_factory=dict)
    n_categories: int | None = None


@cache
def official_sets() -> Mapping[str, OfficialSet]:
    """The published data sets that are known, by key."""
    return {
        key: OfficialSet(
            key=key,
            title=entry["title"],
            source=entry["source"],
            licence=entry.get("licence"),
            names=tuple(entry["names"]),
            counts={name: tuple(numbers) for name, numbers in entry.get("counts", {}).items()},
            total=tuple(entry["total"]) if "total" in entry else None,
            everything=tuple(entry["all"]) if "all" in entry else None,
            kinds={name: kind for kind, names in entry.get("kinds", {}).items() for name in names},
            n_categories=len(entry["counts"]) if "counts" in entry else entry.get("categories"),
        )
        for key, entry in _table("official.yaml").items()
    }


def canonical_name(name: str) -> str:
    """The identifier of a data set by any of its names: ``MVTec-AD`` gives ``mvtec_ad``.

    Args:
        name: A folder's or data set's name. An unknown one comes back in lower case with underscores.
    """
    tidy = re.sub(r"[\s-]+", "_", name.strip().lower())
    for key, entry in official_sets().items():
        if any(fnmatchcase(tidy, pattern) for pattern in entry.names):
            return key
    return tidy


def official_key(name: str, categories: Collection[str] = ()) -> str | None:
    """Which published data set this is, or is a part of; None if it is none that is known.

    The name decides; failing that two or more categories, all of which belong to one published set, do. (One
    category proves nothing: ``tile`` is a category of more than one data set.)

    Args:
        name: The data set's name.
        categories: Its categories.
    """
    key = canonical_name(name)
    if key in official_sets():
        return key
    if len(set(categories)) < 2:
        return None
    matches = [key for key, entry in official_sets().items() if entry.counts and set(categories) <= set(entry.counts)]
    return matches[0] if len(matches) == 1 else None


def category_noun(category: str, table: str = "spaced") -> str:
    """What a category is called in a prompt.

    Args:
        category: Its folder name, e.g. ``metal_nut``.
        table: One of :data:`NAME_TABLES`.

    Raises:
        DatasetError: There is no such table.

    Examples:
        >>> category_noun("metal_nut"), category_noun("metal_nut", "raw"), category_noun("pcb1", "pad")
        ('metal nut', 'metal_nut', 'printed circuit board')
    """
    if table == "raw":
        return category
    if table == "object":
        return "object"
    if table not in NAME_TABLES:
        raise DatasetError(f"No table of category names called {table!r}.", f"Use one of {', '.join(NAME_TABLES)}.")
    tables = _table("names.yaml")
    spaced = tables["spaced"].get(category) or " ".join(category.replace("_", " ").split()) or "object"
    return tables.get(table, {}).get(category, spaced)


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


@cache
def _table(file: str) -> Mapping[str, Mapping[str, Any]]:
    content: dict[str, dict[str, Any]] = yaml.safe_load(Path(__file__).with_name(file).read_text(encoding="utf-8"))
    return content
