"""Where methods are of different opinion: every pair in a grid that can be clicked."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from vlmad_core.figures.colours import ink_on, interpolate, sequential
from vlmad_core.figures.libraries import alt

SELECTION = "pair"
"""Name of the selection; it yields the fields ``wrong`` and ``right`` of the clicked cell."""
ROW_HEIGHT = 34


def pair_grid(frame: pd.DataFrame, titles: Mapping[str, str], *, dark: bool = False) -> alt.LayerChart:
    """Draw how many images one method judges wrongly and another one rightly.

    Args:
        frame: As ``vlmad_core.analysis.agreement.pairs`` gives it.
        titles: How each line is shown.
        dark: Whether the page is dark.

    Returns:
        A chart whose selection ``pair`` holds the ids of the clicked cell's lines.
    """
    data = pair_data(frame, titles, dark=dark)
    names = list(dict.fromkeys(data["wrong_title"]))
    pick = alt.selection_point(name=SELECTION, fields=["wrong", "right"], on="click", empty=False)
    axis = {"domain": False, "ticks": False, "labelLimit": 120, "labelFontSize": 12, "labelOverlap": False}
    base = alt.Chart(data).encode(
        x=alt.X(
            "right_title:N",
            sort=names,
            title="… where this one is right",
            axis=alt.Axis(orient="top", labelAngle=-35, **axis),
        ),
        y=alt.Y(
            "wrong_title:N", sort=names, title="Wrong for this one …", axis=alt.Axis(labelBaseline="middle", **axis)
        ),
        tooltip=[alt.Tooltip("note:N", title="Images")],
    )
    cells = base.mark_rect(cornerRadius=4, cursor="pointer", strokeWidth=2).encode(
        fill=alt.Fill("fill:N", scale=None),
        stroke=alt.condition(pick, alt.value("#d9701a"), alt.value("transparent")),
    )
    numbers = base.mark_text(fontSize=13, cursor="pointer").encode(text="n:Q", color=alt.Color("ink:N", scale=None))
    layered = alt.layer(cells.add_params(pick), numbers)
    return layered.properties(height=ROW_HEIGHT * len(names) + 130).configure_view(strokeWidth=0)


def pair_data(frame: pd.DataFrame, titles: Mapping[str, str], *, dark: bool = False) -> pd.DataFrame:
    """What the grid draws: the frame with titles, colours and a sentence for each cell.

    Args:
        frame: As for ``pair_grid``.
        titles: As for ``pair_grid``.
        dark: Whether the page is dark.
    """
    colours = sequential(dark)
    most = max([1, *frame.loc[frame["wrong"] != frame["right"], "n"]])
    rows = []
    for row in frame.to_dict("records"):
        own = row["wrong"] == row["right"]
        fill = "transparent" if own else interpolate(colours, min(1.0, row["n"] / most))
        ink = ("#9aa7b4" if dark else "#5b6875") if own else ink_on(fill)
        first, second = titles.get(row["wrong"], row["wrong"]), titles.get(row["right"], row["right"])
        note = f"{row['n']} of {row['of']}: "
        note += f"all that {first} gets wrong" if own else f"{first} wrong, {second} right"
        rows.append({**row, "wrong_title": first, "right_title": second, "fill": fill, "ink": ink, "note": note})
    return pd.DataFrame(rows, columns=[*frame.columns, "wrong_title", "right_title", "fill", "ink", "note"])
