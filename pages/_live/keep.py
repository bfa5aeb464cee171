"""What a visitor takes away: pictures, a table, json, a report; and what is kept in the list of failures."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st

from pages._live import visit
from pages._ui import selection, visitor
from vlmad_core import paths
from vlmad_core.errors import VlmadError
from vlmad_core.figures.overlay import encode

if TYPE_CHECKING:
    from vlmad_core.live.drawing import Drawn, Look
    from vlmad_core.live.record import ImageResult, Judged
    from vlmad_core.live.verdicts import Opinion
    from vlmad_core.store.annotations import Demo


def result_of(task: visit.Task, opinions: Sequence[Opinion]) -> ImageResult:
    """The result of one image, as predict gives it."""
    from vlmad_core.live.record import ImageResult

    picture = task.picture
    return ImageResult(picture.name, picture.image.size, picture.content, tuple(opinions))


def judged_of(task: visit.Task, opinions: Sequence[Opinion]) -> Judged:
    """One image with all settings, as predict gives it."""
    from vlmad_core.live.record import Judged

    return Judged(task.panel.setup, (result_of(task, opinions),))


def offer_downloads(task: visit.Task, opinions: Sequence[Opinion], look: Look) -> None:
    """Buttons for all downloads; each file is made when its button is pressed."""
    from vlmad_core.live.saved import file_stem

    stem = file_stem(task.picture.name)
    with st.popover("Download", icon=":material/download:"):
        _button("Report, opens offline (html)", f"{stem}.html", "text/html", partial(_report, task, opinions, look))
        _button("All settings and scores (json)", f"{stem}.json", "application/json", partial(_json, task, opinions))
        _button("All methods in one figure (png)", f"{stem}.png", "image/png", partial(_figure, task, opinions, look))
        for one in opinions:
            if one.prediction.anomaly_map is not None:
                name = f"{stem}-{file_stem(one.prediction.method_id)}.png"
                label = f"{selection.tidy(one.prediction.title)} (png)"
                _button(label, name, "image/png", partial(_method, task, opinions, one, look))


def offer_saving(task: visit.Task, opinions: Sequence[Opinion], drawn: Drawn) -> None:
    """Save the demo to the list of failures."""
    with st.popover("Save to failures", icon=":material/bookmark_add:"):
        if not visitor.operates():
            return
        title = st.text_input(
            "Title", f"{task.panel.category}: {task.picture.name}"[:120], max_chars=120, key="live_title"
        )
        note = st.text_area("Note (optional)", max_chars=2000, key="live_note")
        st.caption("Keeps image, maps, scores and settings in the results folder, where all visitors see them.")
        if st.button("Save", icon=":material/save:", type="primary", key="live_save"):
            try:
                saved = _save(task, opinions, drawn, title, note)
            except VlmadError as error:
                st.error(selection.tidy(str(error), 300), icon=":material/error:")
            else:
                st.success("Saved. It is in the list of failures.", icon=":material/check:")
                st.page_link(
                    "pages/failures.py", label="Open it there", icon=":material/bookmark:",
                    query_params={"demo": saved.id},
                )  # fmt: skip


def _save(task: visit.Task, opinions: Sequence[Opinion], drawn: Drawn, title: str, note: str) -> Demo:
    visitor.check_operator()
    from vlmad_core.live.saved import IMAGE_FILE, map_file, overlay_file
    from vlmad_core.store.annotations import save_demo

    content = judged_of(task, opinions).to_json()
    extra = {"note": note, "known": task.known, "scale": drawn.kind, "category": task.panel.category}
    files = {IMAGE_FILE: encode(drawn.pixels)}
    for one in opinions:
        name, values = one.prediction.method_id, one.prediction.anomaly_map
        if values is not None:
            buffer = io.BytesIO()
            np.savez_compressed(buffer, map=values)
            files[map_file(name)] = buffer.getvalue()
            files[overlay_file(name)] = encode(drawn.maps[name])
    named: dict[str, Any] = {**content, **extra}
    return save_demo(paths.store_root(), title.strip() or task.panel.category, named, files)


def _button(label: str, name: str, mime: str, make: Any) -> None:
    st.download_button(
        label, make, file_name=name, mime=mime, on_click="ignore", width="stretch", key=f"get-{name}",
        icon=":material/download:",
    )  # fmt: skip


def _report(task: visit.Task, opinions: Sequence[Opinion], look: Look) -> bytes:
    from vlmad_core.live.saved import render

    title = f"{task.panel.category}: {task.picture.name}"
    return render(judged_of(task, opinions), {task.picture.content: task.picture.image}, look, title).encode()


def _json(task: visit.Task, opinions: Sequence[Opinion]) -> bytes:
    return json.dumps(judged_of(task, opinions).to_json(), indent=1).encode()


def _figure(task: visit.Task, opinions: Sequence[Opinion], look: Look) -> bytes:
    from vlmad_core.live.drawing import combined_figure, png

    return png(combined_figure(task.picture.image, opinions, look, f"{task.panel.category}: {task.picture.name}"))


def _method(task: visit.Task, opinions: Sequence[Opinion], one: Opinion, look: Look) -> bytes:
    from vlmad_core.live.drawing import LONGEST, draw_maps, method_figure, png

    drawn = draw_maps(task.picture.image, opinions, look, longest=LONGEST)
    return png(method_figure(task.picture.image, one, look, drawn))
