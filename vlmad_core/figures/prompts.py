"""What a change of words does: differences by category, and what each phrase adds."""

from __future__ import annotations

import html
from collections.abc import Sequence

import pandas as pd

from vlmad_core.figures.colours import diverging
from vlmad_core.figures.layout import calm
from vlmad_core.figures.libraries import go

ROW_HEIGHT = 26
LONGEST = 42
"""Characters of a phrase shown beside its bar; all of it is in the hover text."""


def change_figure(frame: pd.DataFrame, label: str, dark: bool = False) -> go.Figure:
    """Draw how much a metric changes in each category: a dot, and its interval where there is one.

    Args:
        frame: name, difference, low, high (points in percent, NaN where missing), value, base; in the order to draw.
        label: Name of the metric.
        dark: Whether the page is dark.
    """
    rows = frame[frame["difference"].notna()]
    colours = diverging(dark)
    names = [html.escape(str(name)) for name in rows["name"]]
    figure = go.Figure()
    figure.add_vline(x=0, line={"color": "#8a96a3", "width": 1})
    figure.add_scatter(
        x=rows["difference"],
        y=names,
        mode="markers",
        error_x={
            "type": "data",
            "symmetric": False,
            "array": (rows["high"] - rows["difference"]).fillna(0.0),
            "arrayminus": (rows["difference"] - rows["low"]).fillna(0.0),
            "thickness": 1.4,
            "width": 0,
            "color": "#8a96a3",
        },
        marker={"size": 10, "color": [colours[-1] if gap >= 0 else colours[0] for gap in rows["difference"]]},
        customdata=rows[["base", "value"]],
        hovertemplate="%{y}: %{customdata[0]:.1f} → %{customdata[1]:.1f} (%{x:+.1f})<extra></extra>",
        showlegend=False,
    )
    figure.update_xaxes(title=f"Change in {label}, points", ticksuffix="")
    figure.update_yaxes(autorange="reversed", type="category")
    return calm(figure, 90 + ROW_HEIGHT * max(len(rows), 1))


def effect_figure(phrases: Sequence[str], adds: Sequence[float | None], dark: bool = False) -> go.Figure:
    """Draw what each phrase adds to the image AUROC: a bar to the right helps, one to the left harms.

    Args:
        phrases: States or templates, in the order to draw.
        adds: Points of image AUROC lost without it; None where it can't be left out.
        dark: Whether the page is dark.
    """
    colours = diverging(dark)
    shown = [phrase if len(phrase) <= LONGEST else f"{phrase[: LONGEST - 1]}…" for phrase in phrases]
    # Two phrases may begin alike: a number that is not seen keeps their bars apart.
    places = list(range(len(shown)))
    known = [(place, value) for place, value in zip(places, adds, strict=True) if value is not None]
    figure = go.Figure()
    figure.add_vline(x=0, line={"color": "#8a96a3", "width": 1})
    figure.add_bar(
        x=[value for _, value in known],
        y=[place for place, _ in known],
        orientation="h",
        marker={"color": [colours[-1] if value >= 0 else colours[0] for _, value in known], "line": {"width": 0}},
        text=[f"{value:+.2f}" for _, value in known],
        textposition="outside",
        cliponaxis=False,
        customdata=[html.escape(phrases[place]) for place, _ in known],
        hovertemplate="%{customdata}<br>%{x:+.2f} points<extra></extra>",
        showlegend=False,
    )
    reach = max((abs(value) for _, value in known), default=0.0) * 1.35 or 1.0
    figure.update_xaxes(title="Points of image AUROC it adds", range=[-reach, reach])
    figure.update_yaxes(
        tickvals=places, ticktext=[html.escape(text) for text in shown], range=[len(shown) - 0.4, -0.6], showgrid=False
    )
    figure.update_layout(bargap=0.35)
    return calm(figure, 90 + ROW_HEIGHT * max(len(shown), 1))
