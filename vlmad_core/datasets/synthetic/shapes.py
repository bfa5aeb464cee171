"""Where a defect sits and what outline it has: blobs, strokes, cracks, as soft masks."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from vlmad_core.datasets.synthetic.fields import Array, Frame, Rng, smoothstep

SUPERSAMPLING = 3
Path2D = list[tuple[float, float]]


def pick_inside(cover: Array, rng: Rng, margin: float) -> tuple[float, float]:
    """Draw a point of the item at least ``margin`` half-widths from its edge, if there is one."""
    size = cover.shape[0]
    padded = np.pad(cover > 0.5, 1, constant_values=False)
    depth = ndimage.distance_transform_edt(padded)[1:-1, 1:-1] * (2.0 / size)
    ys, xs = np.nonzero(depth >= min(margin, float(depth.max()) * 0.8))
    k = int(rng.integers(len(ys)))
    return (xs[k] + 0.5) * 2.0 / size - 1.0, (ys[k] + 0.5) * 2.0 / size - 1.0


def pick_edge(cover: Array, rng: Rng) -> tuple[float, float]:
    """Draw a point on the outline of the item (anywhere if it fills the picture)."""
    size = cover.shape[0]
    solid = cover > 0.5
    ys, xs = np.nonzero(solid & ~ndimage.binary_erosion(solid, border_value=1))
    if len(ys) == 0:
        return pick_inside(cover, rng, 0.1)
    k = int(rng.integers(len(ys)))
    return (xs[k] + 0.5) * 2.0 / size - 1.0, (ys[k] + 0.5) * 2.0 / size - 1.0


def blob(
    frame: Frame, rng: Rng, centre: tuple[float, float], radius: float, rough: float = 0.25, soft: float = 0.0
) -> Array:
    """An irregular patch: 1 inside, 0 outside, the edge ``soft`` x radius wide (at least a pixel)."""
    dx, dy = frame.u - centre[0], frame.v - centre[1]
    angle = np.arctan2(dy, dx)
    turn, flat = float(rng.uniform(0, np.pi)), float(rng.uniform(0.55, 1.0))
    c, s = np.cos(turn), np.sin(turn)
    along, across = c * dx + s * dy, (c * dy - s * dx) / flat
    outline = np.ones_like(angle)
    for k in range(2, 8):
        outline += rough / k**0.7 * float(rng.normal()) * np.cos(k * angle + float(rng.uniform(0, 6.3)))
    ratio = np.hypot(along, across) / (radius * np.clip(outline, 0.35, 2.0))
    edge = max(soft, frame.pixel / radius)
    return smoothstep(1.0 + edge / 2.0, 1.0 - edge / 2.0, ratio.astype(np.float32))


def walk(rng: Rng, start: tuple[float, float], length: float, wiggle: float, steps: int = 14) -> Path2D:
    """A wandering line centred on ``start``; ``wiggle`` is the turn per step in radians."""
    heading, turn = float(rng.uniform(0, 2 * np.pi)), 0.0
    x, y = start[0] - np.cos(heading) * length / 2, start[1] - np.sin(heading) * length / 2
    points = [(float(x), float(y))]
    for _ in range(steps):
        turn = 0.6 * turn + float(rng.normal(0, wiggle))
        heading += turn
        x, y = x + np.cos(heading) * length / steps, y + np.sin(heading) * length / steps
        points.append((float(x), float(y)))
    return points


def draw_lines(frame: Frame, lines: list[tuple[Path2D, float]]) -> Array:
    """Rasterise lines of given widths (half-widths) with soft edges: [size, size] in [0, 1]."""
    side = frame.size * SUPERSAMPLING
    canvas = Image.new("L", (side, side), 0)
    pen = ImageDraw.Draw(canvas)
    for points, width in lines:
        scaled = [((x + 1.0) * side / 2.0, (y + 1.0) * side / 2.0) for x, y in points]
        pen.line(scaled, fill=255, width=max(1, round(width * side / 2.0)), joint="curve")
    small = canvas.resize((frame.size, frame.size), Image.Resampling.BOX)
    return np.asarray(small, dtype=np.float32) / 255.0


def stroke(frame: Frame, rng: Rng, centre: tuple[float, float], length: float, width: float, wiggle: float) -> Array:
    """One line that tapers towards its ends."""
    points = walk(rng, centre, length, wiggle)
    last = len(points) - 1
    lines = []
    for k in range(last):
        taper = 0.4 + 0.6 * np.sin(np.pi * (k + 0.5) / last)
        lines.append((points[k : k + 2], width * taper))
    return draw_lines(frame, lines)


def crack_lines(rng: Rng, centre: tuple[float, float], length: float, width: float) -> list[tuple[Path2D, float]]:
    """A jagged line that thins out, with up to three branches."""
    trunk = walk(rng, centre, length, 0.45, 22)
    lines = [(trunk[k : k + 2], width * (1.0 - 0.6 * abs(2 * k / 21 - 1))) for k in range(22)]
    for _ in range(int(rng.integers(0, 4))):
        root = trunk[int(rng.integers(4, 18))]
        branch = walk(rng, root, length * float(rng.uniform(0.2, 0.5)), 0.45, 10)
        shift = (root[0] - branch[0][0], root[1] - branch[0][1])
        moved = [(x + shift[0], y + shift[1]) for x, y in branch]
        lines += [(moved[k : k + 2], width * 0.6 * (1.0 - k / 11)) for k in range(10)]
    return lines


def scribble(rng: Rng, centre: tuple[float, float], size: float) -> list[Path2D]:
    """Marks that look like handwriting or print: a row of two to four angular glyphs."""
    count = int(rng.integers(2, 5))
    turn = float(rng.uniform(-0.6, 0.6))
    c, s = np.cos(turn), np.sin(turn)
    glyphs: list[Path2D] = []
    for k in range(count):
        left = (k - count / 2.0) * size * 0.75
        corners = rng.uniform(-0.5, 0.5, (int(rng.integers(3, 6)), 2)) * (size * 0.55, size)
        glyphs.append(
            [
                (float(centre[0] + c * (left + px) - s * py), float(centre[1] + s * (left + px) + c * py))
                for px, py in corners
            ]
        )
    return glyphs
