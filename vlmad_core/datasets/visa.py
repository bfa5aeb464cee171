"""VisA as released: ``<category>/Data/Images/{Normal,Anomaly}``, with the split in ``split_csv/1cls.csv``.

Source: Zou et al., SPot-the-Difference, ECCV 2022. (Its conversion to MVTec AD's layout, with ``bad`` for
defective images, is read as that layout.)
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from vlmad_core.datasets import mvtec
from vlmad_core.datasets.folders import Listing, image_files, subfolders
from vlmad_core.datasets.sample import NORMAL_TYPE, Dataset, Split
from vlmad_core.datasets.splits import held_out

LAYOUT = "visa"
EXPECTED = """\
<category>/Data/Images/Normal/*.JPG
<category>/Data/Images/Anomaly/*.JPG
<category>/Data/Masks/Anomaly/<stem>.png
split_csv/1cls.csv  (columns object, split, label, image, mask)"""
SPLIT_FILE = Path("split_csv") / "1cls.csv"
DEFECT = "anomaly"
"""Defect type of a defective image whose annotation names none."""


def recognises(root: Path) -> bool:
    """True for a folder of categories with ``Data/Images``, or one such category."""
    return bool(_categories(root))


def read(root: Path, name: str) -> Dataset:
    """List VisA by its official one-class split; without the split file by a stated split of our own."""
    folders = _categories(root)
    base = root.parent if folders == (root,) else root
    listing = Listing(name, base)
    types = {folder.name: _defect_types(folder, listing) for folder in folders}
    rows = _split_rows(base / SPLIT_FILE, listing)
    notes: list[str] = []
    for folder in folders:
        own = [row for row in rows if row["object"] == folder.name]
        if own:
            _read_rows(listing, own, types[folder.name])
            continue
        _read_folder(listing, folder, types[folder.name])
        reason = "without" if rows else f"no {SPLIT_FILE.as_posix()}, so without"
        notes.append(
            f"{folder.name}: {reason} the official split; a fifth of its normal images, chosen by hash, is the"
            " test split. Numbers are not comparable with published ones."
        )
    dataset = mvtec.describe(listing, LAYOUT, mvtec.metadata(base, listing.problems))
    return replace(dataset, notes=tuple(notes))


def _categories(root: Path) -> tuple[Path, ...]:
    if (root / "Data" / "Images").is_dir():
        return (root,)
    return tuple(folder for folder in subfolders(root) if (folder / "Data" / "Images").is_dir())


def _split_rows(path: Path, listing: Listing) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    rows = _csv_rows(path, ("object", "split", "label", "image", "mask"), listing)
    return [row for row in rows if _valid(row, path, listing)]


def _csv_rows(path: Path, columns: tuple[str, ...], listing: Listing) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [{key: value or "" for key, value in row.items() if key} for row in csv.DictReader(file)]
    except (OSError, UnicodeError, csv.Error) as error:
        listing.problem("bad_split_file", path, f"can't be read ({error}); left out.")
        return []
    missing = [column for column in columns if rows and column not in rows[0]]
    if missing:
        listing.problem("bad_split_file", path, f"has no column {', '.join(missing)}; left out.")
        return []
    return rows


def _valid(row: Mapping[str, str], path: Path, listing: Listing) -> bool:
    if row["split"] in ("train", "test") and row["label"] in ("normal", "anomaly") and row["image"]:
        return True
    listing.problem("bad_split_row", path, f"row {dict(row)} has no known split, label or image; left out.")
    return False


def _defect_types(folder: Path, listing: Listing) -> dict[str, str]:
    """Defect type by image file name, from the category's own annotation file where it has one."""
    path = folder / "image_anno.csv"
    if not path.is_file():
        return {}
    rows = _csv_rows(path, ("image", "label"), listing)
    return {Path(row["image"]).name: row["label"].strip() for row in rows if row["label"] != "normal"}


def _read_rows(listing: Listing, rows: list[dict[str, str]], types: Mapping[str, str]) -> None:
    for row in rows:
        image = listing.root / row["image"]
        normal = row["label"] == "normal"
        split: Split = "train" if row["split"] == "train" else "test"
        if split == "train" and not normal:
            listing.problem("train_defects", image, "training uses normal images only; left out.")
            continue
        mask = listing.root / row["mask"] if row["mask"] and not normal else None
        _add(listing, image, row["object"], split, NORMAL_TYPE if normal else types.get(image.name, DEFECT), mask)


def _read_folder(listing: Listing, folder: Path, types: Mapping[str, str]) -> None:
    images = folder / "Data" / "Images"
    masks = {path.stem: path for path in image_files(folder / "Data" / "Masks" / "Anomaly")}
    normal = image_files(images / "Normal", listing.problems)
    test = held_out((path.name for path in normal), f"visa/{folder.name}")
    for path in normal:
        _add(listing, path, folder.name, "test" if path.name in test else "train", NORMAL_TYPE, None)
    for path in image_files(images / "Anomaly", listing.problems):
        mask = masks.get(path.stem)
        if mask is None and masks:
            listing.problem("missing_mask", path, "no mask in Data/Masks/Anomaly; pixel metrics leave it out.")
        _add(listing, path, folder.name, "test", types.get(path.name, DEFECT), mask)


def _add(listing: Listing, image: Path, category: str, split: Split, defect_type: str, mask: Path | None) -> None:
    if mask is not None and not mask.is_file():
        listing.problem("missing_mask", image, f"its mask {mask} is not there; pixel metrics leave it out.")
        mask = None
    listing.add(image, category=category, split=split, defect_type=defect_type, mask=mask)
