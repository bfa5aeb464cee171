"""Data sets whose split stands in files of its own: VisA as released, and Real-IAD.

VisA: ``<category>/Data/Images/{Normal,Anomaly}``, with the split in ``split_csv/1cls.csv``. (Its conversion to
MVTec AD's layout, with ``bad`` for defective images, is read as that layout.)

Real-IAD: images under ``realiad_1024|512|256/<category>``, the split in ``realiad_jsons/<category>.json``, each with
``meta`` (prefix, normal class) and the lists ``train`` and ``test`` with ``anomaly_class``, ``image_path`` and
``mask_path``.

Sources: Zou et al., SPot-the-Difference (VisA), ECCV 2022; Wang et al., Real-IAD, CVPR 2024.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from vlmad_core.datasets import mvtec
from vlmad_core.datasets.folders import LayoutReader, Listing, image_files, is_there, subfolders
from vlmad_core.datasets.sample import NORMAL_TYPE, Dataset, Split
from vlmad_core.datasets.splits import held_out
from vlmad_core.errors import DatasetError, StoreError
from vlmad_core.io import read_json
from vlmad_core.tabular import csv_rows

SPLIT_FILE = Path("split_csv") / "1cls.csv"
VISA_DEFECT = "anomaly"
"""Defect type of a defective image of VisA whose annotation names none."""

_RESOLUTIONS = ("realiad_1024", "realiad_512", "realiad_256", "realiad_raw")
_SPLITS = ("realiad_jsons/realiad_jsons", "realiad_jsons")


def _is_visa(root: Path) -> bool:
    """True for a folder of categories with ``Data/Images``, or one such category."""
    return bool(_visa_categories(root))


def _read_visa(root: Path, name: str) -> Dataset:
    """List VisA by its official one-class split; without the split file by a stated split of our own."""
    folders = _visa_categories(root)
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
    dataset = mvtec.describe(listing, "visa", mvtec.metadata(base, listing.problems))
    return replace(dataset, notes=tuple(notes))


def _visa_categories(root: Path) -> tuple[Path, ...]:
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
        rows = csv_rows(path, DatasetError)
    except DatasetError as error:
        listing.problem("bad_split_file", path, f"left out: {error}")
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
        listing.add(
            image,
            category=row["object"],
            split="train" if row["split"] == "train" else "test",
            defect_type=NORMAL_TYPE if normal else types.get(image.name, VISA_DEFECT),
            mask=listing.root / row["mask"] if row["mask"] and not normal else None,
        )


def _read_folder(listing: Listing, folder: Path, types: Mapping[str, str]) -> None:
    images = folder / "Data" / "Images"
    masks = {path.stem: path for path in image_files(folder / "Data" / "Masks" / "Anomaly")}
    normal = image_files(images / "Normal", listing.problems)
    test = held_out((path.name for path in normal), f"visa/{folder.name}")
    for path in normal:
        split: Split = "test" if path.name in test else "train"
        listing.add(path, category=folder.name, split=split, defect_type=NORMAL_TYPE)
    for path in image_files(images / "Anomaly", listing.problems):
        mask = masks.get(path.stem)
        if mask is None and masks:
            listing.problem("missing_mask", path, "no mask in Data/Masks/Anomaly; pixel metrics leave it out.")
        kind = types.get(path.name, VISA_DEFECT)
        listing.add(path, category=folder.name, split="test", defect_type=kind, mask=mask)


VISA = LayoutReader(
    "visa",
    """\
<category>/Data/Images/Normal/*.JPG
<category>/Data/Images/Anomaly/*.JPG
<category>/Data/Masks/Anomaly/<stem>.png
split_csv/1cls.csv  (columns object, split, label, image, mask)""",
    _is_visa,
    _read_visa,
)


def _is_real_iad(root: Path) -> bool:
    """True where the json files of the splits lie beside folders of categories."""
    return _split_folder(root) is not None


def _read_real_iad(root: Path, name: str) -> Dataset:
    """List Real-IAD in the highest resolution that is there."""
    listing = Listing(name, root)
    splits = _split_folder(root)
    assert splits is not None
    images = next((root / folder for folder in _RESOLUTIONS if (root / folder).is_dir()), root)
    for path in sorted(splits.glob("*.json")):
        if not (images / path.stem).is_dir():
            listing.problem("missing_category", images / path.stem, f"{path.name} is there, its images are not.")
            continue
        _read_category(listing, path, images)
    for folder in subfolders(images):
        if (folder / "OK").is_dir() and not (splits / f"{folder.name}.json").is_file():
            listing.problem("missing_split", folder, f"no {folder.name}.json in {splits}; left out.")
    note = f"Images of {images.name}, split of {splits.name}; each view of an item counts as an image."
    return listing.as_dataset("real_iad", notes=(note,))


def _split_folder(root: Path) -> Path | None:
    folders = (root / name for name in _SPLITS)
    return next((folder for folder in folders if folder.is_dir() and any(folder.glob("*.json"))), None)


def _read_category(listing: Listing, path: Path, images: Path) -> None:
    try:
        content = read_json(path)
        meta = content["meta"]
        normal_class = str(meta.get("normal_class", "OK"))
        prefix = str(meta.get("prefix", path.stem))
        rows: dict[Split, list[Any]] = {"train": list(content["train"]), "test": list(content["test"])}
    except (StoreError, KeyError, TypeError, AttributeError) as error:
        listing.problem("bad_split_file", path, f"not a Real-IAD split ({error!r}); category left out.")
        return
    folder = images / prefix if is_there(images / prefix, folder=True) else images / path.stem
    for split, entries in rows.items():
        for number, row in enumerate(entries):
            if not isinstance(row, dict) or not row.get("image_path") or "anomaly_class" not in row:
                listing.problem("bad_split_row", path, f"{split} row {number} has no image or class; left out.")
                continue
            _add(listing, folder, path.stem, split, row, normal_class)


def _add(listing: Listing, folder: Path, category: str, split: Split, row: dict[str, Any], normal_class: str) -> None:
    image = folder / str(row["image_path"])
    normal = str(row["anomaly_class"]) == normal_class
    mask = folder / str(row["mask_path"]) if row.get("mask_path") and not normal else None
    if mask is None and not normal and split == "test":
        listing.problem("missing_mask", image, "its mask is not there; pixel metrics leave it out.")
    kind = NORMAL_TYPE if normal else str(row["anomaly_class"])
    listing.add(image, category=category, split=split, defect_type=kind, mask=mask)


REAL_IAD = LayoutReader(
    "real_iad",
    """\
realiad_1024|realiad_512|realiad_256/<category>/OK/S0001/*.jpg
realiad_1024|realiad_512|realiad_256/<category>/NG/<defect type>/S0001/*.jpg and *.png (masks)
realiad_jsons/<category>.json""",
    _is_real_iad,
    _read_real_iad,
)
