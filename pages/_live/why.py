"""Why a method says what it says: prompts, windows, and the reference patch that is nearest to a click."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd
import streamlit as st

from pages._live import visit
from pages._ui import selection
from vlmad_core.figures.matrices import PICK, SIDE, patch_chart
from vlmad_core.figures.overlay import encode

if TYPE_CHECKING:
    from vlmad_core.live.panel import LivePrediction

TOWARDS = {"abnormal": "abnormal ↑", "normal": "normal ↓"}


def show(task: visit.Task, predictions: Sequence[LivePrediction]) -> None:
    """The reasons of one method at a time."""
    done = {one.method_id: one for one in predictions if one.reasons}
    if not done:
        return
    st.subheader("Why", anchor=False)
    if st.session_state.get("live_why") not in done:
        st.session_state["live_why"] = next(iter(done))
    chosen = st.segmented_control(
        "Method", list(done), required=True, key="live_why", label_visibility="collapsed",
        format_func=lambda name: selection.tidy(done[name].title),
    )  # fmt: skip
    one = done[chosen or next(iter(done))]
    places, prompts, nearest = st.columns([SIDE + 30, 300, 230], gap="medium")
    with places:
        picked = _places(task, one)
    with prompts:
        _prompts(one)
        _windows(one)
    with nearest:
        _nearest(task, one, picked)


def _prompts(one: LivePrediction) -> None:
    prompts = [reason for reason in one.reasons if reason.kind == "prompt"]
    if not prompts:
        st.caption("This method has no prompts in words.")
        return
    rows = [(TOWARDS.get(r.towards, r.towards), selection.tidy(r.text, 200), f"{r.value:.3f}") for r in prompts]
    st.markdown("Prompts that pulled most")
    st.table(
        pd.DataFrame(rows, columns=["Towards", "Prompt", "Cosine"]).set_index("Towards"), border="horizontal",
        alt=f"Prompts that pulled the score of {selection.tidy(one.title)} most, towards abnormal and normal",
    )  # fmt: skip


def _windows(one: LivePrediction) -> None:
    windows = [reason for reason in one.reasons if reason.kind == "window"]
    if windows:
        texts = [f"{selection.tidy(r.text)} **{r.value:.3f}**" for r in windows]
        st.markdown("Places that scored highest, framed in the image: " + ", ".join(texts))


def _places(task: visit.Task, one: LivePrediction) -> tuple[int, int] | None:
    """The image with the places that counted; with references each patch can be clicked."""
    from vlmad_core.live.drawing import draw_boxes, fit

    boxes = [reason.box for reason in one.reasons if reason.box is not None]
    pixels = draw_boxes(fit(task.picture.image), boxes)
    title = selection.tidy(one.title)
    if one.nearest is None:
        st.image(encode(pixels), width=SIDE, alt=f"The image with the places that moved the score of {title}")
        return None
    grid = one.nearest.grid
    key = f"live_patch-{one.method_id}-{task.picture.content[:12]}"
    picked = _picked(st.session_state.get(key), grid) or _strangest(one)
    event: Any = st.altair_chart(
        patch_chart(pixels, grid, picked), width="content", on_select="rerun", selection_mode=[PICK], key=key,
        alt=f"The image with its patches; a click shows which reference patch {title} compares it with",
    )  # fmt: skip
    st.caption("Click a point to see which patch of the references is nearest to it.")
    return _picked(event, grid) or picked


def _picked(event: Any, grid: tuple[int, int]) -> tuple[int, int] | None:
    """Row and column of the patch that was clicked."""
    chosen = ((event or {}).get("selection") or {}).get(PICK) or []
    try:
        row, column = int(chosen[0]["row"]), int(chosen[0]["column"])
    except (IndexError, KeyError, TypeError, ValueError):
        return None
    return (row, column) if 0 <= row < grid[0] and 0 <= column < grid[1] else None


def _strangest(one: LivePrediction) -> tuple[int, int]:
    assert one.nearest is not None
    row, column = divmod(int(one.nearest.similarity.argmin()), one.nearest.grid[1])
    return row, column


def _nearest(task: visit.Task, one: LivePrediction, picked: tuple[int, int] | None) -> None:
    """The clicked patch beside the reference patch nearest to it."""
    from vlmad_core.live.drawing import framed_crop

    if one.nearest is None or picked is None:
        if one.shots == 0:
            st.caption("With normal references, a click on the image shows the nearest patch of a reference.")
        return
    similarity, number, row, column = one.nearest.of(*picked)
    reference = task.panel.references[number]
    st.markdown(f"Nearest reference patch: cosine **{similarity:.3f}**")
    here, there = st.columns(2)
    with here:
        crop = framed_crop(task.picture.image, picked, one.nearest.grid)
        st.image(encode(crop), width="stretch", alt=f"Patch row {picked[0] + 1}, column {picked[1] + 1} of the image")
        st.caption(f"This image, row {picked[0] + 1}, column {picked[1] + 1}")
    with there:
        crop = framed_crop(reference.image, (row, column), one.nearest.grid)
        st.image(encode(crop), width="stretch", alt=f"Nearest patch, in reference {number + 1}")
        st.caption(f"Reference {number + 1}, row {row + 1}, column {column + 1}: {selection.tidy(reference.name, 60)}")
