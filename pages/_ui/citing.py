"""How a page lets its reader cite: BibTeX of the sources that its numbers are from, with a button that copies it."""

from __future__ import annotations

from collections.abc import Iterable

import streamlit as st

from vlmad_core.analysis.sources import bibtex, load_sources


def cite(keys: Iterable[str], key: str) -> None:
    """A button that opens the BibTeX entries of some sources; nothing where there are none.

    Args:
        keys: Keys of the sources; those that are unknown, and repetitions, are left out.
        key: Of the widget.
    """
    sources = load_sources()
    wanted = [name for name in dict.fromkeys(keys) if name in sources]
    if not wanted:
        return
    with st.popover("Cite", icon=":material/format_quote:", key=f"cite_{key}"):
        st.caption("From the fields that are known of each source; the button at the top right copies.")
        st.code("\n\n".join(bibtex(sources[name]) for name in wanted), language="latex", height=320)
