"""Rendering of pairs: an undamaged item, the same item damaged, and the mask of what differs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from vlmad_core.factory.renderer.camera import Camera, develop, record
from vlmad_core.factory.renderer.fields import Array, Frame, Rng
from vlmad_core.factory.renderer.surface import Light, Surface, shade

VISIBLE = 0.045
"""Least change of a stored value (in [0, 1], largest of the three channels) that counts as a defect."""
PEAK = 0.14
"""Change that the most changed tenth of a mask has to exceed, or nobody would notice the defect."""


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
