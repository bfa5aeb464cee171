"""Results that papers and other people's repositories report, as a tidy table with its sources.

The table lies in ``results/reported``; its README explains the columns and the known conflicts. Reported values
are never averaged with measured ones, and conflicts between sources are kept: this module shows them, and
resolves none.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from vlmad_core.analysis.entries import Comparison
from vlmad_core.datasets.catalogue import official_key
from vlmad_core.errors import StoreError
from vlmad_core.metrics.spec import MEAN
from vlmad_core.paths import reported_folder

COLUMNS = (
    "dataset", "category", "method", "method_id", "variant", "kind", "shots", "metric", "value", "std", "decimals",
    "backbone", "image_size", "training_data", "source", "location", "origin", "read", "note",
)  # fmt: skip
METRIC_NAMES = (
    "image_auroc", "image_ap", "image_f1max", "pixel_auroc", "pixel_ap", "pixel_f1max", "aupro_reported",
)  # fmt: skip
ORIGINS: Mapping[str, str] = {
    "primary": "the authors",
    "secondary": "quoted from the authors",
    "reproduction": "somebody's run",
    "unclear": "not said",
}
"""Whose run a number is, and how that is shown."""
KINDS = ("main", "ablation")
CATEGORY_COUNTS: Mapping[str, int] = {"mvtec_ad": 15, "visa": 12}
"""Categories of the published data sets; a mean is checked only against all of them."""

GROUP_PREFIX = "group:"

_LINE = ["dataset", "method", "variant", "shots", "metric", "source", "backbone", "image_size", "training_data"]
"""What one reported mean belongs to."""


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
    """

    id: str
    title: str | None
    authors: tuple[str, ...]
    year: int | None
    venue: str | None
    url: str | None
    read: str
    note: str

    @property
    def label(self) -> str:
        """A short form such as ``Jeong et al. 2023``; the repository where there are no authors."""
        when = f" {self.year}" if self.year else ""
        if not self.authors:
            place = self.url.removeprefix("https://github.com/") if self.url else None
            name = place or (self.title or "").partition(":")[0]
            return f"{name}{when}" if name else self.id
        surname = self.authors[0].split()[-1]
        return f"{surname}{' et al.' if len(self.authors) > 1 else ''}{when}"


def load_reported(folder: str | Path | None = None) -> pd.DataFrame:
    """Read the table of reported results.

    Args:
        folder: The folder with ``results.csv`` and ``sources.json``; ``paths.reported_folder()`` if None.

    Returns:
        One row per reported value with the columns of ``COLUMNS``; ``value`` and ``std`` are fractions, ``std``
        and ``image_size`` may be missing, unknown texts are empty.

    Raises:
        StoreError: If the table is missing or not as it should be; names the first row that is wrong.
    """
    path = Path(folder or reported_folder()) / "results.csv"
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    except (OSError, ValueError) as error:
        raise StoreError(f"The reported results {path} can't be read: {error}.", "Restore the file.") from error
    missing = [name for name in COLUMNS if name not in frame.columns]
    if missing:
        raise StoreError(f"{path} has no column {missing[0]!r}.", f"Its columns are {', '.join(COLUMNS)}.")
    frame = frame[list(COLUMNS)]
    for name in ("value", "std"):
        frame[name] = pd.to_numeric(frame[name], errors="coerce")
    for name in ("shots", "decimals", "image_size"):
        frame[name] = pd.to_numeric(frame[name], errors="coerce").astype("Int64")
    _refuse_wrong_rows(frame, path, set(load_sources(folder)))
    return frame


def load_sources(folder: str | Path | None = None) -> dict[str, Source]:
    """The sources of the table by their keys.

    Raises:
        StoreError: If the file is missing or damaged.
    """
    path = Path(folder or reported_folder()) / "sources.json"
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        return {key: _source(key, value) for key, value in raw.items()}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise StoreError(f"The sources {path} can't be read: {error}.", "Restore the file.") from error


