from __future__ import annotations

import streamlit as st

from pages._shared import data, frame, selection
from vlmad_core.errors import VlmadError
from vlmad_core.methods import MethodCard, create_method, list_methods, load_card

CAPABILITIES = {
    "classifies": "image score",
    "segments": "anomaly map",
    "few_shot": "can use references",
    "needs_references": "needs references",
    "uses_text": "reads prompts",
    "trained": "needs trained parameters",
    "transductive": "needs all test images at once",
}


def show_card(name: str, card: MethodCard) -> None:
    """One method: what it does, where it comes from, how public codes differ."""
    method = create_method(name)
    able = [text for key, text in CAPABILITIES.items() if getattr(method.capabilities, key)]
    also = f" :gray[with references: {card.few_shot_title}]" if card.few_shot_title else ""
    st.subheader(card.title, anchor=name)
    if not method.capabilities.vision_language:
        able.insert(0, "not a vision-language model")
    st.markdown(" ".join(f":gray-badge[{text}]" for text in able) + also)
    if lacking := method.why_not_here():
        st.caption(f":material/info: {lacking}")
    st.markdown(card.summary)
    st.markdown(f":gray[{card.paper}]  [:material/open_in_new: paper]({card.url})")
    trained = card.trained_on or "nothing: no parameters of its own are trained"
    st.markdown(f":gray[Trained on:] {trained}")
    measured = [one for one in data.all_comparisons() if any(line.method == name for line in one.lines())]
    where = ", ".join(dict.fromkeys(selection.tidy(one.dataset) for one in measured))
    st.markdown(f":gray[Measured here on:] {where}" if measured else ":gray[Not measured here yet.]")
    if card.deviations:
        with st.expander("How public implementations differ", icon=":material/call_split:"):
            st.markdown("\n".join(f"- {text}" for text in card.deviations))
    if card.settings:
        with st.expander("Settings and where their defaults come from", icon=":material/tune:"):
            st.table(
                dict(card.settings), border="horizontal",
                alt=f"Settings of {card.title}",
            )  # fmt: skip
            st.caption("Presets: " + ", ".join(f"`{name}:{preset}`" for preset in method.presets))


frame.begin("methods")
st.caption("What each method does, what it needs, and where public codes disagree with the paper or with each other.")
for name in list_methods():
    with st.container(border=True):
        try:
            show_card(name, load_card(name))
        except VlmadError as error:
            st.error(str(error), icon=":material/error:")
