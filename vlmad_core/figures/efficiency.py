"""Accuracy against cost, where the time goes, and throughput by batch size."""

from __future__ import annotations

import pandas as pd

from vlmad_core.figures.style import calm, method_style
from vlmad_core.libraries import go

COSTS = {
    "latency_ms": "Median latency (ms, logarithmic)",
    "peak_gb": "Peak memory (GB)",
    "parameters": "Parameters",
    "gflops": "Arithmetic per image (GFLOP)",
}
STAGE_COLOURS = {
    "reading": "#2B6190",
    "vision tower": "#5B97B8",
    "windows": "#7FB3A6",
    "references": "#9CC5CF",
    "text tower": "#D9B36A",
    "scoring": "#C98345",
    "explaining": "#9A5B3C",
    "upsampling": "#B4809C",
    "evaluation": "#7C8794",
}
OTHER_STAGE = "#B4BCC5"
FRONT = "#8a96a3"
HARDWARE_SYMBOLS = ("circle", "diamond", "square", "triangle-up", "cross", "x", "star", "triangle-down", "hexagon")
"""Hardware is told apart without colour as well."""


def cost_figure(
    points: pd.DataFrame, cost: str, label: str, *, axis: str | None = None, logarithmic: bool | None = None
) -> go.Figure:
    """Draw accuracy over cost; the lines that no other beats in both are ringed and joined (Pareto front).

    Args:
        points: method, name, the cost, value, low, high (fractions), front (bool). All from one machine.
        cost: One of ``COSTS``, or another column with ``axis``.
        label: Name of the metric; of its interval nothing is said where there is none.
        axis: What the cost is called; as ``COSTS`` says if None.
        logarithmic: Whether the cost's axis is; only for latency if None.
    """
    logarithmic = cost == "latency_ms" if logarithmic is None else logarithmic
    figure = go.Figure()
    front = points[points["front"]].sort_values(cost)
    if len(front) > 1:
        figure.add_scatter(
            x=front[cost], y=front["value"], mode="lines", name="Pareto front", hoverinfo="skip",
            line={"color": FRONT, "width": 1.5, "dash": "dot", "shape": "hv"},
        )  # fmt: skip
    if len(front):
        figure.add_scatter(
            x=front[cost], y=front["value"], mode="markers", name="On the front", hoverinfo="skip",
            marker={"symbol": "circle-open", "size": 24, "color": FRONT, "line": {"width": 1.5}},
            showlegend=len(front) == 1,
        )  # fmt: skip
    for row in points.to_dict("records"):
        style = method_style(row["method"])
        figure.add_scatter(
            x=[row[cost]],
            y=[row["value"]],
            error_y={
                "type": "data", "symmetric": False, "array": [row["high"] - row["value"]],
                "arrayminus": [row["value"] - row["low"]], "color": style.colour, "thickness": 1.2, "width": 3,
            },
            mode="markers",
            marker={"color": style.colour, "symbol": style.symbol, "size": 13},
            name=row["name"],
            hovertemplate=f"{row['name']}: %{{y:.1%}} at %{{x:.4g}}<extra></extra>",
        )  # fmt: skip
    figure.update_xaxes(title=axis or COSTS[cost], type="log" if logarithmic else "linear")
    if logarithmic:
        figure.update_xaxes(tickvals=[m * 10**k for k in range(-1, 6) for m in (1, 2, 3, 5)])
    interval = ", 95% interval" if (points["high"] > points["low"]).any() else ""
    figure.update_yaxes(title=f"{label} (mean{interval})", tickformat=".0%")
    return calm(figure, 420)


def reported_cost_figure(claims: pd.DataFrame, label: str) -> go.Figure:
    """Draw every reported cost on its method's row, by the hardware it was measured on.

    Args:
        claims: name, value, hardware, citation, location; in the order in which methods are to stand.
        label: What the cost is, with its unit.
    """
    figure = go.Figure()
    for place, (hardware, rows) in enumerate(claims.groupby("hardware", sort=True)):
        figure.add_scatter(
            x=rows["value"], y=rows["name"], mode="markers", name=str(hardware),
            marker={"symbol": HARDWARE_SYMBOLS[place % len(HARDWARE_SYMBOLS)], "size": 11, "line": {"width": 1.6}},
            customdata=rows[["citation", "location"]].to_numpy(),
            hovertemplate="%{y}: %{x:.4g}<br>%{customdata[0]}<br>%{customdata[1]}<extra>" + str(hardware) + "</extra>",
        )  # fmt: skip
    names = list(dict.fromkeys(claims["name"]))
    figure.update_yaxes(categoryorder="array", categoryarray=names[::-1], showgrid=True)
    positive = bool((claims["value"] > 0).all())
    figure.update_xaxes(title=f"{label}{', logarithmic' if positive else ''}", type="log" if positive else "linear")
    return calm(figure, 150 + 26 * max(2, len(names)))


def stage_figure(stages: pd.DataFrame, *, alone: bool = False) -> go.Figure:
    """Draw milliseconds per image by stage, one bar per line.

    Args:
        stages: name, stage, ms.
        alone: Whether each method was timed by itself, one image at a time.
    """
    figure = go.Figure()
    for stage, part in stages.groupby("stage", sort=False):
        figure.add_bar(
            y=part["name"], x=part["ms"], name=str(stage), orientation="h",
            marker={"color": STAGE_COLOURS.get(str(stage), OTHER_STAGE), "line": {"width": 0}},
            hovertemplate="%{y}, " + str(stage) + ": %{x:.1f} ms per image<extra></extra>",
        )  # fmt: skip
    figure.update_layout(barmode="stack", bargap=0.45)
    figure.update_layout(legend={"traceorder": "normal"})
    figure.update_xaxes(title=f"Milliseconds per image, {'one at a time' if alone else 'as run in batches'}")
    return calm(figure, 130 + 46 * stages["name"].nunique())


def throughput_figure(frame: pd.DataFrame) -> go.Figure:
    """Draw images per second by batch size, one line per method; a method with one size is a point.

    Args:
        frame: method, name, batch, images_per_second.
    """
    figure = go.Figure()
    for (method, name), part in frame.groupby(["method", "name"], sort=False):
        rows = part.sort_values("batch")
        style = method_style(str(method))
        figure.add_scatter(
            x=rows["batch"], y=rows["images_per_second"], mode="lines+markers", name=str(name),
            line={"color": style.colour, "dash": style.dash, "width": 2},
            marker={"symbol": style.symbol, "size": 10, "color": style.colour},
            hovertemplate="batches of %{x}: %{y:.1f} images/s<extra>" + str(name) + "</extra>",
        )  # fmt: skip
    sizes = sorted({int(size) for size in frame["batch"]})
    figure.update_xaxes(title="Images per batch", type="log", tickvals=sizes)
    figure.update_yaxes(title="Images per second", rangemode="tozero")
    return calm(figure, 340)
