"""Anomaly maps as tiff, npy or png: in the folder layout of MVTec's evaluation script, or in anomalib's.

anomalib's results lie in ``<folder>/<model>/<data>/<category>/<version>``. Its engine stores pictures for looking at,
not maps. What can be imported are the maps and scores that were saved from its predictions: tiff or npy files, and csv
files with ``image_path`` and ``pred_score``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from vlmad_core.arrays import LONGEST_HEAD, array_head, parse_npy
from vlmad_core.datasets.images import ImageLimits, image_size, open_checked
from vlmad_core.datasets.sample import Dataset, Sample
from vlmad_core.errors import DatasetError, StoreError
from vlmad_core.exchange.items import ImportProblem, SampleIndex
from vlmad_core.reading import open_regular, printable, read_file

MAP_SUFFIXES = (".tiff", ".tif", ".npy", ".png")
GREY_MODES = ("F", "L", "I", "I;16", "I;16B", "I;16L")
MAP_LIMITS = ImageLimits(
    max_bytes=2**29, max_pixels=50_000_000, max_side=50_000_000, min_side=1, formats=("TIFF", "PNG")
)
FEWEST_PIXELS = 2
ASPECT_TOLERANCE = 0.02
"""Aspect ratios of a map and its image may differ by so much before the map counts as wrong (rounded sizes)."""

LAYOUT = "<folder>/<category>/test/<defect type>/<image name>.tiff"

ANOMALIB_SUFFIXES = (".tiff", ".tif", ".npy")
DEEPEST = 6
VERSION = re.compile(r"v\d+|latest")

HOW_TO_SAVE = (
    "anomalib stores pictures for looking at, not maps. Save what `engine.predict` gives: "
    "`numpy.save(<version folder>/maps/<defect type>/<image name>.npy, prediction.anomaly_map)` and a csv with "
    "image_path and pred_score."
)


@dataclass
class MapFiles:
    """Map files by image id, and what was wrong with their names.

    Attributes:
        files: The file of each test image.
        problems: Files that can't be placed, images without a map.
        notes: What the user should know.
    """

    files: dict[str, Path] = field(default_factory=dict)
    problems: list[ImportProblem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def find_maps(
    folder: Path,
    dataset: Dataset,
    categories: Sequence[str] | None = None,
    names: Mapping[Path, str] | None = None,
) -> MapFiles:
    """Find the map of each test image.

    Args:
        folder: With the layout ``<category>/test/<defect type>/<image name>.tiff``; ``test`` may be missing.
        dataset: The data set the images are of.
        categories: Only these; None for all that have a map.
        names: The map files with what each stands for (``<category>/<defect type>/<image name>``), where another
            layout was read already; None to look for them.

    Raises:
        StoreError: If there is no such folder, or no map file at all.
    """
    if not folder.is_dir():
        raise StoreError(f"There is no folder {folder}.", "Check the path.")
    paths = sorted(names if names is not None else _map_files(folder))
    if not paths:
        raise StoreError(f"{folder} holds no maps ({', '.join(MAP_SUFFIXES)}).", f"The layout is {LAYOUT}.")
    result = MapFiles()
    index = SampleIndex(dataset.samples)
    prefix = f"{folder.resolve().name}/" if folder.resolve().name in dataset.categories else ""
    passed = 0
    for path in paths:
        name = printable(path.relative_to(folder).as_posix())
        found = index.find(names[path]) if names else index.find(f"{prefix}{name}") or index.find(name)
        if len(found) != 1:
            kind = "ambiguous_image" if found else "unknown_image"
            message = f"no test image of this name; the layout is {LAYOUT}."
            if found:
                message = f"may belong to {found[0].id} or {found[1].id}; the layout is {LAYOUT}."
            result.problems.append(ImportProblem(kind, name, message))
            continue
        sample = found[0]
        if sample.split != "test" or (categories is not None and sample.category not in categories):
            passed += 1
        elif sample.id in result.files:
            other = result.files[sample.id].relative_to(folder).as_posix()
            message = f"a second map of {sample.id}, beside {other}."
            result.problems.append(ImportProblem("duplicate_image", name, message))
        else:
            result.files[sample.id] = path
    if passed:
        result.notes.append(f"{passed} maps are of training images or of other categories and were passed over.")
    return result


def missing_images(dataset: Dataset, given: Iterable[str], categories: Sequence[str], what: str) -> list[ImportProblem]:
    """Test images of the categories that nothing was given for."""
    there = set(given)
    return [
        ImportProblem("missing_image", sample.id, f"there is no {what} for this test image.")
        for category in categories
        for sample in dataset.select(category, "test")
        if sample.id not in there
    ]


def read_map(path: Path) -> np.ndarray:
    """Read one anomaly map.

    Returns:
        [height, width] float32, finite.

    Raises:
        StoreError: If the file is no map; says what it is.
    """
    raw = _read_npy(path) if path.suffix.lower() == ".npy" else _read_picture(path)
    if raw.dtype.kind not in "fiub":
        raise StoreError(f"holds values of type {raw.dtype}, not numbers.")
    if raw.ndim != 2:
        raw = raw.reshape([n for n in raw.shape if n != 1]) if raw.ndim > 2 else raw
    if raw.ndim != 2 or min(raw.shape) < FEWEST_PIXELS:
        raise StoreError(f"has the shape {raw.shape}; a map has two dimensions of at least {FEWEST_PIXELS} pixels.")
    with np.errstate(over="ignore"):
        values = raw.astype(np.float32)
    bad = ~np.isfinite(values)
    if bad.any():
        nan = int(np.isnan(values).sum())
        row, column = np.argwhere(bad)[0]
        raise StoreError(
            f"{nan} pixels are NaN and {int(bad.sum()) - nan} are infinite, the first in row {row}, column {column}."
        )
    return values


def map_shape(path: Path) -> tuple[int, int] | None:
    """(height, width) of a map from its head alone; None where it can't be read, which ``read_map`` explains."""
    try:
        if path.suffix.lower() != ".npy":
            return image_size(path, MAP_LIMITS)
        with open_regular(path) as file:
            shape = array_head(file.read(LONGEST_HEAD)).shape
    except (DatasetError, OSError, ValueError):
        return None
    plain = tuple(n for n in shape if n != 1) if len(shape) > 2 else shape
    return (plain[0], plain[1]) if len(plain) == 2 else None


