"""The 200-step AUPRO of the authors' evaluation code, for comparison with published numbers only."""

from __future__ import annotations

import numpy as np

from vlmad_core.metrics.ordering import PixelOrdering
from vlmad_core.metrics.spec import MetricValue

STEPS = 200
LIMIT = 0.3


def aupro_legacy200(ordering: PixelOrdering) -> MetricValue:
    """Reproduce the AUPRO of the public APRIL-GAN and AnomalyCLIP code, quirks included.

    Thresholds run from the smallest score in 200 equal steps, in the precision of the scores; a pixel is
    found if score > threshold; points with a false-positive rate below 0.3 are kept and their rates stretched
    to [0, 1]. The value changes when the scores are rescaled by a strictly increasing map, so it is never to
    be ranked with the exact AUPRO. Where the authors' code stops or returns NaN, the value is None.

    Args:
        ordering: Result of `order_pixels`; made from float32 maps, since the steps depend on the precision.

    Returns:
        The value, or None with a reason.
    """
    n = ordering.n_images
    if ordering.missing is not None:
        return MetricValue(None, ordering.missing, n=n)
    dtype = ordering.normal.dtype
    lowest, highest = (dtype.type(end) for end in ordering.extremes())
    if lowest == highest:
        return MetricValue(None, "all scores are equal: no steps between smallest and largest", n=n)
    step = (highest - lowest) / STEPS
    if step == 0:
        return MetricValue(None, "the range of scores is too narrow for 200 steps", n=n)
    # The dtype's own arange, not linspace: rounded steps are part of what the authors' numbers are.
    thresholds = np.arange(lowest, highest, step).astype(np.float64)
    above = np.nextafter(thresholds.astype(dtype), dtype.type(np.inf)).astype(np.float64)
    fpr = ordering.normal_at_least(above) / ordering.n_normal
    pro = ordering.weight_at_least(ordering.region_weights(), above)
    keep = fpr < LIMIT
    if int(keep.sum()) < 2:
        return MetricValue(
            None,
            f"fewer than two of the {thresholds.size} steps have a false-positive rate below {LIMIT}",
            n=n,
        )
    x, y = fpr[keep], pro[keep]
    if x.max() == x.min():
        return MetricValue(None, "all kept steps have the same false-positive rate", n=n)
    stretched = (x - x.min()) / (x.max() - x.min())
    # Thresholds rise, so rates fall: the area comes out negative.
    return MetricValue(min(max(float(-np.trapezoid(y, stretched)), 0.0), 1.0), n=n)
