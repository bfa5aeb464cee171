"""Textile: simulated woven fabric with local and global defects, no masks (package ``conformal-clip-data``).

The images are simulated (R package spc4sts), not photographed, and marked so. No split was published.

Source: Megahed et al., arXiv 2501.12596.
"""

from __future__ import annotations

from pathlib import Path

from vlmad_core.datasets.folders import Listing, image_files
from vlmad_core.datasets.sample import NORMAL_TYPE, Dataset, Split
from vlmad_core.datasets.splits import held_out

LAYOUT = "textile"
EXPECTED = """\
nominal/*.jpg
local/*.jpg
global/*.jpg"""
CATEGORY = "textile"

_DEFECTS = ("local", "global")


def recognises(root: Path) -> bool:
    """True where the folders nominal, local and global lie."""
    return all((root / folder).is_dir() for folder in ("nominal", *_DEFECTS))


def read(root: Path, name: str) -> Dataset:
    """List the images as the single category ``textile``."""
    listing = Listing(name, root)
    normal = image_files(root / "nominal", listing.problems)
    test = held_out((path.name for path in normal), LAYOUT)
    for path in normal:
        split: Split = "test" if path.name in test else "train"
        listing.add(path, category=CATEGORY, split=split, defect_type=NORMAL_TYPE)
    for defect in _DEFECTS:
        for path in image_files(root / defect, listing.problems):
            listing.add(path, category=CATEGORY, split="test", defect_type=defect)
    return Dataset(
        name=name,
        root=root,
        layout=LAYOUT,
        samples=listing.sorted_samples(),
        problems=tuple(listing.problems),
        licence="MIT",
        redistributable=True,
        synthetic=True,
        category_kinds={CATEGORY: "texture"},
        notes=(
            "Simulated images (spc4sts). No split was published: a fifth of the nominal images, chosen by hash"
            " of their names, is the test split.",
        ),
    )
