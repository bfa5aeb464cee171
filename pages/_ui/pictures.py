"""Images with their truth and their anomaly maps, ready to be laid side by side."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from pages._ui import data, drawing, selection
from vlmad_core import paths
from vlmad_core.datasets import Sample, load_dataset
from vlmad_core.datasets.images import read_image
from vlmad_core.datasets.masks import resize_mask, sample_mask
from vlmad_core.datasets.views import View
from vlmad_core.errors import VlmadError
from vlmad_core.figures.overlay import (
    colour_bar,
    decode,
    decode_mask,
    encode,
    enlarge,
    mask_picture,
    outline,
    overlay,
    same_picture,
)
from vlmad_core.figures.scale import ColourScale
from vlmad_core.store.reader import Missing
from vlmad_core.store.schema import RunRecord

LONGEST = 448
"""Longer side of a picture in a tile, in pixels."""

SHORTEST = 256
"""Shorter side from which outlines look fine; smaller pictures are enlarged."""

MAP_SIZE = (256, 256)
"""Size at which maps are shown."""

SCALES = {"normal": "Compared with normal pixels", "image": "Within this image", "raw": "Raw scores"}
"""The live demo's colour scales, by name."""

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Picture:
    """An image and its truth.

    Attributes:
        pixels: [H, W, 3], or why it can't be shown.
        mask: [H, W], or why there is none.
    """

    pixels: Pixels | Missing
    mask: Mask | Missing


@dataclass(frozen=True)
class Tile:
    """One of several pictures side by side.

    Attributes:
        title: What it is, as markdown.
        pixels: The picture, as pixels or as a WebP file, or why there is none.
        alt: What it shows, in words.
        caption: A line below.
    """

    title: str
    pixels: Pixels | bytes | Missing
    alt: str
    caption: str = ""


def show_tiles(tiles: Iterable[Tile], width: int = 132) -> None:
    """Lay pictures side by side, what each is below it; on a narrow page they wrap."""
    grid = st.grid("auto", min_column_width=width, gap="small")
    for tile in tiles:
        with grid.cell():
            show_tile(tile)


def show_tile(tile: Tile) -> None:
    """One picture with what it is below it."""
    below = f"{tile.title}  \n:gray[{tile.caption}]" if tile.caption else tile.title
    if isinstance(tile.pixels, Missing):
        st.caption(f"{below}  \n:gray[{tile.pixels.reason}]")
    else:
        content = tile.pixels if isinstance(tile.pixels, bytes) else encode(enlarge(tile.pixels, SHORTEST))
        drawing.picture(content, below, alt=tile.alt)


def show_colour_bar(scale: ColourScale, opacity: float) -> None:
    """The colour bar of all maps above it, with numbers."""
    ends = f"from {scale.ticks[0][1]} to {scale.ticks[-1][1]}"
    st.image(colour_bar(scale, opacity), width=460, alt=f"Colour bar: {scale.title}, {ends}")
    st.caption(scale.title)


def mapped(picture: Picture, places: NDArray[np.float64], opacity: float, with_outline: bool) -> Pixels:
    """A map over its picture, or over grey where the picture can't be shown."""
    ground = picture.pixels
    if isinstance(ground, Missing):
        ground = np.full((*places.shape, 3), 128, np.uint8)
    ground = enlarge(ground, SHORTEST)
    pixels = overlay(ground, places, opacity)
    if with_outline and not isinstance(picture.mask, Missing):
        pixels = outline(pixels, resize_mask(picture.mask, pixels.shape[:2]))
    return pixels


@dataclass(frozen=True)
class DrawnMap:
    """A map over its picture.

    Attributes:
        content: A WebP file.
        highest: The map's highest value.
    """

    content: bytes
    highest: float


def drawn_map(
    run_id: str,
    category: str,
    image_id: str,
    scale: ColourScale,
    opacity: float,
    with_outline: bool,
    found: NDArray[np.float32] | None = None,
) -> DrawnMap | Missing:
    """The map of an image over it, drawn once and kept for a while.

    Args:
        run_id: The run.
        category: The category.
        image_id: The image.
        scale: Where values lie on the colour bar.
        opacity: Of the upper end.
        with_outline: Whether the outline of the truth is drawn.
        found: The map [256, 256], where the run did not keep it.
    """
    mark = data.signature(paths.stores())
    return _drawn(mark, run_id, category, image_id, hash(scale), opacity, with_outline, scale, found)


@st.cache_data(max_entries=512, show_spinner=False)
def _drawn(
    mark: str,
    run_id: str,
    category: str,
    image_id: str,
    scale_key: int,
    opacity: float,
    with_outline: bool,
    _scale: ColourScale,
    _found: NDArray[np.float32] | None,
) -> DrawnMap | Missing:
    found = data.store().anomaly_map(run_id, category, image_id, MAP_SIZE) if _found is None else _found
    if isinstance(found, Missing):
        return found
    shown = mapped(picture(run_id, category, image_id), _scale.place(found), opacity, with_outline)
    return DrawnMap(encode(shown), float(np.max(found)))