def check_sizes(sizes: Mapping[str, tuple[int, int]], samples: Mapping[str, Sample]) -> list[ImportProblem]:
    """Maps whose size can't be right.

    Maps are right if all of a category have one size, or each has that of its image. A map that is not square
    must have the shape of its image: a transposed one is found by that.

    Args:
        sizes: (height, width) of each map, by image id.
        samples: The images.
    """
    problems = []
    common = max(set(sizes.values()), key=list(sizes.values()).count, default=None)
    for image_id, size in sizes.items():
        try:
            image = image_size(samples[image_id].image_path)
        except DatasetError:
            continue  # it is said when the image is read
        if size == image:
            continue
        shown = f"the map is {size[1]} x {size[0]} pixels, the image {image[1]} x {image[0]}"
        if size != common:
            message = f"{shown}, and most maps of the category {common[1]} x {common[0]}." if common else f"{shown}."
            problems.append(ImportProblem("wrong_size", image_id, message))
        elif size[0] != size[1] and abs(size[0] * image[1] / (size[1] * image[0]) - 1) > ASPECT_TOLERANCE:
            turned = " It may be transposed." if size[0] * image[0] == size[1] * image[1] else ""
            message = f"{shown}; a map is square or has the shape of its image.{turned}"
            problems.append(ImportProblem("wrong_size", image_id, message))
    return problems


def _map_files(folder: Path) -> Iterable[Path]:
    for path in folder.rglob("*"):
        hidden = any(part.startswith((".", "__")) for part in path.relative_to(folder).parts)
        if not hidden and path.suffix.lower() in MAP_SUFFIXES and path.is_file():
            yield path


def _read_npy(path: Path) -> np.ndarray:
    content = read_file(path, MAP_LIMITS.max_bytes, StoreError, name="the file")
    if content.startswith(b"PK"):
        raise StoreError("holds several arrays; save one array with numpy.save.")
    try:
        return parse_npy(content, MAP_LIMITS.max_pixels)
    except ValueError as error:
        raise StoreError(f"can't be read as a map: {error}.") from error


def _read_picture(path: Path) -> np.ndarray:
    try:
        image = open_checked(path, MAP_LIMITS, name="the file")
    except DatasetError as error:
        raise StoreError(f"can't be read as a map: {error.problem}") from error
    if image.mode not in GREY_MODES:
        raise StoreError(f"is a picture with colours ({image.mode}), not a map of scores; save the scores themselves.")
    return np.asarray(image)


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
            if path.suffix.lower() in ANOMALIB_SUFFIXES:
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
        if category in categories and (category not in found or _age(path) > _age(found[category])):
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


def _age(path: Path) -> float:
    return float("inf") if path.name == "latest" else float(path.name[1:])
