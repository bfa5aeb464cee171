"""Image scores from a csv or parquet file, read line by line so that a huge or wrong file does no harm."""

from __future__ import annotations

import codecs
import csv
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from io import TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import IO

from vlmad_core.datasets.sample import Dataset
from vlmad_core.errors import StoreError
from vlmad_core.exchange.items import ImportProblem, SampleIndex
from vlmad_core.reading import open_regular
from vlmad_core.tabular import LONGEST_CELL, open_parquet, parquet_rows, plain_number

ID_COLUMNS = ("image_id", "image_path", "path", "file", "filename", "file_name", "image", "img_path", "id", "name")
SCORE_COLUMNS = ("score", "pred_score", "pred_scores", "anomaly_score", "image_score", "anomaly_scores", "prediction")
CATEGORY_COLUMNS = ("category", "object", "class_name", "cls_name", "product")
"""Names that columns are recognised by, the first that occurs; anomalib's are among them."""

SEPARATORS = (",", ";", "\t", "|")
ROWS_PER_IMAGE = 20
"""A file with more rows than so many for each image of the data set is taken for another kind of file."""
FEWEST_ROWS = 10_000


@dataclass
class ScoreTable:
    """Image scores by image id, and what was wrong.

    Attributes:
        scores: By id of the test image.
        problems: Rows that can't be used.
        notes: What the user should know.
    """

    scores: dict[str, float] = field(default_factory=dict)
    problems: list[ImportProblem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Columns:
    """Names of the columns to read; None to recognise them.

    Attributes:
        image: The image's path or id.
        score: The score.
        category: Its category, where paths don't tell it.
    """

    image: str | None = None
    score: str | None = None
    category: str | None = None


Row = tuple[str, str, str, str | None]
"""Place in the file, image, score, category."""


def read_scores(
    path: Path, dataset: Dataset, columns: Columns | None = None, categories: Sequence[str] | None = None
) -> ScoreTable:
    """Read image scores and find the image of each.

    Args:
        path: A csv file (comma, semicolon, tab or bar; UTF-8, UTF-16 or Windows-1252; decimal point or, with
            semicolons or tabs, decimal comma) or a parquet file.
        dataset: The data set the images are of.
        columns: Names of the columns.
        categories: Rows of other categories are passed over.

    Raises:
        StoreError: If the file as a whole can't be read as a table of scores.
    """
    columns = columns or Columns()
    table = ScoreTable()
    index = SampleIndex(dataset.samples)
    most = max(FEWEST_ROWS, ROWS_PER_IMAGE * len(dataset.samples))
    rows = _parquet_rows(path, columns, most) if _is_parquet(path) else _csv_rows(path, columns, table.notes)
    first_seen: dict[str, str] = {}
    skipped = 0
    for count, row in enumerate(rows, start=1):
        if count > most:
            raise StoreError(
                f"{path} holds more than {most:,} rows, for a data set of {len(dataset.samples):,} images.",
                "Give a table with one row for each test image.",
            )
        skipped += not _take(row, index, categories, table, first_seen)
    if not first_seen and not table.problems:
        raise StoreError(f"{path} holds no rows with scores of test images.", "Check the file.")
    if skipped:
        table.notes.append(f"{skipped} rows are of training images or of other categories and were passed over.")
    return table


def _take(
    row: Row, index: SampleIndex, categories: Sequence[str] | None, table: ScoreTable, first_seen: dict[str, str]
) -> bool:
    """Take one row in; False if it is of no concern."""
    place, name, text, category = row
    found = index.find(name, category) or index.find(name.removeprefix("'"), category)  # as csv_text marks a text
    if len(found) != 1:
        kind = "ambiguous_image" if found else "unknown_image"
        problem = f"{_short(name)!r} is no image of the data set."
        if found:
            problem = f"{_short(name)!r} may mean {found[0].id} or {found[1].id}; give more of its path."
        table.problems.append(ImportProblem(kind, place, problem))
        return True
    sample = found[0]
    if sample.split != "test" or (categories is not None and sample.category not in categories):
        return False
    if sample.id in first_seen:
        message = f"{sample.id} was already given at {first_seen[sample.id]}."
        table.problems.append(ImportProblem("duplicate_image", place, message))
        return True
    first_seen[sample.id] = place
    score = plain_number(text)
    if score is None:
        what = f"{_short(text)!r} is no number" if text.strip() else "there is no score"
        table.problems.append(ImportProblem("no_score", place, f"{sample.id}: {what}."))
        return True
    if not math.isfinite(score):
        message = f"{sample.id}: the score is {text.strip()}; scores must be finite."
        table.problems.append(ImportProblem("not_finite", place, message))
        return True
    table.scores[sample.id] = score
    return True


def _is_parquet(path: Path) -> bool:
    try:
        with open_regular(path) as file:
            return file.read(4) == b"PAR1"
    except OSError as error:
        raise StoreError(f"{path} can't be read: {error}.", "Check the path.") from error


def _parquet_rows(path: Path, columns: Columns, most: int) -> Iterator[Row]:
    file = open_parquet(path, most, StoreError)
    image, score, category = _recognise(file.schema_arrow.names, columns, path)
    wanted = [name for name in (image, score, category) if name is not None]
    for number, row in enumerate(parquet_rows(file, wanted, path, StoreError), start=1):
        kind = row[category] if category else None
        value = row[score]
        yield f"row {number}", str(row[image]), "" if value is None else str(value), None if kind is None else str(kind)


def _csv_rows(path: Path, columns: Columns, notes: list[str]) -> Iterator[Row]:
    encoding = _encoding(path, notes)
    with TextIOWrapper(open_regular(path), encoding, newline="") as file:
        lines = _lines(file, path)
        head = next(lines, "")
        separator = _separator(head)
        comma = separator in (";", "\t", "|")
        reader = csv.reader(lines, delimiter=separator)
        try:
            header = [name.strip() for name in next(csv.reader([head], delimiter=separator), [])]
            image, score, category = _recognise(header, columns, path)
            places = [header.index(name) if name is not None else None for name in (image, score, category)]
            for row in reader:
                where = f"line {reader.line_num + 1}"
                if not any(field.strip() for field in row):
                    continue
                values = [row[i] if i is not None and i < len(row) else None for i in places]
                text = values[1] or ""
                text = text.replace(",", ".") if comma and text.count(",") == 1 and "." not in text else text
                yield where, values[0] or "", text, values[2]
        except csv.Error as error:
            raise StoreError(f"{path} is no table with one row for each image: {error}.", "Check the file.") from error


def _encoding(path: Path, notes: list[str]) -> str:
    """The encoding: by its mark, else UTF-8 if all of the file is, else Windows-1252."""
    with open_regular(path) as file:
        start = file.read(4)
        if start.startswith(codecs.BOM_UTF8):
            return "utf-8-sig"
        if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return "utf-16"
        file.seek(0)
        decoder = codecs.getincrementaldecoder("utf-8")()
        # A few megabytes tell; what follows in a file that large is refused by its number of rows anyway.
        for block in islice(iter(lambda: file.read(1 << 20), b""), 64):
            if b"\0" in block:
                raise StoreError(f"{path} is no text file.", "Give a csv or parquet file.")
            try:
                decoder.decode(block)
            except UnicodeDecodeError:
                notes.append(f"{path.name} is not in UTF-8; it was read as Windows-1252.")
                return "cp1252"
    return "utf-8"


def _lines(file: IO[str], path: Path) -> Iterator[str]:
    while True:
        try:
            line = file.readline(LONGEST_CELL)
        except UnicodeError as error:
            raise StoreError(f"{path} changes its encoding in the middle: {error}.", "Save it as UTF-8.") from error
        if not line:
            return
        if len(line) == LONGEST_CELL:
            raise StoreError(f"{path} has a line of {LONGEST_CELL:,} characters or more.", "Check the file.")
        yield line


def _separator(head: str) -> str:
    """The separator that cuts the head into the most columns."""
    return max(SEPARATORS, key=head.count)


def _recognise(header: Sequence[str], columns: Columns, path: Path) -> tuple[str, str, str | None]:
    lower = {name.lower(): name for name in reversed(header)}
    found: list[str | None] = []
    for given, known, what, option in (
        (columns.image, ID_COLUMNS, "the images", "--image-column"),
        (columns.score, SCORE_COLUMNS, "the scores", "--score-column"),
        (columns.category, CATEGORY_COLUMNS, "the categories", ""),
    ):
        if given is not None and given not in header:
            raise StoreError(f"{path} has no column {given!r}.", f"It has: {_listed(header)}.")
        name = given or next((lower[name] for name in known if name in lower), None)
        if name is None and option:
            raise StoreError(
                f"{path} has no column that is known to hold {what}; it has: {_listed(header)}.",
                f"Name it with {option}.",
            )
        found.append(name)
    image, score, category = found
    assert image is not None
    assert score is not None
    return image, score, category


def _listed(header: Sequence[str]) -> str:
    shown = ", ".join(repr(_short(name)) for name in header[:12])
    return shown + (" ..." if len(header) > 12 else "") if shown else "none"


def _short(text: str, longest: int = 80) -> str:
    return text if len(text) <= longest else f"{text[:longest]}..."
