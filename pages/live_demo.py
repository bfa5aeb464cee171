from __future__ import annotations

import streamlit as st

from pages._live import batch, cards, ensembles, inputs, keep, visit, why
from pages._ui import frame, selection
from vlmad_core.errors import VlmadError


@st.fragment
def show_finished(task: visit.Task) -> None:
    """All that is known of one image; what is set here draws anew and computes nothing."""
    predictions = visit.judged(task)
    opinions = [visit.opinion(task, prediction) for prediction in predictions]
    if not opinions:
        return
    tools = st.container(horizontal=True, vertical_alignment="center")
    with tools:
        look = cards.choose_look()
        keep.offer_downloads(task, opinions, look)
        saving = st.container(width="content")
        cards.choose_origin(opinions)
    opinions = [visit.opinion(task, prediction) for prediction in predictions]
    drawn = cards.show(task, opinions, look)
    with saving:
        keep.offer_saving(task, opinions, drawn)
    cards.show_times(opinions)


@st.fragment
def show_why(task: visit.Task) -> None:
    """What moved the scores."""
    why.show(task, visit.judged(task))


def judge_and_show(task: visit.Task) -> None:
    """Judge an image as far as that is not done, then show all there is."""
    place = st.empty()
    try:
        with place.container():
            finished = cards.stream(task)
    except VlmadError as error:
        place.error(selection.tidy(str(error), 300), icon=":material/hourglass_disabled:")
        st.button("Try again", icon=":material/refresh:", key="live_again")
    else:
        if finished:
            place.empty()
    show_finished(task)


frame.begin("live_demo")
try:
    head = st.container(horizontal=True, vertical_alignment="center")
    with head:
        told = st.container(width="content")
        engine = inputs.choose_engine()
except VlmadError as error:
    st.error(str(error), title="The backbone can't be loaded", icon=":material/error:")
    st.stop()
info = engine.info
badge = " :orange-badge[:material/science: demonstration]" if info.demonstration else ""
told.markdown(
    f":gray[Judged live by] **{selection.tidy(info.title)}**{badge} "
    f":gray[{info.image_size} px, {info.precision}, {info.parameters / 1e6:.1f} million weights]",
    help=selection.tidy(engine.why, 300) or None,
)
left, right = st.columns([5, 8], gap="large")
with left:
    asked = inputs.choose_image()
    words = inputs.choose_words(asked)
    methods_place = st.container()
    references = inputs.choose_references(asked)
    with methods_place:
        methods = inputs.choose_methods(info, len(references), asked.dataset)
        prompts = ensembles.choose(asked, methods)

task: visit.Task | None = None
with right:
    if asked.picture is None and asked.given is None:
        st.info("Give an image, and the methods chosen judge it here.", icon=":material/photo_camera:")
    elif not words:
        st.info("Say in a word or two what the part is: the prompts need it.", icon=":material/edit:")
    elif not methods:
        st.info("Choose at least one method.", icon=":material/checklist:")
    else:
        try:
            panel = visit.panel(engine, words, methods, references, asked.dataset, prompts)
            picture = asked.picture if asked.given is None else batch.show(asked.given, panel)
            if picture is not None:
                task = visit.task(picture, panel, asked.dataset, asked.known)
                judge_and_show(task)
        except VlmadError as error:
            st.error(selection.tidy(str(error), 300), icon=":material/error:")
if task is not None:
    show_why(task)
