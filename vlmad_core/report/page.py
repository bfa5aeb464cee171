"""The report as one html file: what `report.html.j2` shows of its content, as texts, numbers and colours."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from markupsafe import Markup

from vlmad_core import templates
from vlmad_core.analysis.best import best_values
from vlmad_core.analysis.leaderboard import interval_text
from vlmad_core.figures.grid import category_label
from vlmad_core.figures.style import ink_on, interpolate, method_style, sequential
from vlmad_core.metrics.spec import METRICS
from vlmad_core.report.content import Report, Task

ROW, WIDTH, NARROWEST_LEFT, RIGHT = 30, 720, 120, 70
"""Of the chart: height of a row, its width, least room for labels on the left, room for values on the right."""

LETTER = 7.2
"""About the width of a letter at the labels' size, so that the longest label has room."""


@dataclass(frozen=True)
class Bar:
    """A value with its interval.

    Attributes:
        label: Whose value.
        method: Identifier of the method; decides the colour.
        value: A fraction.
        low: Lower end of the interval, or NaN.
        high: Upper end, or NaN.
    """

    label: str
    method: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class _Cell:
    """A number in a table, or why there is none."""

    number: str = ""
    reason: str = "not measured"
    interval: str | None = None
    best: bool = False
    colour: str = ""
    ink: str = ""


@dataclass(frozen=True)
class _Numbers:
    """A table of numbers: heads of its columns, and each row's head with its cells."""

    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[_Cell]]]


def render(report: Report) -> str:
    """The html text of a report."""
    used = {name for section in report.sections for task in section.tasks for name in task.board["metric"]}
    return templates.render(
        "report.html.j2",
        title=report.title,
        report=report,
        parts=[
            (section, [_task(task) for task in section.tasks], _reported(section.reported))
            for section in report.sections
        ],
        metrics=[spec for name, spec in METRICS.items() if name in used],
        webp_address=templates.webp_address,
    )


def interval_chart(bars: Sequence[Bar], axis: str, *, chance: float | None = None) -> Markup:
    """Draw values with their intervals as SVG, one row each, in the order given.

    Args:
        bars: The values; must not be empty.
        axis: Name of the axis.
        chance: What guessing reaches, drawn as a dotted line; None for nothing.
    """
    ends = [end for bar in bars for end in (bar.value, bar.low, bar.high) if not math.isnan(end)]
    low, high, ticks = axis_range(min([*ends, *([chance] if chance is not None else [])]), max(ends))
    left = max(NARROWEST_LEFT, 16 + LETTER * max(len(bar.label) for bar in bars))

    def x(value: float) -> float | None:
        return None if math.isnan(value) else left + (value - low) / (high - low) * (WIDTH - left - RIGHT)

    return templates.draw(
        "chart.svg.j2",
        title=f"{axis}: " + ", ".join(f"{bar.label} {100 * bar.value:.1f}%" for bar in bars),
        axis=axis,
        width=WIDTH,
        left=left,
        right=WIDTH - RIGHT,
        bottom=len(bars) * ROW + 12,
        ticks=[(x(tick), f"{100 * tick:.0f}%") for tick in ticks],
        chance=x(chance) if chance is not None and low <= chance <= high else None,
        rows=[
            {
                "label": bar.label,
                "value": f"{100 * bar.value:.1f}%",
                "y": 8 + (number + 0.5) * ROW,
                "x": x(bar.value),
                "ends": None if math.isnan(bar.low) or math.isnan(bar.high) else (x(bar.low), x(bar.high)),
                "colour": method_style(bar.method).colour,
            }
            for number, bar in enumerate(bars)
        ],
    )


def axis_range(low: float, high: float) -> tuple[float, float, list[float]]:
    """Ends of an axis for fractions, with three to eight round marks.

    >>> axis_range(0.62, 0.93)
    (0.6, 1.0, [0.6, 0.7, 0.8, 0.9, 1.0])
    """
    step = next(step for step in (0.01, 0.02, 0.05, 0.1, 0.2) if (high - low) / step <= 5 or step == 0.2)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    first = max(0, first - (last == first))
    last += last == first
    marks = [round(k * step, 6) for k in range(first, last + 1)]
    return marks[0], marks[-1], marks


