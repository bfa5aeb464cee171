from __future__ import annotations

import pandas as pd
import streamlit as st

from pages._overview import benchmarks, cards
from pages._ui import data, frame, take_along
from vlmad_core.metrics import METRICS

HEADLINE = ("image_auroc", "aupro_30", "pixel_auroc")

frame.begin("overview")
st.markdown(benchmarks.what_this_is())
benchmarks.show()
benchmark = frame.published()
if benchmark is not None:
    benchmarks.show_leaders(benchmark)
if frame.chosen() is None:
    frame.nothing_measured()
    with st.container(horizontal=True):
        st.page_link("pages/reproduction.py", label="Papers beside public runs", icon=":material/compare_arrows:")
        st.page_link("pages/methods.py", label="How the methods work", icon=":material/school:")
    st.stop()

one = frame.comparison()
st.subheader(f"Measured here: {frame.dataset_title(one.dataset)}", anchor="measured")
st.markdown(cards.what_is_compared(one))
with st.container(horizontal=True, vertical_alignment="bottom"):
    categories = frame.choose_parts(one)
board = data.board(one, categories)
first = frame.first_of(sorted(set(board["metric"])), "image_auroc")
second = frame.first_of(sorted(set(board["metric"])), "aupro_30", "pixel_auroc")
with st.grid(3, min_column_width=250):
    best = cards.best_card(one, board, categories, first, "Which method best tells defective parts from good ones?")
    cards.best_card(one, board, categories, second, "Which method best shows where the defect is?")
    cards.speed_card(data.costs(one), best)
if best is not None:
    with st.grid(2, min_column_width=330):
        cards.failure_card(one, best, first, categories)
        cards.trust_card(one, best)

st.subheader("All results", anchor=False)
table = pd.concat([cards.summary(other, HEADLINE) for other in data.all_comparisons()], ignore_index=True)
take_along.table(table, "overview", "All results")
st.dataframe(
    table,
    hide_index=True,
    placeholder="–",
    alt="Methods and data sets with headline metrics",
    column_config={
        "name": st.column_config.TextColumn("Method", pinned=True),
        "dataset": "Data set", "backbone": "Backbone",
        **{name: st.column_config.NumberColumn(METRICS[name].label, format="%.1f", help=METRICS[name].definition)
           for name in HEADLINE},
        "latency_ms": st.column_config.NumberColumn("Latency (ms)", format="%.0f", help="Median, one image at a time."),
        "seen": st.column_config.TextColumn("Saw this data", help="Whether the data set was seen in training."),
        "remarks": "To know", "n_categories": "Categories",
    },
)  # fmt: skip
st.caption(
    "Mean over categories, in percent. Measured by this program where the name does not say imported; sort by a click "
    "on a heading."
)
with st.container(horizontal=True):
    st.page_link("pages/live_demo.py", label="Try an image of your own", icon=":material/photo_camera:")
    st.page_link("pages/categories.py", label="Every category and method", icon=":material/grid_view:")
    st.page_link("pages/reproduction.py", label="What papers report", icon=":material/menu_book:")
    st.page_link("pages/methods.py", label="How the methods work", icon=":material/school:")
