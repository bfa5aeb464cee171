"""Results by kind of defect: recall and AUPRO for defect types and for quartiles of defect area."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vlmad_core.metrics.ordering import PixelOrdering
from vlmad_core.metrics.pixel import DEFAULT_LIMITS, aupro_of_regions, pixel_threshold_at_fpr
from vlmad_core.metrics.spec import MetricValue

DEFAULT_RATES = (0.05,)
"""False-positive rates among normal pixels at which recall is taken."""


@dataclass(frozen=True)
class RegionSlice:
    """Results on some of the defect regions of a category.

    Attributes:
        name: Defect type or quartile.
        n_regions: Regions in the slice.
        n_images: Images that have at least one of them.
        recall: Mean share of a region found, by pixel false-positive rate; None where there are no normal
            pixels to take the rate from.
        aupro: Exact AUPRO by name, against the false-positive rate on all normal pixels of the category.
    """

    name: str
    n_regions: int
    n_images: int
    recall: Mapping[float, float | None]
    aupro: Mapping[str, MetricValue]


def recall_at_fpr(
    ordering: PixelOrdering, rates: Sequence[float] = DEFAULT_RATES
) -> dict[float, NDArray[np.float64] | None]:
    """Share of each defect region found where a share of all normal pixels is called anomalous.

    Args:
        ordering: Result of `order_pixels`.
        rates: False-positive rates in [0, 1].

    Returns:
        By rate: float64 [R] in [0, 1], in the order of `ordering.regions`, at the lowest threshold that keeps
        the rate; None without normal pixels.

    Raises:
        MetricError: If a rate is outside [0, 1].
    """
    result: dict[float, NDArray[np.float64] | None] = {}
    for rate in rates:
        threshold = pixel_threshold_at_fpr(ordering, rate)
        result[rate] = None if threshold is None else ordering.recalls(threshold)[:, 0]
    return result


def region_slices(
    ordering: PixelOrdering,
    groups: Mapping[str, NDArray[np.bool_]],
    *,
    rates: Sequence[float] = DEFAULT_RATES,
    limits: Sequence[float] = DEFAULT_LIMITS,
) -> tuple[RegionSlice, ...]:
    """Compute recall and AUPRO for groups of regions.

    Args:
        ordering: Result of `order_pixels`.
        groups: Boolean selections [R] by name, from `group_by_defect_type` or `group_by_area`.
        rates: False-positive rates at which recall is taken.
        limits: False-positive-rate limits of the AUPRO.

    Returns:
        One slice per group, in the order of the groups.

    Raises:
        MetricError: If a selection has another length than the regions, or a rate or limit is out of range.
    """
    recalls = recall_at_fpr(ordering, rates)
    slices: list[RegionSlice] = []
    for name, select in groups.items():
        aupro = aupro_of_regions(ordering, select, limits)
        images = {region.image for region, chosen in zip(ordering.regions, select, strict=True) if chosen}
        recall = {
            rate: None if found is None or not select.any() else float(found[select].mean())
            for rate, found in recalls.items()
        }
        slices.append(RegionSlice(name, int(select.sum()), len(images), recall, aupro))
    return tuple(slices)
