"""Many images one after the other: progress, a table that can be sorted, and any of them at a closer look."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import streamlit as st

from pages._live import visit
from pages._ui import deciding, machine, selection
from vlmad_core.errors import VlmadError

if TYPE_CHECKING:
    from vlmad_core.analysis.decision import Card
    from vlmad_core.live.inputs import Given, Picture
    from vlmad_core.live.labels import Conclusion, Labels
    from vlmad_core.live.panel import LivePrediction
    from vlmad_core.live.record import ImageResult, Judged
    from vlmad_core.live.remote import RemotePanel
    from vlmad_core.live.verdicts import Opinion

PICTURED = 12
"""Images that a report of a batch without labels shows with their maps."""


def show(given: Given, panel: RemotePanel) -> Picture | None:
    """Start, stop and show a batch.

    Returns:
        The image whose row was chosen, to be shown closely; None if there is none or the batch is running.
    """
    from vlmad_core.live.labels import without_masks

    given = without_masks(given)
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
        if batch.stopped_by:
            st.error(selection.tidy(batch.stopped_by, 300), icon=":material/error:")
    if not batch.results:
        return None
    chosen = _shown(given, panel, batch)
    if chosen is None:
        st.caption("Choose a row to look at the image closely.")
        return None
    result = batch.results[chosen]
    if result.error is not None:
        st.error(selection.tidy(result.error, 300), icon=":material/broken_image:")
        return None
    return given.items[chosen].read()


def _current(given: Given, panel: RemotePanel) -> visit.Batch:
    """The batch of these images and this panel; what was judged otherwise is dropped."""
    members = [member.method_id for member in panel.members]
    info = panel.info
    facts = (panel.category, members, info.weights_hash, info.precision, [one.content for one in panel.references])
    key = repr(([item.name for item in given.items], facts))
    mine = visit.held()
    if mine.batch is None or mine.batch.key != key:
        mine.batch = visit.Batch(key)
    return mine.batch


def _run(given: Given, panel: RemotePanel, batch: visit.Batch) -> None:
    """Go on with a batch; each image's result is kept at once, so that nothing is lost by a cancel."""
    from vlmad_core.live.predict import judge_items
    from vlmad_core.live.record import without_maps

    total = len(given.items)
    with st.container(horizontal=True, vertical_alignment="center"):
        progress = st.progress(len(batch.results) / total, f"{len(batch.results)} of {total} images")
        st.button("Cancel", icon=":material/stop_circle:", key="batch_cancel", on_click=_start, args=(False,))
    said = f"{len(batch.results)} of {total} images"

    def place(before: int | None) -> None:
        progress.progress(len(batch.results) / total, said + machine.in_line(before))

    waiting = replace(panel, place=place)
    batch.stopped_by = ""
    try:
        for result in judge_items(waiting, given.items[len(batch.results) :], partial(_opinion, panel)):
            batch.results.append(without_maps(result))
            said = f"{len(batch.results)} of {total} images: {selection.tidy(result.name)}"
            place(None)
    except VlmadError as error:
        batch.stopped_by = str(error)
    batch.running = False
    st.rerun()


def _opinion(panel: RemotePanel, prediction: LivePrediction) -> Opinion:
    from vlmad_core.live.verdicts import give_opinion

    own = st.session_state.get(visit.own_key(prediction))
    return give_opinion(prediction, visit.yardstick(panel, None, prediction), own)


