"""KolektorSDD (``kosNN/PartN.jpg`` with ``PartN_label.bmp``) and KolektorSDD2 (``train|test/N.png``, ``N_GT.png``).

Neither states labels other than by its masks: an image is defective where its mask has any pixel above zero,
so masks are read on listing.

Source: Tabernik et al., J. Intelligent Manufacturing 2020; Bozic et al., Computers in Industry 2021.
"""

from __future__ import annotations

from pathlib import Path

from vlmad_core.datasets.folders import Listing, image_files, subfolders
from vlmad_core.datasets.masks import read_mask
from vlmad_core.datasets.sample import NORMAL_TYPE, Dataset, Split
from vlmad_core.datasets.splits import held_out
from vlmad_core.errors import DatasetError

LAYOUT = "kolektor"
EXPECTED = """\
kos01/Part0.jpg, kos01/Part0_label.bmp, …   (KolektorSDD)
or
train/10000.png, train/10000_GT.png, test/… (KolektorSDD2)"""
CATEGORY = "commutator"
CATEGORY2 = "surface"
DEFECT = "defect"


def recognises(root: Path) -> bool:
    """True where images lie beside masks named ``…_label`` or ``…_GT``."""
    return bool(_items(root)) or _is_second(root)


def read(root: Path, name: str) -> Dataset:
    """List KolektorSDD or KolektorSDD2."""
    listing = Listing(name, root)
    notes = _read_first(listing) if _items(root) else _read_second(listing)
    return Dataset(
        name=name,
        root=root,
        layout=LAYOUT,
        samples=listing.sorted_samples(),
        problems=tuple(listing.problems),
        category_kinds={CATEGORY if _items(root) else CATEGORY2: "texture"},
        notes=notes,
    )


def _items(root: Path) -> tuple[Path, ...]:
    return tuple(f for f in subfolders(root) if f.name.lower().startswith("kos") and any(f.glob("*_label.*")))


def _is_second(root: Path) -> bool:
    return (root / "train").is_dir() and (root / "test").is_dir() and any((root / "test").glob("*_GT.*"))


def _read_first(listing: Listing) -> tuple[str, ...]:
    items = _items(listing.root)
    test = held_out((item.name for item in items), LAYOUT)
    for item in items:
        _read_pairs(listing, item, "_label", CATEGORY, "test" if item.name in test else "train", "test")
    return (
        "No split was published for training on normal images: a fifth of the items (folders), chosen by hash,"
        " gives its normal images to the test split; all defective images are tested.",
    )


def _read_second(listing: Listing) -> tuple[str, ...]:
    _read_pairs(listing, listing.root / "train", "_GT", CATEGORY2, "train", None)
    _read_pairs(listing, listing.root / "test", "_GT", CATEGORY2, "test", "test")
    return ("Defective images of the published train folder are left out: training uses normal images only.",)


def _read_pairs(
    listing: Listing,
    folder: Path,
    suffix: str,
    category: str,
    normal_split: Split,
    defective_split: Split | None,
) -> None:
    """List pairs of image and mask; a split of None leaves such images out."""
    files = image_files(folder, listing.problems)
    masks = {path.stem.removesuffix(suffix): path for path in files if path.stem.endswith(suffix)}
    images = [path for path in files if not path.stem.endswith(suffix)]
    for image in images:
        mask = masks.pop(image.stem, None)
        if mask is None:
            listing.problem("missing_mask", image, f"no mask {image.stem}{suffix}: its label is unknown; left out.")
            continue
        try:
            defective = bool(read_mask(mask).any())
        except DatasetError as error:
            listing.problem("unreadable_mask", mask, f"{error} The label of its image is unknown; left out.")
            continue
        split = defective_split if defective else normal_split
        if split is not None:
            kind = DEFECT if defective else NORMAL_TYPE
            listing.add(image, category=category, split=split, defect_type=kind, mask=mask)
    for mask in masks.values():
        listing.problem("orphan_mask", mask, "no image of that name beside it.")
