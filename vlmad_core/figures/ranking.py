"""Methods in order of a metric, how that order moves with the metric, and what papers and others report beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import pandas as pd

from vlmad_core.figures.style import calm, method_style
from vlmad_core.libraries import alt, go

ROW_HEIGHT, NARROW_ROW = 46, 38
CLAIMS_ROW = 34
STEP = 30
NAME_STEP, BAR_STEP = 25, 0.4
QUIET = "#8a96a3"
SHORT: Mapping[str, str] = MappingProxyType(
    {
        "image_auroc": "AUROC",
        "image_ap": "AP",
        "image_f1max": "F1-max",
        "pixel_auroc": "AUROC",
        "pixel_ap": "AP",
        "pixel_f1max": "F1-max",
        "aupro_30": "AUPRO 30%",
        "aupro_05": "AUPRO 5%",
        "aupro_legacy200": "AUPRO legacy",
        "aupro_reported": "AUPRO as reported",
    }
)
"""Metrics in as few letters as a narrow figure has room for; the level is said elsewhere."""

WHO = {
    "public": ("Others' runs, logs and listings", "circle-open", 10, QUIET),
    "here": ("This program", "star", 15, "#D9701A"),
    "paper": ("The paper", "line-ns-open", 20, "#2E86D6"),
}
"""By ``who`` a number is from: name, symbol, size and colour; shapes tell them apart without the colour."""
_SHAPES = {"circle": "circle", "square": "square", "diamond": "diamond", "triangle-up": "triangle-up"}


def ranking_chart(
    board: pd.DataFrame, label: str, *, chance: float | None = None, bars: str = "95% interval"
) -> alt.LayerChart:
    """Draw each line's value with its interval, best first; lines without a value stand below with their reason.

    Args:
        board: method, name, value, low, high, rank, reason, group (letters, empty where not tested), of one
            metric, one data set and equal conditions.
        label: Name of the metric.
        chance: Value that guessing reaches, drawn as a line; None where there is no such value.
        bars: What ``low`` and ``high`` are the ends of.
    """
    data = ranking_data(board)
    names = list(data["name"])
    low = min([*data["low"].dropna(), *data["value"].dropna(), chance if chance is not None else 1.0])
    high = max([*data["high"].dropna(), *data["value"].dropna(), chance if chance is not None else 0.0])
    pad = max(0.02, 0.08 * (high - low))
    scale = alt.Scale(domain=[max(0.0, low - pad), min(1.0, high + pad)], nice=False)
    y = alt.Y(
        "name:N",
        sort=names,
        title=None,
        # The names stand above the intervals, so that narrow pages leave room for both.
        axis=alt.Axis(
            domain=False, ticks=False, grid=False, labelAlign="left", labelPadding=0, labelOffset=-14,
            labelLimit=280, labelFlush=False, labelOverlap=False, labelFontSize=13, zindex=1,
        ),
    )  # fmt: skip
    tooltip = [
        alt.Tooltip("name:N", title="Method"),
        alt.Tooltip("shown:N", title=label),
        alt.Tooltip("interval:N", title=bars),
        alt.Tooltip("note:N", title="Note"),
    ]
    colour = alt.Color("colour:N", scale=None, legend=None)
    base = alt.Chart(data).encode(y=y, tooltip=tooltip)
    x_axis = alt.Axis(format=".0%", tickCount=6, grid=True)
    rows = base.mark_rect(opacity=0).encode(x=alt.value(0), x2=alt.value("width"))
    ends = base.mark_rule(strokeWidth=4, opacity=0.4, strokeCap="round").encode(
        x=alt.X("low:Q", title=label, scale=scale, axis=x_axis), x2="high:Q", color=colour
    )
    points = base.mark_point(filled=True, size=120, opacity=1).encode(
        x=alt.X("value:Q", scale=scale), color=colour, shape=alt.Shape("shape:N", scale=None, legend=None)
    )
    values = base.mark_text(dy=-14, align="right", fontSize=13, color=QUIET).encode(
        x=alt.value("width"), text="shown:N"
    )
    layers: list[alt.Chart] = [ends, points, values, rows]
    if chance is not None:
        # A short mark in each row, not a line through all of them: a line would cross the names.
        marks = alt.Chart(data.assign(chance=chance, what="Chance level")).mark_tick(
            size=10, thickness=2, color=QUIET, opacity=0.8
        )
        layers.insert(
            0, marks.encode(x=alt.X("chance:Q", scale=scale), y=y, tooltip=alt.Tooltip("what:N", title="Mark"))
        )
    row = ROW_HEIGHT if len(names) <= 8 else NARROW_ROW
    return alt.layer(*layers).properties(height=max(2, len(names)) * row + 60)


def ranking_data(board: pd.DataFrame) -> pd.DataFrame:
    """What the chart draws: best first, then lines without a value; with colour, shape and texts.

    Args:
        board: As for ``ranking_chart``.
    """
    kept = board.sort_values(["rank", "name"], ignore_index=True, na_position="last")
    value = kept["value"].astype(float)
    styles = [method_style(str(method)) for method in kept["method"]]
    low, high = kept["low"].astype(float).fillna(value), kept["high"].astype(float).fillna(value)
    letters = kept["group"].fillna("")
    shown = [
        f"{100 * v:.1f}%" + (f"  {g}" if g else "") if v == v else "–" for v, g in zip(value, letters, strict=True)
    ]
    interval = [f"{100 * a:.1f} – {100 * b:.1f}" if b > a else "none" for a, b in zip(low, high, strict=True)]
    reasons = [str(reason) if isinstance(reason, str) else "Not computed." for reason in kept["reason"]]
    notes = [
        reason if v != v else f"Group {letter}: shares a letter with those it can't be told from." if letter else ""
        for v, letter, reason in zip(value, letters, reasons, strict=True)
    ]
    return pd.DataFrame(
        {
            "name": kept["name"],
            "value": value,
            "low": low,
            "high": high,
            "shown": shown,
            "interval": interval,
            "note": notes,
            "colour": [style.colour for style in styles],
            "shape": [_SHAPES.get(style.symbol, "cross") for style in styles],
        }
    )


def moves_chart(frame: pd.DataFrame, metrics: Sequence[str], labels: Mapping[str, str]) -> alt.LayerChart:
    """Draw how the ranks of methods move from one metric to the next.

    Args:
        frame: method, name, metric, value, rank, place, as ``rank_moves`` gives it.
        metrics: Names of the metrics, from left to right.
        labels: Full names of the metrics, for the tooltips.
    """
    data = moves_data(frame, metrics, labels)
    first = data[data["metric"] == metrics[0]].sort_values("place")
    names = list(first["name"])
    listed = "[" + ", ".join(_quoted(name) for name in names) + "]"
    y = alt.Y(
        "place:Q",
        title=None,
        scale=alt.Scale(domain=[0.6, len(names) + 0.4], reverse=True, nice=False),
        axis=alt.Axis(
            values=list(range(1, len(names) + 1)), labelExpr=f"{listed}[datum.value - 1]", domain=False, ticks=False,
            grid=False, labelLimit=170, labelPadding=14, labelOverlap=False,
        ),
    )  # fmt: skip
    x = alt.X(
        "short:N",
        sort=[_short(name) for name in metrics],
        title=None,
        scale=alt.Scale(type="point", padding=0.25),
        axis=alt.Axis(
            orient="top", labelAngle=0, domain=False, ticks=False, labelOverlap=False, labelLimit=80,
            labelExpr="split(datum.label, ' ')", labelFontSize=11,
        ),
    )  # fmt: skip
    colour = alt.Color("colour:N", scale=None, legend=None)
    base = alt.Chart(data).encode(x=x, y=y, color=colour, detail="name:N")
    tooltip = [
        alt.Tooltip("name:N", title="Method"),
        alt.Tooltip("label:N", title="Metric"),
        alt.Tooltip("rank:Q", title="Rank"),
        alt.Tooltip("value:Q", title="Value", format=".1%"),
    ]
    paths = base.mark_line(strokeWidth=2.5, opacity=0.55, interpolate="monotone")
    points = base.mark_circle(size=330, opacity=1).encode(tooltip=tooltip)
    numbers = (
        alt.Chart(data)
        .mark_text(fontSize=11, fontWeight="bold", color="#ffffff")
        .encode(x=x, y=y, text="rank:Q", tooltip=tooltip)
    )
    return alt.layer(paths, points, numbers).properties(height=len(names) * STEP + 56)


def moves_data(frame: pd.DataFrame, metrics: Sequence[str], labels: Mapping[str, str]) -> pd.DataFrame:
    """What ``moves_chart`` draws: one row for each line and metric, with colour and short names.

    Args:
        frame: As for ``moves_chart``.
        metrics: As for ``moves_chart``.
        labels: As for ``moves_chart``.
    """
    kept = frame[frame["metric"].isin(list(metrics))]
    return kept.assign(
        short=[_short(name) for name in kept["metric"]],
        label=[labels.get(name, name) for name in kept["metric"]],
        colour=[method_style(str(method)).colour for method in kept["method"]],
        value=kept["value"].astype(float),
    )[["method", "name", "metric", "short", "label", "value", "rank", "place", "colour"]]


def rank_diagram(ranked: pd.DataFrame, bars: Sequence[tuple[float, float]], categories: int) -> go.Figure:
    """Draw a critical-difference diagram: mean ranks on an axis, bars under those that do not clearly differ.

    The better half is named on the left, the other below it on the right, the worst first: so no two lines cross.

    Args:
        ranked: method, name, rank (mean rank over categories, 1 is best), best first.
        bars: First and last mean rank of each set of which no two clearly differ.
        categories: Number of categories.
    """
    ranks, names = ranked["rank"].astype(float).tolist(), ranked["name"].astype(str).tolist()
    left = (len(ranks) + 1) // 2
    top = -1.0 - BAR_STEP * len(bars)
    rows = [top - (k if k < left else left + len(ranks) - 1 - k) for k in range(len(ranks))]
    low, high = 1.0, float(max(len(ranks), 2))
    figure = go.Figure()
    for k, (rank, row) in enumerate(zip(ranks, rows, strict=True)):
        style = method_style(str(ranked["method"].iloc[k]))
        side = low if k < left else high
        figure.add_scatter(
            x=[rank, rank, side], y=[0, row, row], mode="lines", opacity=0.6,
            line={"color": style.colour, "width": 1.5}, hoverinfo="skip", showlegend=False,
        )  # fmt: skip
        figure.add_scatter(
            x=[side], y=[row], mode="text", text=[f"{names[k]}  {rank:.1f}"], hoverinfo="skip", showlegend=False,
            textposition="top right" if k < left else "top left",
        )  # fmt: skip
        figure.add_scatter(
            x=[rank], y=[0], mode="markers", marker={"symbol": style.symbol, "size": 11, "color": style.colour},
            text=[names[k]], hovertemplate="%{text}: mean rank %{x:.2f}<extra></extra>", showlegend=False,
        )  # fmt: skip
    for place, (first, last) in enumerate(bars):
        figure.add_scatter(
            x=[first - 0.06, last + 0.06], y=[-0.4 - BAR_STEP * place] * 2, mode="lines",
            line={"color": QUIET, "width": 6}, hovertemplate="No two of these clearly differ<extra></extra>",
            showlegend=False,
        )  # fmt: skip
    title = f"Mean rank over {categories} categories (1 is best)"
    figure.update_xaxes(side="top", title=title, range=[low - 0.15, high + 0.15], tick0=1, dtick=1, showgrid=False)
    figure.update_yaxes(visible=False, range=[min(rows) - 0.4, 0.3])
    return calm(figure, 100 + round(NAME_STEP * -min(rows)))


def reproduction_figure(table: pd.DataFrame, label: str) -> go.Figure:
    """Draw every claim of a metric on its method's row.

    Args:
        table: As ``reproduction_table`` gives it, of one metric and one number of references.
        label: Name of the metric.
    """
    figure = go.Figure()
    methods = method_order(table)
    for who, (name, symbol, size, colour) in WHO.items():
        rows = table[(table["who"] == who) & table["value"].notna()]
        if rows.empty:
            continue
        figure.add_scatter(
            x=rows["value"],
            y=rows["method"],
            mode="markers",
            name=name,
            customdata=rows[["label", "variant"]].to_numpy(),
            marker={"symbol": symbol, "size": size, "color": colour, "line": {"width": 2.2, "color": colour}},
            hovertemplate="%{y}: %{x:.1%}<br>%{customdata[0]}<br>%{customdata[1]}<extra></extra>",
        )
    figure.update_yaxes(categoryorder="array", categoryarray=methods[::-1], showgrid=True)
    figure.update_xaxes(title=label, tickformat=".0%")
    return calm(figure, 110 + CLAIMS_ROW * max(2, len(methods)))


def method_order(table: pd.DataFrame) -> list[str]:
    """Methods by the paper's number, best first; those without one follow by their best other number."""
    best = table.assign(paper=table["who"] == "paper").dropna(subset="value")
    best = best.sort_values(["paper", "value"], ascending=False).drop_duplicates("method")
    return [str(name) for name in best["method"]]


