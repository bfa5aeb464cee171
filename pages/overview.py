from __future__ import annotations

import pandas as pd
import streamlit as st

from pages._shared import data, frame, selection
from vlmad_core.metrics import METRICS
from vlmad_core.results.comparison import Comparison, cells, lead, winner
from vlmad_core.results.speed import cost_table
from vlmad_core.results.tables import headlines

HEADLINE = ("image_auroc", "aupro_30", "pixel_auroc")


def best_in(one: Comparison, board: pd.DataFrame, metric: str, question: str) -> None:
    """Card: the best method in one metric, how sure that is, and the way to the evidence."""
    with st.container(border=True, height="stretch"):
        st.caption(question)
        best = winner(board, metric)
        if best is None:
            st.markdown("**No method has a value yet**")
            reasons = board[(board["metric"] == metric) & board["reason"].notna()]["reason"]
            st.caption(selection.tidy(str(reasons.iloc[0]), 160) if len(reasons) else "It was not computed.")
            return
        st.metric(
            METRICS[metric].label, f"{100 * best['value']:.1f}%", border=False,
            help=METRICS[metric].definition,
        )  # fmt: skip
        st.markdown(f"**{selection.tidy(named(best))}** :gray[{frame.interval(best['low'], best['high'])}]")
        st.caption(certainty(one, board, metric, best))
        if st.button("See the ranking", key=f"see-{metric}", icon=":material/arrow_forward:", type="tertiary"):
            selection.forget("category")
            selection.open_page("leaderboard", metric=metric, shots="all")


def named(line: pd.Series) -> str:
    """A line's title with its number of references."""
    return f"{line['title']}, {line['shots']} references" if line["shots"] else str(line["title"])


def certainty(one: Comparison, board: pd.DataFrame, metric: str, best: pd.Series) -> str:
    """In words: is the best clearly ahead of the second?"""
    rows = board[(board["metric"] == metric) & board["rank"].notna()].sort_values("rank")
    if len(rows) < 2:
        return "No other method has a value to compare with."
    second = rows.iloc[1]
    lines = {(line.method, line.preset, line.shots): line for line in one.lines()}
    pair = [lines[(row["method"], row["preset"], row["shots"])] for row in (best, second)]
    gap = lead(cells(data.store(), pair, metric), pair[0].id, pair[1].id)
    if gap is None or pair[0].id == pair[1].id:
        return f"Next: {selection.tidy(named(second))} with {100 * second['value']:.1f}%."
    spread = f"{100 * gap.difference:+.1f} points over {selection.tidy(named(second))}"
    spread += f" ({100 * gap.low:+.1f} to {100 * gap.high:+.1f})"
    return f"{spread}: {'a clear lead' if gap.clear else 'not a clear difference'} over {gap.categories} categories."


def fastest(one: Comparison) -> None:
    """Card: the fastest method, with the machine it was measured on."""
    with st.container(border=True, height="stretch"):
        st.caption("Which method is fastest?")
        costs = cost_table(one.lines()).dropna(subset="latency_ms").sort_values("latency_ms")
        if costs.empty:
            st.markdown("**No latency was measured**")
            return
        row = costs.iloc[0]
        st.metric("Median latency", f"{row['latency_ms']:.0f} ms", border=False)
        st.markdown(f"**{row['title']}** :gray[95% within {row['p95_ms']:.0f} ms]")
        how = "share of a batch" if row["shared"] else "one image at a time, from file to score"
        st.caption(f"{how}; {selection.tidy(row['processor'])}, {row['precision']}.")
        if st.button("See the cost", key="see-speed", icon=":material/arrow_forward:", type="tertiary"):
            selection.open_page("efficiency")


frame.begin("overview")
st.markdown(
    "How well do vision-language methods find defects on parts they have never seen? "
    "Everything here was measured by this program unless it says otherwise."
)
one = frame.comparison()
board = data.board(one)
with st.grid(3, min_column_width=230):
    best_in(one, board, "image_auroc", "Which method best tells defective parts from good ones?")
    best_in(
        one, board, frame.first_of(list(board["metric"]), "aupro_30"), "Which method best shows where the defect is?"
    )
    fastest(one)

st.subheader("Measured here", anchor=False)
shown = pd.concat(
    [
        headlines(data.board(other), HEADLINE).assign(backbone=frame.backbone_title(other.backbone))
        for other in data.all_comparisons()
    ]
)
st.dataframe(
    shown, hide_index=True, placeholder="–", alt="Methods and data sets measured here, with headline metrics",
    column_order=["dataset", "backbone", "title", "shots", "n_categories", *HEADLINE],
    column_config={
        "dataset": "Data set", "backbone": "Backbone", "title": "Method", "shots": "References",
        "n_categories": "Categories",
        **{name: st.column_config.NumberColumn(METRICS[name].label, format="%.1f") for name in HEADLINE},
    },
)  # fmt: skip
with st.container(horizontal=True):
    st.page_link("pages/categories.py", label="Where does it fail?", icon=":material/grid_view:")
    st.page_link("pages/live_demo.py", label="Try an image of your own", icon=":material/photo_camera:")
    st.page_link("pages/runs.py", label="Where do the numbers come from?", icon=":material/receipt_long:")
