"""What a data set is made of: samples, and the problems met while listing them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Split = Literal["train", "test"]

NORMAL_TYPE = "good"
"""The defect type of normal images, as MVTec AD names their folder."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One image of a data set, with what is known of it; nothing is decoded yet.

    Attributes:
        id: Path of the image relative to the data set's root, with forward slashes; unique in the data set.
        dataset: Name of the data set.
        category: Name of the category (product) as the data set writes it, e.g. ``metal_nut``.
        split: ``train`` (normal references only) or ``test``.
        image_path: Where the image lies.
        mask_path: Where the ground-truth mask lies; None where there is none (all normal images).
        label: 0 normal, 1 anomalous.
        defect_type: The defect's folder name, ``good`` for normal images.
    """

    id: str
    dataset: str
    category: str
    split: Split
    image_path: Path
    mask_path: Path | None
    label: Literal[0, 1]
    defect_type: str


@dataclass(frozen=True, slots=True)
class DatasetProblem:
    """Something wrong with one item of a data set, which costs that item and nothing else.

    Attributes:
        kind: A short stable identifier, e.g. ``missing_mask``.
        path: The file or folder concerned.
        message: What is wrong and what to do about it.
    """

    kind: str
    path: Path
    message: str


@dataclass(frozen=True)
class Dataset:
    """A data set as listed from disk.

    Attributes:
        name: Identifier used in results and links.
        root: The folder sample ids are relative to.
        layout: Name of the layout that was recognised, e.g. ``mvtec``.
        samples: All samples, sorted by id.
        problems: What could not be listed, item by item.
        licence: Licence of the images, or None if unknown. Thumbnails are stored only where
            ``redistributable`` is true.
        redistributable: True if copies of the images may be passed on.
        synthetic: True if the images are rendered, not photographed.
        category_kinds: ``texture`` or ``object`` by category, where known.
        reserved: Categories on which nothing is ever chosen or tuned.
        notes: What a reader of the numbers should know, e.g. how a split was made that nobody published.
        official: Key of the published data set this is (all or a part of), as in ``official.yaml``; None if
            it is none of those known.
    """

    name: str
    root: Path
    layout: str
    samples: tuple[Sample, ...]
    problems: tuple[DatasetProblem, ...] = ()
    licence: str | None = None
    redistributable: bool = False
    synthetic: bool = False
    category_kinds: Mapping[str, str] = field(default_factory=dict)
    reserved: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()
    official: str | None = None

    @property
    def categories(self) -> tuple[str, ...]:
        """Names of the categories, sorted."""
        return tuple(sorted({sample.category for sample in self.samples}))

    def select(self, category: str, split: Split) -> tuple[Sample, ...]:
        """The samples of one category and split, sorted by id."""
        return tuple(s for s in self.samples if s.category == category and s.split == split)
