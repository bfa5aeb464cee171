"""Reported means in the form of a leaderboard's table: one row per claim, never mixed with measured ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from vlmad_core.analysis.entries import Comparison, entry_name
from vlmad_core.datasets.catalogue import official_key

_CLAIM = ["method", "method_id", "variant", "shots", "source", "training_data", "backbone", "image_size", "origin"]
ORIGINS = {
    "primary": "the authors",
    "secondary": "quoted from the authors",
    "reproduction": "somebody's run",
    "unclear": "not said",
}


def published(comparison: Comparison) -> str | None:
    """The published data set that a comparison is of, by the name reported results use; None if it is of none."""
    stated = comparison.runs[0].provenance.data.get("official")
    return official_key(str(stated or comparison.dataset), comparison.categories)


def claims_table(board: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    """One row per claim and one column per metric, in percent.

    Args:
        board: As ``reported_leaderboard`` gives it.
        metrics: Names of the metrics to show; claims without any of them are left out.

    Returns:
        name, whose (``reported``), citation, origin, the metrics (percent, blank where not reported), shots, seen,
        trained_on, variant, location; the best in the first metric first.
    """
    rows: list[dict[str, Any]] = []
    kept = board[board["metric"].isin(list(metrics))]
    for _, part in kept.groupby(_CLAIM, dropna=False, sort=False):
        first = part.iloc[0]
        values = {str(row["metric"]): 100 * float(row["value"]) for row in part.to_dict("records")}
        trained = str(first["training_data"] or "")
        rows.append(
            {
                "name": entry_name(str(first["method"]), "canonical", int(first["shots"])),
                "whose": "reported",
                "citation": first["citation"],
                "origin": ORIGINS.get(str(first["origin"]), str(first["origin"])),
                **{name: values.get(name) for name in metrics},
                "shots": int(first["shots"]),
                "seen": _seen(trained, bool(first["contaminated"])),
                "trained_on": "" if trained == "none" else trained.replace("+", ", "),
                "variant": first["variant"],
                "location": first["location"],
            }
        )
    columns = [
        "name", "whose", "citation", "origin", *metrics, "shots", "seen", "trained_on", "variant", "location",
    ]  # fmt: skip
    frame = pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(metrics, float))
    return frame.sort_values(list(metrics), ascending=False, ignore_index=True)


def _seen(trained: str, contaminated: bool) -> str:
    """What the source says of the method's own training; what its backbone saw is nowhere reported."""
    if contaminated:
        return "yes"
    return "no" if trained else "not recorded"
