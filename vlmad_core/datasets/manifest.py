"""A csv or parquet manifest: one row for each image, wherever the images lie.

Columns: ``image`` (required); ``label`` (0/1 or words) or ``defect_type``, at least one of them; ``category``
(default: name of the file), ``split`` (default: test), ``mask``. Paths are relative to the manifest.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vlmad_core import paths
from vlmad_core.datasets.folders import Listing, is_there
from vlmad_core.datasets.labelled import means
from vlmad_core.datasets.sample import NORMAL_TYPE, Dataset, Split
from vlmad_core.errors import DatasetError
from vlmad_core.libraries import pd
from vlmad_core.tabular import MOST_ROWS, csv_rows, open_parquet, parquet_rows

LAYOUT = "manifest"
EXPECTED = """\
manifest.csv or manifest.parquet with the columns
image, mask, label (0|1|normal|anomalous), category, split (train|test), defect_type"""

DEFECT = "defect"
_FILES = ("manifest.csv", "manifest.parquet")
_COLUMNS = ("image", "mask", "label", "category", "split", "defect_type")
_FALSE, _TRUE = ("0", "0.0", "false"), ("1", "1.0", "true")


def recognises(root: Path) -> bool:
    """True for a csv or parquet file, or a folder with ``manifest.csv`` or ``manifest.parquet``."""
    if root.is_file():
        return root.suffix.lower() in (".csv", ".parquet")
    return any((root / name).is_file() for name in _FILES)


def read(root: Path, name: str) -> Dataset:
    """List what the manifest names; ids are relative to the folder that holds all images and the manifest.

    Raises:
        DatasetError: The file can't be read as a table, or lacks the columns that are needed.
    """
    path = root if root.is_file() else next(root / file for file in _FILES if (root / file).is_file())
    rows = _rows(path)
    folder = _plain(path).parent
    images = [_absolute(folder, row["image"]) for row in rows]
    base = Path(os.path.commonpath([folder, *(image.parent for image in images if image is not None)]))
    listing = Listing(name, base)
    for number, (row, image) in enumerate(zip(rows, images, strict=True), start=1):
        _read_row(listing, row, image, number, path, folder)
    return Dataset(
        name=name,
        root=base,
        layout=LAYOUT,
        samples=listing.sorted_samples(),
        problems=tuple(listing.problems),
    )


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        if path.suffix.lower() == ".csv":
            table: Sequence[Mapping[Any, Any]] = csv_rows(path, DatasetError)
        else:
            file = open_parquet(path, MOST_ROWS, DatasetError)
            names = [name for name in file.schema_arrow.names if name.strip().lower() in _COLUMNS]
            table = list(parquet_rows(file, names, path, DatasetError))
    except DatasetError as error:
        raise DatasetError(error.problem, f"Expected:\n{EXPECTED}") from error
    rows = [{str(name).strip().lower(): value for name, value in row.items()} for row in table]
    if not rows:
        raise DatasetError(f"{path}: has no rows.", f"Expected:\n{EXPECTED}")
    columns = set(rows[0])
    if "image" not in columns or not columns & {"label", "defect_type"}:
        raise DatasetError(
            f"{path}: the columns are {', '.join(sorted(columns)) or 'others'}.", f"Expected:\n{EXPECTED}"
        )
    return [_cells(row) for row in rows]


def _cells(row: Mapping[str, Any]) -> dict[str, str]:
    cells = {key: _cell(value) for key, value in row.items()}
    return {key: cells.get(key, "") for key in _COLUMNS}


def _cell(value: Any) -> str:
    return "" if pd.api.types.is_scalar(value) and pd.isna(value) else str(value).strip()


def _absolute(folder: Path, text: str) -> Path | None:
    return _plain(folder / paths.expanded(Path(text))) if text else None


def _plain(path: Path) -> Path:
    """Absolute and without ``..``; links stay as they are, so that ids are the names the manifest gives."""
    return Path(os.path.normpath(path.absolute()))


def _read_row(
    listing: Listing, row: Mapping[str, str], image: Path | None, number: int, path: Path, folder: Path
) -> None:
    if image is None:
        listing.problem("bad_manifest_row", path, f"row {number} names no image; left out.")
        return
    category = row["category"] or (path.stem if path.stem != LAYOUT else path.parent.name) or "category"
    if category in (".", "..") or "/" in category or "\\" in category:
        listing.problem(
            "bad_manifest_row", image, f"row {number}: the category {category!r} is no plain name; left out."
        )
        return
    label = _label(row)
    if label is None:
        listing.problem(
            "bad_label", image, f"row {number}: the label {row['label']!r} is neither normal nor anomalous."
        )
        return
    split = row["split"].lower() or "test"
    if split not in ("train", "test"):
        listing.problem("bad_split", image, f"row {number}: the split {row['split']!r} is not train or test.")
        return
    if split == "train" and label == 1:
        listing.problem("train_defects", image, "training uses normal images only; left out.")
        return
    mask = _absolute(folder, row["mask"]) if label == 1 else None
    if mask is not None and not is_there(mask):
        listing.problem("missing_mask", image, f"its mask {mask} is not there; pixel metrics leave it out.")
        mask = None
    listing.add(
        image,
        category=category,
        split=_split(split),
        defect_type=_defect_type(row, label),
        mask=mask,
    )


def _label(row: Mapping[str, str]) -> int | None:
    word = (row["label"] or row["defect_type"]).lower()
    if word in _FALSE or means(word, "normal"):
        return 0
    return 1 if word in _TRUE or means(word, "defective") or (not row["label"] and row["defect_type"]) else None


def _split(word: str) -> Split:
    return "train" if word == "train" else "test"


def _defect_type(row: Mapping[str, str], label: int) -> str:
    if label == 0:
        return NORMAL_TYPE
    stated = row["defect_type"]
    return stated if stated and stated.lower() not in _FALSE and not means(stated, "normal") else DEFECT