def _shown(given: Given, panel: RemotePanel, batch: visit.Batch) -> int | None:
    """What the batch comes to, its table and its files; gives the place of the image whose row was chosen."""
    from vlmad_core.live.labels import folder_labels, judged_again
    from vlmad_core.live.record import verdict_word, wide_table
    from vlmad_core.tabular import csv_text

    titles = {member.method_id: selection.tidy(member.title) for member in panel.members}
    labels = folder_labels(given.items)
    flagged = sum(any(verdict_word(one) == "anomalous" for one in result.opinions) for result in batch.results)
    failed = sum(result.error is not None for result in batch.results)
    counted = st.container()
    concluded = _conclude(panel, batch, labels, titles) if any(labels) else None
    results = judged_again(batch.results, concluded) if concluded else tuple(batch.results)
    if concluded:
        flagged = sum(any(verdict_word(one) == "anomalous" for one in result.opinions) for result in results)
    counted.markdown(
        f"**{len(results)}** images judged, **{flagged}** flagged by at least one method"
        + (f", **{failed}** could not be read" if failed else "")
        + "."
    )
    frame = wide_table(results, titles, labels)
    numbers = {": score": "%.4f", ": threshold": "%.4f", ": ms": "%.0f"}
    formats = {
        name: st.column_config.NumberColumn(format=form)
        for name in frame.columns
        for ending, form in numbers.items()
        if str(name).endswith(ending)
    }
    event: Any = st.dataframe(
        frame, hide_index=True, on_select="rerun", selection_mode="single-row", key=f"batch-table-{len(frame)}",
        column_config={**formats, "Image": st.column_config.TextColumn(pinned=True)},
        alt="Each image's scores and verdicts, by method",
    )  # fmt: skip
    with st.container(horizontal=True):
        _button("Table (csv)", "scores.csv", "text/csv", lambda: csv_text(frame).encode())
        _button("Settings and scores (json)", "scores.json", "application/json", partial(_json, given, panel, results))
        wanted = [place for place, one in enumerate(results) if concluded and one.name in concluded.pictured]
        wanted = wanted or [int(place) for place in frame.index[:PICTURED]]
        said = concluded.said() if concluded else ()
        _button("Report (html)", "report.html", "text/html", partial(_html, given, panel, results, wanted, said))
    rows = event.selection.rows if hasattr(event, "selection") else []
    return int(frame.index[rows[0]]) if rows and rows[0] < len(frame) else None


def _conclude(panel: RemotePanel, batch: visit.Batch, labels: Labels, titles: Mapping[str, str]) -> Conclusion | None:
    """Cards of all methods, at thresholds by the visitor's rule; None where no good part was judged."""
    from vlmad_core.live.labels import Conclusion, shared_scores

    references = {one.content for one in panel.references}
    scored, methods = shared_scores(batch.results, labels, titles, references)
    if scored is None or not scored.good:
        return None
    st.caption(
        f"By their folders {scored.good} are good and {scored.defects} defective; references are left out, and images "
        "that a method could not judge."
    )
    shown = deciding.show_deciding(scored, "batch", lambda _, card: _named(card))
    return Conclusion(scored, methods, shown.cards, shown.recommended, shown.rule)


def _named(card: Card) -> None:
    """Which images a card's figures are best looked at."""
    said = {"Typical hit": card.hit, "Worst miss" if card.missed else "Found most narrowly": card.miss}
    st.caption("  \n".join(f"{what}: {selection.tidy(name, 100)}" for what, name in said.items() if name))


def _judged(given: Given, panel: RemotePanel, results: Sequence[ImageResult]) -> Judged:
    from vlmad_core.live.record import Judged

    return Judged(panel.setup, tuple(results), given.problems, given.left_out)


def _json(given: Given, panel: RemotePanel, results: Sequence[ImageResult]) -> bytes:
    return json.dumps(_judged(given, panel, results).to_json(), indent=1).encode()


def _html(
    given: Given, panel: RemotePanel, results: Sequence[ImageResult], wanted: Sequence[int], said: Sequence[str]
) -> bytes:
    from vlmad_core.live.saved import batch_report

    return batch_report(_judged(given, panel, results), panel, given.items, wanted, said).encode()


def _button(label: str, name: str, mime: str, make: Any) -> None:
    st.download_button(label, make, file_name=name, mime=mime, on_click="ignore", icon=":material/download:")


def _start(running: bool) -> None:
    batch = visit.held().batch
    if batch is not None:
        batch.running = running
