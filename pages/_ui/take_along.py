"""Take it along: one button in the head of a page that holds its tables as csv and LaTeX, its figures as svg and png.

A page says what can be taken along, wherever in its script it has it; the button stands at the top all the same::

    take_along.table(rows, f"shots-{one.dataset}", "Values behind the figure")

Figures need no word: the button lists those that stand on the page when it is opened, by their ``alt``. The browser
saves them as they are shown, so nothing is installed, sent or drawn for it before somebody asks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import streamlit as st

from vlmad_core.analysis.tables import latex_text
from vlmad_core.tabular import csv_text

Writer = Callable[[], str | bytes]
"""Writes a file when it is asked for."""

_PLACE = "take_along"
_ENDINGS = {"LaTeX": "tex"}
_HTML = "<p>No figure stands on this page.</p><ul></ul>"
_CSS = """
ul { list-style: none; margin: 0; padding: 0; font: 0.9rem var(--st-font); color: var(--st-text-color) }
li { display: flex; gap: 0.5rem; align-items: center; padding: 0.2rem 0 }
span { flex: 1 }
p { color: var(--st-gray-text-color); font: 0.9rem var(--st-font); margin: 0 }
button {
  font: inherit; color: inherit; background: none; cursor: pointer; padding: 0.2rem 0.6rem;
  border: 1px solid var(--st-border-color); border-radius: var(--st-button-radius);
}
button:hover, button:focus-visible { color: var(--st-primary-color); border-color: var(--st-primary-color) }
"""


def begin(place: Any, name: str) -> None:
    """Keep a place for the button.

    Args:
        place: The container in the page's head.
        name: Name of the files of the page's figures; a number follows.
    """
    st.session_state[_PLACE] = place, name, None


def offers() -> Any:
    """The container of what can be taken along, for a page that says more of it; made with the first call."""
    place, name, inside = st.session_state[_PLACE]
    if inside is None:
        with place, st.popover("Take it along", icon=":material/download:"):
            inside = st.container()
            st.markdown("**Figures** :gray[as they are shown]")
            _figures()(data={"name": name}, key="take_along_figures")
        st.session_state[_PLACE] = place, name, inside
    return inside


def table(
    frame: pd.DataFrame,
    name: str,
    title: str = "Table",
    headings: Mapping[str, str] | None = None,
    *,
    csv: Callable[[], str] | None = None,
    latex: Callable[[], str] | Literal[False] | None = None,
) -> None:
    """Offer a table as csv and LaTeX; both are written when asked for.

    Args:
        frame: The table. ``value``, ``low``, ``high`` and ``sd`` are fractions: csv holds them as they are, LaTeX in
            percent, with the interval behind the value. All else is written as it stands.
        name: Name of the files, without the ending; also tells several tables of a page apart.
        title: What it is called in the list.
        headings: Columns of the LaTeX table, in order, with their headings; None for all.
        csv: Writes the csv, where it is not simply all of ``frame``.
        latex: Writes the LaTeX, where it is not simply ``frame``; False for tables that nobody prints.
    """
    forms: dict[str, tuple[str, Writer]] = {"csv": ("text/csv", csv or (lambda: csv_text(frame)))}
    if latex is not False:
        forms["LaTeX"] = ("text/x-tex", latex or (lambda: latex_text(frame, headings, f"{title}: {name}")))
    files(name, title, forms, disabled=frame.empty)


def files(name: str, title: str, forms: Mapping[str, tuple[str, Writer]], *, disabled: bool = False) -> None:
    """Offer one thing in several forms.

    Args:
        name: Name of the files, without the ending; also tells several things of a page apart.
        title: What it is called in the list.
        forms: The mime type and what writes the file, by form: csv, LaTeX, zip.
        disabled: Whether there is nothing to write.
    """
    with offers(), st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{title}**", width="stretch")
        for form, (mime, write) in forms.items():
            ending = _ENDINGS.get(form, form)
            st.download_button(
                form, write, f"{name}.{ending}", mime, key=f"take-{name}-{ending}", disabled=disabled, on_click="ignore"
            )


@cache
def _figures() -> Any:
    """The component that saves figures; made once."""
    script = Path(__file__).with_suffix(".js").read_text(encoding="utf-8")
    return st.components.v2.component("vlmad_figures", html=_HTML, css=_CSS, js=script)
