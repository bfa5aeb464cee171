from __future__ import annotations

import pandas as pd
import streamlit as st

from pages._shared import data, frame, selection
from vlmad_core.figures.grid import category_label
from vlmad_core.figures.ranking import ranking_chart
from vlmad_core.metrics import METRICS
from vlmad_core.results.tables import csv_text, latex_table, leaderboard_table, rank_again

ALL = "all"
TASKS = {
    "image": ("Classification", "Is the part defective? One score for each image."),
    "pixel": ("Segmentation", "Where is the defect? One score for each pixel, compared with the masks at 256 × 256."),
}


def show_task(level: str, board: pd.DataFrame) -> None:
    """One ranking: the chosen metric as a figure, all metrics as a table."""
    title, question = TASKS[level]
    st.subheader(title, anchor=level)
    names = [name for name in METRICS if METRICS[name].level == level and name in set(board["metric"])]
    if not names:
        st.caption("No metric of this kind was computed in these runs.")
        return
    with st.container(horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute"):
        st.caption(question, width="content")
        name = selection.choose(
            "metric", "Ranked by", names, frame.first_of(names, "aupro_30"), slot=level, known=list(METRICS),
            format_func=lambda n: METRICS[n].label, width=260, help="Definition: " + METRICS[names[0]].definition,
        )  # fmt: skip
    spec = METRICS[name]
    rows = board[board["metric"] == name]
    if rows["value"].notna().any():
        st.altair_chart(
            ranking_chart(rows, spec.label, chance=0.5 if name.endswith("auroc") else None),
            alt=f"{spec.label} of each method with its interval, best first",
        )
    shown, blanks = leaderboard_table(board, names, name)
    percents = {
        n: st.column_config.NumberColumn(METRICS[n].label, format="%.1f", help=METRICS[n].definition) for n in names
    }
    st.dataframe(
        shown,
        hide_index=True,
        placeholder="–",
        column_config={
            "rank": st.column_config.NumberColumn("Rank", width=55),
            "title": st.column_config.TextColumn("Method", pinned=True),
            "interval": st.column_config.TextColumn("95% interval", help=f"Of {spec.label}, over categories."),
            "shots": st.column_config.NumberColumn("References", help="Normal reference images per category."),
            "n_seeds": st.column_config.NumberColumn("Seeds"),
            "n_categories": st.column_config.NumberColumn("Categories"),
            "n": st.column_config.NumberColumn("Images"),
            **percents,
        },
        alt=f"{title}: all metrics of all methods in percent",
    )
    for blank in blanks:
        st.caption(f":material/remove: **{blank.title}** has no place here: {selection.tidy(blank.reason, 200)}")


frame.begin("leaderboard")
one = frame.comparison()
with st.container(horizontal=True, vertical_alignment="bottom"):
    category = selection.choose(
        "category", "Category", [ALL, *one.categories], ALL, width=230,
        format_func=lambda c: "All, mean over categories" if c == ALL else category_label(c),
    )  # fmt: skip
    shots = ALL
    if len(one.shots) > 1:
        shots = selection.choose(
            "shots", "Normal references", [ALL, *map(str, one.shots)], str(one.shots[0]), segmented=True,
            format_func=lambda k: "All" if k == ALL else frame.shots_label(k),
        )  # fmt: skip
board = data.board(one, None if category == ALL else (category,))
if shots != ALL:
    board = rank_again(board[board["shots"] == int(shots)])

for task in TASKS:
    show_task(task, board)

with st.container(horizontal=True):
    st.download_button(
        "Download as csv", csv_text(board), f"leaderboard-{one.dataset}.csv", "text/csv",
        icon=":material/download:", on_click="ignore",
    )  # fmt: skip
    st.download_button(
        "Download as LaTeX", latex_table(board), f"leaderboard-{one.dataset}.tex", "text/x-tex",
        icon=":material/download:", on_click="ignore",
    )  # fmt: skip
st.caption(
    "In percent. Intervals: 95%, bootstrap over categories (over images for a single category). Overlapping intervals "
    "do not separate two methods. F1-max picks its threshold on the test labels: an upper bound."
)
