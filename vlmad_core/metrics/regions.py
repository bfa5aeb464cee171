"""Defect regions: connected components of the masks, and their areas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vlmad_core.errors import MetricError
from vlmad_core.libraries import ndimage

CONNECTIVITY = 8
"""Pixels that touch by an edge or a corner belong to one region."""

Maps = Sequence[NDArray[np.floating]] | NDArray[np.floating]
"""Anomaly maps of a category: [N, H, W], or one [H, W] each where sizes differ."""

Masks = Sequence[NDArray[np.bool_]] | NDArray[np.bool_]
"""Ground truth of a category, shaped as the maps; True is defective."""


@dataclass(frozen=True)
class Region:
    """One connected defect region.

    Attributes:
        image: Index of the image within the category.
        index: Index of the region within its image, from 0, in reading order of its first pixel.
        area: Pixels of the region at evaluation size.
        area_fraction: Area over the area of the image, in (0, 1].
        box: Bounding box x0, y0, x1, y1 as fractions of width and height, in [0, 1].
    """

    image: int
    index: int
    area: int
    area_fraction: float
    box: tuple[float, float, float, float]


def label_regions(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Number the 8-connected regions of one mask.

    Args:
        mask: Boolean [H, W]; True is defective.

    Returns:
        Labels int32 [H, W] (0 is normal, regions count from 1) and areas in pixels int64 [R].

    Raises:
        MetricError: If the mask is not two-dimensional and boolean.

    Examples:
        >>> labels, areas = label_regions(np.eye(3, dtype=bool))
        >>> areas.tolist()
        [3]
    """
    _check_mask(mask, "The mask")
    labels = np.zeros(mask.shape, np.int32)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if rows.size == 0:
        return labels, np.zeros(0, np.int64)
    # Defects are small: labelling only their bounding box saves most of the work.
    box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    count = ndimage.label(mask[box], structure=np.ones((3, 3), np.int8), output=labels[box])
    areas = np.bincount(labels[box].ravel(), minlength=int(count) + 1)[1:]
    return labels, areas.astype(np.int64)


def check_pairs(maps: Maps, masks: Masks) -> None:
    """Check that each map has a boolean mask of its size and holds finite scores only.

    Args:
        maps: Anomaly maps, [N, H, W] or a sequence of [H, W].
        masks: Boolean masks of the same sizes.

    Raises:
        MetricError: If the numbers or sizes differ, a mask is not boolean, or a score is not finite; names
            the index of the image (and the pixel).
    """
    if len(maps) != len(masks):
        raise MetricError(f"{len(maps)} anomaly maps but {len(masks)} masks.", "Give one mask per map.")
    for i, (scores, mask) in enumerate(zip(maps, masks, strict=True)):
        _check_mask(mask, f"Mask {i}")
        if np.ndim(scores) != 2 or np.shape(scores) != mask.shape:
            raise MetricError(
                f"Map {i} has shape {np.shape(scores)}, its mask {mask.shape}.",
                "Bring both to the evaluation size first.",
            )
        if not np.issubdtype(np.asarray(scores).dtype, np.number) or np.iscomplexobj(scores):
            raise MetricError(f"Map {i} holds {np.asarray(scores).dtype}.", "Give real scores (float32).")
        finite = np.isfinite(scores)
        if not finite.all():
            row, column = np.argwhere(~finite)[0]
            raise MetricError(
                f"Map {i} is not finite at row {row}, column {column} ({int((~finite).sum())} pixels).",
                "Broken pixels must not pass as normal ones: find out where the method produced them.",
            )


def _check_mask(mask: NDArray[np.bool_], name: str) -> None:
    if np.ndim(mask) != 2 or getattr(mask, "dtype", None) != np.bool_:
        kind = getattr(mask, "dtype", type(mask).__name__)
        raise MetricError(
            f"{name} must be boolean [H, W], not {kind} {np.shape(mask)}.", "Binarise it first (mask > 0)."
        )


def regions_of(image: int, labels: NDArray[np.int32], areas: NDArray[np.int64]) -> list[Region]:
    """Make the region records of one image.

    Args:
        image: Index of the image.
        labels: Labels of its pixels, int32 [H, W] (see `label_regions`).
        areas: Areas of its regions in pixels, [R].

    Returns:
        One record per region.
    """
    height, width = labels.shape
    boxes = ndimage.find_objects(labels, max_label=areas.size)
    return [
        Region(
            image,
            k,
            int(area),
            int(area) / labels.size,
            (x.start / width, y.start / height, x.stop / width, y.stop / height),
        )
        for k, (area, (y, x)) in enumerate(zip(areas, boxes, strict=True))
    ]
