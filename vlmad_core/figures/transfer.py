"""What a method was trained on against what it is judged on, as a grid of values."""

from __future__ import annotations

import math

import pandas as pd

from vlmad_core.figures.colours import ink_on, interpolate, sequential
from vlmad_core.figures.libraries import alt

ROW_HEIGHT = 74
SURROUNDINGS = 96
EMPTY = "#8a96a3"


def transfer_chart(frame: pd.DataFrame, label: str, *, dark: bool = False) -> alt.LayerChart:
    """Draw the matrix: rows are training data, columns the data judged; contaminated cells are framed and say so.

    Args:
        frame: As ``vlmad_core.analysis.transfer.cells_frame`` gives it.
        label: Name of the metric.
        dark: Whether the page is dark.
    """
    data = transfer_data(frame, dark=dark)
    low, high = _range(frame["value"])
    rows, columns = list(dict.fromkeys(data["row"])), list(dict.fromkeys(data["dataset"]))
    x = alt.X(
        "dataset:N",
        sort=columns,
        title="Judged on",
        scale=alt.Scale(paddingInner=0.04, paddingOuter=0),
        axis=alt.Axis(
            orient="top", labelAngle=0, domain=False, ticks=False, labelPadding=6, labelOverlap=False, labelFontSize=13
        ),
    )
    y = alt.Y(
        "row:N",
        sort=rows,
        title=None,
        scale=alt.Scale(paddingInner=0.1, paddingOuter=0),
        axis=alt.Axis(
            domain=False, ticks=False, labelPadding=10, labelLimit=150, labelFlush=False, labelFontSize=13,
            labelExpr="split(replace(datum.label, ': ', ':|'), '|')",
        ),
    )  # fmt: skip
    tooltip = [
        alt.Tooltip("row:N", title="Trained on"),
        alt.Tooltip("dataset:N", title="Judged on"),
        alt.Tooltip("title:N", title="Method"),
        alt.Tooltip("shown:N", title=label),
        alt.Tooltip("interval:N", title="95% interval"),
        alt.Tooltip("seen:N", title="Saw this data"),
        alt.Tooltip("reason:N", title="Note"),
    ]
    base = alt.Chart(data).encode(x=x, y=y, tooltip=tooltip)
    blanks = (
        base.transform_filter("!isValid(datum.value)")
        .mark_rect(cornerRadius=5, strokeDash=[3, 3])
        .encode(fill=alt.value("transparent"), stroke=alt.value(EMPTY))
    )
    known = base.transform_filter("isValid(datum.value)")
    fills = known.mark_rect(cornerRadius=5, strokeWidth=3, strokeDash=[6, 4]).encode(
        fill=alt.Fill(
            "value:Q",
            scale=alt.Scale(domain=[low, high], range=list(sequential(dark)), clamp=True),
            legend=alt.Legend(
                title=label, orient="bottom", direction="horizontal", gradientLength=200, gradientThickness=10,
                values=[low, high], format=".0%", titleLimit=300,
            ),
        ),
        stroke=alt.Stroke("frame:N", scale=None, legend=None),
    )  # fmt: skip
    numbers = base.mark_text(fontSize=17, fontWeight=600, dy=-9).encode(
        text="shown:N", color=alt.Color("ink:N", scale=None, legend=None)
    )
    words = base.mark_text(fontSize=11, dy=11).encode(text="word:N", color=alt.Color("ink:N", scale=None, legend=None))
    return alt.layer(fills, blanks, numbers, words).properties(height=len(rows) * ROW_HEIGHT + SURROUNDINGS)


def transfer_data(frame: pd.DataFrame, *, dark: bool = False) -> pd.DataFrame:
    """What the chart draws: one row per cell with its texts and colours.

    Args:
        frame: As for ``transfer_chart``.
        dark: As for ``transfer_chart``.
    """
    low, high = _range(frame["value"])
    colours = sequential(dark)
    rows = []
    for cell in frame.to_dict("records"):
        value = float(cell["value"])
        blank = math.isnan(value)
        ground = "" if blank else interpolate(colours, (value - low) / (high - low))
        contaminated = cell["verdict"] == "contaminated"
        rows.append(
            {
                "row": _row(str(cell["trained_on"]), str(cell["title"])),
                "dataset": cell["dataset"],
                "title": cell["title"],
                "value": None if blank else value,
                "shown": "–" if blank else f"{100 * value:.1f}",
                "interval": "" if blank or math.isnan(cell["low"]) else _interval(cell["low"], cell["high"]),
                "word": _word(str(cell["verdict"]), blank),
                "seen": cell["seen"] or "–",
                "reason": cell["reason"],
                "ink": EMPTY if blank else ink_on(ground),
                "frame": "#d9701a" if contaminated else "transparent",
            }
        )
    return pd.DataFrame(rows)


def _row(trained_on: str, title: str) -> str:
    return f"no training: {title}" if trained_on == "nothing" else f"trained on: {trained_on}"


def _word(verdict: str, blank: bool) -> str:
    if blank:
        return "not run" if not verdict else "no value"
    return {"contaminated": "saw this data", "unknown": "training unknown"}.get(verdict, "new data")


def _interval(low: float, high: float) -> str:
    return f"{100 * low:.1f} – {100 * high:.1f}"


def _range(values: pd.Series) -> tuple[float, float]:
    known = values.dropna().astype(float)
    if known.empty:
        return 0.0, 1.0
    low, high = math.floor(20 * known.min()) / 20, math.ceil(20 * known.max()) / 20
    return (low, high) if high > low else (max(0.0, low - 0.05), min(1.0, high + 0.05))
