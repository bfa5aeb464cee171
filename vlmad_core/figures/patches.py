"""An image whose patches can be clicked."""

from __future__ import annotations

import base64

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vlmad_core.figures.libraries import alt
from vlmad_core.figures.overlay import encode

SIDE = 270
"""Side of the chart, in pixels; the image is stretched to it, as the backbone sees it."""

PICK = "patch"
"""Name of the selection: ``row`` and ``column`` of the patch that was clicked."""


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
