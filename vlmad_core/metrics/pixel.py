"""Pixel-level metrics of a category, all exact and all from one ordering of its scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vlmad_core.errors import MetricError
from vlmad_core.metrics.curves import Curve, CurveKind, CurveThinner
from vlmad_core.metrics.ordering import Block, PixelOrdering, order_pixels
from vlmad_core.metrics.regions import Maps, Masks, Region
from vlmad_core.metrics.spec import MetricValue, aupro_name
from vlmad_core.metrics.thresholds import Threshold, allowed_count

DEFAULT_LIMITS = (0.30, 0.05)
"""False-positive-rate limits of the AUPRO that are reported."""

LEGACY_STEPS, LEGACY_LIMIT = 200, 0.3
"""Thresholds and false-positive-rate limit of the authors' AUPRO, which is for comparison with published numbers."""


@dataclass(frozen=True)
class PixelEvaluation:
    """All pixel metrics of a category.

    Attributes:
        values: `pixel_auroc`, `pixel_ap`, `pixel_f1max` and one exact AUPRO per limit, by name.
        curves: `roc`, `pr`, `pro`, at most 512 points each; empty where the metrics don't exist.
        f1max: The threshold of the largest F1 (an oracle), or None.
        regions: The defect regions.
    """

    values: Mapping[str, MetricValue]
    curves: Mapping[CurveKind, Curve]
    f1max: Threshold | None
    regions: tuple[Region, ...]


def pixel_metrics(maps: Maps, masks: Masks, limits: Sequence[float] = DEFAULT_LIMITS) -> dict[str, MetricValue]:
    """Compute all pixel metrics of one category.

    Args:
        maps: Anomaly maps, float32 [N, H, W] or a sequence of [H, W] of any sizes; higher is more anomalous.
        masks: Boolean masks of the same sizes; True is defective. All-False for normal images.
        limits: False-positive-rate limits of the AUPRO, in (0, 1].

    Returns:
        `pixel_auroc`, `pixel_ap`, `pixel_f1max` and one AUPRO per limit (`aupro_30`, `aupro_05`); None with a
        reason where there are no defective or no normal pixels.

    Raises:
        MetricError: If maps and masks don't fit together or a score is not finite; names the image.

    Examples:
        >>> maps = np.array([[[0.1, 0.9], [0.2, 0.3]]], np.float32)
        >>> masks = np.array([[[False, True], [False, False]]])
        >>> pixel_metrics(maps, masks)["pixel_auroc"].value
        1.0
    """
    return dict(evaluate_pixels(order_pixels(maps, masks), limits, curves=False).values)


def evaluate_pixels(
    ordering: PixelOrdering, limits: Sequence[float] = DEFAULT_LIMITS, *, curves: bool = True
) -> PixelEvaluation:
    """Read all pixel metrics and curves off an ordering, in one walk down its thresholds.

    Args:
        ordering: Result of `order_pixels`.
        limits: False-positive-rate limits of the AUPRO, in (0, 1].
        curves: Whether to collect the curves as well.

    Returns:
        Values, curves, and the oracle threshold.

    Raises:
        MetricError: If a limit is outside (0, 1] or stands twice.
    """
    names = ["pixel_auroc", "pixel_ap", "pixel_f1max", *(aupro_name(limit) for limit in limits)]
    if len(set(names)) != len(names):
        raise MetricError(f"AUPRO limits {tuple(limits)} repeat themselves.", "Give each limit once.")
    n = ordering.n_images
    if ordering.missing is not None:
        values = {name: MetricValue(None, ordering.missing, n=n) for name in names}
        return PixelEvaluation(values, {}, None, ordering.regions)
    n_normal, n_defective = ordering.n_normal, ordering.n_defective
    pairs, precision_sum = 0, 0.0
    best_f1, best_threshold = -1.0, 0.0
    areas = _ProAreas(n_normal, limits)
    drawing = _Drawing(ordering) if curves else None
    for block in ordering.blocks(ordering.region_weights()):
        step = block.tp - block.tp_before
        # Twice the number of (defective, normal) pairs in the right order, ties half: whole numbers.
        pairs += int(np.sum(step * (2 * n_normal - block.fp - block.fp_above)))
        precision_sum += float(np.sum(step * (block.tp / (block.tp + block.fp))))
        f1 = 2.0 * block.tp / (block.tp + block.fp + n_defective)
        top = int(np.argmax(f1))
        if f1[top] > best_f1:
            best_f1, best_threshold = float(f1[top]), float(block.thresholds[top])
        areas.add(block)
        if drawing is not None:
            drawing.add(block)
    found = [pairs / (2 * n_normal * n_defective), precision_sum / n_defective, best_f1, *areas.finish()]
    threshold = Threshold(best_threshold, "f1max_oracle", f"F1 {best_f1:.4f} on the pixels of {n} images")
    return PixelEvaluation(
        {name: MetricValue(value, n=n) for name, value in zip(names, found, strict=True)},
        {} if drawing is None else drawing.finish(),
        threshold,
        ordering.regions,
    )


