"""What all Plotly figures share; colours of text and ground are left to the page's theme."""

from __future__ import annotations

from vlmad_core.figures.libraries import go

LEGEND_LINE = 20
"""Height of a line of the legend, in pixels: in half a page every trace takes one."""


def calm(figure: go.Figure, height: int) -> go.Figure:
    """Set margins and legend as all figures have them.

    Args:
        figure: Changed in place.
        height: In pixels.

    Returns:
        The same figure.
    """
    figure.update_layout(
        height=height,
        margin={"l": 8, "r": 8, "t": 36, "b": 8},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.0, "x": 0},
        hovermode="closest",
    )
    figure.update_xaxes(automargin=True, zeroline=False)
    figure.update_yaxes(automargin=True, zeroline=False)
    return figure


def prepare() -> None:
    """Draw a figure nobody sees: the first one of a process takes far longer than all others."""
    calm(go.Figure().add_scatter(x=[0], y=[0]).add_bar(x=[0], y=[0]), 100).to_json()
