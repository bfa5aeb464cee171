"""The opened image beside every method's map on one scale; maps that were not kept come when the page is drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from pages._failures import again
from pages._ui import data, pictures, selection
from vlmad_core.analysis.entries import Entry
from vlmad_core.analysis.instructive import unseen
from vlmad_core.analysis.kept import makes_maps
from vlmad_core.analysis.verdicts import SCALE_SIZE
from vlmad_core.figures.overlay import OPACITY
from vlmad_core.figures.scale import ColourScale, rarity_scale, raw_scale, shared_range
from vlmad_core.store.reader import Missing

Later = Callable[[], None]
"""What is left to do when the rest of the page is drawn."""


def nothing() -> None:
    """Nothing is left to do."""


SCALE_HELP = (
    "The same for all methods shown. Compared with normal pixels: how many pixels of normal test images, of the same "
    "method and category, score as high; like the metrics it depends on the order of scores only. Raw scores: the "
    "same number has the same colour for every method."
)
WIDTH = 132


@dataclass(frozen=True)
class Display:
    """How maps are shown.

    Attributes:
        opacity: Of the upper end of the colour bar.
        outline: Whether the outline of the truth is drawn.
        raw: Whether colours stand for raw scores.
        seen: Whether methods that have seen the data in training are shown too.
    """

    opacity: float
    outline: bool
    raw: bool
    seen: bool


def display_options(lines: Sequence[Entry]) -> Display:
    """Choosers behind a button: opacity, outline, colour scale, and whether all of these methods are shown."""
    with st.popover("Display", icon=":material/tune:"):
        opacity = st.slider("Opacity of the maps", 0.2, 1.0, OPACITY, 0.05, key="opacity", persist_state="session")
        with_outline = st.toggle("Outline of the true defect", True, key="outline", persist_state="session")
        scale = st.segmented_control(
            "Colour scale", ["rarity", "raw"], default="rarity", required=True, key="scale", persist_state="session",
            format_func=lambda name: "Compared with normal pixels" if name == "rarity" else "Raw scores",
            help=SCALE_HELP,
        )  # fmt: skip
        seen = len(unseen(lines)) < len(lines) and st.toggle(
            "Also methods that have seen this data in training", False, key="with_seen", persist_state="session"
        )
    return Display(float(opacity), bool(with_outline), scale == "raw", bool(seen))


def show(lines: Sequence[Entry], run_id: str, category: str, image_id: str, display: Display) -> Later:
    """Original, truth and the map of each method that makes one; one line for all without, by reason.

    Args:
        lines: The methods.
        run_id: The run whose image is shown.
        category: The category.
        image_id: The image.
        display: As ``display_options`` gives it.

    Returns:
        What fills the places of maps that were not kept.
    """
    opacity, outline, raw = display.opacity, display.outline, display.raw
    name, (original, truth) = pictures.short_name(image_id), pictures.shown(run_id, category, image_id)
    runs = data.runs_of(lines, category)
    scales: list[ColourScale] = []
    why: dict[str, str] = {line.title: "Not finished for this category." for line in lines if line.id not in runs}
    waiting: dict[str, tuple[Entry, Any]] = {}
    grid = st.grid("auto", min_column_width=WIDTH, gap="small")
    with grid.cell():
        pictures.show_tile(pictures.Tile("Original", original, f"Image {name}"))
    with grid.cell():
        pictures.show_tile(pictures.Tile("Ground truth", truth, f"True defect of {name}, light"))
    kept = tuple(own for own in runs.values() if data.store().keeps_maps(own, category))
    common = data.raw(kept, category) if raw and kept else None
    for line in (line for line in lines if line.id in runs):
        own, run = runs[line.id], line.run_with(category)
        if own in kept:
            scale = common if raw else data.rarity(own, category)
            drawn = pictures.drawn_map(own, category, image_id, scale, opacity, outline) if scale else Missing("")
            if scale is None or isinstance(drawn, Missing):
                why[line.title] = getattr(drawn, "reason", "") or "There are no normal images to compare with."
                continue
            scales.append(scale)
            with grid.cell():
                _map(line, drawn, name)
        elif not makes_maps(data.store(), own, category):
            why[line.title] = "No anomaly map: it judges the whole image."
        elif run is not None and (reason := again.why_not(run, category)):
            why[line.title] = reason
        else:
            with grid.cell():
                place = st.empty()
            place.caption(f"{selection.tidy(line.title)}  \n:gray[computing its map …]")
            waiting[own] = line, place
    bar, below = st.container(), st.container()
    if scales:
        with bar:
            pictures.show_colour_bar(scales[0], opacity)

    def finish() -> None:
        found, seconds = again.ask(list(waiting), category, image_id)
        ground = again.ask_normals(list(waiting), category)
        made = 0
        for own, (line, place) in waiting.items():
            answer = _again(found.get(own), ground.get(own), image_id, common, raw=raw)
            if isinstance(answer, Missing):
                place.empty()
                why[line.title] = answer.reason
                continue
            scale, values = answer
            drawn = pictures.drawn_map(own, category, image_id, scale, opacity, outline, values)
            if isinstance(drawn, Missing):
                continue
            with place:
                _map(line, drawn, name, "computed now")
            if not scales:
                with bar:
                    pictures.show_colour_bar(scale, opacity)
            scales.append(scale)
            made += 1
        with below:
            if made:
                took = f"{1000 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
                together = "" if made == 1 else f", {made} methods together"
                st.caption(
                    f":material/bolt: Computed now, {took}{together}; not kept with the run. Same protocol, same "
                    "scores; colours against eight normal test images."
                )
            _say(why)

    if not waiting:
        with below:
            _say(why)
        return nothing
    if again.was_asked(list(waiting), category, image_id):
        finish()
        return nothing
    return finish


def _map(line: Entry, drawn: pictures.DrawnMap, name: str, caption: str = "") -> None:
    title = selection.tidy(line.title)
    alt = f"Anomaly map of {title} over {name}; highest pixel {drawn.highest:.3g}"
    pictures.show_tile(pictures.Tile(title, drawn.content, alt, caption))


def _say(why: Mapping[str, str]) -> None:
    """Who has no map, in one line for each reason."""
    for reason in dict.fromkeys(why.values()):
        titles = ", ".join(selection.tidy(title) for title, own in why.items() if own == reason)
        st.caption(f"**{titles}**: {selection.shown(reason, 300)}")


def _again(
    found: Any, ground: Any, image_id: str, common: ColourScale | None, *, raw: bool
) -> tuple[ColourScale, Any] | Missing:
    """A map that was computed now and the scale it is shown on, or why there is none."""
    for one in (found, ground):
        if one is None or isinstance(one, Missing):
            return one or Missing("There are no normal images to compare with.")
    values = found.grids.anomaly_map(image_id, pictures.MAP_SIZE) if found.grids else None
    normals = [ground.grids.anomaly_map(name, SCALE_SIZE) for name in ground.grids.image_ids] if ground.grids else []
    if values is None or not normals:
        return Missing("It makes no anomaly map.")
    if not raw:
        return rarity_scale(normals), values
    return common or raw_scale(*shared_range([*normals, values])), values
