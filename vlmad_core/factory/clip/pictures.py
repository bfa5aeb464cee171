"""Pictures of nothing in particular, and how any training picture is looked at: zoom, turn, light, noise, compression.

A network distilled on one kind of picture copies its teacher on that kind only. Dead leaves (occluding shapes of
power-law sizes; Lee, Mumford and Huang, IJCV 2001), coloured 1/f noise, stripes, gradients and plain shapes have
the edges, colours and scales of photographs without being any. Pictures are looked at with twice the side the bundled
CLIP reads, so that its teacher sees more than it does.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from vlmad_core.factory.renderer.fields import Array, Rng, colour, noise

VIEW_SIZE = 256
"""Side of a view in pixels, as the teacher reads it."""
_SMALLEST_ZOOM = 0.22
_PASTE_SHARE = 0.25


def draw_generic(rng: Rng, size: int) -> NDArray[np.uint8]:
    """Draw a picture of one of the kinds, at times one kind over another.

    Args:
        rng: Source of chance.
        size: Side in pixels.

    Returns:
        uint8 [size, size, 3].
    """
    picture = _draw(rng, size)
    if rng.random() < 0.35:
        other = _draw(rng, size)
        if rng.random() < 0.5:
            cover = _shape_mask(rng, size)[..., None]
        else:
            cover = np.clip(noise(rng, size, float(rng.uniform(1, 6)), 1.5) * rng.uniform(1, 20), 0, 1)[..., None]
        picture = picture + cover * (other - picture)
    return (np.clip(picture, 0, 1) * 255).astype(np.uint8)


def _draw(rng: Rng, size: int) -> Array:
    kinds: tuple[Callable[[Rng, int], Array], ...] = (_leaves, _leaves, _coloured_noise, _stripes, _solids)
    return kinds[int(rng.integers(len(kinds)))](rng, size)


def _leaves(rng: Rng, size: int) -> Array:
    """Opaque shapes over one another, each in a colour near one of a few, some shaded or rough."""
    palette = [colour(rng) for _ in range(int(rng.integers(2, 7)))]
    image = Image.fromarray((_gradient(rng, size) * 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    smallest, largest = size * float(rng.uniform(0.01, 0.06)), size * float(rng.uniform(0.15, 0.5))
    kind = int(rng.integers(4))
    for _ in range(int(np.exp(rng.uniform(np.log(15), np.log(400))))):
        # Areas fall as a power law: radius density ~ r^-3 between the bounds.
        radius = (smallest**-2 + rng.random() * (largest**-2 - smallest**-2)) ** -0.5
        shade = np.clip(palette[int(rng.integers(len(palette)))] + rng.normal(0, 0.06, 3), 0, 1)
        outline = _outline(rng, _point(rng, 0, size), radius, kind if rng.random() < 0.8 else 3)
        draw.polygon(outline, fill=tuple(int(v) for v in shade * 255))
    picture = np.asarray(image, np.float32) / 255
    grain = noise(rng, size, float(np.exp(rng.uniform(np.log(4), np.log(60)))), float(rng.uniform(0.4, 1.2)))
    return picture * (1 + float(rng.choice([0.0, 0.05, 0.2])) * grain[..., None])


def _point(rng: Rng, low: float, high: float) -> tuple[float, float]:
    x, y = rng.uniform(low, high, 2)
    return float(x), float(y)


def _outline(rng: Rng, centre: tuple[float, float], radius: float, kind: int) -> list[tuple[float, float]]:
    """Ellipse (0), bar (1), polygon (2) or blob (3) around a point."""
    turn = rng.uniform(0, 2 * np.pi)
    if kind == 1:
        angles = np.array([0.0, 0.0, np.pi, np.pi]) + np.array([1, -1, 1, -1]) * rng.uniform(0.05, 0.8)
        radii = np.full(4, radius)
    elif kind == 2:
        angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 8))))
        radii = radius * rng.uniform(0.5, 1.2, len(angles))
    else:
        angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
        waves = sum(rng.normal(0, 0.25 / k) * np.cos(k * angles + rng.uniform(0, 7)) for k in range(2, 6))
        radii = radius * (1 + (waves if kind == 3 else 0.0) * np.ones(24))
    stretch = rng.uniform(0.3, 1.0) if kind == 0 else 1.0
    dx, dy = radii * np.cos(angles), radii * np.sin(angles) * stretch
    c, s = np.cos(turn), np.sin(turn)
    return list(zip((centre[0] + c * dx - s * dy).tolist(), (centre[1] + s * dx + c * dy).tolist(), strict=True))


def _gradient(rng: Rng, size: int) -> Array:
    """From one colour to another, straight or round."""
    axis = np.linspace(-1, 1, size, dtype=np.float32)
    v, u = np.meshgrid(axis, axis, indexing="ij")
    angle, (cx, cy) = rng.uniform(0, 2 * np.pi), rng.uniform(-0.8, 0.8, 2)
    ramp = 0.5 + 0.5 * (np.cos(angle) * u + np.sin(angle) * v) if rng.random() < 0.5 else np.hypot(u - cx, v - cy)
    ramp = np.clip(ramp, 0, 1) ** float(np.exp(rng.normal(0, 0.5)))
    first, second = colour(rng), colour(rng)
    picture: Array = (first + ramp[..., None] * (second - first)).astype(np.float32)
    return picture


def _coloured_noise(rng: Rng, size: int) -> Array:
    """Anisotropic noise with a spectrum between rough and smooth; colour channels more or less alike."""
    stretch, angle = float(np.exp(rng.uniform(0, np.log(10)))), float(rng.uniform(0, np.pi))
    scale, beta = float(np.exp(rng.uniform(np.log(1.5), np.log(30)))), float(rng.uniform(0.4, 1.6))
    shared = noise(rng, size, scale, beta, stretch, angle)
    own = np.stack([noise(rng, size, scale, beta, stretch, angle) for _ in range(3)], axis=-1)
    mixed = shared[..., None] + float(rng.choice([0.0, 0.3, 1.0])) * own
    if rng.random() < 0.3:
        mixed = np.tanh(mixed * rng.uniform(1, 8))
    return (colour(rng) + float(rng.uniform(0.03, 0.35)) * mixed).astype(np.float32)


def _stripes(rng: Rng, size: int) -> Array:
    """Stripes or a lattice, bent, between two gradients."""
    axis = np.linspace(-1, 1, size, dtype=np.float32)
    v, u = np.meshgrid(axis, axis, indexing="ij")
    angle, frequency = rng.uniform(0, np.pi), float(np.exp(rng.uniform(np.log(2), np.log(25))))
    bend = float(rng.choice([0.0, 0.05, 0.2])) * noise(rng, size, 2.0, 1.5)
    along, across = np.cos(angle) * u + np.sin(angle) * v + bend, np.cos(angle) * v - np.sin(angle) * u + bend
    wave = np.sin(np.pi * frequency * along)
    if rng.random() < 0.5:
        other = np.sin(np.pi * frequency * float(rng.uniform(0.5, 2)) * across)
        wave = wave * other if rng.random() < 0.5 else np.maximum(wave, other)
    cover = 0.5 + 0.5 * np.tanh(wave * float(np.exp(rng.uniform(0, np.log(12)))) + rng.uniform(-1, 1))
    first, second = _gradient(rng, size), _gradient(rng, size)
    picture: Array = first + cover[..., None].astype(np.float32) * (second - first)
    return picture


def _solids(rng: Rng, size: int) -> Array:
    """A few shaded bodies, rings among them, on a plain ground: what products on a table come down to."""
    picture = _gradient(rng, size) if rng.random() < 0.5 else np.ones((size, size, 3), np.float32) * colour(rng)
    for _ in range(int(rng.integers(1, 7))):
        cover = _shape_mask(rng, size)
        if rng.random() < 0.3:
            cover = cover * (1 - _shape_mask(rng, size))
        body = _gradient(rng, size) if rng.random() < 0.6 else _coloured_noise(rng, size)
        picture = picture + cover[..., None] * (body - picture)
    return picture


def _shape_mask(rng: Rng, size: int) -> Array:
    image = Image.new("L", (2 * size, 2 * size))
    radius = 2 * size * float(rng.uniform(0.08, 0.5))
    outline = _outline(rng, _point(rng, 0.4 * size, 1.6 * size), radius, int(rng.integers(4)))
    ImageDraw.Draw(image).polygon(outline, fill=255)
    return np.asarray(image.resize((size, size), Image.Resampling.BOX), np.float32) / 255


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
