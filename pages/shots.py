from __future__ import annotations

import streamlit as st

from pages._shared import data, frame, selection
from vlmad_core.figures.bars import shots_figure
from vlmad_core.figures.grid import category_label
from vlmad_core.metrics import METRICS

ALL = "all"

frame.begin("shots")
one = frame.comparison()
with st.container(horizontal=True, vertical_alignment="bottom"):
    names = [name for name in METRICS if name in data.metric_names(one)]
    metric = selection.choose("metric", "Metric", names, names[0], format_func=lambda n: METRICS[n].label, width=260)
    category = selection.choose(
        "category", "Category", [ALL, *one.categories], ALL, width=230,
        format_func=lambda c: "All, mean over categories" if c == ALL else category_label(c),
    )  # fmt: skip
if one.shots == (0,):
    st.info(
        "Every run here is zero-shot: no method was given normal reference images. "
        "This command adds runs with 1, 2 and 4 references, three draws each:",
        title="No few-shot results yet",
        icon=":material/exposure_plus_1:",
    )
    st.code(
        frame.precompute_command(one, "winclip", 0).replace("--shots 0", "--shots 1 2 4 --seeds 3"),
        language="bash",
        wrap_lines=True,
    )
board = data.board(one, None if category == ALL else (category,))
rows = board[board["metric"] == metric]
if one.shots == (0,):
    st.caption("Until then, the zero-shot values:")
elif rows["value"].notna().any():
    st.plotly_chart(
        shots_figure(rows, METRICS[metric].label), config=frame.PLOT,
        alt=f"{METRICS[metric].label} over the number of normal references, for each method",
    )  # fmt: skip
    st.caption("Mean over categories and seeds; bars: standard deviation between seeds.")
    single = rows[(rows["n_seeds"] == 1) & (rows["shots"] > 0)]
    if len(single):
        st.caption("Points without bars rest on a single draw of references.")
else:
    st.caption("No method has a value in this metric.")
st.dataframe(
    rows.assign(value=100 * rows["value"], sd=100 * rows["sd"]),
    column_order=["title", "preset", "shots", "value", "sd", "n_seeds", "n_categories"],
    hide_index=True, placeholder="–", alt="The values behind the figure",
    column_config={
        "title": "Method", "preset": "Preset", "shots": "References",
        "value": st.column_config.NumberColumn(METRICS[metric].label, format="%.1f"),
        "sd": st.column_config.NumberColumn("Between seeds (sd)", format="%.1f"),
        "n_seeds": "Seeds", "n_categories": "Categories",
    },
)  # fmt: skip
