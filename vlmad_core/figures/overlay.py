"""Anomaly maps over images, outlines of ground truth, and the colour bar that belongs to them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from vlmad_core.figures.scale import ColourScale
from vlmad_core.figures.style import heat_table, to_hex
from vlmad_core.libraries import ndimage

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float64]

OPACITY = 0.85
"""Default opacity of a map over its image at the upper end of the scale."""

_HEAT = heat_table()


def heat(places: Floats) -> Pixels:
    """Colours of places on the colour bar.

    Args:
        places: [H, W] in [0, 1].

    Returns:
        [H, W, 3].
    """
    return _HEAT[np.rint(np.clip(places, 0.0, 1.0) * 255).astype(np.intp)]


def overlay(image: Pixels, places: Floats, opacity: float = OPACITY) -> Pixels:
    """Lay a map over its image; low values let the image through, high ones cover it.

    The image loses its colours first, so that every colour seen comes from the map.

    Args:
        image: [H, W, 3].
        places: Places on the colour bar [H, W], in [0, 1]; brought to the image's size if it differs.
        opacity: Opacity at the upper end, in [0, 1]; at the lower end the map is clear.

    Returns:
        [H, W, 3].
    """
    height, width = image.shape[:2]
    if places.shape != (height, width):
        resized = Image.fromarray(places.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR)
        places = np.asarray(resized, np.float64)
    places = np.clip(places, 0.0, 1.0)
    grey = image.astype(np.float64) @ np.array([0.299, 0.587, 0.114])
    alpha = (opacity * places**0.75)[..., None]
    mixed = (1 - alpha) * grey[..., None] + alpha * heat(places)
    return np.rint(mixed).astype(np.uint8)


def outline(image: Pixels, mask: NDArray[np.bool_], colour: tuple[int, int, int] = (64, 224, 255)) -> Pixels:
    """Draw the outline of a mask: a bright line with a dark one beside it, seen on any ground.

    Args:
        image: [H, W, 3].
        mask: [H, W].
        colour: Of the bright line.

    Returns:
        A copy with the outline; the inside of the mask is left as it is.
    """
    drawn = image.copy()
    if not mask.any():
        return drawn
    step = max(1, round(min(mask.shape) / 256))
    outer = ndimage.binary_dilation(mask, iterations=2 * step) & ~ndimage.binary_dilation(mask, iterations=step)
    line = ndimage.binary_dilation(mask, iterations=step) & ~ndimage.binary_erosion(mask, iterations=1, border_value=1)
    drawn[outer] = (10, 14, 20)
    drawn[line] = colour
    return drawn


def same_picture(image: Pixels, small: Pixels) -> bool:
    """Whether an image is still the one that a small copy was made of.

    Args:
        image: [H, W, 3].
        small: [h, w, 3], a lossy copy.

    Returns:
        False if their shapes differ, or brightness does by more than lossy storage explains: on average over
        all pixels, or in one of 8 x 8 parts.
    """
    height, width = small.shape[:2]
    if abs(width / height - image.shape[1] / image.shape[0]) > 0.05:
        return False
    both = [Image.fromarray(pixels).resize((64, 64), Image.Resampling.BOX) for pixels in (image, small)]
    gap = np.abs(np.asarray(both[0], np.float64) - np.asarray(both[1], np.float64)).mean(axis=2)
    return bool(gap.mean() < 4.0 and gap.reshape(8, 8, 8, 8).mean(axis=(1, 3)).max() < 20.0)


def framed(image: Pixels, boxes: Sequence[tuple[int, int, int, int]], numbered: bool = True) -> Pixels:
    """Draw boxes around places, numbered from 1: bright lines with dark ones beside them, seen on any ground.

    Args:
        image: [H, W, 3].
        boxes: (left, top, right, bottom) in pixels.
        numbered: Whether to write the numbers.

    Returns:
        A copy with the boxes.
    """
    picture = Image.fromarray(image)
    draw = ImageDraw.Draw(picture)
    width = max(1, round(min(image.shape[:2]) / 128))
    for number, (left, top, right, bottom) in reversed(list(enumerate(boxes, 1))):
        draw.rectangle((left - width, top - width, right + width - 1, bottom + width - 1), None, (10, 14, 20), width)
        draw.rectangle((left, top, right - 1, bottom - 1), None, (255, 210, 64), width)
        if numbered:
            spot = (left + 2 * width, top + width)
            draw.text(spot, str(number), (255, 235, 150), stroke_width=width, stroke_fill=(10, 14, 20))
    return np.asarray(picture)


def cut_out(image: Pixels, box: tuple[int, int, int, int], around: float = 1.0) -> Pixels:
    """A place of an image with something around it.

    Args:
        image: [H, W, 3].
        box: (left, top, right, bottom) in pixels.
        around: How much of the box's sides to add on each side, as far as the image reaches.

    Returns:
        [h, w, 3].
    """
    left, top, right, bottom = box
    wide, high = round(around * (right - left)), round(around * (bottom - top))
    height, width = image.shape[:2]
    return image[max(0, top - high) : min(height, bottom + high), max(0, left - wide) : min(width, right + wide)]


def mask_picture(mask: NDArray[np.bool_]) -> Pixels:
    """A mask as an image: defect light, the rest dark.

    Args:
        mask: [H, W].

    Returns:
        [H, W, 3].
    """
    return np.where(mask[..., None], np.uint8(236), np.uint8(38)) * np.ones(3, np.uint8)


def decode(content: bytes) -> Pixels:
    """A stored thumbnail as pixels [H, W, 3]."""
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image.convert("RGB"))


def decode_mask(content: bytes) -> NDArray[np.bool_]:
    """A stored mask as [H, W]."""
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image.convert("L")) > 127


def enlarge(pixels: Pixels, shortest: int) -> Pixels:
    """Enlarge a picture smoothly until its shorter side has so many pixels; larger ones stay as they are.

    Args:
        pixels: [H, W, 3].
        shortest: In pixels.
    """
    height, width = pixels.shape[:2]
    factor = shortest / min(height, width)
    if factor <= 1:
        return pixels
    size = (round(width * factor), round(height * factor))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))


def encode(pixels: Pixels) -> bytes:
    """Pixels [H, W, 3] as a WebP file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "WEBP", quality=88, method=2)
    return buffer.getvalue()


