from __future__ import annotations

import pandas as pd
import streamlit as st

from pages._ui import data, frame, selection, take_along
from vlmad_core import paths
from vlmad_core.analysis.reported import METRIC_NAMES, conflicts, load_reported
from vlmad_core.analysis.reproduction import (
    HERE,
    PAPER,
    PUBLIC,
    Step,
    Story,
    implementations,
    method_knowledge,
    reproduction_table,
    steps_table,
    story,
)
from vlmad_core.analysis.sources import load_sources
from vlmad_core.analysis.tables import csv_text
from vlmad_core.figures.ranking import method_order, reproduction_figure, story_figure
from vlmad_core.metrics import METRICS

DATASETS = {"mvtec_ad": "MVTec AD", "visa": "VisA"}
WHO = {PAPER: "paper", PUBLIC: "others", HERE: "this program"}
LABELS = {name: METRICS[name].label if name in METRICS else "AUPRO, as reported" for name in METRIC_NAMES}


@st.cache_resource(show_spinner=False)
def reported() -> pd.DataFrame:
    """The reported results, read once."""
    return load_reported()


@st.cache_data(max_entries=4, show_spinner="Comparing …")
def table_of(mark: str, dataset: str) -> pd.DataFrame:
    """Paper, others and this program; anew when results come or go."""
    del mark
    return reproduction_table(reported(), load_sources(), dataset, data.store())


@st.cache_resource(show_spinner=False)
def winclip_story() -> Story:
    """The story of one number."""
    return story(reported(), load_sources())


@st.cache_data(show_spinner=False)
def disagreements(dataset: str) -> pd.DataFrame:
    """Means that sources state differently."""
    found = conflicts(reported())
    return found[(found["dataset"] == dataset) & (found["category"] == "mean")]


def points(value: float) -> str:
    """A difference of fractions, in points; empty where there is none."""
    return "" if pd.isna(value) else f"{100 * value:+.1f}".replace("-0.0", "0.0").replace("+0.0", "0.0")


def show_table(rows: pd.DataFrame) -> None:
    """All claims of the chosen metric."""
    shown = pd.DataFrame(
        {
            "method": rows["method"],
            "who": rows["who"].map(WHO),
            "value": 100 * rows["value"],
            "difference": rows["difference"].map(points),
            "label": rows["label"],
            "variant": rows["variant"],
            "protocol": ["; ".join(items) if isinstance(items, tuple) else "" for items in rows["protocol"]],
            "reason": rows["reason"].fillna(""),
            "location": rows["location"],
            "url": rows["url"],
        }
    )
    st.dataframe(
        shown, hide_index=True, placeholder="–", alt="Reported and measured values with their sources",
        column_config={
            "method": st.column_config.TextColumn("Method", pinned=True),
            "who": "Whose number",
            "value": st.column_config.NumberColumn("Percent", format="%.1f"),
            "difference": st.column_config.TextColumn("To the paper", help="In points, over the same categories."),
            "label": "Source", "variant": "Which run",
            "protocol": st.column_config.TextColumn("What is known to differ"),
            "reason": "Why no difference", "location": "Where in the source",
            "url": st.column_config.LinkColumn("Link", display_text="open"),
        },
    )  # fmt: skip


def show_step(step: Step) -> None:
    """One number of the story with what is known of its cause."""
    known = step.implementation
    with st.container(border=True):
        gap = f" :gray[{points(step.difference)} points]" if step.difference is not None else ""
        source = f"[{step.label}]({step.url})" if step.url else step.label
        st.markdown(f"**{100 * step.value:.1f}**{gap} &ensp; {known.title} &ensp; :gray[{source}, {step.location}]")
        if known.established:
            st.markdown("**Established by experiment**\n" + "\n".join(f"- {text}" for text in known.established))
        if known.differences:
            heading = "Known about it" if known.established else "Read in it, not shown to be the cause"
            st.markdown(f":gray[{heading}]\n" + "\n".join(f"- {text}" for text in known.differences))
        if known.open:
            st.markdown(":gray[Not known]\n" + "\n".join(f"- {text}" for text in known.open))


def show_knowledge(rows: pd.DataFrame) -> None:
    """What was checked of each method in view, and what could not be."""
    known = method_knowledge()
    names = [*dict.fromkeys(rows["method_id"]), *dict.fromkeys(rows["method"])]
    for name in (name for name in names if name in known):
        titles = ", ".join(dict.fromkeys(rows[(rows["method_id"] == name) | (rows["method"] == name)]["method"]))
        lines = [f"**{titles}**"]
        if known[name].here:
            lines.append(f"- :material/check: {known[name].here}")
        lines += [f"- :material/question_mark: {text}" for text in known[name].open]
        st.markdown("\n".join(lines))


frame.begin("reproduction")
st.caption(
    "What papers report, what others got with public code, and what this program gets. Reported numbers are never "
    "averaged or ranked together with measured ones."
)
with st.container(horizontal=True, vertical_alignment="bottom"):
    dataset = st.segmented_control(
        "Published data set", list(DATASETS), default="mvtec_ad", required=True, format_func=DATASETS.__getitem__
    )
    metric = selection.choose(
        "metric", "Metric", list(METRIC_NAMES), METRIC_NAMES[0], known=list(METRICS), slot="reported",
        format_func=LABELS.__getitem__, width=230,
    )  # fmt: skip
    table = table_of(data.signature(paths.stores()), dataset)
    table = table[table["metric"] == metric]
    counts = [str(k) for k in sorted(set(table["shots"]))]
    shots = selection.choose(
        "shots", "Normal references", counts, counts[0], segmented=True, slot="reported",
        known=[str(k) for k in range(65)], format_func=frame.shots_label,
    )  # fmt: skip
rows = table[table["shots"] == int(shots)]
order = method_order(rows)
rows = rows.sort_values("method", key=lambda names: names.map(order.index), kind="stable")
st.plotly_chart(
    reproduction_figure(rows, LABELS[metric]), config=frame.PLOT,
    alt=f"{LABELS[metric]} on {DATASETS[dataset]}: the paper's number, others' and this program's for each method",
)  # fmt: skip
if not (rows["who"] == HERE).any():
    st.info(
        f"This program has not measured {DATASETS[dataset]} here yet. With the images and the authors' backbone, "
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

told = winclip_story()
st.subheader("One number, five hands: WinCLIP on MVTec AD", anchor="winclip")
st.markdown(f"{told.lead} {LABELS[told.metric]}, zero-shot:")
st.plotly_chart(
    story_figure(steps_table(told), LABELS[told.metric]), config=frame.PLOT,
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
with st.expander("Where sources disagree", icon=":material/compare_arrows:"):
    found = disagreements(dataset)
    st.dataframe(
        found.assign(value=100 * found["value"], spread=100 * found["spread"]), hide_index=True,
        column_order=["method", "metric", "value", "spread", "variant", "source", "location", "note"],
        alt="Values that sources state differently", column_config={"value": "Percent", "spread": "Spread (points)"},
    )  # fmt: skip
with st.expander("How these numbers were collected", icon=":material/library_books:"):
    st.markdown((paths.reported_folder() / "README.md").read_text(encoding="utf-8").partition("\n")[2])
