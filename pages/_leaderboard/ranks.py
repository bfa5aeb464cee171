"""Mean ranks over categories, and which of them can't be told apart: the second view of a ranking."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import streamlit as st

from pages._ui import data, drawing, selection
from vlmad_core import paths
from vlmad_core.analysis.best import ranks_of
from vlmad_core.analysis.entries import Comparison, EntryKey
from vlmad_core.figures.ranking import rank_diagram
from vlmad_core.metrics import METRICS

DEFAULTS = {"image": "image_auroc", "pixel": "aupro_30"}


def show_ranks(one: Comparison, keys: Sequence[EntryKey], categories: tuple[str, ...]) -> None:
    """Critical-difference diagrams of the metric that each task is ranked by, where that part is opened."""
    part = st.expander("Ranks over categories", icon=":material/format_list_numbered:", key="ranks", on_change="rerun")
    if not part.open:
        return
    with part:
        st.caption(
            "Would other parts change the order? Each category ranks the methods; a bar joins those whose mean ranks "
            "do not clearly differ (Friedman's test of all together, then every two with Holm's correction, 5%)."
        )
        for level, usual in DEFAULTS.items():
            names = [name for name, spec in METRICS.items() if spec.level == level]
            name = selection.current("metric", names, usual, slot=level, known=list(METRICS), quiet=True)
            st.markdown(f"**{METRICS[name].label}**")
            st.caption(_draw(paths.stores(), data.signature(paths.stores()), one, tuple(keys), name, categories))


@st.cache_data(max_entries=32, show_spinner=False, hash_funcs={Comparison: lambda one: (one.dataset, one.conditions)})
def _draw(
    roots: tuple[Path, ...],
    mark: str,
    one: Comparison,
    keys: tuple[EntryKey, ...],
    metric: str,
    categories: tuple[str, ...],
) -> str:
    """The figure, drawn again from the cache, and what to say below it."""
    by_key = data.entries(one)
    entries, found = ranks_of(data.store(), [by_key[key] for key in keys], metric, categories)
    if found.p is None:
        return f"Not compared: {found.reason}."
    rows = [{"method": e.method, "name": e.name, "rank": r} for e, r in zip(entries, found.ranks, strict=True)]
    ranked = pd.DataFrame(rows).sort_values("rank", kind="stable", ignore_index=True)
    bars = [(found.ranks[bar[0]], found.ranks[bar[-1]]) for bar in found.bars]
    figure = rank_diagram(ranked, bars, found.n)
    alt = f"Mean ranks in {METRICS[metric].label}; bars join methods that do not clearly differ"
    st.plotly_chart(figure, config=drawing.PLOT, alt=alt)
    said = "p < 0.001" if found.p < 0.001 else f"p = {found.p:.3f}"
    verdict = "they are not all equal" if found.p < 0.05 else "no difference between any of them is clear"
    return f"Friedman's test over {found.n} categories: {said}, {verdict}."
