"""Pictures of results: a map over its image with its contour, one tile per method, and all tiles in one figure."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, ImageOps

from vlmad_core.figures.overlay import OPACITY, outline, overlay
from vlmad_core.figures.scale import DECADES, ColourScale, Map
from vlmad_core.live.record import verdict_word
from vlmad_core.live.verdicts import Opinion, ScaleKind, scales
from vlmad_core.metrics.thresholds import ORIGIN_LABELS

Pixels = NDArray[np.uint8]

LONGEST = 448
"""Longer side of a picture on the page, in pixels."""
SHORTEST = 256
"""Shorter side from which contours look fine; smaller pictures are enlarged."""
WIDEST = 1024
"""Longest a picture gets by that, however narrow it is."""
TILE = 360
"""Side of a tile in a figure, in pixels."""
CONTOUR = (64, 224, 255)
INK, GREY, PAPER = (28, 36, 48), (91, 104, 117), (255, 255, 255)
RED, GREEN = (178, 42, 42), (20, 115, 70)
MARGIN, GAP, HEAD = 18, 14, 92
RARITIES: Mapping[str, float | None] = {
    "none": None,
    **{f"1 in {10**decade}": decade / DECADES for decade in (1, 2, 3)},
}
"""Where a contour may be drawn on a scale of ranks: how many pixels score as high."""


@dataclass(frozen=True)
class Look:
    """How maps are drawn.

    Attributes:
        opacity: Of a map at the upper end of its scale, in [0, 1].
        kind: The colour scale.
        contour: Place on the colour bar at which the contour is drawn, in [0, 1]; None for no contour.
    """

    opacity: float = OPACITY
    kind: ScaleKind = "normal"
    contour: float | None = RARITIES["1 in 100"]


@dataclass(frozen=True)
class Drawn:
    """The maps of several methods over one image, on one scale.

    Attributes:
        pixels: The image [H, W, 3], as it is shown.
        maps: The overlays [H, W, 3], by method id.
        kind: The scale that was used.
        scale: Of the first map, for the colour bar; None without maps.
    """

    pixels: Pixels
    maps: Mapping[str, Pixels]
    kind: ScaleKind
    scale: ColourScale | None


def fit(image: Image.Image, longest: int = LONGEST) -> Pixels:
    """An image at the size it is shown in: [H, W, 3]."""
    small = image.copy()
    small.thumbnail((longest, longest))
    return _readable(small)


def draw_maps(image: Image.Image, opinions: Sequence[Opinion], look: Look, longest: int = LONGEST) -> Drawn:
    """Lay each method's map over the image.

    Args:
        image: Upright RGB.
        opinions: Those without a map are passed over.
        look: How.
        longest: Longer side of the pictures, in pixels.
    """
    pixels = fit(image, longest)
    kind, by_method = scales(opinions, look.kind)
    maps = {}
    for one in opinions:
        name, values = one.prediction.method_id, one.prediction.anomaly_map
        if values is not None:
            maps[name] = draw_map(pixels, values, by_method[name], look)
    return Drawn(pixels, maps, kind, next(iter(by_method.values()), None))


def draw_map(pixels: Pixels, values: Map, scale: ColourScale, look: Look) -> Pixels:
    """One map over its image, with the contour of all that lies at or above a place on the scale.

    Args:
        pixels: [H, W, 3].
        values: The map, any size.
        scale: Its scale.
        look: How.
    """
    height, width = pixels.shape[:2]
    resized = Image.fromarray(values).resize((width, height), Image.Resampling.BILINEAR)
    places = scale.place(np.asarray(resized))
    drawn = overlay(pixels, places, look.opacity)
    return drawn if look.contour is None else outline(drawn, places >= look.contour - 1e-9, CONTOUR)


def draw_boxes(pixels: Pixels, boxes: Sequence[tuple[float, float, float, float]]) -> Pixels:
    """Frame places in an image; the first, most important one most strongly.

    Args:
        pixels: [H, W, 3].
        boxes: (left, top, right, bottom), each a fraction of the image's side.

    Returns:
        A copy with the frames.
    """
    image = Image.fromarray(pixels)
    height, width = pixels.shape[:2]
    pen = ImageDraw.Draw(image)
    for number, (left, top, right, bottom) in reversed(list(enumerate(boxes))):
        corners = (
            left * width,
            top * height,
            max(right * width - 1, left * width),
            max(bottom * height - 1, top * height),
        )
        thick = max(2, min(height, width) // (90 + 60 * number))
        pen.rectangle(corners, outline=INK, width=thick + 2)
        pen.rectangle(corners, outline=CONTOUR, width=thick)
    return np.asarray(image)


def framed_crop(image: Image.Image, patch: tuple[int, int], grid: tuple[int, int], around: float = 2.0) -> Pixels:
    """A patch with its neighbourhood, the patch framed, large enough to be looked at: [H, W, 3].

    Args:
        image: The image.
        patch: Row and column.
        grid: Patch grid (rows, columns).
        around: Patches shown on each side.
    """
    (row, column), (rows, columns) = patch, grid
    left, top = max(0.0, column - around) / columns, max(0.0, row - around) / rows
    right, bottom = min(columns, column + 1 + around) / columns, min(rows, row + 1 + around) / rows
    part = image.crop(
        (
            int(left * image.width),
            int(top * image.height),
            max(int(left * image.width) + 1, round(right * image.width)),
            max(int(top * image.height) + 1, round(bottom * image.height)),
        )
    )
    wide, high = right - left, bottom - top
    inside = (
        (column / columns - left) / wide,
        (row / rows - top) / high,
        ((column + 1) / columns - left) / wide,
        ((row + 1) / rows - top) / high,
    )
    return draw_boxes(fit(part), [inside])


def png(pixels: Pixels | Image.Image) -> bytes:
    """Pixels [H, W, 3] or an image as a PNG file."""
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=False)
    return buffer.getvalue()


def method_figure(image: Image.Image, opinion: Opinion, look: Look, drawn: Drawn | None = None) -> Image.Image:
    """One method's tile: its map over the image, title, score and verdict."""
    drawn = drawn or draw_maps(image, [opinion], look, longest=2 * TILE)
    return _figure([_tile(drawn.pixels, drawn.maps.get(opinion.prediction.method_id), opinion)], None, look.opacity, "")


