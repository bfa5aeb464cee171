"""Tables that others wrote, read within bounds, and tables for others, which a spreadsheet may open safely.

Reading: what a few bytes can unfold to (rows, columns, dictionaries of parquet) is bounded before it is made. Writing:
a text that a spreadsheet would run as a formula is marked as text.
"""

from __future__ import annotations

import csv
import re
from io import BytesIO, StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlmad_core.errors import VlmadError
from vlmad_core.libraries import pd
from vlmad_core.reading import printable, read_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa
    import pyarrow.parquet as pq

Row = dict[str, Any]

LARGEST_TABLE = 64 * 2**20
"""Bytes of a table that is read whole, and of a parquet file's columns unpacked."""

MOST_ROWS, MOST_COLUMNS = 500_000, 1_000

LONGEST_CELL = 100_000
"""Characters of a cell or a line; a longer one means that the file is no table of images."""

_FORMULA = tuple("=+-@\t\n＝＋－＠")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|[+-]?(nan|inf|infinity)", re.ASCII | re.IGNORECASE)

csv.field_size_limit(LONGEST_CELL)


def plain_number(text: str) -> float | None:
    """A number as tables hold it: decimal digits with sign, point and exponent, or the words for what is not finite.

    What ``float`` takes besides, and other programs don't, is more often another field than a number.

    >>> plain_number(" -1.5e-3 "), plain_number("1_0"), plain_number("１０"), plain_number("0x1A")
    (-0.0015, None, None, None)
    """
    return float(text) if _NUMBER.fullmatch(text.strip()) else None


def csv_rows(path: Path, error: type[VlmadError], separators: str = ",") -> list[dict[str, str]]:
    """The rows of a csv file in UTF-8 by the names in its head; a cell that is not there is empty.

    Args:
        path: The file.
        error: What to raise.
        separators: What may separate the cells; of several, the one that cuts the head into the most.

    Raises:
        VlmadError: Of the kind ``error``: if it can't be read, is not in UTF-8, or has too many rows or columns.
    """
    content = read_file(path, LARGEST_TABLE, error)
    fix = "Save it as a csv file in UTF-8 with one row for each image."
    rows: list[dict[str, str]] = []
    try:
        text = content.decode("utf-8-sig")
        head = text.partition("\n")[0]
        reader = csv.reader(StringIO(text, newline=""), delimiter=max(separators, key=head.count))
        names = next(reader, [])
        if len(names) > MOST_COLUMNS:
            raise error(f"{printable(path)}: has {len(names):,} columns, more than {MOST_COLUMNS:,}.", fix)
        for cells in reader:
            if cells:
                cells += [""] * (len(names) - len(cells))
                rows.append(dict(zip(names, cells, strict=False)))
            if len(rows) > MOST_ROWS:
                raise error(f"{printable(path)}: has more than {MOST_ROWS:,} rows.", fix)
    except (UnicodeError, csv.Error) as problem:
        raise error(f"{printable(path)}: can't be read as a table ({problem}).", fix) from problem
    return rows


def open_parquet(path: Path, most_rows: int, error: type[VlmadError]) -> pq.ParquetFile:
    """A parquet file that declares no more than is allowed; its columns are not read yet.

    Args:
        path: The file.
        most_rows: Rows it may have.
        error: What to raise.

    Raises:
        VlmadError: Of the kind ``error``: if it can't be read, or declares too much.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    content = read_file(path, LARGEST_TABLE, error)
    try:
        about = pq.ParquetFile(BytesIO(content)).metadata
        # Texts stay coded until they are counted: one long text may stand for all rows.
        texts = [about.schema.column(i).path for i in range(about.num_columns)
                 if about.schema.column(i).physical_type == "BYTE_ARRAY"]  # fmt: skip
        file = pq.ParquetFile(BytesIO(content), metadata=about, read_dictionary=texts)
        unpacked = sum(about.row_group(place).total_byte_size for place in range(about.num_row_groups))
    except (OSError, pa.ArrowException) as problem:
        raise error(f"{printable(path)}: is a damaged parquet file ({problem}).", "Write it again.") from problem
    if about.num_rows > most_rows:
        raise error(f"{printable(path)}: holds more than {most_rows:,} rows.", "Give one row for each image.")
    if about.num_columns > MOST_COLUMNS or unpacked > LARGEST_TABLE:
        raise error(
            f"{printable(path)}: declares too many columns or bytes.", "Write only the columns that are needed."
        )
    return file


def parquet_rows(file: pq.ParquetFile, names: Sequence[str], path: Path, error: type[VlmadError]) -> Iterator[Row]:
    """The rows of some columns of a parquet file, as plain values by the columns' names.

    Args:
        file: As ``open_parquet`` gives it.
        names: The columns; of numbers, texts and the like, not of lists.
        path: What to call it in messages.
        error: What to raise.

    Raises:
        VlmadError: Of the kind ``error``: if it is damaged, or its texts take too much when they are written out.
    """
    import pyarrow as pa

    left = LARGEST_TABLE
    try:
        if any(pa.types.is_nested(file.schema_arrow.field(name).type) for name in names):
            raise ValueError("a column holds lists")
        for batch in file.iter_batches(batch_size=1_000, columns=list(names)):
            for column in batch.columns:
                if pa.types.is_dictionary(column.type):
                    left -= text_bytes(column)
            if left < 0:
                raise ValueError("its texts take too much")
            yield from batch.to_pylist()
    except (OSError, ValueError, ArithmeticError, pa.ArrowException) as problem:  # also texts that are none
        raise error(f"{printable(path)}: is a damaged parquet file ({problem}).", "Write it again.") from problem


def text_bytes(column: pa.DictionaryArray) -> int:
    """Bytes of a column of dictionary-coded texts once each row has its own."""
    import pyarrow.compute as pc

    return pc.sum(pc.binary_length(column.dictionary).take(column.indices)).as_py() or 0


def csv_text(table: pd.DataFrame) -> str:
    """Any table as csv, the one way in which tables leave the program: numbers as they are, blanks empty.

    Args:
        table: Any columns; a text that a spreadsheet would take for a formula gets a quote in front, in the cells and
            in the head. A text that is a number is none.
    """
    safe = table.rename(columns=_safe)
    for place, kind in enumerate(safe.dtypes):
        if not pd.api.types.is_numeric_dtype(kind):
            safe.isetitem(place, [_safe(value) for value in safe.iloc[:, place]])
    return safe.to_csv(index=False, lineterminator="\n")


def _safe(value: object) -> object:
    """A cell that starts no formula and can be written; what is no text stays as it is."""
    if not isinstance(value, str):
        return value
    text = "\n".join(printable(value).splitlines()) if "\r" in value else printable(value)  # "\r" would not be quoted
    return f"'{text}" if text.startswith(_FORMULA) and plain_number(text) is None else text
