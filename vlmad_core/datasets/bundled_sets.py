"""The two synthetic data sets that come with the program."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from vlmad_core.datasets import mvtec
from vlmad_core.datasets.images import pixel_hash, read_image
from vlmad_core.datasets.sample import Dataset, DatasetProblem
from vlmad_core.errors import DatasetError

BUNDLED = ("bundled_a", "bundled_b")


def bundled_root(name: str) -> Path:
    """Where a bundled data set lies inside the package."""
    return Path(__file__).parent / "bundled" / name


def verify_pixels(dataset: Dataset) -> tuple[DatasetProblem, ...]:
    """Compare decoded pixels with the hashes in the data set's ``dataset.json``.

    Args:
        dataset: A data set whose metadata states ``pixels`` (path relative to the root: hash).

    Returns:
        One problem for each image that is missing, unreadable, not listed, or differs; none for a data set
        that states no hashes.
    """
    stated = mvtec.metadata(dataset.root).get("pixels")
    if not isinstance(stated, Mapping):
        return ()
    problems = [
        DatasetProblem("pixels_unlisted", sample.image_path, "has no stated pixel hash in dataset.json.")
        for sample in dataset.samples
        if sample.id not in stated
    ]
    for relative, expected in sorted(stated.items()):
        path = dataset.root / relative
        try:
            actual = pixel_hash(read_image(path))
        except DatasetError as error:
            problems.append(DatasetProblem("unreadable_image", path, str(error)))
            continue
        if actual != expected:
            problems.append(
                DatasetProblem("pixels_differ", path, "its pixels are not those that were published; restore the file.")
            )
    return tuple(problems)