def aupro_legacy200(ordering: PixelOrdering) -> MetricValue:
    """Reproduce the 200-step AUPRO of the public APRIL-GAN and AnomalyCLIP code, quirks included.

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
    step = (highest - lowest) / LEGACY_STEPS
    if step == 0:
        return MetricValue(None, "the range of scores is too narrow for 200 steps", n=n)
    # The dtype's own arange, not linspace: rounded steps are part of what the authors' numbers are.
    thresholds = np.arange(lowest, highest, step).astype(np.float64)
    above = np.nextafter(thresholds.astype(dtype), dtype.type(np.inf)).astype(np.float64)
    fpr = ordering.normal_at_least(above) / ordering.n_normal
    pro = ordering.weight_at_least(ordering.region_weights(), above)
    keep = fpr < LEGACY_LIMIT
    if int(keep.sum()) < 2:
        return MetricValue(
            None,
            f"fewer than two of the {thresholds.size} steps have a false-positive rate below {LEGACY_LIMIT}",
            n=n,
        )
    x, y = fpr[keep], pro[keep]
    if x.max() == x.min():
        return MetricValue(None, "all kept steps have the same false-positive rate", n=n)
    stretched = (x - x.min()) / (x.max() - x.min())
    # Thresholds rise, so rates fall: the area comes out negative.
    return MetricValue(min(max(float(-np.trapezoid(y, stretched)), 0.0), 1.0), n=n)


def pixel_threshold_at_fpr(ordering: PixelOrdering, rate: float) -> float | None:
    """Lowest threshold at which at most a share of all normal pixels is called anomalous.

    Args:
        ordering: Result of `order_pixels`.
        rate: False-positive rate in [0, 1].

    Returns:
        The threshold (score >= threshold is anomalous), or None without normal pixels.

    Raises:
        MetricError: If the rate is outside [0, 1].
    """
    allowed = allowed_count(rate, ordering.n_normal)
    if ordering.n_normal == 0:
        return None
    if allowed == ordering.n_normal:
        return ordering.extremes()[0]
    edge = ordering.normal[ordering.n_normal - 1 - allowed]
    return float(np.nextafter(edge, edge.dtype.type(np.inf)))


class _ProAreas:
    """Areas under the PRO curve up to several limits, added up block by block.

    Args:
        n_normal: Number of normal pixels.
        limits: False-positive-rate limits.
    """

    def __init__(self, n_normal: int, limits: Sequence[float]) -> None:
        for limit in limits:
            aupro_name(limit)
        self._n = n_normal
        self._edges = [limit * n_normal for limit in limits]
        self._areas = [0.0] * len(self._edges)
        self._fp = 0
        self._pro = 0.0

    def add(self, block: Block) -> None:
        self._fp, self._pro = int(block.fp[-1]), float(block.pro[-1])
        for k, edge in enumerate(self._edges):
            if block.fp_before[0] >= edge:
                continue
            start, above = np.minimum(block.fp_before, edge), np.minimum(block.fp_above, edge)
            end = np.minimum(block.fp, edge)
            # Level while only normal pixels are passed, then one slope over each group of equal scores.
            level = float(np.sum((above - start) * block.pro_before))
            tied = np.maximum(block.fp - block.fp_above, 1)
            rise = (block.pro - block.pro_before) * (end - above) / tied
            self._areas[k] += level + float(np.sum((end - above) * (block.pro_before + rise / 2)))

    def finish(self) -> list[float]:
        """Areas over the limits, each in [0, 1]; the curve stays level after the last defective pixel."""
        rest = [max(edge - self._fp, 0.0) * self._pro for edge in self._edges]
        return [min((a + r) / e, 1.0) for a, r, e in zip(self._areas, rest, self._edges, strict=True)]


class _Drawing:
    """The three curves, thinned while walking down the thresholds.

    Args:
        ordering: The ordering walked over.
    """

    def __init__(self, ordering: PixelOrdering) -> None:
        self._n, self._p = ordering.n_normal, ordering.n_defective
        self._dtype = ordering.normal.dtype
        self._lowest, highest = ordering.extremes()
        self._roc, self._pr, self._pro = CurveThinner("roc"), CurveThinner("pr"), CurveThinner("pro")
        self._end = (0, 0.0)
        start = np.nextafter(self._dtype.type(highest), self._dtype.type(np.inf))
        self._add_rates(np.zeros(1), np.zeros(1), np.zeros(1), np.array([start], np.float64))

    def add(self, block: Block) -> None:
        # Two corners per group of equal scores: before it (only normal pixels passed since), and after.
        above = np.nextafter(block.thresholds.astype(self._dtype), self._dtype.type(np.inf))
        self._add_rates(
            _interleave(block.fp_above, block.fp),
            _interleave(block.tp_before, block.tp),
            _interleave(block.pro_before, block.pro),
            _interleave(above.astype(np.float64), block.thresholds),
        )
        recall, called = block.tp / self._p, block.tp + block.fp
        # Recall below one percent is few pixels and noise: it gets a small part of the points.
        progress = (recall + np.log1p(100 * called / self._p) / np.log1p(100 * (self._n + self._p) / self._p)) / 2
        self._pr.add(recall, block.tp / called, block.thresholds, progress)
        self._end = (int(block.fp[-1]), float(block.pro[-1]))

    def _add_rates(
        self,
        fp: NDArray[np.float64],
        tp: NDArray[np.float64],
        pro: NDArray[np.float64],
        thresholds: NDArray[np.float64],
    ) -> None:
        fpr, tpr = fp / self._n, tp / self._p
        self._roc.add(fpr, tpr, thresholds, (fpr + tpr) / 2)
        inside = sum(np.minimum(fpr / limit, 1.0) for limit in DEFAULT_LIMITS)
        self._pro.add(fpr, pro, thresholds, (fpr + pro + inside) / (2 + len(DEFAULT_LIMITS)))

    def finish(self) -> dict[CurveKind, Curve]:
        fp, pro = self._end
        if fp < self._n:
            last = np.array([self._lowest])
            self._add_rates(np.array([float(self._n)]), np.array([float(self._p)]), np.array([pro]), last)
        return {"roc": self._roc.curve(), "pr": self._pr.curve(), "pro": self._pro.curve()}


def _interleave(a: NDArray[np.generic], b: NDArray[np.generic]) -> NDArray[np.float64]:
    return np.stack([a, b], axis=1).ravel().astype(np.float64)
