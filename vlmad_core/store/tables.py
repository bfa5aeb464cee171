"""The tables of a store, and its native grids: their columns, and how they become bytes and are read back.

Nothing is unpickled, no file stays open, and damaged or made-up bytes end in one of ``READ_ERRORS`` before they take
more memory than their sizes allow.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from vlmad_core.arrays import parse_npz
from vlmad_core.errors import StoreError
from vlmad_core.io import parse_json
from vlmad_core.metrics.resampling import STORED_RESAMPLES, Replicates
from vlmad_core.tabular import text_bytes

if TYPE_CHECKING:
    from vlmad_core.methods.predictions import MapRule

Row = Mapping[str, Any]

READ_ERRORS = (StoreError, pa.ArrowException, OSError, ValueError, LookupError, TypeError, ArithmeticError, MemoryError)
"""What reading a damaged file may raise."""

LARGEST_GRIDS, LARGEST_TABLE = 2**29, 2**31
"""Bytes of a unit's grids, and of a table in memory: several times those of the largest public data sets."""

MOST_ROWS = 20_000_000
"""Rows of a table, and entries of a column of lists."""

IMAGES = pa.schema(
    [
        ("image_id", pa.string()),
        ("split", pa.string()),
        ("label", pa.int8()),
        ("defect_type", pa.string()),
        ("defect_area", pa.float64()),
        ("score", pa.float64()),
        ("latency_ms", pa.float64()),
        ("error", pa.string()),
    ]
)
"""One row per image; ``defect_area`` is the share of the image, null where there is no mask."""

