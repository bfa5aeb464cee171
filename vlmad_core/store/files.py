"""Reading the single files of a results store. Nothing is unpickled, and no file stays open."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from vlmad_core.errors import StoreError
from vlmad_core.io import read_json
from vlmad_core.store import layout
from vlmad_core.store.schema import UnitRecord

if TYPE_CHECKING:
    from vlmad_core.methods.predictions import MapRule

READ_ERRORS = (OSError, ValueError, KeyError, TypeError, EOFError, pa.ArrowException, zipfile.BadZipFile)
"""What reading a damaged file may raise."""


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


def read_unit(folder: Path) -> UnitRecord:
    """Read a unit's mark and see that its files are there in full (their hashes are for ``verify``).

    Raises:
        StoreError: If the unit is not whole.
    """
    mark = folder / layout.UNIT_FILE
    if not mark.is_file():
        raise StoreError(f"{folder} is not a finished unit: it has no {layout.UNIT_FILE}.", "Remove it.")
    unit = UnitRecord.from_json(read_json(mark), mark)
    for name, noted in unit.files.items():
        file = folder / name
        if not file.is_file() or file.stat().st_size != noted.get("bytes"):
            raise StoreError(
                f"The unit {folder} is damaged: {name} is missing or cut short.",
                "Start the run again to compute it anew.",
            )
    return unit


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
        return Grids(ids, file["grids"], MapRule.from_json(json.loads(str(file["rule"]))))
