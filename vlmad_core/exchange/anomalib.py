"""Results folders of anomalib: ``<folder>/<model>/<data>/<category>/<version>``.

anomalib's engine stores pictures for looking at, not maps. What can be imported are the maps and scores that were
saved from its predictions: tiff or npy files, and csv files with ``image_path`` and ``pred_score``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vlmad_core.datasets.sample import Dataset
from vlmad_core.errors import StoreError

MAP_ENDINGS = (".tiff", ".tif", ".npy")
DEEPEST = 6
VERSION = re.compile(r"v\d+|latest")

HOW_TO_SAVE = (
    "anomalib stores pictures for looking at, not maps. Save what `engine.predict` gives: "
    "`numpy.save(<version folder>/maps/<defect type>/<image name>.npy, prediction.anomaly_map)` and a csv with "
    "image_path and pred_score."
)


@dataclass
class AnomalibResults:
    """What an anomalib results folder holds.

    Attributes:
        maps: Map files, with ``<category>/<defect type>/<image name>``.
        tables: csv files with image scores.
        categories: Categories that have a folder.
        model: Name of the model, from the folder's name; None if it doesn't say.
        notes: What the user should know.
    """

    maps: dict[Path, str] = field(default_factory=dict)
    tables: list[Path] = field(default_factory=list)
    categories: list[str] = field(default_factory=list)
    model: str | None = None
    notes: list[str] = field(default_factory=list)


def find_anomalib(folder: Path, dataset: Dataset, categories: Sequence[str] | None = None) -> AnomalibResults:
    """Look through an anomalib results folder; of several versions the latest counts.

    Args:
        folder: The results folder, a model's, a category's or a version's.
        dataset: The data set.
        categories: Only these; None for all.

    Raises:
        StoreError: If there is no such folder, or nothing in it that can be imported.
    """
    if not folder.is_dir():
        raise StoreError(f"There is no folder {folder}.", "Check the path.")
    folder = folder.resolve()
    wanted = dataset.categories if categories is None else categories
    versions = _latest_versions(folder, wanted)
    if not versions:
        known = ", ".join(wanted[:6]) + (" ..." if len(wanted) > 6 else "")
        raise StoreError(
            f"{folder} is no results folder of anomalib with a category of {dataset.name} ({known}).",
            "The layout is <folder>/<model>/<data>/<category>/v0.",
        )
    result = AnomalibResults(categories=sorted(versions))
    models = {path.parent.parent.parent.name for path in versions.values()}
    if len(models) > 1:
        raise StoreError(
            f"{folder} holds results of several models: {', '.join(sorted(models))}.", "Give one model's folder."
        )
    result.model = models.pop() or None
    pictures = 0
    for category, version in sorted(versions.items()):
        for path in sorted(version.rglob("*")):
            if path.suffix.lower() in MAP_ENDINGS:
                result.maps[path] = f"{category}/{path.parent.name}/{path.stem}"
            elif path.suffix.lower() == ".csv":
                result.tables.append(path)
            pictures += path.suffix.lower() in (".png", ".jpg")
    if not result.maps and not result.tables:
        raise StoreError(f"{folder} holds {pictures} pictures, but neither maps nor scores.", HOW_TO_SAVE)
    if pictures:
        result.notes.append(f"{pictures} pictures for looking at were passed over.")
    return result


def _latest_versions(folder: Path, categories: Sequence[str]) -> Mapping[str, Path]:
    """The newest version folder of each category."""
    found: dict[str, Path] = {}
    for path in _version_folders(folder):
        category = path.parent.name
        if category in categories and (category not in found or _order(path) > _order(found[category])):
            found[category] = path
    return found


def _version_folders(folder: Path) -> Iterator[Path]:
    places = [(folder, 0)]
    while places:
        place, depth = places.pop()
        if VERSION.fullmatch(place.name):
            yield place
        elif depth < DEEPEST:
            places += [(path, depth + 1) for path in sorted(place.iterdir()) if path.is_dir()]


def _order(path: Path) -> float:
    return float("inf") if path.name == "latest" else float(path.name[1:])
