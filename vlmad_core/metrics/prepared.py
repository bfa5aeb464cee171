"""Ground truth made ready once for many sets of maps over the same images: other prompts, other settings.

Regions are found and masks are unpacked once; each further set of maps is then only copied and sorted. What
comes out is the same ordering, value for value, that ``order_pixels`` gives.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vlmad_core.errors import MetricError
from vlmad_core.metrics.ordering import PixelOrdering, pack_scores
from vlmad_core.metrics.regions import Region, label_regions, regions_of

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class _Truth:
    """One image with defects: its pixels flat, which are normal, and the region of each that is not."""

    normal: Mask
    defective: NDArray[np.int64]
    owner: NDArray[np.uint64]


@dataclass(frozen=True)
class PreparedMasks:
    """Masks of a category's images, all of one size; made by `prepare_masks`.

    Attributes:
        shape: Height and width of a mask.
        truths: For each image its defects, or None if it has none.
        regions: The defect regions, in the order of the images.
        n_defective: Number of defective pixels.
    """

    shape: tuple[int, int]
    truths: tuple[_Truth | None, ...]
    regions: tuple[Region, ...]
    n_defective: int

    def __len__(self) -> int:
        """Number of images."""
        return len(self.truths)

    def unpacked(self) -> list[Mask]:
        """The masks again, boolean [H, W] each."""
        nothing = np.zeros(self.shape, np.bool_)
        return [nothing if truth is None else ~truth.normal.reshape(self.shape) for truth in self.truths]

    def order(self, parts: Iterable[NDArray[np.float32]]) -> PixelOrdering:
        """Order all pixel scores, as `order_pixels` does.

        Args:
            parts: Anomaly maps, float32 [b, H, W] each, together those of all images in their order; a part may
                be overwritten after it was taken.

        Returns:
            The ordering.

        Raises:
            MetricError: If the maps don't fit the masks or a score is not finite.
        """
        pixels = self.shape[0] * self.shape[1]
        normal = np.empty(len(self) * pixels - self.n_defective, np.float32)
        found = np.empty(self.n_defective, np.float32)
        owner = np.empty(self.n_defective, np.uint64)
        image = at_normal = at_defect = 0
        for part in parts:
            if part.dtype != np.float32 or part.shape[1:] != self.shape or image + len(part) > len(self):
                raise MetricError(
                    f"Maps {part.dtype} {part.shape} after {image} images don't fit {len(self)} masks of {self.shape}.",
                    "Give one float32 map of the masks' size for each image.",
                )
            for values in part.reshape(len(part), pixels):
                truth = self.truths[image]
                image += 1
                if truth is None:
                    normal[at_normal : at_normal + pixels] = values
                    at_normal += pixels
                    continue
                rest = values[truth.normal]
                normal[at_normal : at_normal + rest.size] = rest
                at_normal += rest.size
                here = slice(at_defect, at_defect + truth.defective.size)
                found[here], owner[here] = values[truth.defective], truth.owner
                at_defect = here.stop
        if image != len(self):
            raise MetricError(f"{image} maps for {len(self)} masks.", "Give one map for each image.")
        normal.sort()  # not-a-numbers go to the end, infinities to either end
        ends = np.concatenate([normal[:1], normal[-1:]])
        if not np.isfinite(ends).all() or not np.isfinite(found).all():
            raise MetricError("A map holds a score that is not finite.", "Find out why the method gave it.")
        packed = pack_scores(found, owner)
        packed.sort()
        return PixelOrdering(normal, packed, self.regions, len(self))


def prepare_masks(masks: Iterable[Mask]) -> PreparedMasks:
    """Make masks ready for many sets of maps.

    Args:
        masks: Boolean [H, W] each, all of one size; all-False for normal images.

    Returns:
        The prepared masks.

    Raises:
        MetricError: If there are none, one is not boolean, or sizes differ.
    """
    truths: list[_Truth | None] = []
    regions: list[Region] = []
    shape: tuple[int, ...] | None = None
    defects = 0
    for i, mask in enumerate(masks):
        if mask.dtype != np.bool_ or mask.ndim != 2 or (shape is not None and mask.shape != shape):
            raise MetricError(
                f"Mask at index {i} is {mask.dtype} {mask.shape}.", "Give boolean masks [H, W] of one size."
            )
        shape = mask.shape
        if not mask.any():
            truths.append(None)
            continue
        labels, areas = label_regions(mask)
        where = np.flatnonzero(mask)
        owner = (labels.ravel()[where] + (len(regions) - 1)).astype(np.uint64)
        regions.extend(regions_of(i, labels, areas))
        truths.append(_Truth(~mask.ravel(), where, owner))
        defects += where.size
    if shape is None:
        raise MetricError("There are no masks to prepare.", "Give at least one.")
    return PreparedMasks((shape[0], shape[1]), tuple(truths), tuple(regions), defects)
