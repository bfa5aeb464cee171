"""Step 2: which methods, with how many references and what backbone; how long it takes; the start."""

from __future__ import annotations

import streamlit as st

from pages._ui import selection
from vlmad_core.datasets.parts import Part


def show_plan(part: Part) -> None:
    """Choose what is computed, and start it.

    ``photos.listing(part)`` is its data set, whether its photos are written or still in memory; ``photos.keep(part)``
    writes them and gives back the part under the slug it then has: call it when a job is started.

    Args:
        part: Kept in the workspace, or not yet (``part.kept``).
    """
    if not part.kept:
        st.info("Jobs can't be started from here yet.", icon=":material/hourglass_empty:")
        return
    st.caption("On the command line:")
    command = f"python -m vlmad_core precompute --dataset {part.slug} --method clip_ac winclip patch_memory --shots 0 4"
    st.code(selection.tidy(command, 300), language="bash", wrap_lines=True)
