"""Accuracy against cost, and where the time goes."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from vlmad_core.figures.colours import method_style
from vlmad_core.figures.layout import calm

COSTS = {
    "latency_ms": "Median latency (ms, logarithmic)",
    "peak_gb": "Peak memory of the process (GB)",
    "parameters": "Weights of the backbone",
}
STAGE_COLOURS = ("#2B6190", "#5B97B8", "#9CC5CF", "#D9B36A", "#C98345", "#9A5B3C", "#7C8794", "#B4BCC5")


def cost_figure(points: pd.DataFrame, cost: str, label: str) -> go.Figure:
    """Draw accuracy over cost; the lines that no other beats in both are joined (Pareto front).

    Args:
        points: method, title, the cost, value, low, high (fractions), front (bool). All from one machine.
        cost: One of ``COSTS``.
        label: Name of the metric.
    """
    figure = go.Figure()
    front = points[points["front"]].sort_values(cost)
    if len(front) > 1:
        figure.add_scatter(
            x=front[cost], y=front["value"], mode="lines", name="Pareto front", hoverinfo="skip",
            line={"color": "#8a96a3", "width": 1, "dash": "dot"},
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
            marker={
                "color": style.colour, "symbol": style.symbol, "size": 13,
                "line": {"width": 2 if row["front"] else 0, "color": "#8a96a3"},
            },
            name=row["title"],
            hovertemplate=f"{row['title']}: %{{y:.1%}} at %{{x:.4g}}<extra></extra>",
        )  # fmt: skip
    figure.update_xaxes(title=COSTS[cost], type="log" if cost == "latency_ms" else "linear")
    if cost == "latency_ms":
        figure.update_xaxes(tickvals=[m * 10**k for k in range(-1, 6) for m in (1, 2, 3, 5)])
    figure.update_yaxes(title=f"{label} (mean, 95% interval)", tickformat=".0%")
    return calm(figure, 400)


def stage_figure(stages: pd.DataFrame) -> go.Figure:
    """Draw milliseconds per image by stage, one bar per line.

    Args:
        stages: title, stage, ms.
    """
    figure = go.Figure()
    for index, (stage, part) in enumerate(stages.groupby("stage", sort=False)):
        figure.add_bar(
            y=part["title"], x=part["ms"], name=str(stage), orientation="h",
            marker={"color": STAGE_COLOURS[index % len(STAGE_COLOURS)], "line": {"width": 0}},
            hovertemplate="%{y}, " + str(stage) + ": %{x:.1f} ms per image<extra></extra>",
        )  # fmt: skip
    figure.update_layout(barmode="stack", bargap=0.45)
    figure.update_xaxes(title="Milliseconds per image, as run in batches")
    return calm(figure, 120 + 54 * stages["title"].nunique())
