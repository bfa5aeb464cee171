"""Many images one after the other: progress, a table that can be sorted, and any of them at a closer look."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

import streamlit as st

from pages._live import visit
from pages._ui import selection

if TYPE_CHECKING:
    from vlmad_core.live.inputs import Given, Picture
    from vlmad_core.live.panel import LivePrediction, Panel
    from vlmad_core.live.record import ImageResult, Judged
    from vlmad_core.live.verdicts import Opinion


def show(given: Given, panel: Panel) -> Picture | None:
    """Start, stop and show a batch.

    Returns:
        The image whose row was chosen, to be shown closely; None if there is none or the batch is running.
    """
    batch = _current(given, panel)
    done, total = len(batch.results), len(given.items)
    if batch.running:
        _run(given, panel, batch)
    elif done < total:
        with st.container(horizontal=True, vertical_alignment="center"):
            label = f"Judge {total} images" if not done else f"Continue with the other {total - done}"
            st.button(
                label, type="primary", icon=":material/play_arrow:", key="batch_start", on_click=_start, args=(True,)
            )
            if done:
                st.warning(f"Cancelled: {done} of {total} images are done.", icon=":material/stop_circle:")
    if not batch.results:
        return None
    chosen = _table(given, panel, batch)
    if chosen is None:
        st.caption("Choose a row to look at the image closely.")
        return None
    result = batch.results[chosen]
    if result.error is not None:
        st.error(selection.tidy(result.error, 300), icon=":material/broken_image:")
        return None
    return given.items[chosen].read()


def _current(given: Given, panel: Panel) -> visit.Batch:
    """The batch of these images and this panel; what was judged otherwise is dropped."""
    members = [member.method_id for member in panel.members]
    info = panel.engine.info
    facts = (panel.category, members, info.weights_hash, info.precision, [one.content for one in panel.references])
    key = repr(([item.name for item in given.items], facts))
    mine = visit.held()
    if mine.batch is None or mine.batch.key != key:
        mine.batch = visit.Batch(key)
    return mine.batch


def _run(given: Given, panel: Panel, batch: visit.Batch) -> None:
    """Go on with a batch; each image's result is kept at once, so that nothing is lost by a cancel."""
    from vlmad_core.live.predict import judge_items
    from vlmad_core.live.record import without_maps

    total = len(given.items)
    with st.container(horizontal=True, vertical_alignment="center"):
        progress = st.progress(len(batch.results) / total, f"{len(batch.results)} of {total} images")
        st.button("Cancel", icon=":material/stop_circle:", key="batch_cancel", on_click=_start, args=(False,))
    for result in judge_items(panel, given.items[len(batch.results) :], partial(_opinion, panel)):
        batch.results.append(without_maps(result))
        done = len(batch.results)
        progress.progress(done / total, f"{done} of {total} images: {selection.tidy(result.name)}")
    batch.running = False
    st.rerun()


def _opinion(panel: Panel, prediction: LivePrediction) -> Opinion:
    from vlmad_core.live.verdicts import give_opinion

    own = st.session_state.get(visit.own_key(prediction))
    return give_opinion(prediction, visit.yardstick(panel, None, prediction), own)


def _table(given: Given, panel: Panel, batch: visit.Batch) -> int | None:
    from vlmad_core.live.record import verdict_word, wide_table

    titles = {member.method_id: selection.tidy(member.title) for member in panel.members}
    frame = wide_table(batch.results, titles)
    flagged = sum(any(verdict_word(one) == "anomalous" for one in result.opinions) for result in batch.results)
    failed = sum(result.error is not None for result in batch.results)
    st.markdown(
        f"**{len(batch.results)}** images judged, **{flagged}** flagged by at least one method"
        + (f", **{failed}** could not be read" if failed else "")
        + "."
    )
    scores = {
        name: st.column_config.NumberColumn(format="%.4f") for name in frame.columns if str(name).endswith(": score")
    }
    event: Any = st.dataframe(
        frame, hide_index=True, on_select="rerun", selection_mode="single-row", key=f"batch-table-{len(frame)}",
        column_config={**scores, "Image": st.column_config.TextColumn(pinned=True)},
        alt="Each image's scores and verdicts, by method",
    )  # fmt: skip
    with st.container(horizontal=True):
        _button("Table (csv)", "scores.csv", "text/csv", lambda: frame.to_csv(index=False).encode())
        _button("Settings and scores (json)", "scores.json", "application/json", partial(_json, given, panel, batch))
    rows = event.selection.rows if hasattr(event, "selection") else []
    return int(rows[0]) if rows and rows[0] < len(batch.results) else None


def _judged(given: Given, panel: Panel, results: list[ImageResult]) -> Judged:
    from vlmad_core.live.record import Judged, setup_of

    return Judged(setup_of(panel), tuple(results), given.problems, given.left_out)


def _json(given: Given, panel: Panel, batch: visit.Batch) -> bytes:
    return json.dumps(_judged(given, panel, batch.results).to_json(), indent=1).encode()


def _button(label: str, name: str, mime: str, make: Any) -> None:
    st.download_button(label, make, file_name=name, mime=mime, on_click="ignore", icon=":material/download:")


def _start(running: bool) -> None:
    batch = visit.held().batch
    if batch is not None:
        batch.running = running
