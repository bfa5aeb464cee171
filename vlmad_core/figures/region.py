"""A photo on which a region can be drawn, with the tiles into which it is cut."""

from __future__ import annotations

import base64
import io

from PIL import Image

from vlmad_core.datasets.views import View
from vlmad_core.figures.style import calm
from vlmad_core.libraries import go

LONGEST = 900
"""Longer side of the photo as it is shown, in pixels; places are given in its own."""

_MARKS = 24
"""Invisible marks along each side: a box can only be drawn around something."""


def region_figure(photo: Image.Image, view: View, grid: tuple[int, int], height: int = 420) -> go.Figure:
    """A photo with the region that is looked at; axes are fractions of its sides, from the top left.

    Args:
        photo: The photo.
        view: How photos are looked at.
        grid: Patches (rows, columns) of a tile.
        height: Of the figure, in pixels.
    """
    small = photo.convert("RGB")
    small.thumbnail((LONGEST, LONGEST))
    buffer = io.BytesIO()
    small.save(buffer, "WEBP", quality=85)
    source = "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
    steps = [(n + 0.5) / _MARKS for n in range(_MARKS)]
    marks = go.Scatter(
        x=steps * _MARKS,
        y=[y for y in steps for _ in steps],
        mode="markers",
        marker={"opacity": 0, "size": 1},
        hoverinfo="skip",
    )
    figure = calm(go.Figure(marks), height)
    figure.add_layout_image(
        source=source, x=0, y=0, sizex=1, sizey=1, xref="x", yref="y", yanchor="top", sizing="stretch", layer="below"
    )
    for left, top, right, bottom in tile_boxes(view, grid):
        figure.add_shape(
            type="rect", x0=left, y0=top, x1=right, y1=bottom, line={"color": "#40e0ff", "width": 2, "dash": "dot"}
        )
    left, top, right, bottom = view.region
    figure.add_shape(type="rect", x0=left, y0=top, x1=right, y1=bottom, line={"color": "#40e0ff", "width": 3})
    axis = {"showgrid": False, "zeroline": False, "showticklabels": False, "title": None, "fixedrange": True}
    figure.update_xaxes(range=[0, 1], constrain="domain", **axis)
    figure.update_yaxes(
        range=[1, 0], scaleanchor="x", scaleratio=photo.height / photo.width, constrain="domain", **axis
    )
    figure.update_layout(dragmode="select", showlegend=False, margin={"l": 0, "r": 0, "t": 0, "b": 0})
    return figure


def tile_boxes(view: View, grid: tuple[int, int]) -> list[tuple[float, float, float, float]]:
    """Each tile as (left, top, right, bottom), fractions of the photo's sides; none for a region in one piece."""
    if view.count == 1:
        return []
    rows, columns = view.lattice(grid)
    left, top, right, bottom = view.region
    wide, high = (right - left) / columns, (bottom - top) / rows
    return [
        (left + x * wide, top + y * high, left + (x + grid[1]) * wide, top + (y + grid[0]) * high)
        for y, x in view.corners(grid)
    ]
