"""Reliability: the share of anomalous images over their score, several methods in one figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vlmad_core.figures.colours import method_style
from vlmad_core.figures.layout import calm
from vlmad_core.figures.libraries import go
from vlmad_core.metrics.calibration import Reliability


@dataclass(frozen=True)
class NamedReliability:
    """One method's reliability.

    Attributes:
        method: Identifier; decides colour and dash.
        title: How it is shown.
        points: Its groups.
    """

    method: str
    title: str
    points: Reliability


def reliability_figure(found: Sequence[NamedReliability], base_rate: float | None = None) -> go.Figure:
    """Draw the share of anomalous images over the score; on the diagonal a score is a probability.

    Args:
        found: One per method; scores in [0, 1].
        base_rate: Share of anomalous images among all, which a score that tells nothing would show everywhere.
    """
    figure = go.Figure()
    guess = {"color": "#8a96a3", "dash": "dot", "width": 1}
    figure.add_shape(type="line", x0=0, y0=0, x1=1, y1=1, line=guess, layer="below")
    if base_rate is not None:
        figure.add_shape(type="line", x0=0, y0=base_rate, x1=1, y1=base_rate, line=guess, layer="below")
    for one in found:
        style = method_style(one.method)
        figure.add_scatter(
            x=one.points.score,
            y=one.points.share,
            customdata=one.points.n,
            mode="lines+markers",
            name=one.title,
            line={"color": style.colour, "dash": style.dash, "width": 2},
            marker={"symbol": style.symbol, "size": 9, "color": style.colour},
            hovertemplate="score around %{x:.3f}: %{y:.0%} of %{customdata} are anomalous<extra>"
            + one.title
            + "</extra>",
        )
    figure.update_xaxes(title="Anomaly score of the image", range=[-0.02, 1.02])
    figure.update_yaxes(title="Share of anomalous images", range=[-0.02, 1.02], tickformat=".0%")
    return calm(figure, 360)
