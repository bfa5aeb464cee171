"""Further views of a ranking: mean ranks over categories, how ranks move with the metric, and other data sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import streamlit as st

from pages._leaderboard import standings
from pages._ui import data, drawing, selection, take_along
from vlmad_core import paths
from vlmad_core.analysis.best import ranks_of
from vlmad_core.analysis.entries import Comparison, EntryKey
from vlmad_core.analysis.leaderboard import RankMoves, across_data_sets, rank_moves
from vlmad_core.figures.ranking import SHORT, moves_chart, rank_diagram
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


def show_moves(board: pd.DataFrame) -> None:
    """How ranks move from metric to metric, for each task."""
    found = {level: standings.metrics_of(board, level) for level in standings.TASKS}
    drawn = {level: _moves(board, tuple(names)) for level, names in found.items() if len(names) > 1}
    drawn = {level: moves for level, moves in drawn.items() if moves.frame["name"].nunique() > 1}
    if not drawn:
        return
    st.subheader("How ranks move with the metric", anchor="moves")
    st.caption("A rank that moves much rests on the choice of the metric. Equal ranks are ties.")
    with st.grid(2, min_column_width=380):
        for level, moves in drawn.items():
            with st.container():
                st.markdown(f"**{standings.TASKS[level][0]}**")
                drawing.altair(
                    moves_chart, moves.frame, tuple(found[level]), {name: spec.label for name, spec in METRICS.items()},
                    alt=f"Ranks of the methods in {', '.join(SHORT[name] for name in found[level])}",
                )  # fmt: skip
                if moves.left_out:
                    st.caption(f"Without a value in one of them: {selection.tidy(', '.join(moves.left_out), 200)}.")


def show_data_sets(boards: Mapping[str, pd.DataFrame], metric: str) -> None:
    """One metric on every data set measured in the same way."""
    if len(boards) < 2:
        return
    st.subheader("Per data set", anchor="datasets")
    st.caption(f"{METRICS[metric].label}, mean over the categories of each; nothing is averaged over data sets.")
    table = across_data_sets(boards, metric)
    take_along.table(table, f"datasets-{metric}", f"{METRICS[metric].label} per data set")
    st.dataframe(
        table, hide_index=True, placeholder="–", alt=f"{METRICS[metric].label} of each method on each data set",
        column_config={
            "name": st.column_config.TextColumn("Method", pinned=True),
            **{
                name: st.column_config.NumberColumn(selection.tidy(name), format="%.1f", alignment="left")
                for name in boards
            },
        },
    )  # fmt: skip


@st.cache_resource(max_entries=64, show_spinner=False)
def _moves(board: pd.DataFrame, names: tuple[str, ...]) -> RankMoves:
    return rank_moves(board, names)