def _task(task: Task) -> dict[str, Any]:
    """One question's evidence: the chart, all metrics, and the leading one by category."""
    label = METRICS[task.metric].label
    shown: dict[str, Any] = {"question": task.question, "label": label, "blank": task.blank}
    if task.blank is not None:
        return shown
    rows = task.board[(task.board["metric"] == task.metric) & task.board["value"].notna()]
    rows = rows.sort_values(["shots", "value"], ascending=[True, False])
    bars = [
        Bar(_named(row), str(row["method"]), float(row["value"]), float(row["low"]), float(row["high"]))
        for row in rows.to_dict("records")
    ]
    chance = 0.5 if task.metric.endswith("auroc") else None
    return shown | {
        "chart": interval_chart(bars, f"{label}, mean and 95% interval over categories", chance=chance),
        "board": _board(task.board),
        "blanks": _blanks(task.board),
        "how": _with(task.shots) or ", without references",
        "grid": _grid(task.categories),
    }


def _board(board: pd.DataFrame) -> _Numbers:
    """All metrics of all lines, in percent, the best of each bold."""
    names = list(dict.fromkeys(board["metric"]))
    best = best_values(board)
    rows = []
    for _, line in board.groupby(["title", "shots"], sort=False):
        values = {row["metric"]: row for row in line.to_dict("records")}
        cells = []
        for name in names:
            row = values.get(name)
            if row is None or pd.isna(row["value"]):
                cells.append(_blank(row))
            else:
                interval = interval_text(row["low"], row["high"])
                cells.append(_Cell(_percent(row["value"]), interval=interval, best=row["value"] == best.get(name)))
        rows.append((_named(line.iloc[0].to_dict()), cells))
    return _Numbers(["Method", *(METRICS[name].label for name in names)], rows)


def _grid(cells: pd.DataFrame) -> _Numbers:
    """Categories down, lines across, coloured by value; the number stands in every cell."""
    titles = dict(zip(cells["line"], cells["title"], strict=True))
    known = cells["value"].dropna()
    low, high = (known.min(), known.max()) if len(known) else (0.0, 1.0)
    colours = sequential(dark=False)
    rows = []
    for category, group in cells.groupby("category", sort=False):
        values = {row["line"]: row for row in group.to_dict("records")}
        shown = []
        for line in titles:
            row = values.get(line)
            if row is None or pd.isna(row["value"]):
                shown.append(_blank(row))
            else:
                colour = interpolate(colours, (row["value"] - low) / max(high - low, 1e-9))
                shown.append(_Cell(_percent(row["value"]), colour=colour, ink=ink_on(colour)))
        rows.append((category_label(str(category)), shown))
    return _Numbers(["Category", *(str(title) for title in titles.values())], rows)


def _blank(row: Mapping[Any, Any] | None) -> _Cell:
    """A cell without a value, with the reason where one was recorded."""
    return _Cell(reason=row["reason"]) if row is not None and isinstance(row["reason"], str) else _Cell()


def _blanks(board: pd.DataFrame) -> list[str]:
    """Why values are missing, once for each line."""
    empty = board[board["value"].isna()].drop_duplicates(["title", "shots", "reason"])
    return [f"– {_named(row)}: {row['reason']}" for row in empty.to_dict("records") if isinstance(row["reason"], str)]


def _reported(board: pd.DataFrame) -> list[dict[str, str]]:
    return [
        {
            "Method": f"{row['method']}{_with(int(row['shots']))}",
            "Metric": METRICS[row["metric"]].label,
            "Percent": _percent(row["value"]),
            "Whose number": row["whose"],
            "Backbone": row["backbone"],
            "Source": row["citation"],
            "Where": row["location"],
        }
        for row in board.to_dict("records")
    ]


def _named(row: Mapping[Any, Any]) -> str:
    return f"{row['title']}{_with(int(row['shots']))}"


def _with(shots: int) -> str:
    """What follows a method's name: its number of references, if it has any."""
    return "" if shots == 0 else f", {shots} reference" + ("" if shots == 1 else "s")


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"
