"""MPDD: painted metal parts, in MVTec AD's layout with their own categories and defect types.

Source: Jezek et al., ICUMT 2021.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from vlmad_core.datasets import mvtec
from vlmad_core.datasets.folders import category_folders
from vlmad_core.datasets.official import official_sets
from vlmad_core.datasets.sample import Dataset

LAYOUT = "mpdd"
EXPECTED = """\
<bracket_black|bracket_brown|bracket_white|connector|metal_plate|tubes>/train/good/*.png
<category>/test/good/*.png
<category>/test/<defect type>/*.png
<category>/ground_truth/<defect type>/<stem>_mask.png"""


def recognises(root: Path) -> bool:
    """True where all categories are MPDD's."""
    folders = category_folders(root)
    return bool(folders) and {folder.name for folder in folders} <= set(official_sets()["mpdd"].counts)


def read(root: Path, name: str) -> Dataset:
    """List MPDD."""
    return replace(mvtec.read(root, name), layout=LAYOUT)
