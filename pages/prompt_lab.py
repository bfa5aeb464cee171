from __future__ import annotations

import streamlit as st

from pages._shared import frame, lab, lab_effect, lab_suggest, lab_words, live, selection
from vlmad_core.errors import VlmadError
from vlmad_core.figures.grid import category_label
from vlmad_core.metrics import METRICS
from vlmad_core.prompts import Tuning, tuning_warning


def choose_place() -> lab.Place | None:
    """What the words are judged on; None where there is no data set."""
    names = list(live.example_sets())
    if not names:
        st.info("No data set is on this machine.", icon=":material/photo_library:")
        return None
    dataset = selection.choose("dataset", "Data set", names, names[0], slot="lab", width=150)
    method = selection.choose(
        "method", "Maps from", list(lab.METHODS), next(iter(lab.METHODS)), slot="lab", width=160,
        known=("clip_ac", "april_gan", "anomaly_clip", "musc", "patch_memory", "teacher_memory"),
        format_func=lambda name: lab.METHODS[name],
        help="What is compared with the prompts to make a map. The image score is the same: the whole image.",
    )  # fmt: skip
    return lab.Place(dataset, method)


def offer_extraction(place: lab.Place, stored: int, total: int) -> None:
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
    backbone = live.named_backbone() or "bundled"
    st.code(
        f"python -m vlmad_core precompute --cache --dataset {place.dataset} --method {place.method} "
        f"--backbone {backbone}",
        language="bash", wrap_lines=True,
    )  # fmt: skip


def bring(place: lab.Place, total: int) -> None:
    """Load a data set's features into memory, with progress."""
    bar, done = st.progress(0.0, "Reading features …"), 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        bar.progress(min(done / max(total, 1), 1.0), f"Reading features: image {done} of {total}")

    lab.load(place, advance)
    bar.empty()


frame.begin("prompt_lab")
st.markdown(
    "Change the words a part is compared with. Features are kept, so every committed edit re-scores the whole data set."
)
ensembles = lab.entries()
try:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        place = choose_place()
        if place is None:
            st.stop()
        metric = selection.choose(
            "metric", "Metric", lab.METRIC_NAMES, lab.METRIC_NAMES[0], width=170,
            format_func=lambda name: METRICS[name].label,
        )  # fmt: skip
        categories = list(live.examples(place.dataset).categories)
        category = selection.choose(
            "category", "Category", [frame.ALL, *categories], frame.ALL, width=140, slot="lab",
            format_func=lambda name: "All" if name == frame.ALL else category_label(name),
        )  # fmt: skip
        against = selection.choose(
            "against", "Compared with", list(ensembles), lab.FIRST, width=150,
            format_func=lambda name: ensembles[name].title,
        )  # fmt: skip
    info = lab.engine().info
except VlmadError as error:
    st.error(str(error), icon=":material/error:")
    st.stop()

words, effect = st.columns([5, 7], gap="large")
with words:
    start = selection.choose(
        "ensemble", "Words, starting from", list(ensembles), lab.FIRST, format_func=lambda name: ensembles[name].title
    )
    mine = lab.desk(start)
    watched = Tuning(place.dataset, tuple(categories), "by hand", metric) if lab.in_memory(place) else None
    ensemble = lab_words.edit(mine, watched)
    lab_words.files(mine, ensemble)

with effect:
    data = None
    try:
        if not lab.in_memory(place):
            stored, total = lab.stored_images(place, f"{info.weights_hash} {info.image_size}")
            if stored < total:
                offer_extraction(place, stored, total)
            else:
                bring(place, total)
        data = lab.load(place) if lab.in_memory(place) else None
    except VlmadError as error:
        st.error(str(error), icon=":material/error:")
    if data is not None:
        from vlmad_core.prompt_lab import compare_results
        from vlmad_core.prompt_lab.drafting import too_long

        if category not in (frame.ALL, *data.category_names):
            st.caption(f":material/report: None of the images of {category_label(category)} can be used; showing all.")
            category = frame.ALL
        base = ensembles[against]
        nouns = [one.noun for one in data.categories]
        long = too_long(lab.engine().backbone, ensemble, nouns, lab.bank())
        if long is not None:
            st.error(lab_words.shown(long), title="Too long to be read", icon=":material/short_text:")
            ensemble = mine.good
        draws = METRICS[metric].level == "pixel" and st.toggle(
            "Intervals over images for pixel metrics", key="lab_draws", help="Draws 500 resamples; takes a few seconds."
        )
        try:
            before = lab.result(place, data, base, draws)
            result = lab.result(place, data, ensemble, draws)
        except VlmadError as error:
            st.error(str(error), icon=":material/error:")
            st.stop()
        mine.good = ensemble
        changes = {name: compare_results(result, before, name) for name in {*lab_effect.HEADLINE, metric}}
        lab_effect.headline(changes, category)
        lab_effect.sentence(changes[metric], category, base.title)
        warning = tuning_warning(ensemble, data.names, categories if category == frame.ALL else [category])
        if warning is not None:
            st.warning(lab_words.shown(warning), icon=":material/fitness_center:")
        lab_effect.by_category(changes[metric], base)
        lab_effect.by_phrase(data, ensemble, category)
        lab_effect.cost(result, sum(len(one.labels) for one in data.categories))
        for problem in data.problems[:3]:
            st.caption(f":material/report: {selection.tidy(problem, 200)}")

if data is not None:
    lab_suggest.show(mine, data, ensemble)
