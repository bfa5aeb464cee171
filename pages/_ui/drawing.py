"""Figures that are made once and then shown to all visitors who see the same; and pictures, which can't be.

Building a figure and writing it down takes longer than all else on a page. What is kept is what the browser is sent; it
is found again by what the figure is made of, so nothing has to be told when results change.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import streamlit as st

PLOT: dict[str, Any] = {
    "displaylogo": False,
    "modeBarButtonsToRemove": ["select2d", "lasso2d", "autoScale2d"],
    "toImageButtonOptions": {"format": "svg"},
}
"""How Plotly figures behave; the camera button saves an svg."""

Make = Callable[..., Any]


def plotly(make: Make, *values: Any, alt: str, key: str | None = None, **choices: Any) -> None:
    """A Plotly figure.

    Args:
        make: A function of ``vlmad_core.figures``; what it draws follows from its arguments alone, and is nothing
            where it gives None.
        values: Its arguments.
        alt: What the figure shows, in words.
        key: As Streamlit takes it.
        choices: Its arguments by name.
    """
    _plotly(make, _name(make), values, choices, alt, key)


def altair(make: Make, *values: Any, alt: str, **choices: Any) -> None:
    """An Altair chart in which nothing is chosen; arguments as for ``plotly``."""
    _altair(make, _name(make), values, choices, alt)


def picture(
    content: bytes, caption: str | None = None, *, alt: str, width: int | Literal["stretch"] = "stretch"
) -> None:
    """A picture, made anew for each visitor.

    Streamlit would note a kept one at the place where it was shown first, where another one may be now, and let go of
    one of the two while both are shown.

    Args:
        content: An image file, such as WebP; Streamlit writes it anew as JPEG, which is what is saved here.
        caption: A line below, as markdown.
        alt: What it shows, in words.
        width: As Streamlit takes it; as wide as its place by default.
    """
    st.image(content, caption, width=width, alt=alt)


@st.cache_data(max_entries=256, show_spinner=False)
def _plotly(
    _make: Make, name: str, values: tuple[Any, ...], choices: Mapping[str, Any], alt: str, key: str | None
) -> None:
    figure = _make(*values, **choices)
    if figure is not None:
        st.plotly_chart(figure, config=PLOT, key=key, alt=alt)


@st.cache_data(max_entries=128, show_spinner=False)
def _altair(_make: Make, name: str, values: tuple[Any, ...], choices: Mapping[str, Any], alt: str) -> None:
    st.altair_chart(_make(*values, **choices), alt=alt)


def _name(make: Make) -> str:
    return f"{make.__module__}.{make.__qualname__}"
