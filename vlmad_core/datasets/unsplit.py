"""Data sets published without a split into normal train and test images; a fifth of the normal ones is held out.

- KolektorSDD (``kosNN/PartN.jpg`` with ``PartN_label.bmp``), and with it KolektorSDD2 (``train|test/N.png``,
  ``N_GT.png``), which has a split. Neither states labels other than by its masks: an image is defective where its
  mask has any pixel above zero, so masks are read on listing.
- Magnetic tile defects as released: ``MT_<type>/Imgs`` with images (jpg) and masks (png) side by side.
- ELPV: electroluminescence images of solar cells, with labels but no masks (package ``elpv-dataset``). Experts gave
  each cell a probability of being defective: 0, 1/3, 2/3 or 1. Here 0 is normal, 2/3 (``probable``) and 1
  (``certain``) are defective; cells at 1/3, of which the experts were unsure, are left out. Mono- and polycrystalline
  cells look different and are categories of their own.
- Textile: simulated woven fabric (R package spc4sts) with local and global defects, no masks (package
  ``conformal-clip-data``); marked as not photographed.

Sources: Tabernik et al., J. Intelligent Manufacturing 2020; Bozic et al., Computers in Industry 2021; Huang et al.,
Surface defect saliency of magnetic tile, The Visual Computer 2020; Deitsch et al., Solar Energy 185, 2019; Megahed et
al., arXiv 2501.12596.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from vlmad_core.datasets.folders import LayoutReader, Listing, image_files, subfolders
from vlmad_core.datasets.masks import read_mask
from vlmad_core.datasets.sample import NORMAL_TYPE, Dataset, Split
from vlmad_core.datasets.splits import held_out
from vlmad_core.errors import DatasetError
from vlmad_core.reading import open_regular, read_file
from vlmad_core.tabular import LARGEST_TABLE

_CELLS = ("mono", "poly")
_TEXTILE_DEFECTS = ("local", "global")
_TILE_PREFIX = "MT_"


def _is_kolektor(root: Path) -> bool:
    """True where images lie beside masks named ``…_label`` or ``…_GT``."""
    return bool(_kolektor_items(root)) or _is_kolektor2(root)


def _read_kolektor(root: Path, name: str) -> Dataset:
    """List KolektorSDD or KolektorSDD2."""
    listing = Listing(name, root)
    items = _kolektor_items(root)
    if not items:
        _read_pairs(listing, root / "train", "_GT", "surface", "train", None)
        _read_pairs(listing, root / "test", "_GT", "surface", "test", "test")
        note = "Defective images of the published train folder are left out: training uses normal images only."
        return listing.as_dataset("kolektor", category_kinds={"surface": "texture"}, notes=(note,))
    test = held_out((item.name for item in items), "kolektor")
    for item in items:
        _read_pairs(listing, item, "_label", "commutator", "test" if item.name in test else "train", "test")
    note = (
        "No split was published for training on normal images: a fifth of the items (folders), chosen by hash,"
        " gives its normal images to the test split; all defective images are tested."
    )
    return listing.as_dataset("kolektor", category_kinds={"commutator": "texture"}, notes=(note,))


def _kolektor_items(root: Path) -> tuple[Path, ...]:
    return tuple(f for f in subfolders(root) if f.name.lower().startswith("kos") and any(f.glob("*_label.*")))


def _is_kolektor2(root: Path) -> bool:
    return (root / "train").is_dir() and (root / "test").is_dir() and any((root / "test").glob("*_GT.*"))


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
            kind = "defect" if defective else NORMAL_TYPE
            listing.add(image, category=category, split=split, defect_type=kind, mask=mask)
    for mask in masks.values():
        listing.problem("orphan_mask", mask, "no image of that name beside it.")


KOLEKTOR = LayoutReader(
    "kolektor",
    """\
