from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import streamlit as st

from pages._shared import data, frame, image_panel, selection
from pages._shared.threshold import choose_threshold
from vlmad_core.figures.curves import score_histogram
from vlmad_core.figures.grid import category_label
from vlmad_core.results.agreement import COMPANY_LABELS, judged_by_others, keep_company
from vlmad_core.results.verdicts import VERDICT_LABELS, counts, image_thresholds, judge, ranked

PER_PAGE = 12
KINDS = {
    "missed": ("Missed defects", ":material/visibility_off:"),
    "false_alarm": ("False alarms", ":material/notifications_active:"),
    "found": ("Defects found", ":material/check:"),
    "passed": ("Passed as normal", ":material/done_all:"),
}


def pick_kind(verdicts: dict[str, str], number: dict[str, int], cell: str) -> str:
    """Which list is shown: that of the image in the link, else the one chosen, else the first mistakes."""
    opened = selection.current("image", list(verdicts), "")
    first = next((kind for kind in ("missed", "false_alarm") if number[kind]), "found")
    key = f"kind-{cell}"
    st.session_state[key] = verdicts.get(opened) or st.session_state.get(key) or first
    st.segmented_control(
        "Show", list(KINDS), key=key, required=True, on_change=selection.forget, args=("image",),
        format_func=lambda kind: f"{KINDS[kind][1]} {KINDS[kind][0]} ({number[kind]})", label_visibility="collapsed",
    )  # fmt: skip
    return str(st.session_state[key])


def narrowed(images: pd.DataFrame, others: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The images that the filter leaves: by defect type, and by whom else judges them wrongly."""
    types = sorted(set(images["defect_type"]))
    with st.popover("Filter", icon=":material/filter_list:"):
        kept = st.pills(
            "Defect type", types, selection_mode="multi", key="filter_type", wrap=True,
            format_func=lambda name: selection.tidy(category_label(name)),
        )  # fmt: skip
        company = st.radio(
            "At the threshold of the same name", list(COMPANY_LABELS), key="filter_company",
            format_func=lambda name: COMPANY_LABELS[name], disabled=not others,
        )  # fmt: skip
    shown = images[images["defect_type"].isin(kept)] if kept else images
    return keep_company(shown, others, company)


frame.begin("failures")
one = frame.comparison()
with st.container(horizontal=True, vertical_alignment="bottom"):
    category = frame.choose_category(one.categories)
    shots = frame.choose_shots(one)
    line = frame.choose_method(one.lines(shots))
    run = line.run_with(category)
    if run is None:
        images, stored = None, {}
    else:
        images = data.store().images(run.id, category)
        stored = image_thresholds(run, category, images)
if images is not None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        threshold = choose_threshold(images, stored)
title = selection.tidy(line.title)
if images is None or run is None or threshold is None:
    st.info(f"{title} has no scores for this category yet. This computes them:", icon=":material/hourglass_empty:")
    st.code(frame.precompute_command(one, line.id, shots), language="bash", wrap_lines=True)
    st.stop()

judged = judge(images, threshold.value)
number = counts(judged)
defective, normal = number["missed"] + number["found"], number["false_alarm"] + number["passed"]
st.caption(
    f"{title} on {selection.tidy(category_label(category))} at {threshold.value:.4g} ({threshold.origin}): misses "
    f"**{number['missed']} of {defective}** defective, flags **{number['false_alarm']} of {normal}** normal images."
)
in_view = (data.store(), one.lines(shots), line, category)
verdicts = dict(zip(judged["image_id"], judged["verdict"], strict=True))
with st.container(horizontal=True, vertical_alignment="center"):
    kind = pick_kind(verdicts, number, f"{one.dataset}-{category}-{line.id}-{shots}")
    listed = ranked(narrowed(judged[judged["verdict"] == kind], judged_by_others(*in_view, threshold.name)), [kind])
if listed.empty and number[kind]:
    st.info("No image of this list passes the filter.", icon=":material/filter_list:")
elif listed.empty:
    st.success(f"No image here: {VERDICT_LABELS[kind]} does not occur at this threshold.", icon=":material/check:")
else:
    ids = listed["image_id"].tolist()
    opened = selection.current("image", ids, ids[0], quiet=True)
    image_panel.show(one, shots, line, category, listed, opened, threshold)
    image_panel.show_list(run.id, category, listed, opened, PER_PAGE)

st.subheader("Scores and threshold", anchor=False)
st.plotly_chart(
    score_histogram(judged, threshold.value), config=frame.PLOT,
    alt=f"Scores of {normal} normal and {defective} defective images, with the threshold at {threshold.value:.4g}",
)  # fmt: skip
unreadable = images[images["error"].notna()]
if len(unreadable):
    with st.expander(f"{len(unreadable)} images could not be read", icon=":material/broken_image:"):
        st.dataframe(unreadable[["image_id", "error"]], hide_index=True, alt="Images that could not be read")
st.download_button(
    "Download this list as csv", listed.to_csv(index=False), f"{kind}-{one.dataset}-{category}-{line.method}.csv",
    "text/csv", icon=":material/download:", on_click="ignore",
)  # fmt: skip
