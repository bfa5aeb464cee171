"""Where a defect sits and what outline it has: blobs, strokes, cracks, as soft masks."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from vlmad_core.factory.renderer.fields import Array, Frame, Rng, noise, smoothstep

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


def patch(
    frame: Frame, rng: Rng, centre: tuple[float, float], radius: float, rough: float = 0.5, soft: float = 0.15
) -> Array:
    """A patch whose outline is ragged at every scale and may shed islands, as liquids and rust have it.

    Args:
        frame: Coordinates.
        rng: Source of randomness.
        centre: Its middle in picture coordinates.
        radius: Its mean radius in half-widths.
        rough: Raggedness of the outline; 0 is an ellipse.
        soft: Width of the fading edge in radii (at least a pixel).

    Returns:
        Weights [size, size] in [0, 1].
    """
    dx, dy = frame.u - centre[0], frame.v - centre[1]
    turn, flat = float(rng.uniform(0, np.pi)), float(rng.uniform(0.5, 1.0))
    c, s = np.cos(turn), np.sin(turn)
    ratio = np.hypot(c * dx + s * dy, (c * dy - s * dx) / flat) / radius
    ragged = noise(rng, frame.size, max(0.9 / radius, 1.5), 0.95)
    field = ratio + 0.4 * rough * ragged * np.clip(ratio / 0.5, 0.0, 1.0)
    edge = max(soft, frame.pixel / radius)
    return smoothstep(1.0 + edge / 2.0, 1.0 - edge / 2.0, field.astype(np.float32))


def walk(
    rng: Rng,
    start: tuple[float, float],
    length: float,
    wiggle: float,
    steps: int = 14,
    heading: float | None = None,
) -> Path2D:
    """A wandering line centred on ``start``; ``wiggle`` is the turn per step, ``heading`` its course, in radians."""
    heading, turn = float(rng.uniform(0, 2 * np.pi)) if heading is None else heading, 0.0
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


def jagged(rng: Rng, start: tuple[float, float], heading: float, length: float, rough: float = 0.17) -> Path2D:
    """A broken line from ``start``: midpoints thrown aside again and again, as fractures run."""
    points = np.array([[0.0, 0.0], [length * np.cos(heading), length * np.sin(heading)]])
    for _ in range(5):
        step = points[1:] - points[:-1]
        aside = np.stack([-step[:, 1], step[:, 0]], 1) * rng.normal(0.0, rough, (len(step), 1))
        middle = (points[1:] + points[:-1]) / 2.0 + aside
        merged = np.empty((2 * len(points) - 1, 2))
        merged[0::2], merged[1::2] = points, middle
        points = merged
    return [(start[0] + float(x), start[1] + float(y)) for x, y in points]


def stroke(
    frame: Frame,
    rng: Rng,
    centre: tuple[float, float],
    length: float,
    width: float,
    wiggle: float,
    heading: float | None = None,
) -> Array:
    """One line that tapers towards its ends."""
    points = walk(rng, centre, length, wiggle, heading=heading)
    last = len(points) - 1
    lines = []
    for k in range(last):
        taper = 0.4 + 0.6 * np.sin(np.pi * (k + 0.5) / last)
        lines.append((points[k : k + 2], width * taper))
    return draw_lines(frame, lines)


def crack_lines(rng: Rng, centre: tuple[float, float], length: float, width: float) -> list[tuple[Path2D, float]]:
    """A fracture of uneven width that ends as a hairline, with up to three branches."""
    heading = float(rng.uniform(0, 2 * np.pi))
    start = (centre[0] - np.cos(heading) * length / 2, centre[1] - np.sin(heading) * length / 2)
    trunk = jagged(rng, start, heading, length)
    lines = _uneven(rng, trunk, width, closing=True)
    for _ in range(int(rng.integers(0, 4))):
        root = trunk[int(rng.integers(6, len(trunk) - 6))]
        side = float(rng.choice([-1.0, 1.0])) * float(rng.uniform(0.4, 1.1))
        branch = jagged(rng, root, heading + side, length * float(rng.uniform(0.15, 0.4)))
        lines += _uneven(rng, branch, 0.6 * width, closing=False)
    return lines


def _uneven(rng: Rng, path: Path2D, width: float, closing: bool) -> list[tuple[Path2D, float]]:
    """Segments of a path, each of its own width; thin at the end, and at the start too if ``closing``."""
    count = len(path) - 1
    swing = np.convolve(rng.normal(0.0, 1.0, count + 4), np.ones(5) / 5.0, "valid") * 0.9
    along = (np.arange(count) + 0.5) / count
    taper = np.sin(np.pi * along) ** 0.6 if closing else (1.0 - along) ** 0.8
    widths = width * taper * np.clip(1.0 + swing, 0.25, 2.2)
    return [(path[k : k + 2], float(widths[k])) for k in range(count)]


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
