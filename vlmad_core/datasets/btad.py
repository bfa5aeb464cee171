"""BTAD: ``<01|02|03>/train/ok``, ``test/ok``, ``test/ko``, ``ground_truth/ko``; png and bmp mixed.

Source: Mishra et al., VT-ADL, ISIE 2021.
"""

from __future__ import annotations

from pathlib import Path

from vlmad_core.datasets import mvtec
from vlmad_core.datasets.folders import Listing, category_folders, is_category_folder, read_categories
from vlmad_core.datasets.sample import Dataset

LAYOUT = "btad"
EXPECTED = """\
<01|02|03>/train/ok/*.bmp|png
<01|02|03>/test/ok/*.bmp|png
<01|02|03>/test/ko/*.bmp|png
<01|02|03>/ground_truth/ko/<stem>.png|bmp"""


def recognises(root: Path) -> bool:
    """True for a folder of categories whose normal images lie in ``ok``, or one such category."""
    folders = category_folders(root)
    return bool(folders) and all((f / "train" / "ok").is_dir() or (f / "test" / "ko").is_dir() for f in folders)


def read(root: Path, name: str) -> Dataset:
    """List BTAD; the defect type of all defective images is ``ko``."""
    listing = Listing(name, root.parent if is_category_folder(root) else root)
    read_categories(listing, category_folders(root), ("ok",))
    return mvtec.describe(listing, LAYOUT, mvtec.metadata(root, listing.problems))
