from __future__ import annotations

import pandas as pd
import streamlit as st

from pages._shared import data, frame, selection
from pages._shared.threshold import choose_threshold
from vlmad_core.figures.bars import reliability_figure
from vlmad_core.figures.curves import curve_figure, score_histogram
from vlmad_core.results.comparison import Line
from vlmad_core.results.slices import reliability
from vlmad_core.results.verdicts import confusion, counts, image_thresholds, judge

frame.begin("accuracy")
one = frame.comparison()
with st.container(horizontal=True, vertical_alignment="bottom"):
    category = frame.choose_category(one.categories)
    shots = frame.choose_shots(one)
lines = one.lines(shots)


def draw(title: str, kind: str, metric: str, base_rate: float | None = None) -> None:
    """One figure of curves, or why there is none."""
    st.subheader(title, anchor=False)
    found = data.named_curves(lines, category, f"image_{kind}", metric)
    if not found:
        st.caption("These runs kept no curves for this category.")
        return
    st.plotly_chart(
        curve_figure(found, kind, base_rate=base_rate), config=frame.PLOT,
        alt=f"{title} of {len(found)} methods on {category}",
    )  # fmt: skip


def show_scores(line: Line) -> None:
    """Scores of one method with a threshold: histogram, confusion matrix, reliability."""
    run = line.run_with(category)
    if run is None:
        st.caption(f"{line.title} has no scores for this category yet.")
        return
    images = data.store().images(run.id, category)
    with controls:
        threshold = choose_threshold(images, image_thresholds(run, category, images))
    if threshold is None:
        st.caption(f"{line.title} has no scores for this category.")
        return
    judged = judge(images, threshold.value)
    number = counts(judged)
    st.caption(f"Threshold {threshold.value:.4g}: {threshold.origin}.")
    left, right = st.columns([3, 2], gap="large")
    with left:
        st.plotly_chart(
            score_histogram(judged, threshold.value), config=frame.PLOT,
            alt=f"Scores of normal and defective images of {category} with the threshold",
        )  # fmt: skip
    with right:
        st.table(
            confusion(number), border="horizontal", alt="Confusion matrix at the threshold",
        )  # fmt: skip
        if st.button("See the mistakes", icon=":material/arrow_forward:", type="tertiary"):
            selection.open_page("failures", category=category, method=line.id, shots=str(shots))
    with st.expander("Do the scores mean what they say?", icon=":material/target:"):
        scores = judged["score"].astype(float)
        if scores.between(0, 1).all():
            st.plotly_chart(
                reliability_figure(reliability(judged), line.method, line.title), config=frame.PLOT,
                alt=f"Share of defective images over the score of {line.title}",
            )  # fmt: skip
            st.caption("On the dotted line a score of 0.7 means that 7 in 10 such images are defective.")
        else:
            st.caption("The scores of this method do not lie between 0 and 1: they are no probabilities.")


first_run = next((run for line in lines if (run := line.run_with(category))), None)
labels = data.store().images(first_run.id, category)["label"] if first_run else pd.Series(dtype=float)
left, right = st.columns(2, gap="large")
with left:
    draw("ROC", "roc", "image_auroc")
with right:
    draw("Precision and recall", "pr", "image_ap", float(labels.astype(float).mean()) if len(labels) else None)
st.subheader("Scores and threshold", anchor=False)
controls = st.container(horizontal=True, vertical_alignment="bottom")
with controls:
    chosen = frame.choose_method(lines)
show_scores(chosen)
