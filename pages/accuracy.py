from __future__ import annotations

import pandas as pd
import streamlit as st

from pages._ui import data, drawing, frame, selection, take_along
from pages._ui.opening import choose_lines, open_on
from pages._ui.threshold import choose_threshold
from vlmad_core.analysis.entries import Entry
from vlmad_core.analysis.slices import calibrations
from vlmad_core.analysis.verdicts import confusion, counts, image_thresholds, judge
from vlmad_core.figures.curves import NamedReliability, curve_figure, curve_points, reliability_figure, score_histogram
from vlmad_core.figures.grid import category_label

WHAT_SCORES_ARE = (
    "**These scores are not probabilities.** They put images in an order: similarities to prompts or distances to "
    "references, some brought between 0 and 1 by a softmax whose temperature the authors fixed. And here {share} of "
    "the images are anomalous because the data set was made so; few lines have so many. Read the curve as what a score "
    "meant on this set, not as how likely a part of yours is defective."
)

frame.begin("accuracy")
one = frame.comparison()
with st.container(horizontal=True, vertical_alignment="bottom"):
    start = open_on(one, "image_auroc")
    category = frame.choose_category(one.categories, start.category, start.rule)
    shots = frame.choose_shots(one)
lines = one.entries(shots)
drawn = choose_lines(lines, start)
where = selection.tidy(category_label(category))


def draw(title: str, kind: str, metric: str, base_rate: float | None = None) -> None:
    """One figure of curves, or why there is none."""
    st.subheader(title, anchor=False)
    found = data.named_curves(drawn, category, f"image_{kind}", metric)
    if not found:
        st.caption("Without scores of normal and of defective images there is no curve.")
        return
    drawing.plotly(
        curve_figure, found, kind, base_rate=base_rate,
        alt=f"{title} of {len(found)} methods on {where}",
    )  # fmt: skip
    take_along.table(curve_points(found), f"{kind}-{one.dataset}-{category}", f"Points of {title}", latex=False)


def show_scores(line: Entry) -> None:
    """Scores of one method with a threshold: histogram and confusion matrix."""
    run = line.run_with(category)
    images = data.store().images(run.id, category) if run else pd.DataFrame()
    with controls:
        threshold = choose_threshold(images, image_thresholds(run, category, images)) if run else None
    if run is None or threshold is None:
        st.info(
            f"{selection.tidy(line.title)} has no scores for this category yet. This computes them:",
            icon=":material/hourglass_empty:",
        )
        st.code(frame.precompute_command(one, line.id, shots), language="bash", wrap_lines=True)
        return
    judged = judge(images, threshold.value)
    st.caption(f"Threshold {threshold.value:.4g}: {threshold.origin}.")
    left, right = st.columns([3, 2], gap="large")
    with left:
        drawing.plotly(
            score_histogram, judged, threshold.value,
            alt=f"Scores of normal and defective images of {where} with the threshold at {threshold.value:.4g}",
        )  # fmt: skip
    with right:
        matrix = confusion(counts(judged))
        st.table(matrix, border="horizontal", alt="Confusion matrix at the threshold")
        take_along.table(
            matrix.reset_index(), f"confusion-{one.dataset}-{category}-{line.id}",
            f"Confusion of {selection.tidy(line.title)}",
        )  # fmt: skip
        if st.button("See the mistakes", icon=":material/arrow_forward:", type="tertiary"):
            at = {"threshold": threshold.name or f"{threshold.value:.6g}"}
            selection.open_page("failures", category=category, method=line.id, shots=str(shots), **at)


def show_calibration(share: float) -> None:
    """Reliability of all methods whose scores may be read between 0 and 1, and a plain word on what scores are."""
    found = calibrations(data.store(), drawn, category)
    st.markdown(WHAT_SCORES_ARE.format(share=f"{share:.0%}"))
    left, right = st.columns([3, 2], gap="large")
    with left:
        inside = [NamedReliability(c.method, c.title, c.points) for c in found if c.error is not None]
        if inside:
            drawing.plotly(
                reliability_figure, inside, share,
                alt=f"Share of anomalous images over the score of {len(inside)} methods on {where}",
            )  # fmt: skip
            st.caption("Dotted: where a score would be a probability, and the share of anomalous images among all.")
        else:
            st.caption("No method here has scores between 0 and 1.")
    with right:
        table = pd.DataFrame(
            {
                "Method": [selection.tidy(c.title) for c in found],
                "Scores": [f"{c.low:.3g} – {c.high:.3g}" for c in found],
                "ECE": ["–" if c.error is None else f"{c.error:.3f}" for c in found],
            }
        ).set_index("Method")
        st.table(table, border="horizontal", alt="Range of scores and expected calibration error by method")
        st.caption(
            "Expected calibration error: mean distance of a score from the share of anomalous images among ten groups "
            "of like score; 0 is best. A dash: the scores leave 0 to 1 and can't be read as probabilities."
        )
        take_along.table(table.reset_index(), f"calibration-{one.dataset}-{category}", "Calibration")


first_run = next((run for line in lines if (run := line.run_with(category))), None)
labels = data.store().images(first_run.id, category)["label"] if first_run else pd.Series(dtype=float)
base_rate = float(labels.astype(float).mean()) if len(labels) else None
left, right = st.columns(2, gap="large")
with left:
    draw("ROC", "roc", "image_auroc")
with right:
    draw("Precision and recall", "pr", "image_ap", base_rate)
st.subheader("Scores and threshold", anchor=False)
controls = st.container(horizontal=True, vertical_alignment="bottom")
with controls:
    chosen = frame.choose_method(lines, start.entry.id if start.entry else None)
show_scores(chosen)
part = st.expander(
    "Calibration: do scores mean what they say?", icon=":material/target:", key="calibration", on_change="rerun"
)
if part.open and base_rate is not None:
    with part:
        show_calibration(base_rate)
