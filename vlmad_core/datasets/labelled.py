"""Photos sorted by hand: a folder of good ones beside folders of defective ones, or one folder with a table of labels.

There is no split in such data. Some of the good photos are kept for references (``splits.kept_for_references``) and
never tested on, whatever number of references is asked for: so runs with 0, 2 and 8 references are tested on the same
photos, and may be compared. The choice is made by hash of the names, and stands in the data set's notes.

Which words mean good or defective stands in ``labels.yaml``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from pathlib import Path

import yaml

from vlmad_core.datasets.folders import LayoutReader, Listing, image_files, subfolders
from vlmad_core.datasets.sample import NORMAL_TYPE, Dataset, Split
from vlmad_core.datasets.splits import kept_for_references
from vlmad_core.errors import DatasetError, StoreError
from vlmad_core.io import read_json
from vlmad_core.reading import open_regular
from vlmad_core.tabular import csv_rows

LAYOUT = "labelled"
TABLES = ("labels.csv", "labels.json")
MASK_ENDING = "_mask"


@cache
def label_words(kind: str) -> frozenset[str]:
    """The words of a kind: ``normal``, ``defective`` or ``masks``."""
    table: dict[str, list[str]] = yaml.safe_load(Path(__file__).with_name("labels.yaml").read_text(encoding="utf-8"))
    return frozenset(table[kind])


def means(word: str, kind: str) -> bool:
    """Whether a folder's name or a label is a word of a kind.

    >>> means("Not OK", "defective"), means("Good", "normal"), means("scratch", "defective")
    (True, True, False)
    """
    return re.sub(r"[\s_-]+", "_", word.strip().lower()) in label_words(kind)


def _recognises(root: Path) -> bool:
    """True where a table of labels lies, or a folder of good photos with an image in it."""
    return _table(root) is not None or any(
        means(folder.name, "normal") and next(_photos(folder), None) is not None for folder in subfolders(root)
    )


def _read(root: Path, name: str) -> Dataset:
    """List the photos as a single category, called as their folder."""
    listing = Listing(name, root)
    table = _table(root)
    good, defective = _from_folders(root, listing) if table is None else _from_table(table, listing)
    category = root.name or name
    kept = kept_for_references(path.relative_to(root).as_posix() for path in good)
    for path in good:
        split: Split = "train" if path.relative_to(root).as_posix() in kept else "test"
        listing.add(path, category=category, split=split, defect_type=NORMAL_TYPE)
    masks = _masks(root, listing, {path: kind for path, kind, _ in defective})
    for path, kind, mask in defective:
        listing.add(path, category=category, split="test", defect_type=kind, mask=mask or masks.get(path))
    note = (
        f"No split is given: {len(kept)} of {len(good)} good photos, chosen by hash of their names, are kept for"
        " references and never tested on. With any number of references the same photos are tested."
    )
    return listing.as_dataset(LAYOUT, notes=(note,))


Defective = list[tuple[Path, str, Path | None]]
"""Photos of defective parts with the type of defect, and the mask that is named with them."""


def _from_folders(root: Path, listing: Listing) -> tuple[list[Path], Defective]:
    good: list[Path] = []
    defective: Defective = []
    for folder in subfolders(root):
        if means(folder.name, "masks"):
            continue
        if means(folder.name, "normal"):
            good += _photos(folder, listing)
            continue
        within = {inner.name: inner for inner in subfolders(folder)}
        for kind, inner in {folder.name: folder, **within}.items():
            own = image_files(inner, listing.problems)
            beside = {path.stem for path in own}
            defective += [(path, kind, None) for path in own if not _is_mask(path, beside)]
    for path in image_files(root):
        listing.problem("stray_image", path, "lies beside the folders of good and defective photos; move it into one.")
    return good, defective


def _photos(folder: Path, listing: Listing | None = None) -> Iterator[Path]:
    """Images in a folder of good photos and in the folders below it, without masks."""
    for place in (folder, *subfolders(folder)):
        own = image_files(place, None if listing is None else listing.problems)
        beside = {path.stem for path in own}
        yield from (path for path in own if not _is_mask(path, beside))


def _is_mask(path: Path, beside: Collection[str]) -> bool:
    """Whether a file is the mask of one that lies beside it."""
    return path.stem.endswith(MASK_ENDING) and path.stem.removesuffix(MASK_ENDING) in beside


def _masks(root: Path, listing: Listing, kinds: Mapping[Path, str]) -> dict[Path, Path]:
    """Masks by photo: beside it as ``<stem>_mask``, or in a folder of masks, below its type of defect or not."""
    found: dict[Path, Path] = {}
    lying = {(path.parent, path.stem): path for folder in {p.parent for p in kinds} for path in image_files(folder)}
    apart: dict[tuple[str, str], Path] = {}
    for folder in subfolders(root):
        if means(folder.name, "masks"):
            for place in (folder, *subfolders(folder)):
                kind = "" if place == folder else place.name
                apart |= {(kind, path.stem.removesuffix(MASK_ENDING)): path for path in image_files(place)}
    used = set()
    for photo, kind in kinds.items():
        keys = [(kind, photo.stem), (photo.parent.name, photo.stem), ("", photo.stem)]
        key = next((key for key in keys if key in apart), None)
        mask = lying.get((photo.parent, photo.stem + MASK_ENDING)) or (apart[key] if key else None)
        if mask is not None:
            found[photo] = mask
            used.add(mask)
    for mask in sorted(set(apart.values()) - used):
        listing.problem("orphan_mask", mask, "no defective photo of that name.")
    return found


def _table(root: Path) -> Path | None:
    """The table of labels in a folder, by its name and first line."""
    for path in (root / name for name in TABLES):
        if path.is_file():
            with open_regular(path) as file:
                start = file.read(200).lstrip(b"\xef\xbb\xbf \r\n\t")
            if start.startswith(b"{") if path.suffix == ".json" else re.match(rb'"?file"?\s*[,;]', start.lower()):
                return path
    return None


def _from_table(table: Path, listing: Listing) -> tuple[list[Path], Defective]:
    good: list[Path] = []
    defective: Defective = []
    named: set[Path] = set()
    for file, label, mask in _rows(table, listing):
        if not file or not label:
            listing.problem("bad_label", table, f"the row of {file or 'no file'!r} names no file or label; left out.")
            continue
        path = table.parent / file
        named |= {path, *([table.parent / mask] if mask else [])}
        if means(label, "normal"):
            good.append(path)
        else:
            defective.append((path, label, table.parent / mask if mask else None))
    inside = [path for path in good if path.is_relative_to(listing.root) and ".." not in path.parts]
    for path in set(good) - set(inside):
        listing.problem("outside", path, f"lies outside {listing.root}; move it there.")
    beside = {path.stem for path in named}
    for path in image_files(table.parent):
        if path not in named and not _is_mask(path, beside):
            listing.problem("unlabelled", path, f"has no label in {table.name}; left out.")
    return inside, defective


def _rows(table: Path, listing: Listing) -> list[tuple[str, str, str]]:
    """File, label and mask (or nothing) of each row."""
    try:
        if table.suffix == ".json":
            return [(str(file), str(label), "") for file, label in read_json(table).items()]
        rows = [
            {key.strip().lower(): value.strip() for key, value in row.items()}
            for row in csv_rows(table, DatasetError, ",;")
        ]
    except (DatasetError, StoreError) as error:
        listing.problem("bad_labels", table, f"{error.problem} Write it as file,label.")
        return []
    return [(row.get("file", ""), row.get("label", ""), row.get("mask", "")) for row in rows]


LABELLED = LayoutReader(
    LAYOUT,
    """\
good/*.jpg                           (or ok, normal, ...: labels.yaml)
bad/*.jpg, or <defect type>/*.jpg    (or ng, defective, ...)
ground_truth/<stem>_mask.png, or <stem>_mask.png beside the photo: masks, where there are any
or
*.jpg and labels.csv  (columns file, label, and mask where there is one)""",
    _recognises,
    _read,
)
