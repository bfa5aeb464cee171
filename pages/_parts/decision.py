"""Step 4: which method, how sure, and at what threshold."""

from __future__ import annotations

import streamlit as st

from pages._ui import data, selection
from vlmad_core.datasets.parts import Part


def show_decision(part: Part) -> None:
    """Show what the part's results say; draws nothing where there are none yet.

    Its results stand in the store under the data set ``part.slug``.

    Args:
        part: Kept in the workspace, or not yet (``part.kept``).
    """
    if not any(one.dataset == part.slug for one in data.all_comparisons()):
        return
    st.subheader("4. Decision", anchor=False)
    if st.button("See the ranking", icon=":material/leaderboard:", key="part_ranking"):
        selection.open_page("leaderboard", dataset=part.slug)
