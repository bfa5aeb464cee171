"""MVTec AD layout, the common one: ``<category>/train/good``, ``test/<type>``, ``ground_truth/<type>``.

A ``dataset.json`` at the root, where there is one, states name, licence and the kinds of categories.

Source: Bergmann et al., MVTec AD, CVPR 2019.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vlmad_core.datasets.folders import Listing, category_folders, is_category_folder, read_categories
from vlmad_core.datasets.sample import Dataset, DatasetProblem

LAYOUT = "mvtec"
EXPECTED = """\
<category>/train/good/*.png
<category>/test/good/*.png
<category>/test/<defect type>/*.png
<category>/ground_truth/<defect type>/<stem>_mask.png"""
METADATA = "dataset.json"


def recognises(root: Path) -> bool:
    """True for a folder of categories in this layout, or one such category."""
    return bool(category_folders(root))


def read(root: Path, name: str) -> Dataset:
    """List a data set in this layout; ids start with the category, also where root is a single category."""
    base = root.parent if is_category_folder(root) else root
    listing = Listing(name, base)
    read_categories(listing, category_folders(root))
    return describe(listing, LAYOUT, metadata(root, listing.problems))


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
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("not an object")
    except (OSError, ValueError) as error:
        if problems is not None:
            problems.append(DatasetProblem("bad_metadata", path, f"not valid JSON ({error}); left out."))
        return {}
    return content


def describe(listing: Listing, layout: str, stated: dict[str, Any]) -> Dataset:
    """Make a data set of a listing and what is stated about it."""
    categories = stated.get("categories")
    categories = categories if isinstance(categories, dict) else {}
    entries = {key: value for key, value in categories.items() if isinstance(value, dict)}
    samples = listing.sorted_samples()
    licence = stated.get("licence")
    return Dataset(
        name=listing.dataset,
        root=listing.root,
        layout=layout,
        samples=samples,
        problems=tuple(listing.problems),
        licence=licence if isinstance(licence, str) else None,
        redistributable=stated.get("redistributable") is True,
        synthetic=stated.get("synthetic") is True,
        category_kinds={key: str(value["kind"]) for key, value in entries.items() if "kind" in value},
        reserved=frozenset(key for key, value in entries.items() if value.get("reserved") is True),
    )
