"""From a lit scene to the stored photograph (optics, sensor noise, tone, compression) and the mask of its defect."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from vlmad_core.factory.renderer.fields import Array, Frame, Rng, blur
from vlmad_core.factory.renderer.surface import Light, Surface, shade

REFERENCE_SIZE = 224
"""Picture size in pixels that blur radii refer to."""
VISIBLE = 0.045
"""Least change of a stored value (in [0, 1], largest of the three channels) that counts as a defect."""
PEAK = 0.14
"""Change that the most changed tenth of a mask has to exceed, or nobody would notice the defect."""


@dataclass(frozen=True)
class Camera:
    """A camera and its settings.

    Attributes:
        exposure: Factor on the radiance.
        gamma: Exponent from linear to stored values (0.45 is the usual display curve).
        blur: Radius of the optics' blur in pixels at 224 px.
        vignette: Loss of brightness in the corners, in [0, 1].
        shot_noise: Standard deviation of brightness-dependent noise at full brightness.
        read_noise: Standard deviation of constant noise.
        grain: Correlation of the noise in pixels (0 is white noise).
        monochrome: Whether the sensor sees brightness only.
        quality: Quality of JPEG compression in the camera, or None without.
    """

    exposure: float = 1.0
    gamma: float = 0.6
    blur: float = 0.5
    vignette: float = 0.1
    shot_noise: float = 0.01
    read_noise: float = 0.005
    grain: float = 0.0
    monochrome: bool = False
    quality: int | None = None


def draw_camera(rng: Rng) -> Camera:
    """Draw a plausible camera."""
    return Camera(
        exposure=float(rng.uniform(0.75, 1.25)),
        gamma=float(rng.uniform(0.5, 0.9)),
        blur=float(rng.choice([0.3, 0.6, 0.9, 1.4])),
        vignette=float(rng.uniform(0.0, 0.45)),
        shot_noise=float(rng.uniform(0.0, 0.03)),
        read_noise=float(rng.uniform(0.0, 0.015)),
        grain=float(rng.choice([0.0, 0.0, 0.7])),
        monochrome=bool(rng.random() < 0.2),
        quality=int(rng.integers(45, 95)) if rng.random() < 0.6 else None,
    )


def develop(radiance: Array, camera: Camera, frame: Frame) -> Array:
    """Apply everything of the camera that isn't random: [size, size, 3] float32 in [0, 1]."""
    picture = blur(radiance, camera.blur * frame.size / REFERENCE_SIZE)
    if camera.monochrome:
        picture = np.repeat(picture @ np.array([[0.3], [0.59], [0.11]], np.float32), 3, axis=2)
    dimming = 1.0 - camera.vignette * (frame.u**2 + frame.v**2) / 2.0
    exposed = np.clip(picture * (camera.exposure * dimming)[..., None], 0.0, None)
    # A soft shoulder keeps metal highlights from clipping flat.
    compressed = np.where(exposed > 0.7, 0.7 + 0.3 * np.tanh((exposed - 0.7) / 0.3), exposed)
    return (compressed ** np.float32(camera.gamma)).astype(np.float32)


def record(picture: Array, camera: Camera, rng: Rng) -> NDArray[np.uint8]:
    """Add noise and compression: [size, size, 3] uint8."""
    size = picture.shape[0]
    planes = 1 if camera.monochrome else 3
    grain = rng.standard_normal((size, size, planes), dtype=np.float32)
    if camera.grain > 0.0:
        grain = blur(grain, camera.grain) * (1.0 + 2.5 * camera.grain)
    deviation = np.sqrt(camera.read_noise**2 + camera.shot_noise**2 * picture)
    stored = np.clip((picture + grain * deviation) * 255.0 + 0.5, 0.0, 255.0).astype(np.uint8)
    if camera.quality is None:
        return stored
    buffer = io.BytesIO()
    Image.fromarray(stored).save(buffer, "JPEG", quality=camera.quality)
    return np.asarray(Image.open(buffer).convert("RGB"))


@dataclass(frozen=True)
class Photograph:
    """A recorded image with its mask.

    Attributes:
        image: [size, size, 3] uint8.
        mask: [size, size] bool, True where the image differs from the undamaged rendering.
        contrast: Mean change inside the mask in [0, 1]; 0 without a defect.
    """

    image: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    contrast: float


def photograph(surface: Surface, light: Light, camera: Camera, frame: Frame) -> Array:
    """The noise-free picture of a surface, [size, size, 3] float32 in [0, 1]."""
    return develop(shade(surface, light, frame), camera, frame)


def difference_mask(clean: Array, damaged: Array) -> tuple[NDArray[np.bool_], float]:
    """Where two noise-free pictures differ visibly, without specks and pinholes, and by how much."""
    change = np.abs(damaged - clean).max(-1)
    size = change.shape[0]
    raw = change > VISIBLE
    near = ndimage.binary_dilation(raw, iterations=1)
    mask = ndimage.binary_closing(np.pad(raw, 4), iterations=2)[4:-4, 4:-4] & near
    holes = ndimage.binary_fill_holes(mask) & ~mask
    labels, count = ndimage.label(holes)
    if count:
        small = np.bincount(labels.ravel()) < size * size * 0.002
        small[0] = False
        mask |= small[labels]
    labels, count = ndimage.label(mask, structure=np.ones((3, 3)))
    if count:
        large = np.bincount(labels.ravel()) >= max(4, round(size * size * 0.00015))
        large[0] = False
        mask = large[labels]
    return mask, float(change[mask].mean()) if mask.any() else 0.0


def take_normal(surface: Surface, light: Light, camera: Camera, frame: Frame, rng: Rng) -> Photograph:
    """Record an undamaged item."""
    image = record(photograph(surface, light, camera, frame), camera, rng)
    return Photograph(image, np.zeros((frame.size, frame.size), dtype=bool), 0.0)


def take_pair(
    normal: Surface,
    damaged: Surface,
    light: Light,
    camera: Camera,
    frame: Frame,
    rng: Rng,
    area: tuple[float, float] = (0.001, 0.25),
    contrast: tuple[float, float] = (0.08, 1.0),
) -> tuple[Photograph, Photograph] | None:
    """Record an item undamaged and damaged under the same light.

    Args:
        normal: The undamaged item.
        damaged: The same item with a defect.
        light: Illumination of both.
        camera: Camera of both; the noise is drawn anew for each.
        frame: Coordinates.
        rng: Source of the noise.
        area: Least and largest share of the picture the mask may take.
        contrast: Least and largest mean change inside the mask.

    Returns:
        The two pictures, or None where the defect is invisible, too large, too faint or too plain.
    """
    clean = photograph(normal, light, camera, frame)
    faulty = photograph(damaged, light, camera, frame)
    mask, change = difference_mask(clean, faulty)
    share = float(mask.mean())
    if not (area[0] <= share <= area[1] and contrast[0] <= change <= contrast[1]):
        return None
    if float(np.quantile(np.abs(faulty - clean).max(-1)[mask], 0.9)) < PEAK:
        return None
    empty = np.zeros_like(mask)
    return (
        Photograph(record(clean, camera, rng), empty, 0.0),
        Photograph(record(faulty, camera, rng), mask, change),
    )
