"""How a training picture is looked at: zoom, turn, light, colour, blur, noise and compression.

Pictures are made at twice the side the bundled CLIP reads, so that its teacher sees more than it does.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from vlmad_core.factory.renderer.fields import Array, Rng

VIEW_SIZE = 256
"""Side of a view in pixels, as the teacher reads it."""
_SMALLEST_ZOOM = 0.22
_PASTE_SHARE = 0.25


@dataclass(frozen=True)
class Zoom:
    """A square of a picture, turned and perhaps mirrored.

    Attributes:
        side: Side of the square, as a share of the picture's.
        x: Its centre, from the picture's centre, as a share of the picture's side.
        y: As x.
        angle: Turn in radians.
        mirrored: Whether it is flipped.
    """

    side: float
    x: float
    y: float
    angle: float
    mirrored: bool


def draw_part_zoom(rng: Rng) -> Zoom:
    """For pictures with captions: half of them whole, half a square of at least half the side; quarter turns."""
    side = float(rng.uniform(0.5, 1.0)) if rng.random() < 0.5 else 1.0
    x, y = rng.uniform(-0.5, 0.5, 2) * (1 - side)
    return Zoom(side, float(x), float(y), int(rng.integers(4)) * np.pi / 2, bool(rng.random() < 0.5))


def draw_free_zoom(rng: Rng) -> Zoom:
    """For pictures without captions: any scale and, at times, any angle."""
    side = float(np.exp(rng.uniform(np.log(_SMALLEST_ZOOM), 0)))
    angle = float(rng.uniform(0, 2 * np.pi)) if rng.random() < 0.5 else int(rng.integers(4)) * np.pi / 2
    x, y = rng.uniform(-0.5, 0.5, 2) * (1 - side)
    return Zoom(side, float(x), float(y), angle, bool(rng.random() < 0.5))


def look(picture: NDArray[np.uint8], zoom: Zoom, nearest: bool = False) -> NDArray[np.uint8]:
    """Cut a square out of a picture and enlarge it to the size of a view; beyond the border the picture is mirrored.

    Args:
        picture: uint8 [H, H, 3] or [H, H].
        zoom: Which square.
        nearest: Take the nearest pixel instead of interpolating.

    Returns:
        uint8 [VIEW_SIZE, VIEW_SIZE, ...].
    """
    height = picture.shape[0]
    if abs(np.cos(zoom.angle) * np.sin(zoom.angle)) > 1e-6:
        margin = height // 2
        edges = ((margin, margin), (margin, margin), (0, 0))[: picture.ndim]
        picture = np.pad(picture, edges, mode="reflect")
    else:
        margin = 0
    step = zoom.side * height / VIEW_SIZE
    c, s = np.cos(zoom.angle) * step, np.sin(zoom.angle) * step
    flip = -1.0 if zoom.mirrored else 1.0
    half = VIEW_SIZE / 2
    cx, cy = margin + height * (0.5 + zoom.x), margin + height * (0.5 + zoom.y)
    rows = (c * flip, -s, cx - half * (c * flip - s), s * flip, c, cy - half * (s * flip + c))
    method = Image.Resampling.NEAREST if nearest else Image.Resampling.BICUBIC
    view = Image.fromarray(picture).transform((VIEW_SIZE, VIEW_SIZE), Image.Transform.AFFINE, rows, method)
    return np.asarray(view)


def change_light(view: NDArray[np.uint8], rng: Rng) -> NDArray[np.uint8]:
    """Mild changes that leave a caption true: contrast, brightness, tint, grey, noise, at times blur or jpeg."""
    picture: Array = view.astype(np.float32) / 255
    if rng.random() < 0.2:
        picture = np.repeat(picture.mean(axis=-1, keepdims=True), 3, axis=-1)
    middle = picture.mean()
    picture = (picture - middle) * rng.uniform(0.75, 1.25) + middle
    picture *= rng.uniform(0.8, 1.2) * rng.uniform(0.94, 1.06, 3).astype(np.float32)
    picture += rng.normal(0, 1, picture.shape).astype(np.float32) * rng.uniform(0, 0.02)
    out = _to_bytes(picture)
    if rng.random() < 0.15:
        out = _blur(out, float(rng.uniform(0.3, 1.5)))
    if rng.random() < 0.2:
        out = _jpeg(out, int(rng.integers(40, 95)))
    return out


def change_freely(view: NDArray[np.uint8], rng: Rng, others: Sequence[NDArray[np.uint8]] = ()) -> NDArray[np.uint8]:
    """Strong changes, and at times a piece of another picture pasted in: the teacher says what is to be seen.

    Args:
        view: uint8 [VIEW_SIZE, VIEW_SIZE, 3].
        rng: Source of chance.
        others: Views a piece may come from.
    """
    picture: Array = view.astype(np.float32) / 255
    if others and rng.random() < _PASTE_SHARE:
        picture = _paste(picture, others[int(rng.integers(len(others)))].astype(np.float32) / 255, rng)
    if rng.random() < 0.3:
        picture = picture[..., rng.permutation(3)]
    if rng.random() < 0.25:
        picture = np.repeat(picture.mean(axis=-1, keepdims=True), 3, axis=-1)
    if rng.random() < 0.1:
        picture = 1 - picture
    middle = picture.mean()
    picture = (picture - middle) * float(np.exp(rng.uniform(np.log(0.35), np.log(1.8)))) + middle
    picture = picture * rng.uniform(0.85, 1.15, 3).astype(np.float32) + rng.uniform(-0.15, 0.15)
    picture = np.clip(picture, 0, 1) ** float(np.exp(rng.normal(0, 0.3)))
    if rng.random() < 0.5:
        picture += rng.normal(0, 1, picture.shape).astype(np.float32) * rng.uniform(0, 0.06)
    out = _to_bytes(picture)
    if rng.random() < 0.35:
        out = _blur(out, float(np.exp(rng.uniform(np.log(0.4), np.log(4)))))
    if rng.random() < 0.3:
        out = _jpeg(out, int(rng.integers(25, 95)))
    return out


def _paste(picture: Array, other: Array, rng: Rng) -> Array:
    """A soft or hard ellipse or box of another picture at a random place."""
    axis = np.linspace(-1, 1, VIEW_SIZE, dtype=np.float32)
    v, u = np.meshgrid(axis, axis, indexing="ij")
    cx, cy = rng.uniform(-0.8, 0.8, 2)
    angle = rng.uniform(0, np.pi)
    a, b = np.exp(rng.uniform(np.log(0.04), np.log(0.5), 2))
    x, y = u - np.float32(cx), v - np.float32(cy)
    p, q = (np.cos(angle) * x + np.sin(angle) * y) / a, (np.cos(angle) * y - np.sin(angle) * x) / b
    distance = np.hypot(p, q) if rng.random() < 0.5 else np.maximum(np.abs(p), np.abs(q))
    cover = np.clip((1.05 - distance) * float(rng.choice([2, 20])), 0, 1)[..., None] * float(rng.uniform(0.4, 1.0))
    return picture + cover.astype(np.float32) * (other - picture)


def _to_bytes(picture: Array) -> NDArray[np.uint8]:
    return (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8)


def _blur(view: NDArray[np.uint8], radius: float) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(view).filter(ImageFilter.GaussianBlur(radius)))


def _jpeg(view: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    buffer = io.BytesIO()
    Image.fromarray(view).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(io.BytesIO(buffer.getvalue())).convert("RGB"))
