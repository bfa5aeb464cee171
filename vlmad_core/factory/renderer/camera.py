"""From radiance to the stored photograph: optics, sensor noise, tone, compression."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vlmad_core.factory.renderer.fields import Array, Frame, Rng, blur

REFERENCE_SIZE = 224
"""Picture size in pixels that blur radii refer to."""


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
