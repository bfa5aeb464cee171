"""Finding what a store can do without: leftovers of killed processes, damaged units, unused thumbnails."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vlmad_core.io import LOCK_FOLDER, TEMPORARY_PREFIX
from vlmad_core.store import layout
from vlmad_core.store.reader import Store


@dataclass(frozen=True, slots=True)
class Leftover:
    """Something that can go.

    Attributes:
        path: A file or folder.
        why: ``leftover`` of a killed process, ``damaged`` unit, or ``unused`` thumbnails.
        bytes: Its size.
    """

    path: Path
    why: str
    bytes: int


def find_leftovers(store: Store) -> tuple[Leftover, ...]:
    """What a store can do without. Foreign files and what a newer version wrote are left alone.

    Call it while no other process writes to the store: what one is at looks like a leftover.
    """
    found = [_leftover(problem.path, "damaged") for problem in store.problems if problem.kind == "damaged_unit"]
    for root in store.roots:
        for folder in _folders(root):
            found += [_leftover(p, "leftover") for p in folder.iterdir() if p.name.startswith(TEMPORARY_PREFIX)]
        if (root / LOCK_FOLDER).is_dir():
            found.append(_leftover(root / LOCK_FOLDER, "leftover"))
        found += [_leftover(path, "unused") for path in _unused_thumbnails(store, root)]
    return tuple(sorted(found, key=lambda item: item.path))


def remove(path: Path) -> None:
    """Remove a file or a folder with all it holds."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _folders(root: Path) -> Iterator[Path]:
    """The store's root, its data sets, and their runs and thumbnails; not what lies elsewhere."""
    yield root
    for dataset in root.iterdir():
        if dataset.is_dir() and not dataset.name.startswith(".") and dataset.name not in layout.RESERVED:
            yield dataset
            for folder in dataset.iterdir():
                if folder.name == layout.THUMBNAIL_FOLDER or (folder / layout.RUN_FILE).is_file():
                    yield folder


def _unused_thumbnails(store: Store, root: Path) -> Iterator[Path]:
    used = {
        run.path.parent / layout.THUMBNAIL_FOLDER / unit.thumbnails
        for run in store.runs
        for unit in run.units.values()
        if unit.thumbnails is not None
    }
    unread = {p.path.parent for p in store.problems if p.kind in ("newer_schema", "damaged_run")}
    for path in root.glob(f"*/{layout.THUMBNAIL_FOLDER}/*.parquet"):
        dataset = path.parent.parent
        # A run that can't be read may still point here: keep what it might need.
        if path not in used and not any(place.is_relative_to(dataset) for place in unread):
            yield path


def _leftover(path: Path, why: str) -> Leftover:
    files = path.rglob("*") if path.is_dir() else (path,)
    return Leftover(path, why, sum(p.stat().st_size for p in files if p.is_file()))
