"""Grouped bars, one colour per method; and accuracy over the number of references."""

from __future__ import annotations

import pandas as pd

from vlmad_core.figures.colours import method_style
from vlmad_core.figures.layout import LEGEND_LINE, calm
from vlmad_core.figures.libraries import go


def recall_bars(frame: pd.DataFrame, title: str) -> go.Figure:
    """Draw the mean share found of each group of defects, a bar per method.

    Args:
        frame: method, title, group, value (a fraction), n (regions), in the order to draw.
        title: What the groups are.
    """
    figure = go.Figure()
    for (method, name), part in frame.groupby(["method", "title"], sort=False):
        figure.add_bar(
            x=[f"{row['group']}<br>({row['n']})" for row in part.to_dict("records")],
            y=part["value"],
            name=str(name),
            marker={"color": method_style(str(method)).colour, "line": {"width": 0}},
            hovertemplate="%{x}: %{y:.1%} found<extra>" + str(name) + "</extra>",
        )
    figure.update_layout(barmode="group", bargap=0.3, bargroupgap=0.08)
    figure.update_xaxes(title=f"{title} (number of regions)")
    figure.update_yaxes(title="Mean share found", range=[0, 1.02], tickformat=".0%")
    return calm(figure, 280 + LEGEND_LINE * len(figure.data))


def shots_figure(frame: pd.DataFrame, label: str) -> go.Figure:
    """Draw a metric over the number of normal references, with the spread between seeds.

    Args:
        frame: method, preset, title, shots, value, sd (NaN for one seed), n_seeds.
        label: Name of the metric.
    """
    figure = go.Figure()
    for (method, preset), part in frame.groupby(["method", "preset"], sort=False):
        rows = part[part["value"].notna()].sort_values("shots")
        if rows.empty:
            continue
        style = method_style(str(method))
        name = str(rows["title"].iloc[-1]) + ("" if preset == "canonical" else f" ({preset})")
        figure.add_scatter(
            x=rows["shots"],
            y=rows["value"],
            error_y={"type": "data", "array": rows["sd"].fillna(0.0), "thickness": 1.2, "width": 4},
            customdata=rows["n_seeds"],
            mode="lines+markers",
            name=name,
            line={"color": style.colour, "dash": style.dash, "width": 2},
            marker={"symbol": style.symbol, "size": 10, "color": style.colour},
            hovertemplate="%{x} references: %{y:.1%}, %{customdata} seed(s)<extra>" + name + "</extra>",
        )
    known = sorted({int(k) for k in frame["shots"]})
    figure.update_xaxes(title="Normal reference images per category", tickvals=known)
    figure.update_yaxes(title=label, tickformat=".1%")
    return calm(figure, 400)
