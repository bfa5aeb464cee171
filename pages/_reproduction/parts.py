"""Parts of the page Reproduction: all claims, the steps of the story, what was checked, and where sources disagree."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from pages._ui import citing, frame, selection
from vlmad_core.analysis.contradictions import Contradiction, contradictions_table
from vlmad_core.analysis.reported import METRIC_NAMES
from vlmad_core.analysis.reproduction import HERE, PAPER, PUBLIC, Step, method_knowledge
from vlmad_core.metrics import METRICS

WHO = {PAPER: "paper", PUBLIC: "others", HERE: "this program"}
LABELS = {name: METRICS[name].label if name in METRICS else "AUPRO, as reported" for name in METRIC_NAMES}


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


def show_contradictions(found: tuple[Contradiction, ...]) -> None:
    """The widest gaps between sources: a table, and all claims on the one that is chosen in it."""
    table = contradictions_table(found)
    picked = st.dataframe(
        table.assign(metric=table["metric"].map(LABELS)), hide_index=True, key="contradictions",
        on_select="rerun", selection_mode="single-row", alt="Numbers that sources state very differently",
        column_config={
            "method": st.column_config.TextColumn("Method", pinned=True), "title": "Data set", "shots": "References",
            "metric": "Metric", "claims": "Claims",
            "low": st.column_config.NumberColumn("Lowest", format="%.1f"),
            "high": st.column_config.NumberColumn("Highest", format="%.1f"),
            "spread": st.column_config.NumberColumn("Points apart", format="%.1f"),
        },
    )  # fmt: skip
    chosen = picked["selection"]["rows"]
    one = found[chosen[0]] if chosen else found[0]
    st.markdown(
        f"**{selection.tidy(one.method)} on {one.title}**, {LABELS[one.metric]}, {frame.shots_label(str(one.shots))}: "
        f"{100 * one.low:.1f} to {100 * one.high:.1f}"
    )
    st.dataframe(
        one.claims.assign(value=100 * one.claims["value"]), hide_index=True,
        alt=f"All claims on {one.method} on {one.title}",
        column_order=["value", "whose", "citation", "variant", "training_data", "location", "url", "note"],
        column_config={
            "value": st.column_config.NumberColumn("Percent", format="%.1f"), "whose": "Whose run",
            "citation": "Source", "variant": "Which run", "training_data": "Trained on",
            "location": "Where in the source", "note": "To know",
            "url": st.column_config.LinkColumn("Link", display_text="open"),
        },
    )  # fmt: skip
    citing.cite(one.claims["source"], "contradiction")