kos01/Part0.jpg, kos01/Part0_label.bmp, …   (KolektorSDD)
or
train/10000.png, train/10000_GT.png, test/… (KolektorSDD2)""",
    _is_kolektor,
    _read_kolektor,
)


def _is_magnetic_tile(root: Path) -> bool:
    """True where a folder ``MT_…/Imgs`` lies."""
    return bool(_tile_folders(root))


def _read_magnetic_tile(root: Path, name: str) -> Dataset:
    """List the data set as the single category ``tile``."""
    listing = Listing(name, root)
    for folder in _tile_folders(root):
        defect = folder.name.removeprefix(_TILE_PREFIX).lower()
        files = image_files(folder / "Imgs")
        images = [path for path in files if path.suffix.lower() in (".jpg", ".jpeg")]
        if defect == "free":
            _add_normal(listing, images, "tile", "magnetic_tile")
            continue
        masks = {path.stem: path for path in files if path.suffix.lower() == ".png"}
        for path in images:
            mask = masks.get(path.stem)
            if mask is None:
                listing.problem("missing_mask", path, f"no mask {path.stem}.png beside it.")
            listing.add(path, category="tile", split="test", defect_type=defect, mask=mask)
        for stem in sorted(set(masks) - {path.stem for path in images}):
            listing.problem("orphan_mask", masks[stem], "no image of that name beside it.")
    note = (
        "No split was published: a fifth of the normal images, chosen by hash of their names, is the test"
        " split. Several exposures of one tile may stand in both."
    )
    return listing.as_dataset("magnetic_tile", category_kinds={"tile": "texture"}, notes=(note,))


def _tile_folders(root: Path) -> tuple[Path, ...]:
    return tuple(f for f in subfolders(root) if f.name.startswith(_TILE_PREFIX) and (f / "Imgs").is_dir())


def _add_normal(listing: Listing, images: Iterable[Path], category: str, salt: str) -> None:
    """List normal images, a fifth of them (chosen by hash of their names) for testing."""
    paths = tuple(images)
    test = held_out((path.name for path in paths), salt)
    for path in paths:
        split: Split = "test" if path.name in test else "train"
        listing.add(path, category=category, split=split, defect_type=NORMAL_TYPE)


MAGNETIC_TILE = LayoutReader(
    "magnetic_tile",
    """\
MT_Free/Imgs/*.jpg
MT_<Blowhole|Break|Crack|Fray|Uneven>/Imgs/*.jpg
MT_<Blowhole|Break|Crack|Fray|Uneven>/Imgs/<stem>.png  (masks)""",
    _is_magnetic_tile,
    _read_magnetic_tile,
)


def _is_elpv(root: Path) -> bool:
    """True where ``labels.csv`` names cells in ``images``."""
    labels = root / "labels.csv"
    if not labels.is_file() or not (root / "images").is_dir():
        return False
    with open_regular(labels) as file:
        return file.readline(200).split()[2:3] in ([b"mono"], [b"poly"])


def _read_elpv(root: Path, name: str) -> Dataset:
    """List the cells."""
    listing = Listing(name, root)
    rows: list[tuple[str, float, str]] = []
    labels = root / "labels.csv"
    text = read_file(labels, LARGEST_TABLE, DatasetError).decode("utf-8", "replace")
    for number, line in enumerate(text.splitlines(), start=1):
        parts = line.split()
        try:
            path, probability, category = parts[0], float(parts[1]), parts[2]
            if len(parts) != 3 or category not in _CELLS or not 0 <= probability <= 1:
                raise ValueError(line)
        except (ValueError, IndexError):
            if parts:
                listing.problem("bad_label", labels, f"line {number} is not 'path probability type'; left out.")
            continue
        rows.append((path, probability, category))
    unsure = 0
    for category in _CELLS:
        own = [(path, probability) for path, probability, kind in rows if kind == category]
        test = held_out((path for path, probability in own if probability == 0), f"elpv/{category}")
        for path, probability in own:
            if 0 < probability < 0.5:
                unsure += 1
                continue
            normal = probability == 0
            listing.add(
                root / path,
                category=category,
                split="train" if normal and path not in test else "test",
                defect_type=NORMAL_TYPE if normal else "certain" if probability == 1 else "probable",
            )
    note = (
        "No split was published: a fifth of the cells with defect probability 0, chosen by hash, is the"
        f" test split. {unsure} cells with probability 1/3 are left out."
    )
    kinds = dict.fromkeys(_CELLS, "texture")
    return listing.as_dataset("elpv", licence="CC BY-NC-SA 4.0", category_kinds=kinds, notes=(note,))


ELPV = LayoutReader(
    "elpv",
    """\
labels.csv  (columns path, probability, mono|poly, separated by spaces)
images/cell0001.png …""",
    _is_elpv,
    _read_elpv,
)


def _is_textile(root: Path) -> bool:
    """True where the folders nominal, local and global lie."""
    return all((root / folder).is_dir() for folder in ("nominal", *_TEXTILE_DEFECTS))


def _read_textile(root: Path, name: str) -> Dataset:
    """List the images as the single category ``textile``."""
    listing = Listing(name, root)
    _add_normal(listing, image_files(root / "nominal", listing.problems), "textile", "textile")
    for defect in _TEXTILE_DEFECTS:
        for path in image_files(root / defect, listing.problems):
            listing.add(path, category="textile", split="test", defect_type=defect)
    note = (
        "Simulated images (spc4sts). No split was published: a fifth of the nominal images, chosen by hash"
        " of their names, is the test split."
    )
    return listing.as_dataset(
        "textile",
        licence="MIT",
        redistributable=True,
        synthetic=True,
        category_kinds={"textile": "texture"},
        notes=(note,),
    )


TEXTILE = LayoutReader(
    "textile",
    """\
nominal/*.jpg
local/*.jpg
global/*.jpg""",
    _is_textile,
    _read_textile,
)
