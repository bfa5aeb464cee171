"""Writing runs, units, failures and thumbnails; every step is atomic and durable."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from vlmad_core.errors import StoreError
from vlmad_core.io import (
    commit_folder,
    json_bytes,
    lock,
    remove_leftovers,
    temporary_folder,
    write_atomically,
    write_synced,
)
from vlmad_core.store import layout, tables
from vlmad_core.store.schema import SCHEMA_VERSION, FailedUnit, RunRecord, UnitRecord, sealed
from vlmad_core.store.tables import Drawn, Row, grid_bytes, replicate_rows, table_bytes, thumbnail_bytes

if TYPE_CHECKING:
    from vlmad_core.methods.predictions import MapRule


@dataclass(frozen=True)
class UnitContents:
    """What one unit has to say; rows are mappings with the columns of the schema.

    Attributes:
        images: One row per image.
        metrics: One row per metric, without the columns of the run's key and mode, which are added.
        data_hash: Hash over the unit's images and masks.
        grid_ids: Image ids of the grids, in order.
        grids: [N, S, rows, columns] float32, or None.
        rule: How the grids become a map; None without grids.
        curves: Columns of the curves, or None where none are kept.
        regions: One row per defect region.
        explain: Rows of explanations.
        replicates: The metrics on resampled test images; empty where they are not kept.
        thresholds: Thresholds by name.
        profile: Timings, as plain values.
        thumbnails: Name of the thumbnail file.
        thumbnails_reason: Why there is none.
    """

    images: Sequence[Row]
    metrics: Sequence[Row]
    data_hash: str
    grid_ids: Sequence[str] = ()
    grids: np.ndarray | None = None
    rule: MapRule | None = None
    curves: Mapping[str, Sequence[Any] | np.ndarray] | None = None
    regions: Sequence[Row] = ()
    explain: Sequence[Row] = ()
    replicates: Drawn = field(default_factory=dict)
    thresholds: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    profile: Mapping[str, Any] = field(default_factory=dict)
    thumbnails: str | None = None
    thumbnails_reason: str | None = None


def now() -> str:
    """The time as the store writes it: ISO 8601, UTC, seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def start_run(store: Path, record: RunRecord) -> RunRecord:
    """Write ``run.json`` if the run is new; else give what is there, whose plan is frozen.

    Raises:
        StoreError: If the folder holds another run, or one that can't be read.
    """
    path = layout.run_folder(store, record.id)
    file = path / layout.RUN_FILE
    with lock(store, f"run {record.id}", wait=True):
        remove_leftovers(file)
        if not file.exists():
            write_atomically(file, sealed(record.to_json()))
            return dataclasses.replace(record, path=path)
    existing = layout.read_run(path)
    if existing.key != record.key or existing.protocol.hash != record.protocol.hash:
        raise StoreError(f"{path} holds another run than its name says.", "Remove the folder to start anew.")
    return existing


