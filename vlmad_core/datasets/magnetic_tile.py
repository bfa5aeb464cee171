"""Magnetic tile defects as released: ``MT_<type>/Imgs`` with images (jpg) and masks (png) side by side.

Its authors published no split into normal train and test images; a fifth of the normal ones is held out.

Source: Huang et al., Surface defect saliency of magnetic tile, The Visual Computer 2020.
"""

from __future__ import annotations

from pathlib import Path

from vlmad_core.datasets.folders import Listing, image_files, subfolders
from vlmad_core.datasets.sample import NORMAL_TYPE, Dataset, Split
from vlmad_core.datasets.splits import held_out

LAYOUT = "magnetic_tile"
EXPECTED = """\
MT_Free/Imgs/*.jpg
MT_<Blowhole|Break|Crack|Fray|Uneven>/Imgs/*.jpg
MT_<Blowhole|Break|Crack|Fray|Uneven>/Imgs/<stem>.png  (masks)"""
CATEGORY = "tile"
_PREFIX = "MT_"


def recognises(root: Path) -> bool:
    """True where a folder ``MT_…/Imgs`` lies."""
    return bool(_folders(root))


def read(root: Path, name: str) -> Dataset:
    """List the data set as the single category ``tile``."""
    listing = Listing(name, root)
    for folder in _folders(root):
        defect = folder.name.removeprefix(_PREFIX).lower()
        files = image_files(folder / "Imgs")
        images = [path for path in files if path.suffix.lower() in (".jpg", ".jpeg")]
        if defect == "free":
            test = held_out((path.name for path in images), LAYOUT)
            for path in images:
                split: Split = "test" if path.name in test else "train"
                listing.add(
                    path,
                    category=CATEGORY,
                    split=split,
                    defect_type=NORMAL_TYPE,
                )
            continue
        masks = {path.stem: path for path in files if path.suffix.lower() == ".png"}
        for path in images:
            mask = masks.get(path.stem)
            if mask is None:
                listing.problem("missing_mask", path, f"no mask {path.stem}.png beside it.")
            listing.add(path, category=CATEGORY, split="test", defect_type=defect, mask=mask)
        for stem in sorted(set(masks) - {path.stem for path in images}):
            listing.problem("orphan_mask", masks[stem], "no image of that name beside it.")
    return Dataset(
        name=name,
        root=root,
        layout=LAYOUT,
        samples=listing.sorted_samples(),
        problems=tuple(listing.problems),
        category_kinds={CATEGORY: "texture"},
        notes=(
            "No split was published: a fifth of the normal images, chosen by hash of their names, is the test"
            " split. Several exposures of one tile may stand in both.",
        ),
    )


def _folders(root: Path) -> tuple[Path, ...]:
    return tuple(f for f in subfolders(root) if f.name.startswith(_PREFIX) and (f / "Imgs").is_dir())