def story_figure(steps: pd.DataFrame, label: str) -> go.Figure:
    """Draw how one number fared from hand to hand, one below the other, against the first.

    Args:
        steps: title, value (a fraction), label (whose number it is), method; the paper's first.
        label: Name of the metric.
    """
    names, values = steps["title"].tolist(), steps["value"].tolist()
    figure = go.Figure()
    for name, value in zip(names[1:], values[1:], strict=True):
        figure.add_scatter(
            x=[value, values[0]], y=[name, name], mode="lines", line={"color": QUIET, "width": 2},
            hoverinfo="skip", showlegend=False,
        )  # fmt: skip
    figure.add_vline(x=values[0], line={"color": WHO["paper"][3], "width": 1.5, "dash": "dot"})
    figure.add_scatter(
        x=values,
        y=names,
        mode="markers+text",
        text=[f"{100 * value:.1f}" for value in values],
        textposition=["middle right", *("top center" for _ in values[1:])],
        customdata=steps["label"].tolist(),
        marker={"size": 12, "symbol": "diamond", "color": method_style(str(steps["method"].iloc[0])).colour},
        hovertemplate="%{customdata}: %{x:.1%}<extra></extra>",
        showlegend=False,
    )
    figure.update_yaxes(categoryorder="array", categoryarray=names[::-1], range=[-0.6, len(names) - 0.3])
    figure.update_xaxes(title=label, tickformat=".0%", range=[min(values) - 0.05, max(values) + 0.05])
    return calm(figure, 90 + 46 * len(steps))


def _short(metric: str) -> str:
    return SHORT.get(metric, metric)


def _quoted(text: str) -> str:
    """A text as a string of Vega's expression language."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", " ") + "'"
