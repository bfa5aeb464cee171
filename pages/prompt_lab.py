from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from pages._lab import asking, desk, effect, words
from pages._ui import frame, machine, selection
from vlmad_core import paths
from vlmad_core.cards import card_names
from vlmad_core.errors import VlmadError
from vlmad_core.figures.grid import category_label
from vlmad_core.metrics import METRICS
from vlmad_core.prompts import Tuning, tuning_warning

if TYPE_CHECKING:
    from vlmad_core.prompt_lab.remote import LabFacts, LabPlace


def choose_place() -> LabPlace | None:
    """What the words are judged on; None where there is no data set.

    Raises:
        VlmadError: If the backbone can't be loaded.
    """
    titles = machine.example_sets()
    if not titles:
        st.info("No data set is on this machine.", icon=":material/photo_library:")
        return None
    dataset = selection.choose(
        "dataset", "Data set", list(titles), next(iter(titles)), slot="lab", width=150, format_func=titles.__getitem__
    )
    method = selection.choose(
        "method", "Maps from", list(desk.METHODS), next(iter(desk.METHODS)), slot="lab", width=160,
        known=card_names(),
        format_func=lambda name: desk.METHODS[name],
        help="What is compared with the prompts to make a map. The image score is the same: the whole image.",
    )  # fmt: skip
    return asking.place_of(dataset, method)


def offer_extraction(place: LabPlace, stored: int, total: int) -> None:
    """Say that features are missing, and how they come about: a button, and a command."""
    st.info(
        f"{stored} of {total} test images of {selection.tidy(place.dataset)} have stored features for this backbone. "
        "The others pass the vision tower once; from then on only words change.",
        title="Features first", icon=":material/memory:",
    )  # fmt: skip
    if st.button("Extract features", type="primary", icon=":material/play_arrow:", key="lab_extract"):
        bring(place, total)
        st.rerun()
    st.caption("Or on the command line, for large data sets:")
    backbone = paths.named_backbone() or "bundled"
    st.code(
        f"python -m vlmad_core precompute --cache --dataset {place.dataset} --method {place.method} "
        f"--backbone {backbone}",
        language="bash", wrap_lines=True,
    )  # fmt: skip


def bring(place: LabPlace, total: int) -> LabFacts:
    """Load a data set's features into memory, with progress."""
    bar = st.progress(0.0, "Reading features …")

    def show(done: int, before: str) -> None:
        bar.progress(min(done / max(total, 1), 1.0), f"Reading features: image {done} of {total}{before}")

    facts = asking.load(place, show)
    bar.empty()
    return facts


frame.begin("prompt_lab")
st.markdown(
    "Change the words a part is compared with. Features are kept, so every committed edit re-scores the whole data set."
)
ensembles = desk.entries()
try:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        place = choose_place()
        if place is None:
            st.stop()
        metric = selection.choose(
            "metric", "Metric", desk.METRIC_NAMES, desk.METRIC_NAMES[0], width=170,
            format_func=lambda name: METRICS[name].label,
        )  # fmt: skip
        categories = list(machine.examples(place.dataset).categories)
        category = selection.choose(
            "category", "Category", [frame.ALL, *categories], frame.ALL, width=140, slot="lab",
            format_func=lambda name: "All" if name == frame.ALL else category_label(name),
        )  # fmt: skip
        against = selection.choose(
            "against", "Compared with", list(ensembles), desk.FIRST, width=150,
            format_func=lambda name: ensembles[name].title,
        )  # fmt: skip
    data = asking.in_memory(place)
except VlmadError as error:
    st.error(str(error), icon=":material/error:")
    st.stop()

left, right = st.columns([5, 7], gap="large")
with left:
    start = selection.choose(
        "ensemble", "Words, starting from", list(ensembles), desk.FIRST, format_func=lambda name: ensembles[name].title
    )
    mine = desk.take(start)
    watched = Tuning(place.dataset, tuple(categories), "by hand", metric) if data is not None else None
    ensemble = words.edit(mine, watched)
    words.files(mine, ensemble)

with right:
    try:
        if data is None:
            stored, total = asking.stored_images(place, machine.visitor())
            if stored < total:
                offer_extraction(place, stored, total)
            else:
                data = bring(place, total)
    except VlmadError as error:
        st.error(str(error), icon=":material/error:")
    if data is not None:
        from vlmad_core.prompt_lab import compare_results

        if category not in (frame.ALL, *data.categories):
            st.caption(f":material/report: None of the images of {category_label(category)} can be used; showing all.")
            category = frame.ALL
        base = ensembles[against]
        draws = METRICS[metric].level == "pixel" and st.toggle(
            "Intervals over images for pixel metrics", key="lab_draws", help="Draws 500 resamples; takes a few seconds."
        )
        try:
            long = asking.too_long(place, ensemble.content_hash, ensemble, machine.visitor())
            if long is not None:
                st.error(selection.shown(long), title="Too long to be read", icon=":material/short_text:")
                ensemble = mine.good
            before = asking.result(place, base, draws)
            result = asking.result(place, ensemble, draws)
        except VlmadError as error:
            st.error(str(error), icon=":material/error:")
            st.stop()
        mine.good = ensemble
        changes = {name: compare_results(result, before, name) for name in {*effect.HEADLINE, metric}}
        effect.headline(changes, category)
        effect.sentence(changes[metric], category, base.title)
        warning = tuning_warning(ensemble, data.names, categories if category == frame.ALL else [category])
        if warning is not None:
            st.warning(selection.shown(warning), icon=":material/fitness_center:")
        effect.by_category(changes[metric], base)
        try:
            effect.by_phrase(place, ensemble, category)
        except VlmadError as error:
            st.error(str(error), icon=":material/error:")
        effect.cost(result, sum(data.categories.values()))
        for problem in data.problems[:3]:
            st.caption(f":material/report: {selection.tidy(problem, 200)}")

if data is not None:
    words.offer_suggestions(mine, place, ensemble)
