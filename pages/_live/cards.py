"""What each method says of one image, side by side on one scale: card by card as results come in, then all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd
import streamlit as st
from numpy.typing import NDArray

from pages._live import ensembles, visit
from pages._ui import frame, machine, pictures, selection
from vlmad_core.figures.overlay import OPACITY, encode

if TYPE_CHECKING:
    from vlmad_core.live.drawing import Drawn, Look
    from vlmad_core.live.verdicts import Opinion

CARD = 140
"""Narrowest a card may get, in pixels; further ones wrap."""
CONTROL = 132
"""Width of the button that cancels or goes on, in pixels."""
KIND_HELP = (
    "Compared with normal pixels: how rare a value is on the references or on the stored run's normal images. "
    "Within this image: where it looks most unusual, not whether it does. Raw scores: as the methods give them."
)
RAW_CONTOUR, RARITY = 0.6, "1 in 100"
"""Where contours are drawn at first, on the raw scale and on those of ranks."""
ORIGINS = {"normal_references": "Normal references", "stored_run": "Stored run"}


def stream(task: visit.Task) -> bool:
    """Judge the image, drawing each method's card as it finishes.

    Returns:
        Whether all methods are done; False if the visitor cancelled.

    Raises:
        InferenceError: If too much waits already, or the process that computes ends.
    """
    mine = visit.held()
    members = task.panel.members
    known = visit.judged(task)
    if len(known) == len(members):
        return True
    if mine.stopped == task.key:
        return _cancelled(task, len(known))
    done, total = len(known), len(members)
    message = _control("Cancel", ":material/stop_circle:", stop=task.key)
    said = f"{done} of {total} methods: looking at the image …"
    progress = message.progress(done / total, said)

    def place(before: int | None) -> None:
        progress.progress(done / total, said + machine.in_line(before))

    slots = _grid(task)
    for prediction in known:
        _quick(slots[prediction.method_id], visit.opinion(task, prediction), task)
    for prediction in visit.judge(task, place):
        done += 1
        _quick(slots[prediction.method_id], visit.opinion(task, prediction), task)
        said = f"{done} of {total} methods: {selection.tidy(prediction.title)}"
        place(None)
    return True


def choose_look() -> Look:
    """How maps are drawn."""
    from vlmad_core.live.drawing import RARITIES

    with st.popover("Display", icon=":material/tune:"):
        st.slider("Opacity of the maps", 0.0, 1.0, OPACITY, 0.05, key="live_opacity", persist_state="session")
        kind = st.segmented_control(
            "Colour scale, the same for all methods", list(pictures.SCALES), default="normal", required=True,
            key="live_kind", persist_state="session", format_func=pictures.SCALES.__getitem__, help=KIND_HELP,
        )  # fmt: skip
        if kind == "raw":
            st.slider("Contour at this share of the scale", 0.0, 1.0, RAW_CONTOUR, 0.02, key="live_contour_raw")
        else:
            st.select_slider(
                "Contour around what so few pixels reach", list(RARITIES), RARITY, key="live_contour",
                persist_state="session",
            )  # fmt: skip
    return _look()


def _look() -> Look:
    """How maps are drawn, as chosen so far."""
    from vlmad_core.live.drawing import RARITIES, Look

    state = st.session_state
    opacity, kind = float(state.get("live_opacity", OPACITY)), state.get("live_kind") or "normal"
    if kind == "raw":
        return Look(opacity, "raw", float(state.get("live_contour_raw", RAW_CONTOUR)))
    contour = RARITIES.get(state.get("live_contour", RARITY))
    return Look(opacity, "image" if kind == "image" else "normal", contour)


def choose_origin(opinions: Sequence[Opinion]) -> None:
    """Where thresholds come from, where there is a choice."""
    found = {threshold.origin for one in opinions for threshold in one.thresholds}
    options = [name for name in ORIGINS if name in found]
    if len(options) > 1:
        if st.session_state.get("live_origin") not in options:
            st.session_state["live_origin"] = options[0]
        st.segmented_control(
            "Thresholds from", options, key="live_origin", required=True, format_func=ORIGINS.__getitem__,
            label_visibility="collapsed",
        )  # fmt: skip


def show(task: visit.Task, opinions: Sequence[Opinion], look: Look) -> Drawn:
    """All cards on one scale, with the colour bar and the times."""
    from vlmad_core.live.drawing import draw_maps

    drawn = draw_maps(task.picture.image, opinions, look)
    slots = _grid(task)
    for one in opinions:
        _card(slots[one.prediction.method_id], one, drawn.maps.get(one.prediction.method_id), task)
        if one.prediction.error is None:
            with slots[one.prediction.method_id], st.popover("Own threshold", icon=":material/edit:", type="tertiary"):
                st.number_input(
                    "Anomalous from a score of", value=None, format="%.4f", step=0.001,
                    key=visit.own_key(one.prediction), persist_state="session",
                )  # fmt: skip
    if drawn.scale is not None:
        pictures.show_colour_bar(drawn.scale, look.opacity)
        if drawn.kind != look.kind:
            st.caption(
                "Not every map here has normal pixels to be compared with: give at least two references, or choose "
                "an image of a category that was measured."
            )
    if task.known:
        st.caption(f":material/fact_check: {task.known}")
    return drawn


def show_times(opinions: Sequence[Opinion]) -> None:
    """Where the time went."""
    from vlmad_core.live.panel import shared_stages

    done = [one.prediction for one in opinions if one.prediction.seconds]
    if not done:
        return
    shared: dict[str, float] = {}
    for one in done:
        shared |= {
            name: max(shared.get(name, 0.0), one.seconds[name]) for name in shared_stages() if name in one.seconds
        }
    stages = [("all methods", name, 1000 * value) for name, value in shared.items()]
    for one in done:
        own = [(name, value) for name, value in one.seconds.items() if name not in shared_stages()]
        stages += [(selection.tidy(one.title), name, 1000 * value) for name, value in own]
    times = pd.DataFrame(stages, columns=["For", "Stage", "ms"])
    with st.expander(f"Latency: {times['ms'].sum():.0f} ms for {len(done)} methods", icon=":material/timer:"):
        bar = st.column_config.ProgressColumn(
            "Milliseconds", format="%.0f", min_value=0, max_value=float(times["ms"].max())
        )
        st.dataframe(times, hide_index=True, alt="Latency by stage", column_config={"ms": bar})
        st.caption(
            "One image, a batch of one. Passes through the vision tower are spent once for all methods; prompts are "
            "embedded by the first method that needs them, references are looked at once."
        )


def _grid(task: visit.Task) -> dict[str, Any]:
    """The image and a place for each method's card."""
    grid = st.grid("auto", min_column_width=CARD, gap="small")
    with grid.cell():
        st.markdown("**Image**")
        st.image(
            encode(_shown(task)), width="stretch", alt=f"The image to judge: {selection.tidy(task.panel.category)}"
        )
    slots = {}
    for member in task.panel.members:
        with grid.cell():
            st.markdown(f"**{selection.tidy(member.title)}**")
            slots[member.method_id] = st.container(gap="xsmall")
    return slots


