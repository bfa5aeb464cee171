from __future__ import annotations

import pandas as pd
import streamlit as st

from pages._reproduction.parts import LABELS, WHO, show_contradictions, show_knowledge, show_step, show_table
from pages._ui import citing, claims, data, drawing, frame, selection, take_along
from vlmad_core import paths
from vlmad_core.analysis.contradictions import Contradiction, conflicts, contradictions
from vlmad_core.analysis.reported import METRIC_NAMES, reported_sets
from vlmad_core.analysis.reproduction import HERE, Story, implementations, reproduction_table, steps_table, story
from vlmad_core.analysis.sources import load_sources
from vlmad_core.figures.ranking import method_order, reproduction_figure, story_figure
from vlmad_core.metrics import METRICS
from vlmad_core.tabular import csv_text


@st.cache_data(max_entries=16, show_spinner="Comparing …")
def table_of(mark: str, dataset: str, second_hand: bool) -> pd.DataFrame:
    """Paper, others and this program; anew when results come or go."""
    del mark
    return reproduction_table(data.reported(), load_sources(), dataset, data.store(), second_hand=second_hand)


@st.cache_resource(show_spinner=False)
def told_once() -> tuple[Story, tuple[Contradiction, ...]]:
    """The story of one number, and the contradictions."""
    return story(data.reported(), load_sources()), contradictions(data.reported(), load_sources())


@st.cache_data(max_entries=16, show_spinner=False)
def disagreements(dataset: str) -> pd.DataFrame:
    """Means that sources state differently."""
    frame_of = data.reported()
    return conflicts(frame_of[(frame_of["dataset"] == dataset) & (frame_of["category"] == "mean")])


frame.begin("reproduction")
st.caption(
    "What papers report, what others got with public code, and what this program gets. Reported numbers are never "
    "averaged or ranked together with measured ones."
)
with st.container(horizontal=True, vertical_alignment="bottom"):
    titles = reported_sets(data.reported())
    benchmark = frame.published()
    dataset = benchmark.key if benchmark else st.selectbox(
        "Published data set", list(titles), format_func=titles.__getitem__, key="published", bind="query-params",
        width=260,
    )  # fmt: skip
    second_hand = claims.second_hand()
    table = table_of(data.signature(paths.stores()), dataset, second_hand)
    if table.empty:
        table = table_of(data.signature(paths.stores()), dataset, True)
        selection.notice(f"Of {titles[dataset]} only numbers at second hand are known; they are shown.")
    names = [name for name in METRIC_NAMES if name in set(table["metric"])]
    metric = selection.choose(
        "metric", "Metric", names, names[0], known=[*METRICS, *METRIC_NAMES], slot="reported",
        format_func=LABELS.__getitem__, width=230,
    )  # fmt: skip
    table = table[table["metric"] == metric]
    counts = [str(k) for k in sorted(set(table["shots"]))]
    shots = selection.choose(
        "shots", "Normal references", counts, counts[0], segmented=True, slot="reported",
        known=[str(k) for k in range(65)], format_func=frame.shots_label,
    )  # fmt: skip
rows = table[table["shots"] == int(shots)]
order = method_order(rows)
rows = rows.sort_values("method", key=lambda names: names.map(order.index), kind="stable")
drawing.plotly(
    reproduction_figure, rows, LABELS[metric],
    alt=f"{LABELS[metric]} on {titles[dataset]}: the paper's number, others' and this program's for each method",
)  # fmt: skip
if not (rows["who"] == HERE).any():
    st.info(
        f"This program has not measured {titles[dataset]} here yet. With the images and the authors' backbone, "
        "this adds its own numbers:",
        icon=":material/hourglass_empty:",
    )
    st.code(
        f"python -m vlmad_core precompute --dataset {dataset} --method winclip --shots {shots} "
        "--backbone BACKBONE --mode as_published",
        language="bash", wrap_lines=True,
    )  # fmt: skip
show_table(rows)
take_along.table(
    table.assign(who=table["who"].map(WHO)), f"reproduction-{dataset}-{metric}", "All claims",
    {"method": "Method", "shots": "References", "who": "Whose number", "value": LABELS[metric], "label": "Source",
     "location": "Where"},
    csv=lambda: csv_text(table),
)  # fmt: skip
citing.cite(rows["source"], "table")

told, contradicted = told_once()
st.subheader("One number, five hands: WinCLIP on MVTec AD", anchor="winclip")
st.markdown(f"{told.lead} {LABELS[told.metric]}, zero-shot:")
drawing.plotly(
    story_figure, steps_table(told), LABELS[told.metric],
    alt="Zero-shot image AUROC of WinCLIP on MVTec AD in the paper and in four public evaluations",
)  # fmt: skip
for step in told.steps:
    show_step(step)
st.markdown(told.moral)

st.subheader("What was checked, and what could not be", anchor="checked")
show_knowledge(table)
shown_above = {step.implementation.source for step in told.steps}
others = [known for source, known in implementations().items() if source not in shown_above]
with st.expander("Other public runs in the table", icon=":material/call_split:"):
    for known in others:
        st.markdown("\n".join([f"**{known.title}**", *(f"- {text}" for text in (*known.differences, *known.open))]))

st.subheader("Where sources disagree", anchor="disagree")
show_contradictions(contradicted)
with st.expander(f"All means on {titles[dataset]} that sources state differently", icon=":material/compare_arrows:"):
    found = disagreements(dataset)
    st.dataframe(
        found.assign(value=100 * found["value"], spread=100 * found["spread"]), hide_index=True,
        column_order=["method", "metric", "value", "spread", "variant", "source", "location", "note"],
        alt="Values that sources state differently", column_config={"value": "Percent", "spread": "Spread (points)"},
    )  # fmt: skip
with st.expander("How these numbers were collected", icon=":material/library_books:"):
    st.markdown((paths.reported_folder() / "README.md").read_text(encoding="utf-8").partition("\n")[2])
