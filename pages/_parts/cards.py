"""What a part's cards show besides figures: how long a photo takes, and two maps."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from pages._ui import data, pictures, selection
from vlmad_core.analysis.decision import Card
from vlmad_core.analysis.entries import Entry
from vlmad_core.analysis.recommendation import time_line
from vlmad_core.figures.overlay import OPACITY
from vlmad_core.store.reader import Missing


def show_more(entry: Entry, card: Card, category: str) -> None:
    """Below the figures of a card: time, a typical hit and the worst miss.

    Args:
        entry: The method.
        card: Its card.
        category: The category.
    """
    from vlmad_core.engine.provenance import hardware

    remarks = [time_line(entry, str(hardware()["id"]))]
    remarks += ["needs all photos at once, so it is not recommended for single parts"] if entry.transductive else []
    st.caption(selection.tidy(" · ".join(remarks), 200))
    run = entry.run_with(category)
    if run is None:
        return
    worst = "Worst miss" if card.missed else "Found most narrowly"
    wanted = [(title, name) for title, name in (("Typical hit", card.hit), (worst, card.miss)) if name is not None]
    tiles = [_tile(title, run.id, category, name) for title, name in wanted]
    if tiles:
        pictures.show_tiles(tiles, width=100)


def tell(problems: Sequence[str]) -> None:
    """Say what could not be read, each once."""
    for problem in dict.fromkeys(problems):
        st.caption(f":material/report: {selection.tidy(problem, 300)}")


def _tile(title: str, run_id: str, category: str, image_id: str) -> pictures.Tile:
    """The map of a photo over it, or the photo where no map was kept."""
    name = pictures.short_name(image_id)
    scale = data.rarity(run_id, category)
    drawn = pictures.drawn_map(run_id, category, image_id, scale, OPACITY, True) if scale else Missing("no map")
    if isinstance(drawn, Missing):
        original, _ = pictures.shown(run_id, category, image_id)
        return pictures.Tile(title, original, f"Photo {name}", name)
    return pictures.Tile(title, drawn.content, f"Anomaly map over {name}", name)
