"""Scalar fields from which surfaces are built: coordinates, noise, cells, signed distances.

Lengths are in image half-widths (the image spans [-1, 1] in both directions), frequencies in cycles per
image, so that a scene looks the same at any resolution.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, spatial

Array = NDArray[np.floating]
"""Real-valued maps and colours; float32 wherever size matters."""
Rng = np.random.Generator


@dataclass(frozen=True)
class Frame:
    """Coordinates of a square picture.

    Attributes:
        size: Pixels per side.
        x: Object coordinate to the right, [size, size] float32, after the object's pose.
        y: Object coordinate downwards, [size, size] float32, after the object's pose.
        u: Picture coordinate to the right in [-1, 1], [size, size] float32.
        v: Picture coordinate downwards in [-1, 1], [size, size] float32.
    """

    size: int
    x: Array
    y: Array
    u: Array
    v: Array

    @property
    def pixel(self) -> float:
        """Width of one pixel in half-widths."""
        return 2.0 / self.size


def make_frame(size: int, angle: float = 0.0, scale: float = 1.0, dx: float = 0.0, dy: float = 0.0) -> Frame:
    """Build the coordinates for an object turned by ``angle`` (radians), enlarged and shifted."""
    axis = (np.arange(size, dtype=np.float32) + 0.5) * (2.0 / size) - 1.0
    v, u = np.meshgrid(axis, axis, indexing="ij")
    c, s = np.float32(np.cos(angle) / scale), np.float32(np.sin(angle) / scale)
    du, dv = u - np.float32(dx), v - np.float32(dy)
    return Frame(size, c * du + s * dv, -s * du + c * dv, u, v)


def noise(rng: Rng, size: int, scale: float, beta: float = 1.0, stretch: float = 1.0, angle: float = 0.0) -> Array:
    """Draw a Gaussian random field with mean 0 and standard deviation 1.

    Args:
        rng: Source of randomness.
        size: Pixels per side.
        scale: Frequency in cycles per image up to which the spectrum is flat.
        beta: Fall-off above ``scale`` (amplitude ~ k^(-2 beta)); small is rough, large is smooth.
        stretch: Elongation of the structures along ``angle``; 1 is isotropic.
        angle: Direction of elongation in radians.

    Returns:
        Field of shape [size, size], float32.
    """
    white = rng.standard_normal((size, size), dtype=np.float32)
    ky = np.fft.fftfreq(size, 1.0 / size).astype(np.float32)[:, None]
    kx = np.fft.rfftfreq(size, 1.0 / size).astype(np.float32)[None, :]
    c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    k2 = (stretch * (c * kx + s * ky)) ** 2 + (c * ky - s * kx) ** 2
    amplitude = (1.0 + k2 / np.float32(scale**2)) ** np.float32(-beta)
    amplitude[0, 0] = 0.0
    field = np.fft.irfft2(np.fft.rfft2(white) * amplitude, s=(size, size))
    return (field / max(float(field.std()), 1e-6)).astype(np.float32)


def cells(rng: Rng, frame: Frame, count: float, jitter: float = 1.0) -> tuple[Array, Array, NDArray[np.intp]]:
    """Voronoi cells from a jittered grid of about ``count`` cells along each side.

    Returns:
        Distance to the nearest and second nearest seed in units of the cell pitch, and the seed's index,
        each [size, size].
    """
    pitch = 2.0 / count
    low_x, low_y = float(frame.x.min()) - 2 * pitch, float(frame.y.min()) - 2 * pitch
    gy, gx = np.meshgrid(
        np.arange(low_y, float(frame.y.max()) + 2 * pitch, pitch),
        np.arange(low_x, float(frame.x.max()) + 2 * pitch, pitch),
        indexing="ij",
    )
    seeds = np.stack([gx.ravel(), gy.ravel()], 1)
    seeds += rng.uniform(-0.5, 0.5, seeds.shape) * jitter * pitch
    points = np.stack([frame.x.ravel(), frame.y.ravel()], 1)
    found = spatial.cKDTree(seeds).query(points, k=2)
    distance, index = np.asarray(found[0]), np.asarray(found[1])
    shape = (frame.size, frame.size)
    near = (distance[:, 0] / pitch).reshape(shape).astype(np.float32)
    far = (distance[:, 1] / pitch).reshape(shape).astype(np.float32)
    return near, far, index[:, 0].reshape(shape)


def smoothstep(low: float, high: float, field: Array) -> Array:
    """Smooth ramp from 0 at ``low`` to 1 at ``high``."""
    t = np.clip((field - low) / (high - low), 0.0, 1.0)
    return (t * t * (3.0 - 2.0 * t)).astype(np.float32)


def mix(first: NDArray, second: NDArray, weight: NDArray) -> Array:
    """Blend two colours or colour images by a weight map [size, size] into [size, size, 3]."""
    w = weight[..., None] if weight.ndim == 2 else weight
    return (first * (1.0 - w) + second * w).astype(np.float32)


def blur(field: Array, sigma: float) -> Array:
    """Gaussian blur over the first two axes, ``sigma`` in pixels."""
    if sigma <= 0.05:
        return field
    sigmas = (sigma, sigma, 0.0) if field.ndim == 3 else (sigma, sigma)
    return ndimage.gaussian_filter(field, sigmas, mode="nearest", truncate=3.0).astype(np.float32)


def warp(field: Array, rows: Array, cols: Array) -> Array:
    """Sample ``field`` at displaced pixel positions (bilinear, displacements in pixels)."""
    size = field.shape[0]
    base = np.arange(size, dtype=np.float32)
    where = np.stack([base[:, None] + rows, base[None, :] + cols])
    if field.ndim == 2:
        return ndimage.map_coordinates(field, where, order=1, mode="nearest").astype(np.float32)
    planes = [ndimage.map_coordinates(field[..., c], where, order=1, mode="nearest") for c in range(3)]
    return np.stack(planes, -1).astype(np.float32)


def inside(distance: Array, frame: Frame, scale: float = 1.0) -> Array:
    """Turn a signed distance (negative inside) into coverage with a soft edge of about one pixel."""
    return np.clip(0.5 - distance / (frame.pixel / scale * 1.2), 0.0, 1.0).astype(np.float32)


def sd_box(x: Array, y: Array, half_width: float, half_height: float, corner: float = 0.0) -> Array:
    """Signed distance to a rectangle with rounded corners."""
    qx = np.abs(x) - (half_width - corner)
    qy = np.abs(y) - (half_height - corner)
    outside = np.hypot(np.maximum(qx, 0.0), np.maximum(qy, 0.0))
    return (outside + np.minimum(np.maximum(qx, qy), 0.0) - corner).astype(np.float32)


def sd_polygon(x: Array, y: Array, radius: float, sides: int) -> Array:
    """Signed distance (to the nearest side's line) of a regular polygon; ``radius`` is the apothem."""
    step = 2.0 * np.pi / sides
    angle = np.arctan2(y, x)
    folded = (angle + step / 2.0) % step - step / 2.0
    return (np.hypot(x, y) * np.cos(folded) - radius).astype(np.float32)


def sd_segment(x: Array, y: Array, start: tuple[float, float], end: tuple[float, float]) -> Array:
    """Distance to a line segment."""
    ax, ay = start
    bx, by = end[0] - ax, end[1] - ay
    t = np.clip(((x - ax) * bx + (y - ay) * by) / max(bx * bx + by * by, 1e-9), 0.0, 1.0)
    return np.hypot(x - ax - t * bx, y - ay - t * by).astype(np.float32)


def colour(
    rng: Rng,
    hue: tuple[float, float] = (0.0, 1.0),
    saturation: tuple[float, float] = (0.1, 0.7),
    value: tuple[float, float] = (0.25, 0.85),
) -> Array:
    """Draw a colour, linear RGB in [0, 1], shape [3]."""
    rgb = colorsys.hsv_to_rgb(
        float(rng.uniform(*hue)) % 1.0, float(rng.uniform(*saturation)), float(rng.uniform(*value))
    )
    return np.asarray(rgb, dtype=np.float32)
