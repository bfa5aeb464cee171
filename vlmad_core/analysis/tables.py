"""Tables as text: a leaderboard as csv, LaTeX for a paper, markdown for a page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from vlmad_core.analysis.best import best_values
from vlmad_core.analysis.statistics import INTERVAL_NAMES, OVER_CATEGORIES
from vlmad_core.metrics.spec import METRICS
from vlmad_core.tabular import csv_text

FRACTIONS = ("value", "low", "high", "sd", "gain", "spread", "difference")
"""Columns that hold fractions in every table of this program; LaTeX shows them in percent."""

_ESCAPED = {
    **{character: f"\\{character}" for character in "&%_#${}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}


def latex_text(table: pd.DataFrame, headings: Mapping[str, str] | None = None, note: str = "") -> str:
    """Any table as a LaTeX tabular (booktabs).

    Columns named in ``FRACTIONS`` are fractions and shown in percent; the interval stands in
    brackets behind the value. Other numbers have one decimal, or three where a whole column lies below 10.

    Args:
        table: Any columns.
        headings: The columns to show, in order, with their headings; None for all under their own names.
        note: What the table is of; a comment in front of it.
    """
    names = dict(headings) if headings is not None else {str(name): str(name) for name in table.columns}
    names = {name: text for name, text in names.items() if name in table.columns}
    if {"value", "low", "high"} <= set(table.columns) and "value" in names:
        names = {name: text for name, text in names.items() if name not in ("low", "high")}
        low, high = table["low"], table["high"]
    else:
        low = high = pd.Series(np.nan, index=table.index)
    columns = []
    for name in names:
        kept = table[name]
        if not pd.api.types.is_float_dtype(kept):
            columns.append([_latex("--" if _blank(value) else str(value)) for value in kept])
        elif name in FRACTIONS:
            limits = zip(low, high, strict=True) if name == "value" else [(np.nan, np.nan)] * len(kept)
            columns.append([_percent(value, *pair) for value, pair in zip(kept, limits, strict=True)])
        else:
            digits = 3 if kept.abs().max() < 10 else 1
            columns.append(["--" if _blank(value) else f"{value:.{digits}f}" for value in kept])
    numeric = [pd.api.types.is_numeric_dtype(table[name]) for name in names]
    heads = [_latex(f"{text} (%)" if name in FRACTIONS and "%" not in text else text) for name, text in names.items()]
    lines = [f"% {' '.join(note.split())}"] if note else []
    return _tabular(
        [*lines, "% produced by VLM-AD"],
        "".join("r" if number else "l" for number in numeric),
        heads,
        zip(*columns, strict=True),
    )


def leaderboard_csv(board: pd.DataFrame) -> str:
    """A leaderboard as csv: one row per line and metric, values as fractions, blanks empty with their reason.

    Args:
        board: As ``vlmad_core.analysis.leaderboard.leaderboard`` gives it.
    """
    columns = [
        "dataset", "method", "preset", "title", "shots", "backbone", "mode", "conditions", "evidence", "metric",
        "eval_size", "value", "low", "high", "sd", "n_seeds", "n_categories", "n", "rank", "reason",
    ]  # fmt: skip
    return csv_text(board[[name for name in columns if name in board.columns]])


def leaderboard_latex(board: pd.DataFrame, *, intervals: bool = False) -> str:
    """A leaderboard as a LaTeX tabular (booktabs), in percent; the best of each column (``best_values``) is bold.

    Args:
        board: As ``leaderboard`` gives it, for one data set under equal conditions.
        intervals: Whether each value is followed by its interval, and each method by where its numbers come from.
    """
    names = [name for name in METRICS if name in set(board["metric"])]
    best = best_values(board)
    rows = []
    for (title, shots), line in board.groupby(["title", "shots"], sort=False, dropna=False):
        found = {row["metric"]: row for row in line.to_dict("records")}
        if line["value"].isna().all():
            continue
        name = f"{title}, {shots}-shot" if shots else str(title)
        about = [str(line["evidence"].iloc[0])] if intervals else []
        values = [_latex_value(found.get(metric), best.get(metric), intervals) for metric in names]
        rows.append([_latex(name), *about, *values])
    made = f" [95 % interval, {INTERVAL_NAMES[OVER_CATEGORIES]}]" if intervals else ""
    heads = ["Method", *(["Number is"] if intervals else []), *(_latex(METRICS[name].label) for name in names)]
    comment = f"% percent, mean over categories{made}; produced by VLM-AD"
    return _tabular([comment], "l" * (len(heads) - len(names)) + "r" * len(names), heads, rows)


def markdown_table(board: pd.DataFrame, heading: str, *, intervals: bool = False) -> str:
    """A leaderboard as a markdown table, in percent; the best of each column (``best_values``) is bold.

    Args:
        board: As ``leaderboard`` gives it, for one data set under equal conditions.
        heading: A line above it.
        intervals: Whether each value is followed by its interval.
    """
    names = [name for name in METRICS if name in set(board["metric"])]
    best = best_values(board)
    made = f" [95 % interval, {INTERVAL_NAMES[OVER_CATEGORIES]}]" if intervals else ""
    lines = [
        f"**{_cell(heading)}** (percent, mean over categories{made})",
        "",
        "| " + " | ".join(["Method", "Shots", "Seeds", *(METRICS[name].label for name in names)]) + " |",
        "|" + " --- |" + " ---: |" * (len(names) + 2),
    ]
    for (title, shots), line in board.groupby(["title", "shots"], sort=False, dropna=False):
        rows = {row["metric"]: row for row in line.to_dict("records")}
        cells = [_number(rows.get(metric), best.get(metric), intervals) for metric in names]
        lines.append("| " + " | ".join([_cell(title), str(shots), str(line["n_seeds"].iloc[0]), *cells]) + " |")
    return "\n".join([*lines, ""])


def _tabular(comments: Iterable[str], kinds: str, heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A tabular of cells that are LaTeX already."""
    lines = [*comments, rf"\begin{{tabular}}{{{kinds}}}", r"\toprule", " & ".join(heads) + r" \\", r"\midrule"]
    lines += [" & ".join(row) + r" \\" for row in rows]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _latex(text: str) -> str:
    return "".join(_ESCAPED.get(character, character) for character in " ".join(text.split()))


def _percent(value: float, low: float, high: float) -> str:
    if pd.isna(value):
        return "--"
    interval = "" if pd.isna(low) or pd.isna(high) else f" [{100 * low:.1f}, {100 * high:.1f}]"
    return f"{100 * value:.1f}{interval}"


def _latex_value(row: Mapping[Any, Any] | None, best: float | None, intervals: bool) -> str:
    if row is None or pd.isna(row["value"]):
        return "--"
    number = f"{100 * row['value']:.1f}"
    shown = rf"\textbf{{{number}}}" if row["value"] == best else number
    return shown + (_percent(row["value"], row["low"], row["high"]).removeprefix(number) if intervals else "")


def _blank(value: object) -> bool:
    return value is None or value is pd.NA or value != value


def _number(row: Mapping[Any, Any] | None, best: float | None, intervals: bool) -> str:
    if row is None or pd.isna(row["value"]):
        return "–"
    number = f"{100 * row['value']:.1f}"
    interval = f" [{100 * row['low']:.1f}, {100 * row['high']:.1f}]" if intervals and pd.notna(row["low"]) else ""
    return f"**{number}**{interval}" if row["value"] == best else f"{number}{interval}"


def _cell(text: object) -> str:
    return str(text).replace("|", "\\|").replace("\n", " ")
