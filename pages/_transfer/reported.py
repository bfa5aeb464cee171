"""The transfer page of a published set: trained on against judged on, as sources report it."""

from __future__ import annotations

import streamlit as st

from pages._ui import citing, claims, data, drawing, frame, take_along
from vlmad_core.analysis.claims import EVERYTHING, UNASKED
from vlmad_core.analysis.published import PublishedSet, reported_label
from vlmad_core.analysis.reported import METRIC_NAMES
from vlmad_core.analysis.transfer import cells_frame, published_methods, published_transfer
from vlmad_core.figures.matrices import transfer_chart

COLUMNS = 8
"""Sets that are shown unless others are chosen: more cannot be read."""


def show(one: PublishedSet) -> None:
    """Choosers, the matrix, and the claims behind it."""
    sets = {other.key: other for other in data.published()[0].values()}
    st.markdown(
        "Most methods are trained on one data set and judged on others, and papers say which. "
        "Rows: what the parameters were trained on. Columns: what they are judged on."
    )
    with st.container(horizontal=True, vertical_alignment="bottom"):
        metric = claims.choose_metric([name for name in METRIC_NAMES if name in one.metrics], "transfer", "image_auroc")
        shots = int(claims.choose_shots(one.shots))
        wanted = EVERYTHING if claims.second_hand() else UNASKED
        methods = published_methods(sets.values(), metric, shots, wanted)
        here = [name for name, places in methods.items() if one.key in places]
        if here:
            method = st.selectbox(
                "Method", list(methods), index=list(methods).index(here[0]), key=f"transfer_method-{one.key}",
                help="First those that were trained on most different data, then those judged on most sets.",
            )  # fmt: skip
    if not here:
        st.info("No source says what a method with values here was trained on.", icon=":material/model_training:")
        return
    places = methods[str(method)]
    shown = st.multiselect(
        "Judged on", list(places), default=sorted(places, key=lambda key: key != one.key)[:COLUMNS],
        format_func=lambda key: sets[key].title, key=f"transfer_sets-{one.key}-{method}-{metric}",
    )  # fmt: skip
    cells = published_transfer([sets[key] for key in shown], str(method), metric, shots=shots, wanted=wanted)
    table = cells_frame(cells)
    label = reported_label(metric)
    if table["value"].isna().all():
        st.caption("No data set is chosen.")
        return
    drawing.altair(
        transfer_chart,
        table,
        label,
        dark=frame.is_dark(),
        blank="not reported",
        alt=f"{label} of {method} as reported, by what it was trained on and what it is judged on",
    )
    st.caption(
        f"{frame.EVIDENCE['reported']} {label} in percent, means as sources state them. "
        ":orange[**Dashed frame:**] trained on images of the data set it is judged on. Rows differ "
        "in more than the training data where they are from different sources. The last row trains nothing. "
        f"{claims.RULE}"
    )
    known = table[table["value"].notna()]
    st.dataframe(
        known.assign(value=100 * known["value"]), hide_index=True, alt="The values behind the figure and their sources",
        column_order=["title", "trained_on", "dataset", "value", "seen", "reason"],
        column_config={
            "title": st.column_config.TextColumn("Method", pinned=True), "trained_on": "Trained on",
            "dataset": "Judged on", "value": st.column_config.NumberColumn(label, format="%.1f"),
            "seen": "Saw this data", "reason": "Whose number, and where it stands",
        },
    )  # fmt: skip
    take_along.table(
        known, f"transfer-{one.key}-published-{metric}", f"{method}, {label}",
        {"title": "Method", "trained_on": "Trained on", "dataset": "Judged on", "value": label, "seen": "Saw this data",
         "reason": "Whose number, and where it stands"},
    )  # fmt: skip
    citing.cite((cell.source for cell in cells), "transfer")
