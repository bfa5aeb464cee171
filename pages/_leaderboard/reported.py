"""The leaderboard of a published set: what papers report, re-runs beside it, every claim one click away."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from pages._leaderboard.standings import TASKS, draw_ranking
from pages._ui import claims, data, frame, selection, take_along
from vlmad_core.analysis.claims import Wanted
from vlmad_core.analysis.published import PublishedSet, line_id, measured_twins, reported_label
from vlmad_core.analysis.published_tables import published_board, ranking_rows, side_by_side
from vlmad_core.figures.grid import category_label
from vlmad_core.figures.ranking import SHORT
from vlmad_core.metrics import METRICS
from vlmad_core.metrics.spec import MEAN

DRAWN = 12
"""Entries in the figure; the table has all."""
QUESTIONS = {
    "image": "Is the part defective? One score for each image.",
    "pixel": "Where is the defect? One score for each pixel, at the size each source measured at.",
}
SEEN_HELP = (
    "Whether the method's own parameters were trained on this data set, as far as the source says. What the backbone "
    "saw is reported nowhere."
)


def show(one: PublishedSet) -> None:
    """Both tasks, with their filters."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        shots = claims.choose_shots(one.shots, every=True)
        category = MEAN
        if one.categories:
            picked = frame.choose_category_or_all(one.categories)
            category = MEAN if picked == frame.ALL else picked
        wanted = claims.choose_wanted(one)
        together = False
        if measured_twins(one, data.all_comparisons()):
            together = st.toggle(
                "Side by side with what was measured here", key="side_by_side", bind="query-params",
                help="Ranks published numbers and measured ones together. They differ in more than the method: "
                "backbone, input size, code.",
            )  # fmt: skip
    count = int(shots) if shots.isdigit() else None
    for level in TASKS:
        _show_task(one, level, count, category, wanted, together=together)
    st.caption(f"In percent. {claims.RULE}")


def _show_task(
    one: PublishedSet, level: str, shots: int | None, category: str, wanted: Wanted, *, together: bool
) -> None:
    """One ranking: a figure of the first ones, all in a table, and the claims behind the number that was clicked."""
    title, question = TASKS[level][0], QUESTIONS[level]
    st.subheader(title, anchor=level)
    names = claims.level_of(one, level)
    if not names:
        st.caption("No source reports a metric of this kind.")
        return
    with st.container(horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute"):
        st.caption(question, width="content")
        metric = claims.choose_metric(names, f"reported-{level}", f"{level}_auroc")
    board = published_board(one, names, metric, shots=shots, category=category, wanted=wanted)
    if together:
        whole = category == MEAN
        twins = measured_twins(one, data.all_comparisons())
        parts = [(twin, data.board(twin, None if whole else (category,))) for twin in twins]
        board = side_by_side(board, parts, metric, shots=shots, total=len(one.categories) if whole else None)
    if board.empty:
        st.caption("No source reports this; the filters may leave something out.")
        return
    rows = ranking_rows(board, metric, DRAWN)
    if len(rows):
        draw_ranking(rows, reported_label(metric), None, "Re-runs by others")
        total = int(board["rank"].notna().sum())
        first = f"The first {DRAWN} of {total}. " if total > DRAWN else ""
        st.caption(f"{first}Bars are what others got. {claims.MARKS}")
    _show_table(one, level, board, names, metric, category, wanted, together=together)


def _show_table(
    one: PublishedSet,
    level: str,
    board: pd.DataFrame,
    names: Sequence[str],
    metric: str,
    category: str,
    wanted: Wanted,
    *,
    together: bool,
) -> None:
    title = TASKS[level][0]
    ordered = [metric, *(name for name in names if name != metric)]
    where = "mean over categories" if category == MEAN else category_label(category)
    event = st.dataframe(
        board, hide_index=True, placeholder="–", key=f"reported_{level}", on_select="rerun",
        selection_mode="single-cell", alt=f"{title}: what is reported on {one.title}, {where}, in percent",
        column_order=[
            "name", *(["evidence"] if together else []), *ordered, "rank", "kind", "reruns", "seen", "trained_on",
            "backbone", "year", "citation", *([] if together else ["evidence"]),
        ],
        column_config={
            "name": st.column_config.TextColumn("Method", pinned=True, width=165),
            "evidence": st.column_config.TextColumn("Number is", width=90),
            **{
                name: st.column_config.NumberColumn(SHORT[name], format="%.1f", width=58, help=_meaning(name))
                for name in names
            },
            "rank": st.column_config.NumberColumn("Rank", width=50),
            "kind": st.column_config.TextColumn("Whose", width=150, help=f"Of {reported_label(metric)}. {claims.RULE}"),
            "reruns": st.column_config.TextColumn(
                "Re-runs", width=160, help=f"What others got in {reported_label(metric)}."
            ),
            "seen": st.column_config.TextColumn("Saw this data", help=SEEN_HELP),
            "trained_on": "Trained on", "backbone": "Backbone", "citation": "Source",
            "year": st.column_config.NumberColumn("Year", format="%d"),
        },
    )  # fmt: skip
    st.caption(":material/ads_click: Click a number to see every claim on it, with source and place.")
    by_id = {line_id(entry): entry for entry in one.entries}
    for row, column in event.selection.cells:
        line = by_id.get(str(board.iloc[row]["line"])) if row < len(board) else None
        if line is None:
            st.caption("This row was measured here; its runs are on the page Runs.")
        else:
            claims.show_claims(one, line, column if column in names else metric, category, wanted)
    take_along.table(
        board.drop(columns=["line", "low", "high"]), f"leaderboard-{one.key}-published-{level}", title,
        {"name": "Method", "evidence": "Number is", **{name: reported_label(name) for name in ordered},
         "reruns": "Re-runs", "citation": "Source"},
    )  # fmt: skip


def _meaning(name: str) -> str:
    return METRICS[name].definition if name in METRICS else "AUPRO by whatever code the source used; rarely said which."


def offer(dataset: str | None) -> None:
    """On a measured data set that is a published one, or a part of it: the way to what papers report."""
    one = data.published()[0].get(f"{dataset}@published")
    if one is not None and st.button(
        f"What papers report on {selection.tidy(one.title)}: {len(one.claims):,} values", key="see-published",
        icon=":material/menu_book:",
    ):  # fmt: skip
        selection.open_page("leaderboard", dataset=one.id)
