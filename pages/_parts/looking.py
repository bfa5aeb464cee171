"""How photos are looked at: a region drawn on one of them, tiles for large ones, and how finely defects are seen."""

from __future__ import annotations

from pathlib import Path

import streamlit as st
from PIL import Image

from pages._parts import photos
from pages._ui import drawing, selection
from vlmad_core.datasets import Dataset
from vlmad_core.datasets.fingerprint import listing_hash
from vlmad_core.datasets.images import read_image
from vlmad_core.datasets.parts import Part
from vlmad_core.datasets.views import MOST_TILES, WHOLE_PHOTO, Box, View, resolution, suggested_tiles
from vlmad_core.errors import VlmadError
from vlmad_core.figures.region import region_figure

OVERLAP = 0.25
"""Of tiles that are offered: a defect on a seam is then whole in one of them, if it is not larger than that."""

SIDES = ("Left", "Top", "Right", "Bottom")


def show_looking(part: Part, dataset: Dataset, side: int, patch: int) -> View:
    """Choose a region and tiles; the whole photo in one piece where nobody does.

    Args:
        part: The part.
        dataset: Its data set.
        side: Of the backbone's input, in pixels.
        patch: Side of its patches, in pixels.
    """
    photo = _photo(part, dataset)
    if photo is None:
        return View()
    grid = (side // patch, side // patch)
    region: Box = st.session_state.get(_key(part), WHOLE_PHOTO)
    columns, rows = suggested_tiles(photo.size, side, region)
    large = columns * rows > 1
    _say_scale("In one piece", View(region), photo.size, grid, side)
    tiles, overlap = (1, 1), 0.0
    if large:
        tiled = st.toggle(
            "Look in tiles", key="plan_tiled",
            help=f"{columns} columns and {rows} rows show it at about its own scale. Each tile is judged as an "
            "image of its own: the photo's score is that of its most anomalous tile.",
        )  # fmt: skip
        if tiled:
            tiles, overlap = _tiles((columns, rows))
    view = _made(region, tiles, overlap)
    if view.count > 1:
        _say_scale("In tiles", view, photo.size, grid, side)
    with st.expander("Look at a part of each photo only", icon=":material/crop:", expanded=region != WHOLE_PHOTO):
        _draw(part, photo, view, grid)
    return view


def _tiles(suggested: tuple[int, int]) -> tuple[tuple[int, int], float]:
    """Columns, rows and overlap."""
    with st.container(horizontal=True):
        columns = st.number_input("Columns", 1, MOST_TILES, suggested[0], key="plan_tile_columns", width=110)
        rows = st.number_input("Rows", 1, MOST_TILES, suggested[1], key="plan_tile_rows", width=110)
        overlap = st.number_input("Overlap", 0.0, 0.5, OVERLAP, 0.05, key="plan_tile_overlap", width=110)
    return (int(columns), int(rows)), float(overlap)


def _made(region: Box, tiles: tuple[int, int], overlap: float) -> View:
    try:
        return View(region, tiles, overlap)
    except VlmadError as error:
        st.error(selection.tidy(str(error), 300), icon=":material/error:")
        return View(region)


def _say_scale(what: str, view: View, photo: tuple[int, int], grid: tuple[int, int], side: int) -> None:
    """How many pixels of the photo a patch covers, and what that costs."""
    found = resolution(view, photo, grid)
    wide, high = (f"{max(pixels, 1):.0f}" for pixels in found.patch)
    cost = f" It costs {found.passes} times as much as whole photos." if found.passes > 1 else ""
    st.caption(
        f"{what}: of photos of {photo[0]} x {photo[1]} pixels a patch covers {wide} x {high}, which is about the "
        f"smallest defect that can be seen; the backbone takes {side} x {side} at once.{cost}"
    )


def _draw(part: Part, photo: Image.Image, view: View, grid: tuple[int, int]) -> None:
    """The photo to draw a rectangle on, and the same in numbers."""
    st.caption("Draw a rectangle on the photo, or give its sides in percent.")
    drawn = st.plotly_chart(
        region_figure(photo, view, grid), config={**drawing.PLOT, "displayModeBar": False}, on_select="rerun",
        selection_mode="box", key=f"{_key(part)}-figure-{view.region}", alt="A photo with the region that is looked at",
    )  # fmt: skip
    boxes = drawn["selection"]["box"]
    if boxes:
        x, y = (sorted(min(max(float(value), 0.0), 1.0) for value in boxes[-1][axis]) for axis in ("x", "y"))
        if x[1] > x[0] and y[1] > y[0]:
            _take(part, (x[0], y[0], x[1], y[1]))
    with st.container(horizontal=True, vertical_alignment="bottom"):
        sides = [
            st.number_input(name, 0.0, 100.0, 100 * value, 1.0, format="%.1f", width=110,
                            key=f"{_key(part)}-{name}-{view.region}")
            for name, value in zip(SIDES, view.region, strict=True)
        ]  # fmt: skip
        if st.button("Whole photo", icon=":material/fullscreen:", disabled=view.region == WHOLE_PHOTO):
            _take(part, WHOLE_PHOTO)
    left, top, right, bottom = (round(value / 100, 4) for value in sides)
    if max(abs(a - b) for a, b in zip((left, top, right, bottom), view.region, strict=True)) > 1e-3:
        _take(part, (left, top, right, bottom))


def _take(part: Part, region: Box) -> None:
    """Remember a region, and show everything with it."""
    left, top, right, bottom = (round(value, 4) for value in region)
    try:
        st.session_state[_key(part)] = View((left, top, right, bottom)).region
    except VlmadError as error:
        st.error(selection.tidy(str(error), 300), icon=":material/error:")
        return
    st.rerun()


def _key(part: Part) -> str:
    return f"plan_region_{part.slug}"


def _photo(part: Part, dataset: Dataset) -> Image.Image | None:
    """The first photo that can be read: the camera is the same for all."""
    where = photos.content(part)
    for sample in dataset.samples[:4]:
        try:
            found = where(sample.image_path)
            mark = f"{part.slug} {listing_hash(dataset.samples)} {sample.id}"
            return _shown(mark, found)
        except (VlmadError, OSError):
            continue
    return None


@st.cache_resource(max_entries=8, show_spinner=False)
def _shown(mark: str, _found: Path | bytes) -> Image.Image:
    return read_image(_found)
