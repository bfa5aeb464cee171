"""Small matrices: who is wrong where another is right, trained on against judged on, the patches of an image."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vlmad_core.figures.overlay import encode
from vlmad_core.figures.style import ink_on, interpolate, sequential
from vlmad_core.libraries import alt

PAIR = "pair"
"""Name of the selection; it yields the fields ``wrong`` and ``right`` of the clicked cell."""
PAIR_ROW = 34
TRANSFER_ROW, TRANSFER_HEAD = 74, 96
EMPTY = "#8a96a3"
SIDE = 270
"""Side of the chart, in pixels; the image is stretched to it, as the backbone sees it."""

PICK = "patch"
"""Name of the selection: ``row`` and ``column`` of the patch that was clicked."""


def pair_grid(frame: pd.DataFrame, titles: Mapping[str, str], *, dark: bool = False) -> alt.LayerChart:
    """Draw how many images one method judges wrongly and another one rightly.

    Args:
        frame: As ``vlmad_core.analysis.verdicts.pairs`` gives it.
        titles: How each line is shown.
        dark: Whether the page is dark.

    Returns:
        A chart whose selection ``pair`` holds the ids of the clicked cell's lines.
    """
    data = pair_data(frame, titles, dark=dark)
    names = list(dict.fromkeys(data["wrong_title"]))
    pick = alt.selection_point(name=PAIR, fields=["wrong", "right"], on="click", empty=False)
    axis = {"domain": False, "ticks": False, "labelLimit": 120, "labelFontSize": 12, "labelOverlap": False}
    base = alt.Chart(data).encode(
        x=alt.X(
            "right_title:N",
            sort=names,
            title="… where this one is right",
            axis=alt.Axis(orient="top", labelAngle=-35, **axis),
        ),
        y=alt.Y(
            "wrong_title:N", sort=names, title="Wrong for this one …", axis=alt.Axis(labelBaseline="middle", **axis)
        ),
        tooltip=[alt.Tooltip("note:N", title="Images")],
    )
    cells = base.mark_rect(cornerRadius=4, cursor="pointer", strokeWidth=2).encode(
        fill=alt.Fill("fill:N", scale=None),
        stroke=alt.condition(pick, alt.value("#d9701a"), alt.value("transparent")),
    )
    numbers = base.mark_text(fontSize=13, cursor="pointer").encode(text="n:Q", color=alt.Color("ink:N", scale=None))
    layered = alt.layer(cells.add_params(pick), numbers)
    return layered.properties(height=PAIR_ROW * len(names) + 130).configure_view(strokeWidth=0)


def pair_data(frame: pd.DataFrame, titles: Mapping[str, str], *, dark: bool = False) -> pd.DataFrame:
    """What the grid draws: the frame with titles, colours and a sentence for each cell.

    Args:
        frame: As for ``pair_grid``.
        titles: As for ``pair_grid``.
        dark: Whether the page is dark.
    """
    colours = sequential(dark)
    most = max([1, *frame.loc[frame["wrong"] != frame["right"], "n"]])
    rows = []
    for row in frame.to_dict("records"):
        own = row["wrong"] == row["right"]
        fill = "transparent" if own else interpolate(colours, min(1.0, row["n"] / most))
        ink = ("#9aa7b4" if dark else "#5b6875") if own else ink_on(fill)
        first, second = titles.get(row["wrong"], row["wrong"]), titles.get(row["right"], row["right"])
        note = f"{row['n']} of {row['of']}: "
        note += f"all that {first} gets wrong" if own else f"{first} wrong, {second} right"
        rows.append({**row, "wrong_title": first, "right_title": second, "fill": fill, "ink": ink, "note": note})
    return pd.DataFrame(rows, columns=[*frame.columns, "wrong_title", "right_title", "fill", "ink", "note"])


def transfer_chart(frame: pd.DataFrame, label: str, *, dark: bool = False, blank: str = "not run") -> alt.LayerChart:
    """Draw the matrix: rows are training data, columns the data judged; contaminated cells are framed and say so.

    Args:
        frame: As ``vlmad_core.analysis.transfer.cells_frame`` gives it.
        label: Name of the metric.
        dark: Whether the page is dark.
        blank: What is said of a combination of which there is nothing.
    """
    data = transfer_data(frame, dark=dark, blank=blank)
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
    return alt.layer(fills, blanks, numbers, words).properties(height=len(rows) * TRANSFER_ROW + TRANSFER_HEAD)


def transfer_data(frame: pd.DataFrame, *, dark: bool = False, blank: str = "not run") -> pd.DataFrame:
    """What the chart draws: one row per cell with its texts and colours.

    Args:
        frame: As for ``transfer_chart``.
        dark: As for ``transfer_chart``.
        blank: As for ``transfer_chart``.
    """
    low, high = _range(frame["value"])
    colours = sequential(dark)
    rows = []
    for cell in frame.to_dict("records"):
        value = float(cell["value"])
        missing = math.isnan(value)
        ground = "" if missing else interpolate(colours, (value - low) / (high - low))
        contaminated = cell["verdict"] == "contaminated"
        rows.append(
            {
                "row": _row(str(cell["trained_on"]), str(cell["title"])),
                "dataset": cell["dataset"],
                "title": cell["title"],
                "value": None if missing else value,
                "shown": "–" if missing else f"{100 * value:.1f}",
                "interval": "" if missing or math.isnan(cell["low"]) else _interval(cell["low"], cell["high"]),
                "word": _word(str(cell["verdict"]), missing, blank),
                "seen": cell["seen"] or "–",
                "reason": cell["reason"],
                "ink": EMPTY if missing else ink_on(ground),
                "frame": "#d9701a" if contaminated else "transparent",
            }
        )
    return pd.DataFrame(rows)


def _row(trained_on: str, title: str) -> str:
    return f"no training: {title}" if trained_on == "nothing" else f"trained on: {trained_on}"


def _word(verdict: str, missing: bool, blank: str) -> str:
    if missing:
        return "no value" if verdict else blank
    return {"contaminated": "saw this data", "unknown": "training unknown"}.get(verdict, "new data")


def _interval(low: float, high: float) -> str:
    return f"{100 * low:.1f} – {100 * high:.1f}"


def _range(values: pd.Series) -> tuple[float, float]:
    known = values.dropna().astype(float)
    if known.empty:
        return 0.0, 1.0
    low, high = math.floor(20 * known.min()) / 20, math.ceil(20 * known.max()) / 20
    return (low, high) if high > low else (max(0.0, low - 0.05), min(1.0, high + 0.05))


def patch_chart(
    pixels: NDArray[np.uint8], grid: tuple[int, int], chosen: tuple[int, int] | None = None
) -> alt.LayerChart:
    """Draw an image under its patches; a click on one selects it.

    Args:
        pixels: [H, W, 3].
        grid: Patch grid (rows, columns).
        chosen: Row and column of a patch to frame; None for none.
    """
    rows, columns = grid
    data = base64.b64encode(encode(pixels)).decode()
    image = (
        alt.Chart(pd.DataFrame({"url": [f"data:image/webp;base64,{data}"]}))
        .mark_image(width=SIDE, height=SIDE, aspect=False)
        .encode(x=alt.value(SIDE / 2), y=alt.value(SIDE / 2), url="url:N")
    )
    frame = pd.DataFrame(
        {
            "row": np.repeat(np.arange(rows), columns),
            "column": np.tile(np.arange(columns), rows),
        }
    )
    frame["left"], frame["top"] = frame["column"] / columns, frame["row"] / rows
    frame["right"], frame["bottom"] = (frame["column"] + 1) / columns, (frame["row"] + 1) / rows
    frame["place"] = "row " + (frame["row"] + 1).astype(str) + ", column " + (frame["column"] + 1).astype(str)
    frame["chosen"] = (frame["row"] == chosen[0]) & (frame["column"] == chosen[1]) if chosen else False
    pick = alt.selection_point(name=PICK, fields=["row", "column"], on="click", clear=False)
    exact = alt.Scale(domain=[0, 1], nice=False)
    cells = (
        alt.Chart(frame)
        .mark_rect(cursor="pointer", strokeWidth=2)
        .encode(
            x=alt.X("left:Q", scale=exact, axis=None),
            x2="right:Q",
            y=alt.Y("top:Q", scale=alt.Scale(domain=[1, 0], nice=False), axis=None),
            y2="bottom:Q",
            fill=alt.value("transparent"),
            stroke=alt.condition("datum.chosen", alt.value("#40e0ff"), alt.value("rgba(255,255,255,0.12)")),
            strokeWidth=alt.condition("datum.chosen", alt.value(3), alt.value(0.5)),
            tooltip=[alt.Tooltip("place:N", title="Patch")],
        )
        .add_params(pick)
    )
    return alt.layer(image, cells).properties(width=SIDE, height=SIDE).configure_view(strokeWidth=0)
