"""Which images are drawn, for a test split that nobody published and as references: by hash, the same everywhere."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from vlmad_core.datasets.sample import Dataset, Sample
from vlmad_core.errors import DatasetError
from vlmad_core.reading import printable

HELD_OUT = 0.2
"""Share of the normal images (or items) that goes to the test split."""


MOST_REFERENCES = (8, 4, 2, 1)
"""How many good photos may be kept for references where they come without a split."""


def by_hash(keys: Iterable[str], salt: str) -> list[str]:
    """Keys in an order that depends only on the keys and the salt: by SHA-256 of both."""
    return sorted(set(keys), key=lambda key: hashlib.sha256(printable(f"{salt}\n{key}").encode()).digest())


def held_out(keys: Iterable[str], salt: str) -> frozenset[str]:
    """The fifth of the keys (rounded, at least one of two) that belongs to the test split.

    The choice depends on nothing but the keys, so it is the same on every machine; adding files changes it.

    Args:
        keys: What is split, e.g. file names or items.
        salt: Name of the data set, so that data sets are split independently.
    """
    order = by_hash(keys, salt)
    if len(order) < 2:
        return frozenset()
    return frozenset(order[: max(1, round(len(order) * HELD_OUT))])


def kept_for_references(keys: Iterable[str]) -> frozenset[str]:
    """The good photos of data without a split that are kept for references: 8, 4, 2 or 1, at most a third of them.

    The choice depends on nothing but the keys, as that of ``held_out``, which keeps most for training: here photos are
    few, and those that are not kept say how often a method cries wolf.

    Args:
        keys: Names of the good photos.

    Examples:
        >>> [len(kept_for_references(map(str, range(n)))) for n in (2, 3, 6, 12, 24, 200)]
        [0, 1, 2, 4, 8, 8]
    """
    order = by_hash(keys, "references")
    return frozenset(order[: next((count for count in MOST_REFERENCES if 3 * count <= len(order)), 0)])


def draw_references(samples: Iterable[Sample], shots: int, seed: int) -> tuple[Sample, ...]:
    """Draw reference images without replacement, the same ones on every machine.

    The images are put in the order of the SHA-256 of seed and id, and the first ``shots`` are taken. So the
    references of one shot are among those of two, and the order of files on disk does not matter. (Public
    WinCLIP and APRIL-GAN code draws with replacement, so that four shots may be three images.)

    Args:
        samples: Candidates of one category; only normal training images are drawn from, others are passed over.
        shots: How many; 0 gives none.
        seed: Which draw.

    Returns:
        The references in the order they were drawn.

    Raises:
        DatasetError: Fewer normal training images than shots, or a negative number of shots.
    """
    if shots < 0:
        raise DatasetError(f"{shots} shots asked for.", "Ask for 0 or more.")
    candidates = {sample.id: sample for sample in samples if sample.split == "train" and sample.label == 0}
    if shots > len(candidates):
        categories = ", ".join(sorted({sample.category for sample in candidates.values()})) or "this category"
        raise DatasetError(
            f"{shots} references asked for, but {categories} has {len(candidates)} normal training images.",
            f"Ask for at most {len(candidates)} shots, or add normal images to its train folder.",
        )
    return tuple(candidates[key] for key in by_hash(candidates, f"references\n{seed}")[:shots])


def planned_images(dataset: Dataset, category: str, most: int | None) -> tuple[Sample, ...]:
    """The test images of a category that a benchmark uses, sorted by id.

    Args:
        dataset: The data set.
        category: The category.
        most: Most normal and most defective ones, each taken evenly over the sorted ids, so that all defect types are
            met; None for all images.
    """
    samples = dataset.select(category, "test")
    if most is None:
        return samples
    chosen: set[str] = set()
    for label in (0, 1):
        ids = [sample.id for sample in samples if sample.label == label]
        count = min(most, len(ids))
        chosen |= {ids[i * len(ids) // count] for i in range(count)}
    return tuple(sample for sample in samples if sample.id in chosen)
