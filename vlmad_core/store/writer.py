"""Writing runs, units, failures and thumbnails; every step is atomic and durable."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

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
from vlmad_core.store import layout, schema
from vlmad_core.store.schema import RunRecord, UnitRecord

if TYPE_CHECKING:
    from vlmad_core.methods.predictions import MapRule

Row = Mapping[str, Any]


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
            write_atomically(file, json_bytes(record.to_json()))
            return dataclasses.replace(record, path=path)
    try:
        existing = RunRecord.from_json(json.loads(file.read_text(encoding="utf-8")), path)
    except ValueError as error:
        raise StoreError(f"{file} can't be read: {error}.", f"Remove the folder {path} to start anew.") from error
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
        write_synced(temporary / layout.UNIT_FILE, json_bytes(record.to_json()))
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
    """Note in the run's ``failed.json`` that a unit could not be finished."""
    with lock(store, f"failed {identifier}", wait=True):
        failed = read_failures(layout.run_folder(store, identifier))
        attempts = int(failed.get(category, {}).get("attempts", 0)) + 1
        failed[category] = {"reason": reason, "traceback": traceback, "at": now(), "attempts": attempts}
        _write_failures(store, identifier, failed)


def clear_failure(store: Path, identifier: str, category: str) -> None:
    """Forget a failure once the unit is finished."""
    if not (layout.run_folder(store, identifier) / layout.FAILED_FILE).exists():
        return
    with lock(store, f"failed {identifier}", wait=True):
        failed = read_failures(layout.run_folder(store, identifier))
        if failed.pop(category, None) is not None:
            _write_failures(store, identifier, failed)


def read_failures(run: Path) -> dict[str, dict[str, Any]]:
    """The failures of a run by category; empty if there are none or the file is damaged."""
    try:
        value = json.loads((run / layout.FAILED_FILE).read_text(encoding="utf-8"))
        return {str(k): dict(v) for k, v in value["units"].items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def write_thumbnails(store: Path, dataset: str, name: str, rows: Iterable[Row]) -> None:
    """Write a category's thumbnails, unless the file is there; its name says what it holds."""
    path = layout.thumbnail_file(store, dataset, name)
    if not path.exists():
        write_atomically(path, table_bytes(list(rows), schema.THUMBNAILS))


def table_bytes(rows: Sequence[Row] | Mapping[str, Any], columns: pa.Schema) -> bytes:
    """Rows, or whole columns, as a parquet file in memory; the same bytes for the same values."""
    if isinstance(rows, Mapping):
        arrays = [pa.array(rows[f.name], type=f.type, from_pandas=True) for f in columns]
    else:
        arrays = [pa.array([row.get(f.name) for row in rows], type=f.type, from_pandas=True) for f in columns]
    buffer = io.BytesIO()
    table = pa.Table.from_arrays(arrays, schema=columns)
    # Floats whose bytes are split by place compress to about half; statistics are larger than these tables.
    floats = [f.name for f in columns if pa.types.is_floating(f.type)]
    pq.write_table(
        table,
        buffer,
        compression="zstd",
        compression_level=9,
        use_byte_stream_split=floats,
        use_dictionary=[f.name for f in columns if f.name not in floats],
        write_statistics=False,
        store_schema=False,
    )
    return buffer.getvalue()


def grid_bytes(ids: Sequence[str], grids: np.ndarray, rule: MapRule) -> bytes:
    """Native grids as a compressed npz in memory; nothing in it needs unpickling."""
    if grids.dtype != np.float32 or grids.ndim != 4 or len(ids) != len(grids):
        raise StoreError(
            f"Grids must be float32 [{len(ids)}, S, rows, columns], not {grids.dtype} {grids.shape}.",
            "This is a defect; report it.",
        )
    buffer = io.BytesIO()
    text = json.dumps(rule.to_json(), sort_keys=True)
    np.savez_compressed(buffer, grids=grids, image_ids=np.array(ids, dtype=np.str_), rule=np.array(text))
    return buffer.getvalue()


def _unit_files(run: RunRecord, category: str, contents: UnitContents) -> Iterable[tuple[str, bytes]]:
    """Each file of a unit but ``unit.json``, by name."""
    fixed = {**dataclasses.asdict(run.key), "mode": run.mode, "category": category}
    yield "images.parquet", table_bytes(contents.images, schema.IMAGES)
    yield "metrics.parquet", table_bytes([{**row, **fixed} for row in contents.metrics], schema.METRICS)
    if contents.grids is not None and contents.rule is not None:
        yield "grids.npz", grid_bytes(contents.grid_ids, contents.grids, contents.rule)
    if contents.curves is not None:
        yield "curves.parquet", table_bytes(contents.curves, schema.CURVES)
    if contents.regions:
        recalls = [name for name in contents.regions[0] if name.startswith("recall_")]
        columns = pa.schema([*schema.REGIONS, *((name, pa.float64()) for name in recalls)])
        yield "regions.parquet", table_bytes(contents.regions, columns)
    if contents.explain:
        yield "explain.parquet", table_bytes(contents.explain, schema.EXPLAIN)


def _write_failures(store: Path, identifier: str, failed: Mapping[str, Mapping[str, Any]]) -> None:
    path = layout.run_folder(store, identifier) / layout.FAILED_FILE
    remove_leftovers(path)
    if failed:
        content = {"schema_version": schema.SCHEMA_VERSION, "units": dict(sorted(failed.items()))}
        write_atomically(path, json_bytes(content))
    else:
        path.unlink(missing_ok=True)
