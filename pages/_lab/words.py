"""The words side of the prompt lab: editing, checking, saving, taking in and out; and words suggested, with gains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
import streamlit as st

from pages._lab import asking, desk
from pages._ui import selection, visitor
from vlmad_core.errors import VlmadError
from vlmad_core.figures.grid import category_label
from vlmad_core.prompts import (
    PromptEnsemble,
    Tuning,
    parse_ensemble,
    save_ensemble,
    tidy_name,
    to_yaml,
)

if TYPE_CHECKING:
    from vlmad_core.prompt_lab import Suggestion
    from vlmad_core.prompt_lab.remote import LabPlace

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
    if not visitor.operates():
        return
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
        visitor.check_operator()
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


WAYS = {"Add to these words": True, "From the pool alone": False}
"""How words are chosen; the first is the default, since it gains more on categories that were not chosen on."""


def offer_suggestions(mine: desk.Desk, place: LabPlace, ensemble: PromptEnsemble) -> None:
    """A button that looks for words, and what it found last for this data set and these words."""
    from vlmad_core.prompt_lab import default_pool

    st.subheader("Suggested words", anchor=False)
    pool = default_pool().with_words_of(ensemble)
    st.caption(
        f"Chosen one by one from your words and a pool ({len(pool.normal_states)} normal and "
        f"{len(pool.abnormal_states)} abnormal states, {len(pool.templates)} templates) by image AUROC, always on "
        "other categories than those the gain is reported on. Add phrases above to have them tried."
    )
    way = st.segmented_control("Choose", list(WAYS), default=next(iter(WAYS)), key="lab_way", required=True)
    build_on = WAYS.get(way or "", True)
    key = (place.dataset, ensemble.content_hash, build_on)
    if st.button("Suggest words", icon=":material/auto_awesome:", key="lab_suggest"):
        bar = st.progress(0.0, "Reading the pool …")
        try:
            found = asking.suggestion(place, ensemble, pool, build_on, bar.progress)
            mine.suggestion = (key, found)
        except VlmadError as error:
            mine.suggestion = None
            st.info(str(error), icon=":material/info:")
        bar.empty()
    if mine.suggestion is not None and mine.suggestion[0][0] == place.dataset:
        _found(mine, mine.suggestion[1], fresh=mine.suggestion[0] == key)


def _found(mine: desk.Desk, found: Suggestion, *, fresh: bool) -> None:
    gain, count = found.held.mean.gap, len(found.held.categories)
    if gain.value is not None and gain.low is not None and gain.high is not None:
        clear = "a clear difference" if gain.clear else "not a clear difference"
        st.markdown(
            f"On {count} categories held apart: **{100 * gain.value:+.1f} points of image AUROC** "
            f"[{100 * gain.low:+.1f}, {100 * gain.high:+.1f}], {clear}, {gain.design}."
        )
    names = ", ".join(category_label(name) for name in found.folds[-1].fitted)
    if found.scheme == "split":
        st.caption(f"Chosen on {selection.tidy(names, 300)}; judged on the others.")
    else:
        st.caption(
            f"There are few categories, so each was judged with words chosen on the others ({len(found.folds)} "
            "choices); the gain is that of choosing this way. The words offered were chosen on all of them: "
            "their own numbers above are partly fitted."
        )
    left, right = st.columns(2, gap="large")
    with left:
        st.markdown("**Words offered**, in the order in which they were chosen")
        if not found.steps:
            st.caption("Nothing in the pool adds a tenth of a point where it is chosen: keep your words.")
            return
        steps = [(step.kind, step.phrase, 100 * step.fitted) for step in found.steps]
        st.dataframe(
            pd.DataFrame(steps, columns=["Kind", "Phrase", "fitted"]), hide_index=True,
            alt="Phrases as they were chosen",
            column_config={"fitted": st.column_config.NumberColumn("AUROC where chosen", format="%.1f")},
        )  # fmt: skip
    with right:
        st.markdown("**Judged on categories held apart**")
        rows = [
            (category_label(name), 100 * c.base, 100 * c.value, 100 * c.gap.value, len(_fold(found, name)))
            for name, c in found.held.categories.items()
            if c.base is not None and c.value is not None and c.gap.value is not None
        ]
        st.dataframe(
            pd.DataFrame(rows, columns=["Category", "before", "after", "gap", "on"]), hide_index=True,
            alt="Image AUROC of held categories before and after",
            column_config={
                "before": st.column_config.NumberColumn("Before", format="%.1f"),
                "after": st.column_config.NumberColumn("After", format="%.1f"),
                "gap": st.column_config.NumberColumn("Difference", format="%+.1f"),
                "on": st.column_config.NumberColumn("Words chosen on", format="%d other categories"),
            },
        )  # fmt: skip
    if not fresh:
        st.caption(":material/history: Found for other words than those of now; look again to compare with these.")
    st.button("Use these words", icon=":material/check:", on_click=desk.put, args=(mine, found.ensemble), key="lab_use")


def _fold(found: Suggestion, name: str) -> tuple[str, ...]:
    return next(fold.fitted for fold in found.folds if name in fold.held)
