from __future__ import annotations

import streamlit as st

from pages._shared import frame, live, live_batch, live_cards, live_inputs, live_keep, live_why, live_words, selection
from vlmad_core.errors import VlmadError


@st.fragment
def show_finished(task: live.Task) -> None:
    """All that is known of one image; what is set here draws anew and computes nothing."""
    predictions = live.judged(task)
    opinions = [live.opinion(task, prediction) for prediction in predictions]
    if not opinions:
        return
    tools = st.container(horizontal=True, vertical_alignment="center")
    with tools:
        look = live_cards.choose_look()
        live_keep.offer_downloads(task, opinions, look)
        saving = st.container(width="content")
        live_cards.choose_origin(opinions)
    opinions = [live.opinion(task, prediction) for prediction in predictions]
    drawn = live_cards.show(task, opinions, look)
    with saving:
        live_keep.offer_saving(task, opinions, drawn)
    live_cards.show_times(opinions)


@st.fragment
def show_why(task: live.Task) -> None:
    """What moved the scores."""
    live_why.show(task, live.judged(task))


def judge_and_show(task: live.Task) -> None:
    """Judge an image as far as that is not done, then show all there is."""
    place = st.empty()
    with place.container():
        finished = live_cards.stream(task)
    if finished:
        place.empty()
    show_finished(task)


frame.begin("live_demo")
try:
    head = st.container(horizontal=True, vertical_alignment="center")
    with head:
        told = st.container(width="content")
        engine = live_inputs.choose_engine()
except VlmadError as error:
    st.error(str(error), title="The backbone can't be loaded", icon=":material/error:")
    st.stop()
info = engine.info
badge = " :orange-badge[:material/science: demonstration]" if info.demonstration else ""
told.markdown(
    f":gray[Judged live by] **{selection.tidy(info.title)}**{badge} "
    f":gray[{info.image_size} px, {info.precision}, {info.parameters / 1e6:.1f} million weights]"
)
left, right = st.columns([5, 8], gap="large")
with left:
    asked = live_inputs.choose_image()
    words = live_inputs.choose_words(asked)
    methods_place = st.container()
    references = live_inputs.choose_references(asked)
    with methods_place:
        methods = live_inputs.choose_methods(info, len(references), asked.dataset)
        prompts = live_words.choose(asked, methods)

task: live.Task | None = None
with right:
    if asked.picture is None and asked.given is None:
        st.info("Give an image, and the methods chosen judge it here.", icon=":material/photo_camera:")
    elif not words:
        st.info("Say in a word or two what the part is: the prompts need it.", icon=":material/edit:")
    elif not methods:
        st.info("Choose at least one method.", icon=":material/checklist:")
    else:
        try:
            panel = live.panel(engine, words, methods, references, asked.dataset, prompts)
            picture = asked.picture if asked.given is None else live_batch.show(asked.given, panel)
            if picture is not None:
                task = live.task(picture, panel, asked.dataset, asked.known)
                judge_and_show(task)
        except VlmadError as error:
            st.error(selection.tidy(str(error), 300), icon=":material/error:")
if task is not None:
    show_why(task)
