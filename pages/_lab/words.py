"""The words side of the prompt lab: editing, checking, saving, taking in and out."""

from __future__ import annotations

from typing import Any

import streamlit as st

from pages._lab import desk
from pages._ui import selection
from vlmad_core.errors import VlmadError
from vlmad_core.prompts import (
    PromptEnsemble,
    Tuning,
    parse_ensemble,
    save_ensemble,
    tidy_name,
    to_yaml,
)

LABELS = {
    "normal_states": ("Normal", "What a good part is called. {} stands for the category.", 190),
    "abnormal_states": ("Abnormal", "What a defective part is called. {} stands for the category.", 170),
    "templates": ("Templates", "Sentences around each of them. {} stands for the state.", 280),
}
MOST_TYPED = 40_000


def edit(mine: desk.Desk, watched: Tuning | None) -> PromptEnsemble:
    """Draw the three texts with what is wrong beneath each; the words that can be used, or could be last."""
    from vlmad_core.prompt_lab.drafting import draft_ensemble

    draft = draft_ensemble(mine.texts, mine.origin, watched)
    for name, (label, help_, height) in LABELS.items():
        key = f"lab_{name}"
        st.session_state[key] = mine.texts[name]
        st.text_area(
            label, key=key, height=height, help=help_, max_chars=MOST_TYPED, on_change=_typed, args=(mine, name, key)
        )
        for problem in draft.problems.get(name, ()):
            st.error(selection.shown(problem), icon=":material/edit_off:")
    for problem in draft.problems.get("whole", ()):
        st.error(selection.shown(problem), icon=":material/edit_off:")
    if draft.ensemble is None:
        st.caption(":material/history: The numbers are those of the last words that could be used.")
        return mine.good
    counts = (len(draft.ensemble.normal_states), len(draft.ensemble.abnormal_states), len(draft.ensemble.templates))
    st.caption(
        f"({counts[0]} normal + {counts[1]} abnormal) x {counts[2]} templates = **{draft.ensemble.count} prompts** "
        "for each category. Ctrl+Enter, or a click elsewhere, commits."
    )
    return draft.ensemble


def files(mine: desk.Desk, ensemble: PromptEnsemble) -> None:
    """Buttons: start over, save, take out, take in."""
    with st.container(horizontal=True):
        st.button(
            "Start over", icon=":material/undo:", on_click=_start_over, args=(mine,),
            disabled=ensemble.same_words(desk.entries().get(mine.chosen, mine.origin)),
        )  # fmt: skip
        with st.popover("Save", icon=":material/save:"):
            _save(mine, ensemble)
        st.download_button(
            "Export", to_yaml(ensemble), file_name=f"{tidy_name(ensemble.title) or 'prompts'}.yaml",
            mime="application/yaml", icon=":material/download:", on_click="ignore",
        )  # fmt: skip
        with st.popover("Import", icon=":material/upload:"):
            st.file_uploader(
                "A yaml file with an ensemble", type=["yaml", "yml"], key="lab_upload", max_upload_size=1,
                on_change=_import, args=(mine,),
            )  # fmt: skip
    if ensemble.same_words(desk.entries().get(mine.chosen, mine.origin)):
        st.page_link(
            "pages/live_demo.py", label="Judge an image with these words", icon=":material/photo_camera:",
            query_params={"prompts": mine.chosen},
        )  # fmt: skip
    said = st.session_state.pop("lab_said", None)
    if said is not None:
        kind, text = said
        (st.success if kind == "done" else st.error)(selection.shown(text, 600))


def _save(mine: desk.Desk, ensemble: PromptEnsemble) -> None:
    """Name, and a button that saves under it."""
    suggested = mine.chosen if mine.chosen not in ("", desk.FIRST) else ""
    name = st.text_input("Name", suggested, max_chars=60, placeholder="my_words", key="lab_name")
    again = st.checkbox("Replace one of that name", key="lab_replace")
    st.button(
        "Save under this name", type="primary", on_click=_saved, args=(mine, ensemble, name.strip(), again),
        disabled=not name.strip(),
    )  # fmt: skip
    st.caption("Small letters, digits and underscores. Methods then take it by this name.")


def _saved(mine: desk.Desk, ensemble: PromptEnsemble, name: str, again: bool) -> None:
    try:
        save_ensemble(ensemble, name, overwrite=again)
    except VlmadError as error:
        st.session_state["lab_said"] = ("error", str(error))
        return
    desk.put(mine, ensemble)
    mine.chosen = name
    selection.remember("ensemble", name)
    command = f"python -m vlmad_core precompute --method clip_cpe winclip --prompts {name} --dataset …"
    st.session_state["lab_said"] = ("done", f"Saved. The live demo offers it, and so does: `{command}`")


def _import(mine: desk.Desk) -> None:
    given: Any = st.session_state.get("lab_upload")
    if given is None:
        return
    try:
        desk.put(mine, parse_ensemble(given.getvalue(), "imported", selection.tidy(given.name)))
    except VlmadError as error:
        st.session_state["lab_said"] = ("error", str(error))


def _start_over(mine: desk.Desk) -> None:
    desk.put(mine, desk.load_ensemble(mine.chosen))


def _typed(mine: desk.Desk, name: str, key: str) -> None:
    mine.texts[name] = st.session_state[key][:MOST_TYPED]
