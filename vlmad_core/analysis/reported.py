"""Results that papers and other people's repositories report, as a tidy table with its sources.

The table lies in ``results/reported``; its README explains the columns and the known conflicts. Reported values
are never averaged with measured ones, and conflicts between sources are kept: this module shows them, and
resolves none.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from vlmad_core.analysis.claims import ALWAYS_SHOWN, FIRST_HAND
from vlmad_core.analysis.entries import Comparison
from vlmad_core.analysis.sources import Source, load_sources, read_claims, refuse_wrong_rows
from vlmad_core.datasets.catalogue import official_key, official_sets
from vlmad_core.metrics.spec import MEAN
from vlmad_core.paths import reported_folder

COLUMNS = (
    "dataset", "category", "method", "method_id", "variant", "kind", "shots", "metric", "value", "std", "decimals",
    "backbone", "image_size", "training_data", "source", "location", "origin", "read", "note",
)  # fmt: skip
METRIC_NAMES = (
    "image_auroc", "image_ap", "image_f1max", "pixel_auroc", "pixel_ap", "pixel_f1max", "aupro_reported",
)  # fmt: skip
KINDS = ("main", "ablation")
CATEGORY_COUNTS: Mapping[str, int] = {
    key: entry.n_categories for key, entry in official_sets().items() if entry.n_categories
}
"""Categories of the published data sets; a mean is checked only against all of them."""

GROUP_PREFIX = "group:"

_LINE = ["dataset", "method", "variant", "shots", "metric", "source", "backbone", "image_size", "training_data"]
"""What one reported mean belongs to."""


def load_reported(folder: str | Path | None = None) -> pd.DataFrame:
    """Read the table of reported results.

    Args:
        folder: The folder with ``results.csv`` and ``sources.json``; ``paths.reported_folder()`` if None.

    Returns:
        One row per reported value with the columns of ``COLUMNS``, and ``whose`` (``analysis.claims.Kind``);
        ``value`` and ``std`` are fractions, ``std`` and ``image_size`` may be missing, unknown texts are empty.

    Raises:
        StoreError: If the table is missing or not as it should be; names the first row that is wrong.
    """
    path = Path(folder or reported_folder()) / "results.csv"
    frame = read_claims(path, COLUMNS)
    for name in ("value", "std"):
        frame[name] = pd.to_numeric(frame[name], errors="coerce")
    for name in ("shots", "decimals", "image_size"):
        frame[name] = pd.to_numeric(frame[name], errors="coerce").astype("Int64")
    wrong = {
        "a value that is no fraction": ~frame["value"].between(0.0, 1.0),
        "no number of shots": frame["shots"].isna(),
        "no number of decimals": frame["decimals"].isna(),
        "an unknown metric": ~frame["metric"].isin(METRIC_NAMES),
        "an unknown kind": ~frame["kind"].isin(KINDS),
        "an unknown data set": ~frame["dataset"].isin(list(official_sets())),
    }
    refuse_wrong_rows(frame, path, wrong, set(load_sources(folder)))
    return frame


def reported_sets(frame: pd.DataFrame) -> dict[str, str]:
    """The data sets of the table and their names in words, the one with most values first."""
    return {str(key): official_sets()[str(key)].title for key in frame["dataset"].value_counts().index}


def first_hand(frame: pd.DataFrame) -> pd.DataFrame:
    """The claims that are shown unless others are asked for: those at first hand, and all of ``ALWAYS_SHOWN``."""
    return frame[frame["whose"].isin(FIRST_HAND) | frame["method_id"].isin(ALWAYS_SHOWN)]


def reported_leaderboard(
    frame: pd.DataFrame,
    dataset: str,
    *,
    metrics: Iterable[str] | None = None,
    shots: int | None = None,
    kinds: Iterable[str] = ("main",),
    sources: Mapping[str, Source] | None = None,
    second_hand: bool = False,
) -> pd.DataFrame:
    """Reported means of one data set, one row per claim and metric; nothing is averaged over claims or ranked.

    Args:
        frame: As ``load_reported`` gives it.
        dataset: Key of a published data set, e.g. ``mvtec_ad`` (``Dataset.official``).
        metrics: Only these; None for all.
        shots: Only results with this number of references; None for all.
        kinds: ``main``, ``ablation``.
        sources: Sources for the column ``citation``; read from ``paths.reported_folder()`` if None.
        second_hand: Also those that ``first_hand`` leaves out.

    Returns:
        dataset, method, method_id, variant, kind, shots, metric, value, std, stated (False where the mean was
        computed here, from all categories of a source that states none), backbone, image_size, training_data,
        contaminated (trained on this data set), source, citation, location, origin, whose, note.
    """
    known = load_sources() if sources is None else sources
    chosen = frame[(frame["dataset"] == dataset) & frame["kind"].isin(list(kinds))]
    chosen = chosen if second_hand else first_hand(chosen)
    if metrics is not None:
        chosen = chosen[chosen["metric"].isin(list(metrics))]
    if shots is not None:
        chosen = chosen[chosen["shots"] == shots]
    claims = _rows(chosen)
    rows = [{**row, "stated": True} for row in claims if row["category"] == MEAN] + computed_means(claims)
    columns = [
        "dataset", "method", "method_id", "variant", "kind", "shots", "metric", "value", "std", "stated", "backbone",
        "image_size", "training_data", "contaminated", "source", "citation", "location", "origin", "whose",
        "note",
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


def computed_means(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Means of claims that give all categories of a data set and state no mean.

    Args:
        rows: Rows of the table, main claims only.

    Returns:
        A row like the claim's own for each of them, with ``stated`` False and ``std`` NaN.
    """
    stated: set[tuple[str, ...]] = set()
    parts: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        line = tuple(str(row[name]) for name in _LINE)
        if row["category"] == MEAN:
            stated.add(line)
        elif not row["category"].startswith(GROUP_PREFIX):
            parts.setdefault((*line, row["location"]), []).append(row)
    found = []
    for place, part in sorted(parts.items()):
        complete = CATEGORY_COUNTS.get(part[0]["dataset"])
        if place[:-1] not in stated and len({row["category"] for row in part}) == len(part) == complete:
            mean = math.fsum(row["value"] for row in part) / len(part)
            found.append({**part[0], "category": MEAN, "value": mean, "std": math.nan, "stated": False})
    return found


def _rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]
