"""Writing a note and tags on an image, kept in the results folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from pages._failures import judging
from pages._ui import selection
from vlmad_core import paths
from vlmad_core.analysis.comparison import Line
from vlmad_core.errors import StoreError
from vlmad_core.store.annotations import LONGEST_NOTE, MOST_TAGS, Annotation, save_annotation

SUGGESTED = ("label doubtful", "hard to see", "not a defect", "reviewed")


def editor(dataset: str, line: Line, run_id: str, row: Mapping[str, Any]) -> None:
    """A button that opens the note on an image; it is filled where there is one.

    Args:
        dataset: The data set.
        line: The method whose judgement is noted.
        run_id: The run that is looked at.
        row: The image as ``judge_line`` gives it.
    """
    image_id = str(row["image_id"])
    kept = judging.notes(dataset, line).get(image_id)
    known = {tag for one in judging.all_notes(dataset) for tag in one.tags}
    tags = sorted({*SUGGESTED, *known})
    about = f"{line.id}-{line.shots}-{image_id}"
    with st.popover(
        "Note" if kept is None else "Noted", icon=":material/edit_note:", type="primary" if kept else "secondary"
    ):
        with st.form(f"note-of-{about}", border=False):
            st.text_area(
                "Note", kept.note if kept else "", key=f"note-{about}", max_chars=LONGEST_NOTE, height=110,
                placeholder="What is wrong here?",
            )  # fmt: skip
            st.multiselect(
                "Tags", tags, list(kept.tags) if kept else [], key=f"tags-{about}", accept_new_options=True,
                max_selections=MOST_TAGS, format_func=selection.tidy,
            )  # fmt: skip
            seen = kept.changed_at if kept else ""
            fresh = Annotation(
                dataset, str(row["category"]), image_id, line.id, line.shots, verdict=str(row["verdict"]),
                score=float(row["score"]), threshold=float(row["threshold"]), run_id=run_id,
            )  # fmt: skip
            st.form_submit_button("Save", icon=":material/save:", on_click=_save, args=(fresh, about, seen))
        if kept is not None:
            st.caption(f"Saved {selection.tidy(kept.changed_at.replace('T', ' ')[:16])} UTC. Empty it to remove it.")


def show_others(dataset: str, line: Line, image_id: str, titles: Mapping[str, str]) -> None:
    """What was noted on the same image as other methods judged it, and what the last saving came to."""
    message = st.session_state.pop("note_message", None)
    if message is not None:
        problem, text = message
        (st.error if problem else st.toast)(text, icon=":material/error:" if problem else ":material/check:")
    for one in judging.all_notes(dataset):
        if one.image_id == image_id and (one.method, one.shots) != (line.id, line.shots):
            tags = "".join(f" :gray-badge[{selection.tidy(tag)}]" for tag in one.tags)
            st.markdown(f":gray[Noted on {selection.tidy(titles.get(one.method, one.method))}:]{tags}")
            if one.note:
                st.text(one.note)


def _save(fresh: Annotation, about: str, seen: str) -> None:
    note, tags = st.session_state[f"note-{about}"], st.session_state[f"tags-{about}"]
    values = {name: getattr(fresh, name) for name in fresh.__dataclass_fields__}
    try:
        kept = save_annotation(
            paths.store_root(), Annotation(**values | {"note": note, "tags": tuple(tags)}), seen=seen
        )
    except StoreError as error:
        st.session_state["note_message"] = (True, str(error))
    else:
        st.session_state["note_message"] = (False, "Note removed." if kept is None else "Note saved.")
