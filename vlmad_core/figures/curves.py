"""Curves and scores of several methods on one category: ROC, PR, PRO, histograms, share found, reliability."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from vlmad_core.errors import VlmadError
from vlmad_core.figures.style import LEGEND_LINE, calm, method_style
from vlmad_core.libraries import go
from vlmad_core.metrics.image import Reliability

AXES: dict[str, tuple[str, str]] = {
    "roc": ("False-positive rate", "True-positive rate"),
    "pr": ("Recall", "Precision"),
    "pro": ("False-positive rate (normal pixels)", "Mean share of a region found"),
}
NORMAL, DEFECTIVE = "#8FA0B0", "#C2385C"
"""Colours of normal and defective images: none of the methods', and of different lightness."""


@dataclass(frozen=True)
class NamedCurve:
    """One method's curve.

    Attributes:
        method: Identifier; decides colour and dash.
        title: How it is shown, with its value if wanted.
        points: Columns x, y, threshold, in order.
    """

    method: str
    title: str
    points: pd.DataFrame


def curve_figure(
    curves: Sequence[NamedCurve], kind: str, *, limit: float | None = None, base_rate: float | None = None
) -> go.Figure:
    """Draw curves of one kind over each other.

    Args:
        curves: One per method.
        kind: ``roc``, ``pr`` or ``pro``.
        limit: For PRO: the false-positive rate up to which the area counts; marked.
        base_rate: For PR: the share of positives, which is what guessing reaches; marked.

    Raises:
        VlmadError: If the kind is unknown.
    """
    if kind not in AXES:
        raise VlmadError(f"There is no curve {kind!r}.", f"Use one of: {', '.join(AXES)}.")
    figure = go.Figure()
    for curve in curves:
        style = method_style(curve.method)
        figure.add_scatter(
            x=curve.points["x"],
            y=curve.points["y"],
            customdata=curve.points["threshold"],
            name=curve.title,
            mode="lines",
            line={"color": style.colour, "dash": style.dash, "width": 2.2},
            line_shape="vh" if kind == "pr" and len(curve.points) < 256 else "linear",
            hovertemplate="%{x:.3f}, %{y:.3f} at score %{customdata:.4g}<extra>" + curve.title + "</extra>",
        )
    guess = {"color": "#8a96a3", "dash": "dot", "width": 1}
    if kind == "roc":
        figure.add_shape(type="line", x0=0, y0=0, x1=1, y1=1, line=guess, layer="below")
    if kind == "pr" and base_rate is not None:
        figure.add_shape(type="line", x0=0, y0=base_rate, x1=1, y1=base_rate, line=guess, layer="below")
    if limit is not None:
        figure.add_vrect(x0=0, x1=limit, fillcolor="#8a96a3", opacity=0.10, line_width=0, layer="below")
    x_title, y_title = AXES[kind]
    figure.update_xaxes(title=x_title, range=[-0.01, 1.01], constrain="domain")
    figure.update_yaxes(title=y_title, range=[0, 1.02])
    return calm(figure, 340 + LEGEND_LINE * len(curves))


def curve_points(curves: Sequence[NamedCurve]) -> pd.DataFrame:
    """The points of curves in one table: method, title, x, y, threshold.

    Args:
        curves: One per method.
    """
    frames = [curve.points.assign(method=curve.method, title=curve.title) for curve in curves]
    columns = ["method", "title", "x", "y", "threshold"]
    table = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)
    return table[columns]


def score_histogram(images: pd.DataFrame, threshold: float | None = None, bins: int = 30) -> go.Figure:
    """Draw the scores of normal and defective images, with the threshold.

    Args:
        images: label (0, 1) and score; images without a score are left out.
        threshold: Drawn as a line; anomalous if score >= threshold.
        bins: Number of bins over the range of all scores.
    """
    scored = images[images["score"].notna()]
    figure = go.Figure()
    if len(scored):
        edges = np.histogram_bin_edges(scored["score"].to_numpy(float), bins=bins)
        if threshold is not None:
            # A bin never straddles the threshold, so what lies right of the line is what is flagged.
            edges = edges + (threshold - edges)[np.argmin(np.abs(threshold - edges))]
            step = edges[1] - edges[0]
            edges = np.concatenate([[edges[0] - step], edges, [edges[-1] + step]])
        for label, name, colour in ((0, "Normal", NORMAL), (1, "Defective", DEFECTIVE)):
            values = scored.loc[scored["label"] == label, "score"].to_numpy(float)
            heights, _ = np.histogram(values, bins=edges)
            figure.add_bar(
                x=(edges[:-1] + edges[1:]) / 2,
                y=heights,
                width=np.diff(edges),
                name=f"{name} ({len(values)})",
                marker={"color": colour, "opacity": 0.65, "line": {"width": 0}},
                hovertemplate="%{y} images around %{x:.4g}<extra>" + name + "</extra>",
            )
    if threshold is not None:
        figure.add_vline(x=threshold, line={"color": "#8a96a3", "width": 2, "dash": "dash"})
    figure.update_layout(barmode="overlay", bargap=0)
    figure.update_xaxes(title="Anomaly score of the image")
    figure.update_yaxes(title="Images")
    return calm(figure, 240)


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