def colour_bar(scale: ColourScale, opacity: float = OPACITY, width: int = 460) -> str:
    """The colour bar of a scale as an SVG drawing, with numbers.

    The colours are those that an overlay shows on a middle grey, since the map lets the image through.

    Args:
        scale: The scale.
        opacity: As given to ``overlay``.
        width: In pixels.
    """
    margin, top, height = 44, 4, 12
    inner = width - 2 * margin
    grey = np.full((1, 33, 3), 128, np.uint8)
    colours = overlay(grey, np.linspace(0, 1, 33)[None], opacity)[0]
    stops = "".join(f'<stop offset="{i / 32:.4f}" stop-color="{to_hex(c)}"/>' for i, c in enumerate(colours))
    marks = "".join(
        f'<line x1="{margin + at * inner:.1f}" x2="{margin + at * inner:.1f}" y1="{top + height}" '
        f'y2="{top + height + 4}" stroke="#7b8794"/>'
        f'<text x="{margin + at * inner:.1f}" y="{top + height + 17}" text-anchor="middle">'
        f"{escape(label)}</text>"
        for at, label in scale.ticks
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="38" viewBox="0 0 {width} 38">'
        f'<defs><linearGradient id="heat">{stops}</linearGradient></defs>'
        f'<rect x="{margin}" y="{top}" width="{inner}" height="{height}" rx="2" fill="url(#heat)"/>'
        f'<g font-family="Source Sans, sans-serif" font-size="12" fill="#7b8794">{marks}</g></svg>'
    )
