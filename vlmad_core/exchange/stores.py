"""Runs from the results folder of another machine, checked file by file and copied whole."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vlmad_core.errors import StoreError
from vlmad_core.exchange.items import ImportProblem, ImportRefusedError
from vlmad_core.io import commit_folder, lock, temporary_folder, workshop, write_atomically, write_synced
from vlmad_core.reading import read_file
from vlmad_core.store import layout
from vlmad_core.store.reader import Store, open_store
from vlmad_core.store.schema import RunRecord, UnitRecord, sealed
from vlmad_core.store.tables import LARGEST_TABLE
from vlmad_core.store.verifying import verify_files
from vlmad_core.store.writer import now


@dataclass(frozen=True, slots=True)
class CopiedRun:
    """What became of a run of the other folder.

    Attributes:
        run_id: The run.
        copied: Categories that were copied.
        kept: Categories that were there already.
    """

    run_id: str
    copied: tuple[str, ...]
    kept: tuple[str, ...]


def import_store(store: Path, folder: Path, *, origin: str, run_ids: Sequence[str] | None = None) -> list[CopiedRun]:
    """Copy the runs of another results folder that this one lacks, unit by unit.

    Args:
        store: Root of this store; made if it isn't there.
        folder: The other results folder.
        origin: Where it comes from, in the user's words; noted in each run.
        run_ids: Only these runs; None for all.

    Raises:
        ImportRefusedError: If anything in it is damaged, hostile or in conflict with what is here; nothing is
            copied then.
        StoreError: If there is no such folder, or no run in it.
    """
    other = open_store(folder)
    problems = [ImportProblem(p.kind, str(p.path), p.message) for p in other.problems if p.kind != "foreign"]
    runs = [other.run(run_id) for run_id in run_ids] if run_ids is not None else list(other.runs)
    if not runs and not problems:
        raise StoreError(f"{folder} holds no runs.", "Give a results folder, as precompute writes it.")
    for run in runs:
        problems += _unsafe(folder, run) or [
            ImportProblem(p.kind, str(p.path), p.message) for p in verify_files(other, run.id)
        ]
    here = open_store(store) if store.is_dir() else Store([store], [])
    known = {run.id: run for run in here.runs}
    for run in runs:
        problems += _conflicts(run, known.get(run.id))
    if problems:
        raise ImportRefusedError(str(folder), problems)
    return [_copy(store, folder, run, known.get(run.id), origin) for run in runs]


def _unsafe(folder: Path, run: RunRecord) -> list[ImportProblem]:
    """Names and links that would reach outside of the folder."""
    problems = []
    expected = layout.run_id(run.key, run.protocol.hash)
    if run.id != expected or run.path != folder / expected:
        message = f"the folder holds a run that calls itself {run.id!r}; by its content it is {expected!r}."
        problems.append(ImportProblem("wrong_name", str(run.path), message))
    for category, unit in run.units.items():
        place = run.path / layout.folder_name(category)
        named = [place / name for name in (*unit.files, layout.UNIT_FILE)]
        if unit.thumbnails is not None:
            named.append(run.path.parent / layout.THUMBNAIL_FOLDER / unit.thumbnails)
        for path in (run.path, place, *named):
            inside = path.parent in (run.path, place, run.path.parent, run.path.parent / layout.THUMBNAIL_FOLDER)
            if path.is_symlink() or not inside or ".." in path.parts:
                problems.append(ImportProblem("unsafe_path", str(path), "is a link or lies outside of the folder."))
    return problems


def _conflicts(run: RunRecord, here: RunRecord | None) -> list[ImportProblem]:
    """Units that are in both folders with other content."""
    if here is None:
        return []
    return [
        ImportProblem(
            "conflict",
            f"{run.id}, {category}",
            "is here already with other scores; remove one of them: results prune --run.",
        )
        for category, unit in run.units.items()
        if category in here.units and not _same(unit, here.units[category])
    ]


def _same(first: UnitRecord, second: UnitRecord) -> bool:
    return first.files.get("images.parquet") == second.files.get("images.parquet")


def _copy(store: Path, folder: Path, run: RunRecord, here: RunRecord | None, origin: str) -> CopiedRun:
    kept = tuple(category for category in run.units if here is not None and category in here.units)
    wanted = [category for category in run.units if category not in kept]
    target = layout.run_folder(store, run.id)
    with lock(store, f"run {run.id}", wait=True):
        for category in wanted:
            _copy_thumbnails(store, run, run.units[category])
        if here is None:
            with workshop(store, "import") as shop:
                place = shop / run.path.name
                place.mkdir(parents=True)
                write_atomically(place / layout.RUN_FILE, _marked(run, folder, origin))
                for category in wanted:
                    _copy_unit(run, category, place / layout.folder_name(category))
                target.parent.mkdir(parents=True, exist_ok=True)
                commit_folder(place, target)
        else:
            for category in wanted:
                final = target / layout.folder_name(category)
                place = temporary_folder(final)
                try:
                    _copy_unit(run, category, place)
                    commit_folder(place, final)
                except BaseException:
                    shutil.rmtree(place, ignore_errors=True)
                    raise
    return CopiedRun(run.id, tuple(wanted), kept)


def _copy_unit(run: RunRecord, category: str, target: Path) -> None:
    """Copy the files a unit names, its mark last."""
    source = run.path / layout.folder_name(category)
    target.mkdir(parents=True, exist_ok=True)
    for name in (*run.units[category].files, layout.UNIT_FILE):
        write_synced(target / name, read_file(source / name, LARGEST_TABLE, StoreError))


def _copy_thumbnails(store: Path, run: RunRecord, unit: UnitRecord) -> None:
    if unit.thumbnails is None:
        return
    source = run.path.parent / layout.THUMBNAIL_FOLDER / unit.thumbnails
    target = layout.thumbnail_file(store, run.key.dataset, unit.thumbnails)
    if source.is_file() and not target.exists():
        write_atomically(target, read_file(source, LARGEST_TABLE, StoreError))


def _marked(run: RunRecord, folder: Path, origin: str) -> bytes:
    """``run.json`` with the note that the run was imported, and from where."""
    note = {"origin": origin, "from": str(folder), "at": now()}
    data = {**run.provenance.data, "imported": {**note, "before": run.provenance.data.get("imported")}}
    marked = dataclasses.replace(run, provenance=dataclasses.replace(run.provenance, data=data))
    return sealed(marked.to_json())
