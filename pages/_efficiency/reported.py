"""The efficiency page of a published set: what sources report of time, memory and parameters."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from pages._ui import citing, claims, drawing, frame, selection, take_along
from vlmad_core.analysis.claims import EVERYTHING, UNASKED
from vlmad_core.analysis.literature import COST_LABELS, NOT_SAID, cost_claims, cost_points, load_efficiency
from vlmad_core.analysis.published import PublishedSet, reported_label
from vlmad_core.analysis.reported import METRIC_NAMES
from vlmad_core.analysis.sources import load_sources
from vlmad_core.analysis.tables import latex_text
from vlmad_core.figures.efficiency import cost_figure, reported_cost_figure

LATEX = {
    "name": "Method", "cost": "Value", "unit": "Unit", "hardware": "Hardware", "whose": "Whose number",
    "backbone": "Backbone", "citation": "Source", "location": "Where in it",
}  # fmt: skip
"""Columns that are printed; ``value`` would be taken for a fraction."""


@st.cache_resource(show_spinner=False)
def reported_costs() -> pd.DataFrame:
    """What is reported of costs, read once."""
    return load_efficiency()


def show(one: PublishedSet) -> None:
    """Every claim on one cost by hardware; accuracy against cost for one source at a time; all of it with sources."""
    sources = load_sources()
    methods = {entry.method for entry in one.entries}
    with st.container(horizontal=True, vertical_alignment="bottom"):
        second_hand = claims.second_hand()
        every = {
            name: cost_claims(reported_costs(), sources, name, methods=methods, second_hand=second_hand)
            for name in COST_LABELS
        }
        names = [name for name, found in every.items() if len(found)]
        if names:
            cost = st.selectbox(
                "Cost", names, format_func=COST_LABELS.__getitem__, key=f"reported_cost-{one.key}", width=280
            )
    if not names:
        st.info(f"No source reports a cost of the methods with values on {one.title}.", icon=":material/speed:")
        return
    found = every[cost]
    st.markdown(
        f"{frame.EVIDENCE['reported']} What sources report of these methods, on any images. Of {len(found)} values "
        f"{int((found['hardware'] == NOT_SAID).sum())} come without the hardware; numbers from different hardware, or "
        "of different backbones and input sizes, can't be compared."
    )
    drawing.plotly(
        reported_cost_figure, found, COST_LABELS[cost],
        alt=f"{COST_LABELS[cost]} of each method as reported, by hardware",
    )  # fmt: skip
    _show_source(one, found, cost, second_hand=second_hand)
    st.subheader("All figures", anchor=False)
    st.dataframe(
        found, hide_index=True, placeholder="–", alt=f"{COST_LABELS[cost]} of each method as reported, with sources",
        column_order=[
            "name", "value", "unit", "hardware", "whose", "shots", "backbone", "image_size", "variant", "citation",
            "location", "url", "note",
        ],
        column_config={
            "name": st.column_config.TextColumn("Method", pinned=True),
            "value": st.column_config.NumberColumn("Value", format="%.4g"), "unit": "Unit", "hardware": "Hardware",
            "whose": "Whose number", "shots": "References", "backbone": "Backbone", "image_size": "Input (px)",
            "variant": "Which run", "citation": "Source", "location": "Where in it", "note": "Note",
            "url": st.column_config.LinkColumn("Link", display_text="open"),
        },
    )  # fmt: skip
    take_along.table(
        found, f"efficiency-{one.key}-published-{cost}", COST_LABELS[cost],
        latex=lambda: latex_text(found.rename(columns={"value": "cost"}), LATEX, COST_LABELS[cost]),
    )  # fmt: skip
    citing.cite(found["source"], "costs")


def _show_source(one: PublishedSet, found: pd.DataFrame, cost: str, *, second_hand: bool) -> None:
    """Accuracy over cost within one source, since only there the machine is the same."""
    st.subheader("Accuracy against cost, one source at a time", anchor="source")
    by_source = {key: rows for key, rows in found.groupby("source", sort=False) if rows["name"].nunique() > 1}
    if not by_source:
        st.caption("No source reports this of two methods or more.")
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        metric = claims.choose_metric([name for name in METRIC_NAMES if name in one.metrics], "costs", "image_auroc")
        source = st.selectbox(
            "Costs from", sorted(by_source, key=lambda key: -len(by_source[key])), key=f"cost_source-{one.key}-{cost}",
            format_func=lambda key: by_source[key]["citation"].iloc[0], width=280,
        )  # fmt: skip
    rows = by_source[source]
    points = cost_points(rows, one, metric, EVERYTHING if second_hand else UNASKED)
    label = reported_label(metric)
    if points.empty:
        st.caption(f"Of none of its methods {label} on {one.title} is reported.")
        return
    drawing.plotly(
        cost_figure, points, "cost", label, axis=COST_LABELS[cost], logarithmic=bool((points["cost"] > 0).all()),
        alt=f"{label} of each method on {one.title} over its cost, both as reported",
    )  # fmt: skip
    hardware = ", ".join(dict.fromkeys(rows["hardware"]))
    accuracy = selection.tidy(", ".join(dict.fromkeys(points["accuracy_of"])), 200)
    st.caption(
        f"Cost: {rows['citation'].iloc[0]}, hardware {hardware}. Accuracy: {accuracy}, which need not have "
        "used the same backbone or input size."
    )