def shown(run_id: str, category: str, image_id: str) -> tuple[bytes | Missing, bytes | Missing]:
    """An image and its truth as WebP files, or why there are none; kept for a while."""
    return _shown(data.signature(paths.stores()), run_id, category, image_id)


@st.cache_data(max_entries=256, show_spinner=False)
def _shown(mark: str, run_id: str, category: str, image_id: str) -> tuple[bytes | Missing, bytes | Missing]:
    one = picture(run_id, category, image_id)
    pair = one.pixels, truth(one)
    first, second = (p if isinstance(p, Missing) else encode(enlarge(p, SHORTEST)) for p in pair)
    return first, second


def truth(picture: Picture) -> Pixels | Missing:
    """The ground truth as a picture, or why there is none."""
    return picture.mask if isinstance(picture.mask, Missing) else mask_picture(picture.mask)


def picture(run_id: str, category: str, image_id: str) -> Picture:
    """An image of a run: the original where the data set is at hand and unchanged, else the stored thumbnail.

    Args:
        run_id: The run.
        category: The category.
        image_id: An id that the run lists; nothing else is looked for on disk.
    """
    return _picture(data.signature(paths.stores()), run_id, category, image_id)


@st.cache_data(max_entries=256, show_spinner=False)
def _picture(mark: str, run_id: str, category: str, image_id: str) -> Picture:
    store = data.store()
    run = store.run(run_id)
    small, mask = store.thumbnail(run_id, category, image_id), store.mask(run_id, category, image_id)
    pixels = small if isinstance(small, Missing) else decode(small)
    sample = _samples(str(run.provenance.data.get("source", ""))).get(image_id)
    if sample is not None:
        with contextlib.suppress(VlmadError):  # the thumbnail, if there is one, is as good an answer
            original = _original(sample, _view(run))
            # Where the data set has changed since the run, the thumbnail is what the methods have seen.
            seen = original.pixels
            if not isinstance(seen, Missing) and (isinstance(pixels, Missing) or same_picture(seen, pixels)):
                return original
    return Picture(pixels, mask if isinstance(mask, Missing) else decode_mask(mask))


def reference(run_id: str, category: str, number: int) -> Pixels | Missing:
    """One of the normal references a run has seen, counted from 0; drawn again as the run drew it."""
    return _reference(data.signature(paths.stores()), run_id, category, number)


@st.cache_data(max_entries=64, show_spinner=False)
def _reference(mark: str, run_id: str, category: str, number: int) -> Pixels | Missing:
    found = drawn_references(run_id, category)
    if isinstance(found, Missing):
        return found
    try:
        return _original(found[number], _view(data.store().run(run_id))).pixels
    except (VlmadError, IndexError):
        return Missing("This reference can't be read.")


def at_hand(run_id: str) -> bool:
    """Whether the data set of a run lies on this machine."""
    return bool(_samples(str(data.store().run(run_id).provenance.data.get("source", ""))))


def drawn_references(run_id: str, category: str) -> tuple[Sample, ...] | Missing:
    """The normal references a run has seen, in the order they were drawn, or why they can't be named."""
    from vlmad_core.engine.drawn import references_of

    run = data.store().run(run_id)
    return references_of(run, category, tuple(_samples(str(run.provenance.data.get("source", ""))).values()))


def thumbnails(run_id: str, category: str, image_ids: Sequence[str]) -> dict[str, bytes]:
    """Small copies of images by id, of those that have one or whose data set is at hand."""
    found = {}
    for image_id in image_ids:
        small = data.store().thumbnail(run_id, category, image_id)
        if not isinstance(small, Missing):
            found[image_id] = small
            continue
        shown = picture(run_id, category, image_id)
        if not isinstance(shown.pixels, Missing):
            found[image_id] = encode(shown.pixels[::2, ::2])
    return found


def short_name(image_id: str) -> str:
    """An image's name without the parts that are the same for all: defect type and number."""
    parts = image_id.replace("\\", "/").split("/")
    return selection.tidy(" / ".join(parts[-2:]).rsplit(".", 1)[0], 80)


def _view(run: RunRecord) -> View:
    return View.from_json(run.protocol.reading.get("view"))


def _original(sample: Sample, view: View) -> Picture:
    photo = read_image(sample.image_path)
    full, image = (photo.height, photo.width), view.cut_region(photo)
    image.thumbnail((LONGEST, LONGEST))
    pixels = np.asarray(image)
    if sample.label == 0:
        return Picture(pixels, Missing("A normal image has no defect to show."))
    try:
        mask = sample_mask(sample, full)
    except VlmadError as error:
        return Picture(pixels, Missing(str(error)))
    if mask is None:
        return Picture(pixels, Missing("The data set has no mask of this defect."))
    return Picture(pixels, resize_mask(view.cut_mask(mask), (image.height, image.width)))


@st.cache_resource(max_entries=4, show_spinner=False)
def _samples(source: str) -> dict[str, Sample]:
    """The samples of a data set by id; empty where it is not on this machine."""
    try:
        return {sample.id: sample for sample in load_dataset(source).samples} if source else {}
    except VlmadError:
        return {}
