"""Tables for reading and for taking along: leaderboards in percent, as csv and as LaTeX."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from vlmad_core.metrics.spec import METRICS

LINE = ["method", "preset", "shots", "title", "backbone", "mode"]


@dataclass(frozen=True)
class Blank:
    """A value that is missing from a table.

    Attributes:
        title: The method, as shown.
        metric: Name of the metric.
        reason: Why there is no value.
    """

    title: str
    metric: str
    reason: str


def leaderboard_table(
    board: pd.DataFrame, metrics: Sequence[str], rank_by: str
) -> tuple[pd.DataFrame, tuple[Blank, ...]]:
    """One row per line and one column per metric, in percent, ranked by one of them.

    Args:
        board: As ``leaderboard`` gives it, for one data set under equal conditions.
        metrics: The metrics to show, in order.
        rank_by: The metric whose rank and interval are shown; lines without a value come last.

    Returns:
        rank, title, interval, the metrics (percent, blank where missing), shots, n_seeds, n_categories, n; and
        the blanks in ``rank_by`` with their reasons.
    """
    rows: list[dict[str, Any]] = []
    blanks: list[Blank] = []
    for line, group in board.groupby(LINE, dropna=False, sort=False):
        by_metric: dict[str, Any] = {row["metric"]: row for row in group.to_dict("records")}
        if rank_by not in by_metric:
            continue
        leading = by_metric[rank_by]
        values = {name: 100 * by_metric[name]["value"] if name in by_metric else float("nan") for name in metrics}
        rows.append(
            {
                "rank": leading["rank"],
                "title": leading["title"],
                "interval": interval_text(leading["low"], leading["high"]),
                **values,
                "shots": line[LINE.index("shots")],
                "n_seeds": leading["n_seeds"],
                "n_categories": leading["n_categories"],
                "n": leading["n"],
            }
        )
        if pd.isna(leading["value"]):
            reason = leading["reason"] if isinstance(leading["reason"], str) else "Not computed."
            blanks.append(Blank(str(leading["title"]), rank_by, reason))
    columns = ["rank", "title", "interval", *metrics, "shots", "n_seeds", "n_categories", "n"]
    frame = pd.DataFrame(rows, columns=columns).sort_values(["rank", "title"], ignore_index=True)
    return frame.astype({"rank": "Int64"}), tuple(blanks)


def headlines(board: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    """One row per line with a few metrics in percent, for an overview.

    Args:
        board: As ``leaderboard`` gives it, for one data set under equal conditions.
        metrics: Names of the metrics.

    Returns:
        dataset, title, preset, shots, n_categories, and the metrics (blank where missing).
    """
    rows = []
    for _, group in board.groupby(LINE, dropna=False, sort=False):
        first = group.iloc[0]
        values = dict(zip(group["metric"], 100 * group["value"].astype(float), strict=True))
        rows.append(
            {name: first[name] for name in ("dataset", "title", "preset", "shots", "n_categories")}
            | {name: values.get(name, float("nan")) for name in metrics}
        )
    return pd.DataFrame(rows, columns=["dataset", "title", "preset", "shots", "n_categories", *metrics])


def rank_again(board: pd.DataFrame) -> pd.DataFrame:
    """A part of a leaderboard with ranks among its own lines.

    Args:
        board: Some lines of what ``leaderboard`` gives.
    """
    groups = board.groupby(["dataset", "conditions", "metric", "eval_size"], dropna=False)["value"]
    return board.assign(rank=groups.rank(ascending=False, method="min").astype("Int64"))


def csv_text(board: pd.DataFrame) -> str:
    """A leaderboard as csv: one row per line and metric, values as fractions, blanks empty with their reason."""
    columns = [
        "dataset", "method", "preset", "title", "shots", "backbone", "mode", "conditions", "metric", "eval_size",
        "value", "low", "high", "sd", "n_seeds", "n_categories", "n", "rank", "reason",
    ]  # fmt: skip
    return board[[name for name in columns if name in board.columns]].to_csv(index=False)


def latex_table(board: pd.DataFrame) -> str:
    """A leaderboard as a LaTeX tabular (booktabs), in percent; the best value of each column is bold.

    Args:
        board: As ``leaderboard`` gives it, for one data set under equal conditions.
    """
    names = [name for name in METRICS if name in set(board["metric"])]
    wide = board.pivot_table(
        index=["title", "preset", "shots"], columns="metric", values="value", aggfunc="first", dropna=False, sort=False
    )
    wide = wide.dropna(how="all")
    lines = [
        r"% percent, mean over categories; produced by VLM-AD",
        r"\begin{tabular}{l" + "r" * len(names) + "}",
        r"\toprule",
        " & ".join(["Method", *(_latex(METRICS[name].label) for name in names)]) + r" \\",
        r"\midrule",
    ]
    best = wide.max()
    for key, row in wide.iterrows():
        title, preset, shots = key if isinstance(key, tuple) else (key, "canonical", 0)
        marked = preset == "canonical" or f"({preset})" in str(title)
        name = str(title) if marked else f"{title} ({preset})"
        name = f"{name}, {shots}-shot" if shots else name
        values = [_latex_value(row.get(metric), best.get(metric)) for metric in names]
        lines.append(" & ".join([_latex(name), *values]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def interval_text(low: float, high: float) -> str:
    """An interval of fractions, in percent; empty where there is none.

    >>> interval_text(0.61, 0.734)
    '61.0 – 73.4'
    """
    return "" if pd.isna(low) or pd.isna(high) else f"{100 * low:.1f} – {100 * high:.1f}"


def _latex(text: str) -> str:
    for character in ("&", "%", "_", "#"):
        text = text.replace(character, "\\" + character)
    return text


def _latex_value(value: float | None, best: float | None) -> str:
    if value is None or pd.isna(value):
        return "--"
    number = f"{100 * value:.1f}"
    return rf"\textbf{{{number}}}" if value == best else number


def wide_cells(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per category and one column per line, in percent.

    Args:
        frame: As ``vlmad_core.analysis.comparison.cells`` gives it.

    Returns:
        category, and one column named by each line's id, in the order given.
    """
    wide = frame.pivot_table(index="category", columns="line", values="value", dropna=False, sort=False)
    wide = wide.reindex(columns=list(dict.fromkeys(frame["line"]))) * 100
    return wide.reset_index().rename_axis(columns=None)