def write_unit(
    store: Path, run: RunRecord, category: str, contents: UnitContents, *, replace: bool = False
) -> UnitRecord | None:
    """Commit a finished unit.

    Args:
        store: Root of the store.
        run: The run, already started.
        category: The category.
        contents: What to write.
        replace: Put it in the place of a damaged or partial unit.

    Returns:
        The record, or None if another process had committed the unit before.

    Raises:
        StoreError: If it can't be written, e.g. to a full disk; nothing of it is left then.
    """
    target = layout.unit_folder(store, run.id, category)
    remove_leftovers(target)
    temporary = temporary_folder(target)
    try:
        files: dict[str, dict[str, Any]] = {}
        for name, content in _unit_files(run, category, contents):
            write_synced(temporary / name, content)
            files[name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        errors = sum(row.get("error") is not None for row in contents.images)
        record = UnitRecord(
            run_id=run.id,
            category=category,
            status="partial" if errors else "complete",
            images=sum(row.get("score") is not None for row in contents.images),
            errors=errors,
            data_hash=contents.data_hash,
            profile=contents.profile,
            thresholds=contents.thresholds,
            files=files,
            thumbnails=contents.thumbnails,
            thumbnails_reason=contents.thumbnails_reason,
            finished_at=now(),
        )
        write_synced(temporary / layout.UNIT_FILE, sealed(record.to_json()))
        committed = commit_folder(temporary, target, replace=replace)
    except OSError as error:  # a full disk, a store that went away
        shutil.rmtree(temporary, ignore_errors=True)
        raise StoreError(
            f"{target} can't be written: {error}.", "Make room or mend the folder, then start the same command again."
        ) from error
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return record if committed else None


def record_failure(store: Path, identifier: str, category: str, reason: str, traceback: str = "") -> None:
    """Note in the run's ``failed.json`` that a unit could not be finished; nothing for a run that could not begin."""
    if not (layout.run_folder(store, identifier) / layout.RUN_FILE).exists():
        return
    with lock(store, f"failed {identifier}", wait=True):
        failed = _failures(store, identifier)
        attempts = failed[category].attempts + 1 if category in failed else 1
        failed[category] = FailedUnit(identifier, category, reason, traceback, now(), attempts)
        _write_failures(store, identifier, failed)


def clear_failure(store: Path, identifier: str, category: str) -> None:
    """Forget a failure once the unit is finished."""
    if not (layout.run_folder(store, identifier) / layout.FAILED_FILE).exists():
        return
    with lock(store, f"failed {identifier}", wait=True):
        failed = _failures(store, identifier)
        if failed.pop(category, None) is not None:
            _write_failures(store, identifier, failed)


def write_thumbnails(store: Path, dataset: str, name: str, rows: Iterable[Row]) -> None:
    """Write a category's thumbnails, unless the file is there; its name says what it holds."""
    path = layout.thumbnail_file(store, dataset, name)
    if not path.exists():
        write_atomically(path, thumbnail_bytes(list(rows)))


def _unit_files(run: RunRecord, category: str, contents: UnitContents) -> Iterable[tuple[str, bytes]]:
    """Each file of a unit but ``unit.json``, by name."""
    fixed = {**dataclasses.asdict(run.key), "mode": run.mode, "category": category}
    yield "images.parquet", table_bytes(contents.images, tables.IMAGES)
    yield "metrics.parquet", table_bytes([{**row, **fixed} for row in contents.metrics], tables.METRICS)
    if contents.grids is not None and contents.rule is not None:
        yield "grids.npz", grid_bytes(contents.grid_ids, contents.grids, contents.rule)
    if contents.curves is not None:
        yield "curves.parquet", table_bytes(contents.curves, tables.CURVES)
    if contents.regions:
        recalls = [name for name in contents.regions[0] if name.startswith("recall_")]
        columns = pa.schema([*tables.REGIONS, *((name, pa.float64()) for name in recalls)])
        yield "regions.parquet", table_bytes(contents.regions, columns)
    if contents.explain:
        yield "explain.parquet", table_bytes(contents.explain, tables.EXPLAIN)
    if rows := replicate_rows(contents.replicates):
        yield "replicates.parquet", table_bytes(rows, tables.REPLICATES)


def _failures(store: Path, identifier: str) -> dict[str, FailedUnit]:
    """What is noted of a run's failures; a damaged note is written anew."""
    try:
        return layout.read_failures(layout.run_folder(store, identifier), identifier)
    except StoreError:
        return {}


def _write_failures(store: Path, identifier: str, failed: Mapping[str, FailedUnit]) -> None:
    path = layout.run_folder(store, identifier) / layout.FAILED_FILE
    remove_leftovers(path)
    if failed:
        units = {category: failed[category].to_json() for category in sorted(failed)}
        write_atomically(path, json_bytes({"schema_version": SCHEMA_VERSION, "units": units}))
    else:
        path.unlink(missing_ok=True)
