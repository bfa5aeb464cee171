"""MVTec AD's layout and those that differ from it in names only: MVTec AD, BTAD, MPDD, VisA's PyTorch conversion.

Folders of categories, each with ``train/good``, ``test/<type>`` and ``ground_truth/<type>``. A ``dataset.json`` at
the root, where there is one, states name, licence and the kinds of categories.

Sources: Bergmann et al., MVTec AD, CVPR 2019; Mishra et al., VT-ADL (BTAD), ISIE 2021; Jezek et al., MPDD,
ICUMT 2021.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vlmad_core.datasets.catalogue import official_sets
from vlmad_core.datasets.folders import LayoutReader, Listing, image_files, subfolders
from vlmad_core.datasets.sample import NORMAL_TYPE, Dataset, DatasetProblem
from vlmad_core.errors import StoreError
from vlmad_core.io import read_json

NORMAL_FOLDERS = ("good", "ok")
"""Names (lower case) of folders of normal images."""

METADATA = "dataset.json"


def is_category_folder(folder: Path) -> bool:
    """True for a folder with ``test`` and ``train`` (or ``ground_truth``) of folders of images."""
    return (folder / "test").is_dir() and ((folder / "train").is_dir() or (folder / "ground_truth").is_dir())


def category_folders(root: Path) -> tuple[Path, ...]:
    """The categories in a folder of categories, or the folder itself if it is a category."""
    if is_category_folder(root):
        return (root,)
    return tuple(folder for folder in subfolders(root) if is_category_folder(folder))


def _is_mvtec(root: Path) -> bool:
    """True for a folder of categories in this layout, or one such category."""
    return bool(category_folders(root))


def _read_mvtec(root: Path, name: str) -> Dataset:
    """List a data set in this layout; ids start with the category, also where root is a single category."""
    return _read(root, name, "mvtec", NORMAL_FOLDERS)


MVTEC = LayoutReader(
    "mvtec",
    """\
<category>/train/good/*.png
<category>/test/good/*.png
<category>/test/<defect type>/*.png
<category>/ground_truth/<defect type>/<stem>_mask.png""",
    _is_mvtec,
    _read_mvtec,
)


def _is_btad(root: Path) -> bool:
    """True for a folder of categories whose normal images lie in ``ok``, or one such category."""
    folders = category_folders(root)
    return bool(folders) and all((f / "train" / "ok").is_dir() or (f / "test" / "ko").is_dir() for f in folders)


def _read_btad(root: Path, name: str) -> Dataset:
    """List BTAD, png and bmp mixed; the defect type of all defective images is ``ko``."""
    return _read(root, name, "btad", ("ok",))


BTAD = LayoutReader(
    "btad",
    """\
<01|02|03>/train/ok/*.bmp|png
<01|02|03>/test/ok/*.bmp|png
<01|02|03>/test/ko/*.bmp|png
<01|02|03>/ground_truth/ko/<stem>.png|bmp""",
    _is_btad,
    _read_btad,
)


def _is_mpdd(root: Path) -> bool:
    """True where all categories are MPDD's."""
    folders = category_folders(root)
    return bool(folders) and {folder.name for folder in folders} <= set(official_sets()["mpdd"].counts)


def _read_mpdd(root: Path, name: str) -> Dataset:
    """List MPDD: painted metal parts."""
    return _read(root, name, "mpdd", NORMAL_FOLDERS)


MPDD = LayoutReader(
    "mpdd",
    """\
<bracket_black|bracket_brown|bracket_white|connector|metal_plate|tubes>/train/good/*.png
<category>/test/good/*.png
<category>/test/<defect type>/*.png
<category>/ground_truth/<defect type>/<stem>_mask.png""",
    _is_mpdd,
    _read_mpdd,
)


def metadata(root: Path, problems: list[DatasetProblem] | None = None) -> dict[str, Any]:
    """What ``dataset.json`` at the root says; empty without one.

    Args:
        root: Root of the data set.
        problems: Receives an entry if the file can't be read.
    """
    path = root / METADATA
    if not path.is_file():
        return {}
    try:
        content = read_json(path)
    except StoreError as error:
        if problems is not None:
            problems.append(DatasetProblem("bad_metadata", path, f"left out: {error.problem}"))
        return {}
    return content


def describe(listing: Listing, layout: str, stated: dict[str, Any]) -> Dataset:
    """Make a data set of a listing and what is stated about it."""
    categories = stated.get("categories")
    categories = categories if isinstance(categories, dict) else {}
    entries = {key: value for key, value in categories.items() if isinstance(value, dict)}
    licence = stated.get("licence")
    return listing.as_dataset(
        layout,
        licence=licence if isinstance(licence, str) else None,
        redistributable=stated.get("redistributable") is True,
        synthetic=stated.get("synthetic") is True,
        category_kinds={key: str(value["kind"]) for key, value in entries.items() if "kind" in value},
        reserved=frozenset(key for key, value in entries.items() if value.get("reserved") is True),
    )


def _read(root: Path, name: str, layout: str, normal_folders: Sequence[str]) -> Dataset:
    listing = Listing(name, root.parent if is_category_folder(root) else root)
    for folder in category_folders(root):
        _read_train(listing, folder, normal_folders)
        _read_test(listing, folder, normal_folders)
    return describe(listing, layout, metadata(root, listing.problems))


def _read_train(listing: Listing, folder: Path, normal_folders: Sequence[str]) -> None:
    for kind in subfolders(folder / "train"):
        if kind.name.lower() not in normal_folders:
            listing.problem("train_defects", kind, "training uses normal images only; this folder is left out.")
            continue
        for image in image_files(kind, listing.problems):
            listing.add(image, category=folder.name, split="train", defect_type=NORMAL_TYPE)
    _stray_images(listing, folder / "train")


def _read_test(listing: Listing, folder: Path, normal_folders: Sequence[str]) -> None:
    truth = folder / "ground_truth"
    for kind in subfolders(folder / "test"):
        normal = kind.name.lower() in normal_folders
        masks = {} if normal else _masks(truth / kind.name)
        used: set[Path] = set()
        for image in image_files(kind, listing.problems):
            mask = next((masks[key] for key in (f"{image.stem}_mask", image.stem) if key in masks), None)
            if mask is not None:
                used.add(mask)
            elif masks:
                listing.problem(
                    "missing_mask",
                    image,
                    f"no mask {truth / kind.name / image.stem}_mask.png, though others of its kind have one;"
                    " pixel metrics leave the image out.",
                )
            listing.add(
                image,
                category=folder.name,
                split="test",
                defect_type=NORMAL_TYPE if normal else kind.name,
                mask=mask,
            )
        for mask in sorted(set(masks.values()) - used):
            listing.problem("orphan_mask", mask, f"no image of that name in {kind}.")
    _stray_images(listing, folder / "test")


def _masks(folder: Path) -> dict[str, Path]:
    return {path.stem: path for path in image_files(folder)}


def _stray_images(listing: Listing, folder: Path) -> None:
    for image in image_files(folder):
        listing.problem("stray_image", image, "lies beside the folders of defect types, not in one; move it there.")
