"""What methods say of images, judged once for all visitors; and notes on them, read and written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from pages._ui import data, selection, visitor
from vlmad_core import paths
from vlmad_core.analysis.entries import Comparison, Entry
from vlmad_core.analysis.verdicts import judge_entry, judge_others
from vlmad_core.errors import VlmadError
from vlmad_core.store.annotations import (
    LONGEST_NOTE,
    MOST_TAGS,
    Annotation,
    Found,
    annotations_signature,
    read_annotations,
    save_annotation,
)


def judged(line: Entry, categories: Sequence[str], name: str | None, value: float | None) -> pd.DataFrame:
    """The images of some categories as a line judges them; not to be changed by the caller.

    Args:
        line: The competitor.
        categories: The categories.
        name: Name of the threshold.
        value: A threshold set by hand instead.
    """
    mark = data.signature(paths.stores())
    runs = tuple(run.id for run in line.runs)
    return _judged(line, tuple(categories), name, value, (mark, *runs))


@st.cache_resource(max_entries=64, show_spinner=False)
def _judged(
    _line: Entry, categories: tuple[str, ...], name: str | None, value: float | None, key: tuple[str, ...]
) -> pd.DataFrame:
    return judge_entry(data.store(), _line, categories, name, value)


def others(
    one: Comparison, shots: int, line: Entry, categories: Sequence[str], name: str | None
) -> dict[str, pd.DataFrame]:
    """The same for all other lines, each at its own thresholds of that name; not to be changed by the caller."""
    mark = data.signature(paths.stores())
    return _others(one, shots, line, tuple(categories), name, (mark, one.dataset, one.conditions, line.id))


@st.cache_resource(max_entries=32, show_spinner=False)
def _others(
    _one: Comparison, shots: int, _line: Entry, categories: tuple[str, ...], name: str | None, key: tuple[str, ...]
) -> dict[str, pd.DataFrame]:
    return judge_others(data.store(), _one.entries(shots), _line, categories, name)


def notes(dataset: str, line: Entry) -> dict[str, Annotation]:
    """Notes on the images of a data set as a line judged them, by image."""
    return {one.image_id: one for one in all_notes(dataset) if (one.method, one.shots) == (line.id, line.shots)}


def all_notes(dataset: str) -> tuple[Annotation, ...]:
    """All notes on a data set."""
    return found_notes(dataset).items


def found_notes(dataset: str) -> Found:
    """All notes on a data set, and what could not be read of them."""
    root = paths.store_root()
    return _notes(root, annotations_signature(root), dataset)


@st.cache_data(max_entries=8, show_spinner=False)
def _notes(root: Path, mark: str, dataset: str) -> Found:
    return read_annotations(root, dataset)


SUGGESTED = ("label doubtful", "hard to see", "not a defect", "reviewed")


def note_editor(dataset: str, line: Entry, run_id: str, row: Mapping[str, Any]) -> None:
    """A button that opens the note on an image; it is filled where there is one.

    Args:
        dataset: The data set.
        line: The method whose judgement is noted.
        run_id: The run that is looked at.
        row: The image as ``judge_entry`` gives it.
    """
    image_id = str(row["image_id"])
    kept = notes(dataset, line).get(image_id)
    known = {tag for one in all_notes(dataset) for tag in one.tags}
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
            may = visitor.operates()
            st.form_submit_button(
                "Save", icon=":material/save:", on_click=_save, args=(fresh, about, seen), disabled=not may
            )
        if kept is not None:
            st.caption(f"Saved {selection.tidy(kept.changed_at.replace('T', ' ')[:16])} UTC. Empty it to remove it.")


def show_other_notes(dataset: str, line: Entry, image_id: str, titles: Mapping[str, str]) -> None:
    """What was noted on the same image as other methods judged it, and what the last saving came to."""
    message = st.session_state.pop("note_message", None)
    if message is not None:
        problem, text = message
        (st.error if problem else st.toast)(text, icon=":material/error:" if problem else ":material/check:")
    for one in all_notes(dataset):
        if one.image_id == image_id and (one.method, one.shots) != (line.id, line.shots):
            tags = "".join(f" :gray-badge[{selection.tidy(tag)}]" for tag in one.tags)
            st.markdown(f":gray[Noted on {selection.tidy(titles.get(one.method, one.method))}:]{tags}")
            if one.note:
                st.text(one.note)


def _save(fresh: Annotation, about: str, seen: str) -> None:
    note, tags = st.session_state[f"note-{about}"], st.session_state[f"tags-{about}"]
    values = {name: getattr(fresh, name) for name in fresh.__dataclass_fields__}
    try:
        visitor.check_operator()
        kept = save_annotation(
            paths.store_root(), Annotation(**values | {"note": note, "tags": tuple(tags)}), seen=seen
        )
    except VlmadError as error:
        st.session_state["note_message"] = (True, str(error))
    else:
        st.session_state["note_message"] = (False, "Note removed." if kept is None else "Note saved.")
