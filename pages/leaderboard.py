from __future__ import annotations

import streamlit as st

from pages._leaderboard import ranks, reported, standings
from pages._ui import data, frame, selection, take_along
from vlmad_core.analysis.leaderboard import ranked_rows
from vlmad_core.analysis.reported import published
from vlmad_core.analysis.tables import leaderboard_csv, leaderboard_latex
from vlmad_core.metrics import METRICS

ALL = "all"
MEAN = "mean"

frame.begin("leaderboard")
benchmark = frame.published()
one = frame.chosen()
shots = ALL
if benchmark is not None:
    reported.show(benchmark)
    frame.nothing_measured()
elif one is None:
    frame.nothing_yet()
else:
    one = frame.comparison()
    reported.offer(published(one))
    with st.container(horizontal=True, vertical_alignment="bottom"):
        categories = frame.choose_parts(one)
        category = frame.choose_category_or_all(categories)
        if len(one.shots) > 1:
            shots = selection.choose(
                "shots", "Normal references", [ALL, *map(str, one.shots)], str(one.shots[0]), segmented=True,
                format_func=lambda k: "All" if k == ALL else frame.shots_label(k),
            )  # fmt: skip
        seeds = [MEAN, *map(str, one.seeds)]
        seed = MEAN
        if len(seeds) > 2:
            seed = selection.choose(
                "seed", "Draw of references", seeds, MEAN, width=150,
                format_func=lambda k: "Mean of all" if k == MEAN else f"Seed {k}",
            )  # fmt: skip
    if category != frame.ALL:
        categories = (category,)
    also = standings.choose_imported(one)
    draw = None if seed == MEAN else int(seed)
    board = standings.reranked(data.board(one, categories, draw), shots, also)
    keys = [key for key in data.entries(one) if shots == ALL or key[2] == int(shots)]
    keys = [key for key in keys if key in also or key not in data.imported(one)]
    for level in standings.TASKS:
        standings.show_task(one, level, board, keys, categories)
    ranks.show_ranks(one, keys, categories)
    ranks.show_moves(board[ranked_rows(board, also)])
    take_along.table(
        board, f"leaderboard-{one.dataset}", "All rankings",
        csv=lambda: leaderboard_csv(board), latex=lambda: leaderboard_latex(board, intervals=True),
    )  # fmt: skip
    metric = selection.current("metric", list(METRICS), "image_auroc", quiet=True)
    ranks.show_data_sets(
        {other.dataset: standings.reranked(data.board(other), shots)
         for other in data.alike(one)},
        metric,
    )  # fmt: skip
    st.caption(
        "In percent. F1-max picks its threshold on the test labels: an upper bound. Intervals are over categories: "
        "would other parts change the mean? Groups are over images: would other images of these parts change the "
        "order? Where a method can't be compared so, they are over categories too, as is said below the table."
    )
