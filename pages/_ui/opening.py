"""What a view opens on where the visitor has chosen nothing, and which methods it draws; the rules lie in analysis."""

from __future__ import annotations

import streamlit as st

from pages._ui import data, selection
from vlmad_core import paths
from vlmad_core.analysis.entries import Comparison, Entry
from vlmad_core.analysis.instructive import SHOWN, Opening, opening


def open_on(one: Comparison, metric: str) -> Opening:
    """What a view of a comparison opens on, with the number of references that is chosen or the smallest.

    Args:
        one: The comparison.
        metric: The metric that says who is best, and where that one is worst.
    """
    options = [str(k) for k in one.shots]
    lines = one.entries(int(selection.current("shots", options, options[0])))
    keys = tuple(f"{line.id} {run.id}" for line in lines for run in line.runs)
    return _opening(data.signature(paths.stores()), keys, metric, one.categories, lines)


@st.cache_resource(max_entries=64, show_spinner=False)
def _opening(
    mark: str, keys: tuple[str, ...], metric: str, categories: tuple[str, ...], _lines: tuple[Entry, ...]
) -> Opening:
    return opening(_lines, data.cells(_lines, metric), metric, categories)


def choose_lines(lines: tuple[Entry, ...], start: Opening) -> tuple[Entry, ...]:
    """A chooser for the methods whose curves are drawn, kept in the address; those of the opening at first."""
    by_id = {line.id: line for line in lines}
    given = st.query_params.get_all("shown")
    known = [name for name in by_id if name in given]
    if len(known) < len(set(given)):
        wrong = next(name for name in given if name not in by_id)
        selection.notice(f"This link asks for shown `{selection.tidy(wrong)}`, which is not here.")
        _write(known)
    chosen = known or [line.id for line in start.shown]
    st.session_state["choose_shown"] = chosen
    st.pills(
        "Methods drawn", list(by_id), selection_mode="multi", key="choose_shown", wrap=True, on_change=_changed,
        format_func=lambda name: _label(by_id[name]),
        help=f"Opens with the best {SHOWN} that have not seen the data in training, by the mean over all categories.",
    )  # fmt: skip
    return tuple(line for name, line in by_id.items() if name in chosen)


def _label(line: Entry) -> str:
    warning = ":material/warning: " if line.seen == "yes" else ""
    return f"{warning}{selection.tidy(line.title)}"


def _changed() -> None:
    _write(st.session_state["choose_shown"])


def _write(names: list[str]) -> None:
    if names:
        st.query_params["shown"] = names
    elif "shown" in st.query_params:
        del st.query_params["shown"]