def _quick(slot: Any, one: Opinion, task: visit.Task) -> None:
    """A card as soon as its method is done, on a scale that needs no other method."""
    from vlmad_core.live.drawing import draw_maps

    drawn = draw_maps(task.picture.image, [one], _look())
    _card(slot, one, drawn.maps.get(one.prediction.method_id), task)


def _card(slot: Any, one: Opinion, pixels: NDArray[Any] | None, task: visit.Task) -> None:
    from vlmad_core.live.record import verdict_word

    prediction = one.prediction
    title = selection.tidy(prediction.title)
    with slot:
        if prediction.error is not None:
            st.error(selection.tidy(prediction.error, 300), icon=":material/error:")
            return
        if pixels is None:
            st.caption("Gives a score for the whole image, and no map.")
        else:
            st.image(encode(pixels), width="stretch", alt=f"Anomaly map of {title} over the image")
        word = verdict_word(one)
        st.markdown(f":{frame.VERDICT_BADGES[word]}-badge[{word}]  \n{_score(one)}")
        short, detail = _origin(one)
        st.caption(short, help=detail)
        if prediction.trained_on is None or prediction.trained_on:
            sets = selection.tidy(", ".join(prediction.trained_on or ())) or "unknown data"
            st.caption(f"Trained on {sets}.")
        ensembles.show_own(task.panel, prediction.method_id)


def _score(one: Opinion) -> str:
    """Score and threshold, the score in bold."""
    from vlmad_core.live.drawing import score_line

    word, score, *rest = score_line(one).split(" ")
    return " ".join([word, f"**{score}**", *rest])


def _origin(one: Opinion) -> tuple[str, str | None]:
    """Where the threshold comes from, short and in detail; or why there is none."""
    if one.verdict is None:
        return "No threshold to judge by.", selection.tidy(one.reason, 300)
    threshold = one.verdict.threshold
    names = {"user": "set by you", "stored_run": "from a stored run", "normal_references": "from normal references"}
    oracle = ", chosen on its test labels" if "test labels" in threshold.detail else ""
    detail = None if threshold.origin == "user" else selection.tidy(threshold.detail, 300)
    return f"Threshold {names.get(threshold.origin, threshold.origin)}{oracle}", detail


def _shown(task: visit.Task) -> NDArray[Any]:
    from vlmad_core.live.drawing import fit

    return fit(task.picture.image)


def _cancelled(task: visit.Task, done: int) -> bool:
    """What a cancelled demo shows: what was done, and how to go on."""
    message = _control("Continue", ":material/play_arrow:", stop="")
    message.warning(f"Cancelled: {done} of {len(task.panel.members)} methods are done.", icon=":material/stop_circle:")
    return False


def _control(label: str, icon: str, stop: str) -> Any:
    """The button that cancels or goes on, and a place beside it for how far things are.

    Both are one button to Streamlit, in one place and of one size. Two would stand side by side until the run of
    the page that draws the second has ended, and the second would then jump from under the pointer.

    Args:
        label: What it says.
        icon: Its icon.
        stop: Key of the task that is cancelled by it; empty to go on.

    Returns:
        The place beside it.
    """
    with st.container(horizontal=True, vertical_alignment="top"):
        st.button(label, icon=icon, key="live_control", on_click=_stop, args=(stop,), width=CONTROL)
        return st.container()


def _stop(key: str) -> None:
    visit.held().stopped = key