def combined_figure(image: Image.Image, opinions: Sequence[Opinion], look: Look, heading: str) -> Image.Image:
    """The image and all methods' tiles side by side on one scale, with the colour bar."""
    drawn = draw_maps(image, opinions, look, longest=2 * TILE)
    tiles = [_tile(drawn.pixels, None, None)]
    tiles += [_tile(drawn.pixels, drawn.maps.get(one.prediction.method_id), one) for one in opinions]
    return _figure(tiles, drawn.scale, look.opacity, heading)


def score_line(opinion: Opinion) -> str:
    """Score and threshold in a line."""
    score = opinion.prediction.image_score
    if score is None:
        return ""
    if opinion.verdict is None:
        return f"score {score:.4g}"
    sign = "≥" if opinion.verdict.anomalous else "<"
    return f"score {score:.4g} {sign} {opinion.verdict.threshold.value:.4g}"


def origin_line(opinion: Opinion) -> str:
    """Where the threshold comes from, in a few words; or why there is no verdict."""
    if opinion.verdict is None:
        return opinion.reason
    return f"threshold {ORIGIN_LABELS[opinion.verdict.threshold.origin]}"


def _readable(image: Image.Image) -> Pixels:
    """Enlarge a small picture smoothly, as far as its longer side allows: [H, W, 3]."""
    factor = min(SHORTEST / min(image.size), WIDEST / max(image.size))
    if factor > 1:
        size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
        image = image.resize(size, Image.Resampling.BICUBIC)
    return np.asarray(image)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _tile(pixels: Pixels, drawn: Pixels | None, opinion: Opinion | None) -> Image.Image:
    """A tile of fixed size; a method without a map gets the image in grey."""
    tile = Image.new("RGB", (TILE, TILE + HEAD), PAPER)
    shown = drawn if drawn is not None else pixels
    picture = Image.fromarray(shown)
    if drawn is None and opinion is not None:
        picture = picture.convert("L").convert("RGB")
    picture = ImageOps.contain(picture, (TILE, TILE), Image.Resampling.LANCZOS)
    tile.paste(picture, ((TILE - picture.width) // 2, HEAD + (TILE - picture.height) // 2))
    pen = ImageDraw.Draw(tile)
    if opinion is None:
        pen.text((0, 4), "Image", fill=INK, font=_font(19))
        return tile
    word = verdict_word(opinion)
    colour = {"anomalous": RED, "normal": GREEN}.get(word, GREY)
    pen.text((0, 4), _cut(opinion.prediction.title, 19), fill=INK, font=_font(19))
    pen.text((0, 34), _cut(f"{word}   {score_line(opinion)}", 16), fill=colour, font=_font(16))
    pen.text((0, 60), _cut(origin_line(opinion), 13), fill=GREY, font=_font(13))
    if drawn is None and opinion.prediction.error is None:
        pen.text((8, HEAD + 8), "no map: scores the whole image", fill=INK, font=_font(13))
    return tile


def _cut(text: str, size: int, width: int = TILE) -> str:
    """A text that fits into a width, in letters that Pillow's own font has."""
    plain = text.replace("≥", ">=").replace("≤", "<=").replace("…", "...").replace("–", "-")
    plain = plain.encode("latin-1", "replace").decode("latin-1")
    font = _font(size)
    if font.getlength(plain) <= width:
        return plain
    while plain and font.getlength(plain + "...") > width:
        plain = plain[:-1].rstrip()
    return plain + "..."


def _figure(tiles: Sequence[Image.Image], scale: ColourScale | None, opacity: float, heading: str) -> Image.Image:
    columns = min(len(tiles), 4)
    rows = -(-len(tiles) // columns)
    top = MARGIN + (40 if heading else 0)
    width = 2 * MARGIN + columns * TILE + (columns - 1) * GAP
    height = top + rows * (TILE + HEAD) + (rows - 1) * GAP + MARGIN + (70 if scale else 0)
    canvas = Image.new("RGB", (width, height), PAPER)
    if heading:
        ImageDraw.Draw(canvas).text((MARGIN, MARGIN), _cut(heading, 20, width - 2 * MARGIN), fill=INK, font=_font(20))
    for number, tile in enumerate(tiles):
        row, column = divmod(number, columns)
        canvas.paste(tile, (MARGIN + column * (TILE + GAP), top + row * (TILE + HEAD + GAP)))
    if scale is not None:
        _colour_bar(canvas, scale, opacity, height - 70)
    return canvas


def _colour_bar(canvas: Image.Image, scale: ColourScale, opacity: float, top: int) -> None:
    """Draw the colour bar with its numbers and what they mean at the foot of a figure."""
    length = min(520, canvas.width - 4 * MARGIN)
    grey = np.full((14, length, 3), 128, np.uint8)
    places = np.broadcast_to(np.linspace(0, 1, length), (14, length))
    canvas.paste(Image.fromarray(overlay(grey, places, opacity)), (2 * MARGIN, top))
    pen = ImageDraw.Draw(canvas)
    for at, label in scale.ticks:
        x = 2 * MARGIN + at * (length - 1)
        pen.line((x, top + 14, x, top + 18), fill=GREY)
        pen.text((x, top + 20), _cut(label, 12), fill=GREY, font=_font(12), anchor="ma")
    pen.text((2 * MARGIN, top + 40), _cut(scale.title, 13, canvas.width - 4 * MARGIN), fill=INK, font=_font(13))