def reported_leaderboard(
    frame: pd.DataFrame,
    dataset: str,
    *,
    metrics: Iterable[str] | None = None,
    shots: int | None = None,
    kinds: Iterable[str] = ("main",),
    sources: Mapping[str, Source] | None = None,
) -> pd.DataFrame:
    """Reported means of one data set, one row per claim and metric; nothing is averaged over claims or ranked.

    Args:
        frame: As ``load_reported`` gives it.
        dataset: Key of a published data set, e.g. ``mvtec_ad`` (``Dataset.official``).
        metrics: Only these; None for all.
        shots: Only results with this number of references; None for all.
        kinds: ``main``, ``ablation``.
        sources: Sources for the column ``citation``; read from ``paths.reported_folder()`` if None.

    Returns:
        dataset, method, method_id, variant, kind, shots, metric, value, std, stated (False where the mean was
        computed here, from all categories of a source that states none), backbone, image_size, training_data,
        contaminated (trained on this data set), source, citation, location, origin, note.
    """
    known = load_sources() if sources is None else sources
    chosen = frame[(frame["dataset"] == dataset) & frame["kind"].isin(list(kinds))]
    if metrics is not None:
        chosen = chosen[chosen["metric"].isin(list(metrics))]
    if shots is not None:
        chosen = chosen[chosen["shots"] == shots]
    is_mean = chosen["category"] == MEAN
    has_mean = is_mean.groupby([chosen[name] for name in _LINE], dropna=False).transform("any")
    rows = [{**row, "stated": True} for row in _rows(chosen[is_mean])]
    rows += [row for _, group in _groups(chosen[~has_mean]) for row in _computed_means(group, dataset)]
    columns = [
        "dataset", "method", "method_id", "variant", "kind", "shots", "metric", "value", "std", "stated", "backbone",
        "image_size", "training_data", "contaminated", "source", "citation", "location", "origin", "note",
    ]  # fmt: skip
    board = pd.DataFrame(rows, columns=[name for name in columns if name not in ("contaminated", "citation")])
    trained = board["training_data"].str.split("+")
    board["contaminated"] = [isinstance(names, list) and dataset in names for names in trained]
    board["citation"] = [known[key].label if key in known else key for key in board["source"]]
    return board[columns].sort_values(["metric", "shots", "value"], ascending=[True, True, False], ignore_index=True)


def published(comparison: Comparison) -> str | None:
    """The published data set that a comparison is of, by the name reported results use; None if it is of none."""
    stated = comparison.runs[0].provenance.data.get("official")
    return official_key(str(stated or comparison.dataset), comparison.categories)


def conflicts(frame: pd.DataFrame) -> pd.DataFrame:
    """Values that sources state differently, by more than rounding, for what should be one number.

    Held against each other are the authors' own numbers and quotations of them (not other people's runs), for the
    same data set, category, method, shots, metric and training data, ablations left out.

    Returns:
        The rows concerned, with the column ``spread``: largest minus smallest value, a fraction.
    """
    claims = frame[(frame["kind"] == "main") & (frame["origin"] != "reproduction")]
    keys = ["dataset", "category", "method", "shots", "metric", "training_data"]
    kept = []
    values = claims.groupby(keys, dropna=False)["value"]
    differing = claims[values.transform("max") > values.transform("min")]
    for _, group in differing.groupby(keys, sort=False, dropna=False):
        ordered = _rows(group.sort_values("value"))
        low, high = ordered[0], ordered[-1]
        spread = high["value"] - low["value"]
        if spread > _rounding(int(low["decimals"])) + _rounding(int(high["decimals"])) + 1e-9:
            kept.append(group.assign(spread=spread))
    if not kept:
        return claims.head(0).assign(spread=pd.Series(dtype=float))
    return pd.concat(kept).sort_index()


def _rounding(decimals: int) -> float:
    """Half a unit of the last printed digit of a percentage, as a fraction."""
    return 0.5 * 10.0 ** -(decimals + 2)


def _groups(frame: pd.DataFrame) -> Iterator[tuple[tuple[Any, ...], pd.DataFrame]]:
    for line, group in frame.groupby(_LINE, sort=True, dropna=False):
        yield (line if isinstance(line, tuple) else (line,)), group


def _split(group: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The means and the categories of a claim; groups of categories are neither."""
    is_mean = group["category"] == MEAN
    return group[is_mean], group[~is_mean & ~group["category"].str.startswith(GROUP_PREFIX)]


def _rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def _computed_means(group: pd.DataFrame, dataset: str) -> list[dict[str, Any]]:
    """Means of a claim's categories, where all of them are there."""
    _, parts = _split(group)
    found = []
    for _, part in parts.groupby("location", sort=True):
        if part["category"].nunique() == len(part) == CATEGORY_COUNTS.get(dataset):
            first = _rows(part)[0]
            found.append({**first, "value": float(part["value"].mean()), "std": float("nan"), "stated": False})
    return found


def _source(key: str, value: Mapping[str, Any]) -> Source:
    url = None
    if value.get("arxiv"):
        url = f"https://arxiv.org/abs/{value['arxiv']}"
    elif value.get("repo"):
        url = f"https://github.com/{value['repo']}"
    return Source(
        id=key,
        title=value.get("title"),
        authors=tuple(value.get("authors") or ()),
        year=value.get("year"),
        venue=value.get("venue"),
        url=url,
        read=value.get("read") or "",
        note=value.get("note") or "",
    )


def _refuse_wrong_rows(frame: pd.DataFrame, path: Path, sources: set[str]) -> None:
    wrong = {
        "a value that is no fraction": ~frame["value"].between(0.0, 1.0),
        "no number of shots": frame["shots"].isna(),
        "no number of decimals": frame["decimals"].isna(),
        "an unknown metric": ~frame["metric"].isin(METRIC_NAMES),
        "an unknown origin": ~frame["origin"].isin(list(ORIGINS)),
        "an unknown kind": ~frame["kind"].isin(KINDS),
        "a source that sources.json lacks": ~frame["source"].isin(sources),
    }
    for what, rows in wrong.items():
        if rows.any():
            line = int(rows.to_numpy().argmax()) + 2
            raise StoreError(f"{path}, line {line}, has {what}.", "Correct the line.")
