"""Real-IAD: images under ``realiad_1024|512|256/<category>``, the split in ``realiad_jsons/<category>.json``.

Each json file has ``meta`` (prefix, normal class) and the lists ``train`` and ``test`` with ``anomaly_class``,
``image_path`` and ``mask_path``.

Source: Wang et al., Real-IAD, CVPR 2024.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vlmad_core.datasets.folders import Listing, subfolders
from vlmad_core.datasets.sample import NORMAL_TYPE, Dataset, Split

LAYOUT = "real_iad"
EXPECTED = """\
realiad_1024|realiad_512|realiad_256/<category>/OK/S0001/*.jpg
realiad_1024|realiad_512|realiad_256/<category>/NG/<defect type>/S0001/*.jpg and *.png (masks)
realiad_jsons/<category>.json"""

_RESOLUTIONS = ("realiad_1024", "realiad_512", "realiad_256", "realiad_raw")
_SPLITS = ("realiad_jsons/realiad_jsons", "realiad_jsons")


def recognises(root: Path) -> bool:
    """True where the json files of the splits lie beside folders of categories."""
    return _split_folder(root) is not None


def read(root: Path, name: str) -> Dataset:
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
    return Dataset(
        name=name,
        root=root,
        layout=LAYOUT,
        samples=listing.sorted_samples(),
        problems=tuple(listing.problems),
        notes=(f"Images of {images.name}, split of {splits.name}; each view of an item counts as an image.",),
    )


def _split_folder(root: Path) -> Path | None:
    folders = (root / name for name in _SPLITS)
    return next((folder for folder in folders if folder.is_dir() and any(folder.glob("*.json"))), None)


def _read_category(listing: Listing, path: Path, images: Path) -> None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        meta = content["meta"]
        normal_class = str(meta.get("normal_class", "OK"))
        prefix = str(meta.get("prefix", path.stem))
        rows: dict[Split, list[Any]] = {"train": list(content["train"]), "test": list(content["test"])}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        listing.problem("bad_split_file", path, f"not a Real-IAD split ({error!r}); category left out.")
        return
    folder = images / prefix if (images / prefix).is_dir() else images / path.stem
    for split, entries in rows.items():
        for number, row in enumerate(entries):
            if not isinstance(row, dict) or not row.get("image_path") or "anomaly_class" not in row:
                listing.problem("bad_split_row", path, f"{split} row {number} has no image or class; left out.")
                continue
            _add(listing, folder, path.stem, split, row, normal_class)


def _add(listing: Listing, folder: Path, category: str, split: Split, row: dict[str, Any], normal_class: str) -> None:
    image = folder / str(row["image_path"])
    normal = str(row["anomaly_class"]) == normal_class
    if split == "train" and not normal:
        listing.problem("train_defects", image, "training uses normal images only; left out.")
        return
    mask = folder / str(row["mask_path"]) if row.get("mask_path") and not normal else None
    if not normal and (mask is None or not mask.is_file()):
        listing.problem("missing_mask", image, f"its mask {mask or ''} is not there; pixel metrics leave it out.")
        mask = None
    kind = NORMAL_TYPE if normal else str(row["anomaly_class"])
    listing.add(image, category=category, split=split, defect_type=kind, mask=mask)
