"""The tables of a store, and its native grids: their columns, and how they become bytes and are read back.

Nothing is unpickled, and no file stays open.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from vlmad_core.errors import StoreError
from vlmad_core.metrics.resampling import STORED_RESAMPLES, Replicates

if TYPE_CHECKING:
    from vlmad_core.methods.predictions import MapRule

Row = Mapping[str, Any]

READ_ERRORS = (OSError, ValueError, KeyError, TypeError, EOFError, pa.ArrowException, zipfile.BadZipFile)
"""What reading a damaged file may raise."""

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
    pq.write_table(
        table,
        buffer,
        compression="zstd",
        compression_level=9,
        use_byte_stream_split=floats,
        use_dictionary=[f.name for f in columns if f.name not in (*floats, *lists)],
        write_statistics=False,
        store_schema=False,
    )
    return buffer.getvalue()


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


def read_replicates(path: Path) -> Drawn:
    """Read a unit's replicates.

    Raises:
        ValueError: If a draw is outside [0, 1], or there are not equally many of each metric.
    """
    table = pq.read_table(io.BytesIO(path.read_bytes()), columns=REPLICATES.names)
    rows = table.drop_columns(["draws"]).to_pylist()
    draws = (
        table["draws"].combine_chunks().values.to_numpy(zero_copy_only=False).astype(np.float64).reshape(len(rows), -1)
    )
    if bool(np.any((draws < 0) | (draws > 1))):
        raise ValueError("draws outside [0, 1]")
    return {
        (str(row["metric"]), row["eval_size"]): Replicates(
            row["metric"], float(row["value"]), own, int(row["n"]), int(row["fewest"]), str(row["design"])
        )
        for row, own in zip(rows, draws, strict=True)
    }


def read_table(path: Path, columns: pa.Schema) -> pd.DataFrame:
    """Read a parquet file that has at least the given columns; integers become nullable.

    Raises:
        KeyError: If a column is missing.
    """
    content = path.read_bytes()  # read whole, so that no file stays open or mapped
    table = pq.read_table(io.BytesIO(content))
    missing = [name for name in columns.names if name not in table.column_names]
    if missing:
        raise KeyError(f"no column {missing[0]}")
    frame = table.to_pandas()
    for f in columns:
        if pa.types.is_integer(f.type):
            frame[f.name] = frame[f.name].astype("Int64")
    return frame


def empty_table(columns: pa.Schema) -> pd.DataFrame:
    """A table without rows."""
    frame = columns.empty_table().to_pandas()
    return frame.astype({f.name: "Int64" for f in columns if pa.types.is_integer(f.type)})


def read_grids(path: Path) -> Grids:
    """Read native grids and their rule."""
    from vlmad_core.methods.predictions import MapRule

    with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
        ids = tuple(str(image_id) for image_id in file["image_ids"])
        rule = MapRule.from_json(json.loads(str(file["rule"])))
        if "grids" in file:  # as files were written before their bytes were split
            return Grids(ids, file["grids"], rule)
        octets = np.ascontiguousarray(np.moveaxis(file["planes"], 0, -1), dtype=np.uint8)
        return Grids(ids, octets.view("<f4")[..., 0].astype(np.float32, copy=False), rule)
