"""Where reported numbers come from: sources, how they are cited, and what every table of claims must hold.

Sources lie in ``results/reported/sources.json`` beside the tables. A claim always names its source and where in it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from vlmad_core.analysis.claims import kind_of
from vlmad_core.errors import StoreError
from vlmad_core.io import read_json
from vlmad_core.paths import reported_folder

ORIGINS = ("primary", "secondary", "reproduction", "unclear")
"""Whose run a number is, as tables say it; with how it was read, it makes a ``vlmad_core.analysis.claims.Kind``."""
GITHUB = "https://github.com/"


@dataclass(frozen=True)
class Source:
    """A paper or repository that numbers come from.

    Attributes:
        id: Key of the source in the table.
        title: Its title; None if it is not known.
        authors: Its authors; empty where they are not known.
        year: Year of publication, or None.
        venue: Where it was published, or None.
        url: Its arXiv page or repository, or None.
        read: Which parts of it were read.
        note: What else a reader should know; empty if nothing.
        arxiv: Number of its arXiv preprint, or None.
        doi: Its DOI, or None.
    """

    id: str
    title: str | None
    authors: tuple[str, ...]
    year: int | None
    venue: str | None
    url: str | None
    read: str
    note: str
    arxiv: str | None = None
    doi: str | None = None

    @property
    def label(self) -> str:
        """A short form such as ``Jeong et al. 2023``; the repository where there are no authors."""
        when = f" {self.year}" if self.year else ""
        if not self.authors:
            place = self.url.removeprefix(GITHUB) if self.url and self.url.startswith(GITHUB) else ""
            name = place or (self.title or "").partition(":")[0]
            return f"{name}{when}" if name else self.id
        surname = self.authors[0].split()[-1]
        return f"{surname}{' et al.' if len(self.authors) > 1 else ''}{when}"


def load_sources(folder: str | Path | None = None) -> dict[str, Source]:
    """The sources of the table by their keys.

    Raises:
        StoreError: If the file is missing or damaged.
    """
    path = Path(folder or reported_folder()) / "sources.json"
    try:
        return {key: _source(key, value) for key, value in read_json(path, "Restore the file.").items()}
    except (ValueError, AttributeError, TypeError) as error:
        raise StoreError(f"The sources {path} can't be read: {error}.", "Restore the file.") from error


def bibtex(source: Source) -> str:
    """A BibTeX entry of a source, from nothing but its fields; what is not known of it is left out.

    Examples:
        >>> print(bibtex(Source("li2024x", "On X", ("Ann Li", "Bo Du"), 2024, "ICLR 2024", None, "", "")))
        @misc{li2024x,
          title = {{On X}},
          author = {Ann Li and Bo Du},
          year = {2024},
          howpublished = {ICLR 2024},
        }
    """
    fields = {
        "title": f"{{{_escaped(source.title)}}}" if source.title else "",
        "author": " and ".join(_escaped(name) for name in source.authors),
        "year": str(source.year or ""),
        "howpublished": _escaped(source.venue or ""),
        "eprint": source.arxiv or "",
        "archiveprefix": "arXiv" if source.arxiv else "",
        "doi": source.doi or "",
        "url": source.url or "",
    }
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items() if value]
    return "\n".join([f"@misc{{{source.id},", *lines, "}"])


def _escaped(text: str) -> str:
    """Text with what LaTeX would take for commands escaped."""
    return re.sub(r"([&%$#_])", r"\\\1", unicodedata.normalize("NFC", text))


def read_claims(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Read a table of claims as text, with the column ``whose`` (``vlmad_core.analysis.claims.Kind``).

    Args:
        path: The csv file.
        columns: Its columns; others are left out.

    Raises:
        StoreError: If the file can't be read or lacks a column.
    """
    try:
        # Plain Python texts: pandas' own are slow to take out one by one, which every reader of the rows does.
        frame = pd.read_csv(path, dtype=object, keep_default_na=False, encoding="utf-8")
    except (OSError, ValueError) as error:
        raise StoreError(f"The reported results {path} can't be read: {error}.", "Restore the file.") from error
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise StoreError(f"{path} has no column {missing[0]!r}.", f"Its columns are {', '.join(columns)}.")
    frame = frame[list(columns)]
    return frame.assign(whose=list(map(kind_of, frame["origin"], frame["read"])))


def refuse_wrong_rows(
    frame: pd.DataFrame, path: Path, wrong: Mapping[str, pd.Series], sources: Collection[str]
) -> None:
    """Refuse a table of claims of which a row is wrong; none goes without its source and where in it.

    Args:
        frame: As ``read_claims`` gives it.
        path: Its file.
        wrong: What else may be wrong, in words, and in which rows it is.
        sources: Keys of the sources there are.

    Raises:
        StoreError: Names the first line that is wrong.
    """
    every = {
        **wrong,
        "an unknown origin": ~frame["origin"].isin(ORIGINS),
        "no source": frame["source"].str.strip() == "",
        "a source that sources.json lacks": ~frame["source"].isin(list(sources)),
        "no location in its source": frame["location"].str.strip() == "",
    }
    for what, rows in every.items():
        if rows.any():
            line = int(rows.to_numpy().argmax()) + 2
            raise StoreError(f"{path}, line {line}, has {what}.", "Correct the line.")


def _source(key: str, value: Mapping[str, Any]) -> Source:
    url = None
    if value.get("arxiv"):
        url = f"https://arxiv.org/abs/{value['arxiv']}"
    elif value.get("repo"):
        url = f"{GITHUB}{value['repo']}"
    return Source(
        id=key,
        title=value.get("title"),
        authors=tuple(value.get("authors") or ()),
        year=value.get("year"),
        venue=value.get("venue"),
        url=url,
        read=value.get("read") or "",
        note=value.get("note") or "",
        arxiv=value.get("arxiv"),
        doi=value.get("doi"),
    )
