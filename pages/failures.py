from __future__ import annotations

import streamlit as st

from pages._failures import demos, judging, listing, panel
from pages._failures.maps import Later
from pages._failures.maps import nothing as nothing_later
from pages._ui import data, drawing, frame, selection
from pages._ui.opening import open_on
from pages._ui.threshold import Chosen, choose_name, choose_threshold
from vlmad_core.analysis.entries import Comparison, Entry
from vlmad_core.analysis.instructive import Opening
from vlmad_core.analysis.verdicts import (
    VERDICT_LABELS,
    StoredThreshold,
    counts,
    image_thresholds,
    pairs,
    ranked,
    shared_by,
)
from vlmad_core.figures.curves import score_histogram
from vlmad_core.figures.grid import category_label
from vlmad_core.figures.matrices import PAIR, pair_grid

PER_PAGE = 12
ALL = "all"


def choose_category(categories: tuple[str, ...], start: Opening) -> tuple[str, ...]:
    """One category, or all of them together."""
    picked = selection.choose(
        "category", "Category", [ALL, *categories], start.category, width=180, help=start.rule or None,
        format_func=lambda name: f"All {len(categories)}" if name == ALL else category_label(name),
    )  # fmt: skip
    return categories if picked == ALL else (picked,)


def choose(line: Entry, categories: tuple[str, ...]) -> Chosen | None:
    """The threshold: by name or by hand for one category, by name for several."""
    first = next((name for name in categories if line.run_with(name)), None)
    run = line.run_with(first) if first else None
    if run is None or first is None:
        return None
    images = data.store().images(run.id, first)
    stored: dict[str, StoredThreshold] = image_thresholds(run, first, images)
    if len(categories) == 1:
        return choose_threshold(images, stored)
    name = choose_name(stored)
    return Chosen(0.0, stored[name].label, "each category at its own value", name) if name else None


def nothing(one: Comparison, line: Entry, shots: int) -> None:
    """Say what is missing and what would make it."""
    title = selection.tidy(line.title)
    st.info(f"{title} has no scores for this category yet. This computes them:", icon=":material/hourglass_empty:")
    st.code(frame.precompute_command(one, line.id, shots), language="bash", wrap_lines=True)
    demos.show()
    st.stop()


frame.begin("failures")
if frame.chosen() is None:
    frame.nothing_yet()
    demos.show()
    st.stop()
one = frame.comparison()
with st.container(horizontal=True, vertical_alignment="bottom"):
    start = open_on(one, "image_auroc")
    categories = choose_category(one.categories, start)
    shots = frame.choose_shots(one)
    lines = one.entries(shots)
    line = frame.choose_method(lines, start.entry.id if start.entry else None)
    threshold = choose(line, categories)
if threshold is None:
    nothing(one, line, shots)
    st.stop()

by_hand = threshold.value if threshold.name is None else None
judged = judging.judged(line, categories, threshold.name, by_hand)
others = judging.others(one, shots, line, categories, threshold.name)
marked = judging.notes(one.dataset, line)
number = counts(judged)
title, several = selection.tidy(line.title), len(categories) > 1
where = f"{len(categories)} categories" if several else selection.tidy(category_label(categories[0]))
defective, normal = number["missed"] + number["found"], number["false_alarm"] + number["passed"]
at = f"at “{threshold.label}”, each at its own value" if several else f"at {threshold.value:.4g} ({threshold.origin})"
st.caption(
    f"{title} on {where} {at}: misses **{number['missed']} of {defective}** defective, "
    f"flags **{number['false_alarm']} of {normal}** normal images."
)
titles = {other.id: other.title for other in lines}
with st.container(horizontal=True, vertical_alignment="center"):
    place = st.container(width="content")
    scope = f"{one.dataset}-{'-'.join(categories)}-{line.id}-{shots}"
    chosen = listing.choose_filters(scope, judged, {name: titles[name] for name in others}, marked)
    passing = chosen.apply(judged, others, marked)
    with place:
        kind = listing.choose_list(judged, passing)
listed = ranked(passing, [kind])
later: Later = nothing_later

if listed.empty and chosen.number:
    st.info("No image of this list passes the filter.", icon=":material/filter_list:")
elif listed.empty:
    st.success(f"No image here: {VERDICT_LABELS[kind]} does not occur at this threshold.", icon=":material/check:")
else:
    ids = listed["image_id"].tolist()
    opened = selection.current("image", ids, ids[0], quiet=True)
    later = panel.show(one, lines, line, listed, opened, others)
    if several:
        st.caption("In the order of how far a score lies from its threshold, in standard deviations of its category.")
    runs = {name: run.id for name in categories if (run := line.run_with(name))}
    listing.show_list(runs, listed, opened, marked, PER_PAGE)
listing.offer_files(one, line, listed, marked, f"{kind}-{one.dataset}-{'all' if several else categories[0]}-{line.id}")

scores, agreement = st.tabs(["Scores and threshold", "Agreement between methods"], on_change="rerun", key="below")
if scores.open and not several:
    with scores:
        drawing.plotly(
            score_histogram, judged, threshold.value,
            alt=f"Scores of {normal} normal and {defective} defective images, with the threshold at "
            f"{threshold.value:.4g}",
        )  # fmt: skip
elif scores.open:
    scores.caption("Scores of different categories have no common scale. Choose one category to see them.")
if agreement.open:
    with agreement:
        everyone = {**others, line.id: judged}
        together = {name: everyone[name] for name in titles if name in everyone}
        wrong = shared_by(together)["n"].tolist()
        st.caption(
            f"Of {sum(wrong)} images {wrong[0]} are judged rightly by all {len(together)} methods and {wrong[-1]} "
            "wrongly by all. Choose a cell to see the images it counts; the diagonal holds all mistakes of a method."
        )
        st.altair_chart(
            pair_grid(pairs(together), titles, dark=frame.is_dark()), on_select=listing.open_pair,
            selection_mode=PAIR, key="pairs",
            alt="For each pair of methods, how many images one judges wrongly and the other rightly",
        )  # fmt: skip
unreadable = [data.store().images(run.id, name) for name in categories if (run := line.run_with(name))]
broken = [frame_of[frame_of["error"].notna()][["image_id", "error"]] for frame_of in unreadable]
if any(map(len, broken)):
    with st.expander(f"{sum(map(len, broken))} images could not be read", icon=":material/broken_image:"):
        for table in filter(len, broken):
            st.dataframe(table, hide_index=True, alt="Images that could not be read")
damaged = judging.found_notes(one.dataset).problems
if damaged:
    with st.expander(f"{len(damaged)} notes could not be read", icon=":material/report:"):
        for problem in damaged:
            st.text(str(problem.message))
demos.show()
later()
