"""Tables from strangers, and tables that strangers open."""

from __future__ import annotations

import csv
import io
import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vlmad_core.errors import DatasetError
from vlmad_core.tabular import MOST_COLUMNS, MOST_ROWS, csv_rows, csv_text, open_parquet, parquet_rows

ROOT = Path(__file__).parents[1]


FORMULAS = ("=1+1", "@now", "+cmd|' /C calc'!A0", "-2+3", "\t=1", "\n=1", "＝1")
TEXTS = ("plain", "-0.5", "+3e4", "-inf", "'quoted'")


@pytest.mark.parametrize("cell", [*FORMULAS, *TEXTS])
def test_csv_starts_no_formula_in_a_spreadsheet(cell: str) -> None:
    """In cells and heads; what is a number, also as text, stays one."""
    rows = list(csv.reader(io.StringIO(csv_text(pd.DataFrame({cell: [cell], "value": [-0.5]})), newline="")))
    safe = f"'{cell}" if cell in FORMULAS else cell
    assert rows == [[safe, "value"], [safe, "-0.5"]]


@pytest.mark.parametrize("cell", ["a\r=1", "a\r\n=1", "a\n=1"])
def test_a_text_of_several_lines_stays_in_its_cell(cell: str) -> None:
    """What ends a line for a spreadsheet would begin a row, and there a formula."""
    text = csv_text(pd.DataFrame({"note": [cell]}))
    assert "\r" not in text
    assert list(csv.reader(io.StringIO(text, newline=""))) == [["note"], ["a\n=1"]]


def test_blanks_are_empty_and_names_that_are_no_utf_8_can_be_written() -> None:
    cells = pd.Series([None, "photo \udce9.png"], dtype=object)
    table = pd.DataFrame({"image": cells, "value": [math.nan, 1.0]})
    assert csv_text(table).encode() == b"image,value\n,\nphoto %E9.png,1.0\n"


def test_all_tables_leave_through_the_guard() -> None:
    """Nothing in the library or on the pages writes csv by itself."""
    sources = [*ROOT.glob("vlmad_core/**/*.py"), *ROOT.glob("pages/**/*.py"), ROOT / "app.py"]
    writing = re.compile(r"\bto_csv\(|\bcsv\.(writer|DictWriter)\b|\bsavetxt\(|\.to_excel\(")
    found = [path for path in sources if writing.search(path.read_text(encoding="utf-8"))]
    assert found == [ROOT / "vlmad_core" / "tabular.py"]


def test_rows_are_read_by_the_names_in_the_head(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(b'\xef\xbb\xbffile;label\r\n"a;b.png";gut\r\n\r\nc.png\r\nd.png;ok;more\r\n')
    rows = csv_rows(path, DatasetError, ",;")
    assert [tuple(row.values()) for row in rows] == [("a;b.png", "gut"), ("c.png", ""), ("d.png", "ok")]
    assert list(rows[0]) == ["file", "label"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("größe,label\n".encode("latin-1"), "can't be read as a table"),
        ("file,label\n".encode("utf-16"), "can't be read as a table"),
        (b"file,label\n" + b"x" * 200_000, "can't be read as a table"),
        (b"," * (MOST_COLUMNS + 1), "columns, more than 1,000"),
        (b"file\n" + b"x\n" * (MOST_ROWS + 1), "more than 500,000 rows"),
    ],
)
def test_a_table_that_can_not_be_read_is_said(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=said):
        csv_rows(path, DatasetError)


def test_parquet_that_declares_too_much_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    pd.DataFrame({"image": np.zeros(2000)}).to_parquet(path)
    assert open_parquet(path, 2000, DatasetError).metadata.num_rows == 2000
    with pytest.raises(DatasetError, match="more than 1,999 rows"):
        open_parquet(path, 1999, DatasetError)
    pd.DataFrame({"image": np.zeros(20_000_000)}).to_parquet(path, compression="zstd", use_dictionary=False)
    assert path.stat().st_size < 1_000_000
    with pytest.raises(DatasetError, match="too many columns or bytes"):
        open_parquet(path, 10**9, DatasetError)
    one = pa.DictionaryArray.from_arrays(pa.array(np.zeros(50_000, np.int32)), pa.array(["x" * 100_000]))
    pq.write_table(pa.table({"image": one}), path, store_schema=False)  # 5 GB of texts, written out
    assert path.stat().st_size < 1_000_000
    with pytest.raises(DatasetError, match="its texts take too much"):
        list(parquet_rows(open_parquet(path, 10**9, DatasetError), ["image"], path, DatasetError))
    pd.DataFrame({"image": [["x"]]}).to_parquet(path)
    with pytest.raises(DatasetError, match="a column holds lists"):
        list(parquet_rows(open_parquet(path, 10**9, DatasetError), ["image"], path, DatasetError))
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(DatasetError, match="damaged parquet file"):
        open_parquet(path, 2000, DatasetError)
