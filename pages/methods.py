from __future__ import annotations

import pandas as pd
import streamlit as st

from pages._ui import data, frame, selection
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
COLUMNS = {
    "vision_language": "Vision-language", "uses_text": "Reads prompts", "segments": "Anomaly map",
    "few_shot": "Can use references", "needs_references": "Needs references", "trained": "Needs training",
    "transductive": "All test images at once",
}  # fmt: skip
NO_VLM = ":orange-badge[:material/visibility: vision only, no vision-language model]"
ALL = "all"


def measured_on(name: str) -> str:
    """Data sets a method was measured on here, in words."""
    found = [
        one
        for one in data.all_comparisons()
        if any((line.method, line.evidence) == (name, "measured") for line in one.entries())
    ]
    return ", ".join(dict.fromkeys(frame.dataset_title(one.dataset) for one in found))


def show_card(name: str, card: MethodCard) -> None:
    """One method: what it does, where it comes from, how public codes differ."""
    method = create_method(name)
    able = [text for key, text in CAPABILITIES.items() if getattr(method.capabilities, key)]
    also = f" :gray[with references: {card.few_shot_title}]" if card.few_shot_title else ""
    st.subheader(card.title, anchor=name)
    badges = [] if method.capabilities.vision_language else [NO_VLM]
    st.markdown(" ".join([*badges, *(f":gray-badge[{text}]" for text in able)]) + also)
    if lacking := method.why_not_here():
        st.caption(f":material/info: {lacking}")
    st.markdown(card.summary)
    st.markdown(f":gray[{card.paper}]  [:material/open_in_new: paper]({card.url})")
    trained = card.trained_on or "nothing: no parameters of its own are trained"
    st.markdown(f":gray[Trained on:] {trained}")
    where = measured_on(name)
    st.markdown(f":gray[Measured here on:] {where}" if where else ":gray[Not measured here yet.]")
    if card.settings:
        with st.expander("Settings and where their defaults come from", icon=":material/tune:"):
            st.table(dict(card.settings), border="horizontal", alt=f"Settings of {card.title}")
            st.caption("Presets: " + ", ".join(f"`{name}:{preset}`" for preset in method.presets))
    st.markdown("**What differs between public implementations**")
    st.markdown("\n".join(f"- {text}" for text in card.deviations) or ":gray[Nothing is known to differ.]")


def glance(cards: dict[str, MethodCard]) -> pd.DataFrame:
    """What each method is and needs, one row each."""
    able = {name: create_method(name).capabilities for name in cards}
    rows = [
        {"title": card.title, "year": card.year}
        | {key: "yes" if getattr(able[name], key) else "no" for key in COLUMNS}
        | {"trained_on": card.trained_on or "–", "measured": measured_on(name) or "not yet"}
        for name, card in cards.items()
    ]
    return pd.DataFrame(rows)


frame.begin("methods")
st.caption("What each method does, what it needs, and where public codes disagree with the paper or with each other.")
cards: dict[str, MethodCard] = {}
for name in list_methods():
    try:
        cards[name] = load_card(name)
    except VlmadError as error:
        st.error(str(error), icon=":material/error:")
st.dataframe(
    glance(cards), hide_index=True, alt="What each method is and needs",
    column_config={
        "title": st.column_config.TextColumn("Method", pinned=True),
        "year": st.column_config.NumberColumn("Year", format="%d"),
        **COLUMNS,
        "vision_language": st.column_config.TextColumn(
            "Vision-language", help="A method without a vision-language model stands here as a reference: what "
                                    "language must beat. It is marked wherever it is ranked."),
        "trained_on": "Trained on", "measured": "Measured here on",
    },
)  # fmt: skip
titles = {ALL: "All methods"} | {name: card.title for name, card in cards.items()}
known = [line.id for one in data.all_comparisons() for line in one.entries()]
picked = selection.choose(
    "method", "Show", list(titles), ALL, slot="card", known=known, format_func=titles.__getitem__, width=260
)
for name in cards if picked == ALL else [picked]:
    with st.container(border=True):
        show_card(name, cards[name])
with st.container(horizontal=True):
    st.page_link("pages/reproduction.py", label="What papers and public runs report", icon=":material/compare_arrows:")
    st.page_link("pages/transfer.py", label="What training carries over", icon=":material/model_training:")