METRICS = pa.schema(
    [
        ("dataset", pa.string()),
        ("category", pa.string()),
        ("method", pa.string()),
        ("preset", pa.string()),
        ("backbone", pa.string()),
        ("mode", pa.string()),
        ("shots", pa.int32()),
        ("seed", pa.int32()),
        ("level", pa.string()),
        ("metric", pa.string()),
        ("eval_size", pa.int32()),
        ("value", pa.float64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("n", pa.int32()),
        ("reason", pa.string()),
    ]
)
"""One row per metric; values are fractions; ``n`` counts images; a null value has a reason."""

CURVES = pa.schema(
    [
        ("curve", pa.string()),
        ("eval_size", pa.int32()),
        ("x", pa.float32()),
        ("y", pa.float32()),
        ("threshold", pa.float32()),
    ]
)
"""Points of the curves ``image_roc``, ``image_pr``, ``pixel_roc``, ``pixel_pr`` and ``pixel_pro``."""

REGIONS = pa.schema(
    [
        ("image_id", pa.string()),
        ("region", pa.int32()),
        ("defect_type", pa.string()),
        ("area", pa.float64()),
        ("x0", pa.float32()),
        ("y0", pa.float32()),
        ("x1", pa.float32()),
        ("y1", pa.float32()),
    ]
)
"""One row per defect region (box and area as shares of the image); ``recall_<threshold>`` columns follow."""

EXPLAIN = pa.schema(
    [
        ("image_id", pa.string()),
        ("kind", pa.string()),
        ("rank", pa.int32()),
        ("text", pa.string()),
        ("value", pa.float64()),
        ("towards", pa.string()),
        ("x0", pa.float32()),
        ("y0", pa.float32()),
        ("x1", pa.float32()),
        ("y1", pa.float32()),
    ]
)
"""What a method says about why, strongest first; the box, where there is one, as shares of the image."""

THUMBNAILS = pa.schema(
    [("image_id", pa.string()), ("thumbnail", pa.binary()), ("mask", pa.binary()), ("reason", pa.string())]
)
"""WebP and PNG bytes, shared by all runs of a data set; ``reason`` says why one is missing."""

_CONTENT_KEY = b"vlmad.content_sha256"
"""Where a file of thumbnails says the hash of its rows; units, which share it, can't."""

REPLICATES = pa.schema(
    [
        ("metric", pa.string()),
        ("eval_size", pa.int32()),
        ("value", pa.float64()),
        ("n", pa.int32()),
        ("fewest", pa.int32()),
        ("design", pa.string()),
        ("draws", pa.list_(pa.float32())),
    ]
)
"""One row per metric that has a value: the metric on resampled test images, see ``metrics.resampling.Replicates``."""

DRAW_STEP = 2.0**-16
"""To what resampled values are rounded: far below what a resample shows, and a third less to store."""

Drawn = dict[tuple[str, int | None], Replicates]
"""Replicates by metric and map size; the size is None for image metrics."""


@dataclass(frozen=True)
class Grids:
    """Native grids of a unit.

    Attributes:
        image_ids: In order.
        grids: [N, S, rows, columns] float32.
        rule: How they become a map.
    """

    image_ids: tuple[str, ...]
    grids: np.ndarray
    rule: MapRule

    def anomaly_map(self, image_id: str, size: tuple[int, int]) -> np.ndarray | None:
        """The anomaly map of one image, [height, width] float32; None if it has none.

        Args:
            image_id: The image.
            size: (height, width) in pixels.
        """
        if image_id not in self.image_ids:
            return None
        from vlmad_core.methods.predictions import one_map

        return one_map(self.grids[self.image_ids.index(image_id)], self.rule, size)


def table_bytes(rows: Sequence[Row] | Mapping[str, Any], columns: pa.Schema) -> bytes:
    """Rows, or whole columns, as a parquet file in memory; the same bytes for the same values."""
    if isinstance(rows, Mapping):
        arrays = [pa.array(rows[f.name], type=f.type, from_pandas=True) for f in columns]
    else:
        arrays = [pa.array([row.get(f.name) for row in rows], type=f.type, from_pandas=True) for f in columns]
    buffer = io.BytesIO()
    table = pa.Table.from_arrays(arrays, schema=columns)
    # Floats whose bytes are split by place compress to about half; statistics are larger than these tables.
    lists = [f.name for f in columns if pa.types.is_list(f.type)]
    floats = [f.name for f in columns if pa.types.is_floating(f.type)] + [f"{name}.list.element" for name in lists]
    with pq.ParquetWriter(
        buffer,
        columns,
        compression="zstd",
        compression_level=9,
        use_byte_stream_split=floats,
        use_dictionary=[f.name for f in columns if f.name not in (*floats, *lists)],
        write_statistics=False,
        store_schema=False,
    ) as file:
        file.write_table(table)
        if columns.metadata:
            file.add_key_value_metadata(columns.metadata)
    return buffer.getvalue()


def thumbnail_bytes(rows: Sequence[Row]) -> bytes:
    """A category's thumbnails as a parquet file in memory that carries the hash of what it holds."""
    named = THUMBNAILS.with_metadata({_CONTENT_KEY: _content_hash(rows)})
    return table_bytes(rows, named)


def _content_hash(rows: Sequence[Row]) -> bytes:
    """SHA-256 over the rows of thumbnails, as hex digits."""
    found = hashlib.sha256()
    for row in rows:
        for name in THUMBNAILS.names:
            value = row.get(name)
            raw = value.encode() if isinstance(value, str) else value
            found.update(b"none;" if raw is None else b"%d:%s;" % (len(raw), raw))
    return found.hexdigest().encode()


def grid_bytes(ids: Sequence[str], grids: np.ndarray, rule: MapRule) -> bytes:
    """Native grids as a compressed npz in memory; nothing in it needs unpickling, and no bit is lost."""
    if grids.dtype != np.float32 or grids.ndim != 4 or len(ids) != len(grids):
        raise StoreError(
            f"Grids must be float32 [{len(ids)}, S, rows, columns], not {grids.dtype} {grids.shape}.",
            "This is a defect; report it.",
        )
    buffer = io.BytesIO()
    text = json.dumps(rule.to_json(), sort_keys=True)
    # Like the tables' floats: split by place, the bytes compress to seven eighths of what they take as they come.
    octets = np.ascontiguousarray(grids, dtype="<f4").view(np.uint8).reshape(*grids.shape, 4)
    planes = np.ascontiguousarray(np.moveaxis(octets, -1, 0))
    np.savez_compressed(buffer, planes=planes, image_ids=np.array(ids, dtype=np.str_), rule=np.array(text))
    return buffer.getvalue()


def replicate_rows(drawn: Drawn) -> list[Row]:
    """Replicates as they are stored: the first draws, rounded."""
    return [
        {"metric": metric, "eval_size": size, "value": one.value, "n": one.n, "fewest": one.fewest}
        | {"design": one.design, "draws": (one.draws[:STORED_RESAMPLES] / DRAW_STEP).round() * DRAW_STEP}
        for (metric, size), one in drawn.items()
        if one.value is not None
    ]


def read_replicates(content: bytes) -> Drawn:
    """A unit's replicates.

    Raises:
        Exception: One of ``READ_ERRORS``; also if a draw is outside [0, 1], or a metric lacks something.
    """
    table = _parquet(content, REPLICATES)
    rows = table.drop_columns(["draws"]).to_pylist()
    draws = (
        table["draws"].combine_chunks().values.to_numpy(zero_copy_only=False).astype(np.float64).reshape(len(rows), -1)
    )
    if bool(np.any((draws < 0) | (draws > 1))) or not all(0 <= row["value"] <= 1 + 1e-6 for row in rows):
        raise ValueError("draws outside [0, 1]")
    if not all(row["metric"] and row["design"] and row["n"] >= 0 and row["fewest"] >= 0 for row in rows):
        raise ValueError("a metric without a name, a design or a number of images")
    return {
        (str(row["metric"]), row["eval_size"]): Replicates(
            row["metric"], float(row["value"]), own, int(row["n"]), int(row["fewest"]), str(row["design"])
        )
        for row, own in zip(rows, draws, strict=True)
    }


def read_table(content: bytes, columns: pa.Schema) -> pd.DataFrame:
    """A table that has at least the given columns, in their types; integers become nullable.

    Raises:
        Exception: One of ``READ_ERRORS``.
    """
    frame = _parquet(content, columns).to_pandas()
    for f in columns:
        if pa.types.is_integer(f.type):
            frame[f.name] = frame[f.name].astype("Int64")
    return frame


def read_thumbnails(content: bytes) -> pd.DataFrame:
    """A category's thumbnails by image id; where the file carries the hash of its rows, they are held against it.

    Raises:
        Exception: One of ``READ_ERRORS``.
    """
    table = _parquet(content, THUMBNAILS)
    noted = (table.schema.metadata or {}).get(_CONTENT_KEY)
    if noted is not None and noted != _content_hash(table.to_pylist()):
        raise ValueError("its pictures are not as they were written")
    frame = table.to_pandas().set_index("image_id")
    if not frame.index.is_unique:
        raise ValueError("an image has two thumbnails")
    return frame


def _parquet(content: bytes, columns: pa.Schema) -> pa.Table:
    """The table of a parquet file, with the given columns in the given types, and others it has.

    Raises:
        Exception: One of ``READ_ERRORS``; also if the table would be larger in memory than is allowed.
    """
    file = pq.ParquetFile(io.BytesIO(content), read_dictionary=[f.name for f in columns if _of_any_size(f.type)])
    chunks = [file.metadata.row_group(group).column(i) for group in range(file.metadata.num_row_groups)
              for i in range(file.metadata.num_columns)]  # fmt: skip
    if file.metadata.num_rows > MOST_ROWS or any(chunk.num_values > MOST_ROWS for chunk in chunks):
        raise ValueError(f"more than {MOST_ROWS:,} rows")
    if sum(chunk.total_uncompressed_size for chunk in chunks) > LARGEST_TABLE:
        raise ValueError(f"more than {LARGEST_TABLE:,} bytes")
    missing = [name for name in columns.names if name not in file.schema_arrow.names]
    if missing:
        raise KeyError(f"no column {missing[0]}")
    table = file.read()
    for f in columns:
        place = table.column_names.index(f.name)
        kept = table.column(place)
        # One long text may stand for a million rows: counted before it is written out.
        if pa.types.is_dictionary(kept.type) and sum(map(text_bytes, kept.chunks)) > LARGEST_TABLE:
            raise ValueError(f"more than {LARGEST_TABLE:,} bytes in {f.name}")
        table = table.set_column(place, f.name, kept.cast(f.type))
    return table


def _of_any_size(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_binary(kind))


def empty_table(columns: pa.Schema) -> pd.DataFrame:
    """A table without rows."""
    frame = columns.empty_table().to_pandas()
    return frame.astype({f.name: "Int64" for f in columns if pa.types.is_integer(f.type)})


def read_grids(content: bytes) -> Grids:
    """Native grids and their rule.

    Raises:
        Exception: One of ``READ_ERRORS``; also if grids, images and rule do not fit, or a value is not finite.
    """
    from vlmad_core.methods.predictions import MapRule

    found = parse_npz(content, LARGEST_GRIDS)
    ids = tuple(str(image_id) for image_id in found["image_ids"].ravel())
    rule = MapRule.from_json(parse_json(str(found["rule"]).encode(), "its rule"))
    if "grids" in found:  # as files were written before their bytes were split
        grids = found["grids"]
    else:
        octets = np.ascontiguousarray(np.moveaxis(found["planes"], 0, -1))
        if octets.dtype != np.uint8 or octets.ndim != 5 or octets.shape[-1] != 4:
            raise ValueError(f"planes are {octets.dtype} {octets.shape}")
        grids = octets.view("<f4")[..., 0].astype(np.float32, copy=False)
    if grids.dtype != np.float32 or grids.ndim != 4 or grids.shape[:2] != (len(ids), len(rule.activations)):
        raise ValueError(f"grids are {grids.dtype} {grids.shape} for {len(ids)} images")
    if len(set(ids)) != len(ids) or not np.isfinite(grids).all():
        raise ValueError("an image has two grids, or a value is not finite")
    return Grids(ids, grids, rule)
