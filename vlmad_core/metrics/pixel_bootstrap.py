"""Bootstrap over images for pixel metrics, from per-image counts at a grid of thresholds.

The grid follows the ranks of the scores, dense where false-positive rates are small, so it does not depend on the
scale of the scores. With no more distinct scores than grid points it holds all of them and the draws are exact;
otherwise each draw is corrected by the (known) difference between grid and exact value on the full test set.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlmad_core.errors import MetricError
from vlmad_core.metrics.ordering import PixelOrdering, order_pixels
from vlmad_core.metrics.pixel import DEFAULT_LIMITS, evaluate_pixels
from vlmad_core.metrics.regions import Maps, Masks, label_regions
from vlmad_core.metrics.resampling import PIXEL_RESAMPLES, Floats, Replicates, design_of, fewest_of, resample_weights
from vlmad_core.metrics.uncertainty import average_precision, best_f1, roc_area

GRID = 2048
"""Thresholds of the grid."""

_DRAWS_AT_ONCE = 64


@dataclass(frozen=True)
class ImageCounts:
    """Counts of every image at the thresholds of a grid, from the highest down.

    Attributes:
        tp: Defective pixels found, float64 [N, K].
        fp: Normal pixels called anomalous, float64 [N, K].
        pro: Sum over the regions of an image of their share found, float64 [N, K].
        regions: Number of regions per image, float64 [N].
        mixed: Boolean [K]: the step to this threshold passes more than one distinct score.
    """

    tp: Floats
    fp: Floats
    pro: Floats
    regions: Floats
    mixed: NDArray[np.bool_]


def threshold_grid(ordering: PixelOrdering, size: int = GRID) -> tuple[Floats, NDArray[np.bool_]]:
    """Choose thresholds by rank: half among the defective pixels, half among the normal ones.

    Args:
        ordering: Result of `order_pixels`, with normal and defective pixels.
        size: Number of thresholds at most; at least 64.

    Returns:
        Thresholds, float64 [K], strictly falling, the last one the smallest score; and whether the step to each
        passes more than one distinct score, boolean [K].

    Raises:
        MetricError: If `size` is below 64.
    """
    if size < 64:
        raise MetricError(f"A grid of {size} thresholds is too coarse.", "Use at least 64.")
    normal = ordering.normal
    defective = ordering.slice_defective(0, ordering.n_defective)[0]
    distinct = 2 + sum(int(np.count_nonzero(side[1:] != side[:-1])) for side in (normal, defective))
    if distinct <= size:
        grid = np.union1d(normal, defective)
    else:
        quarter = size // 4
        by_rank = np.concatenate(
            [
                np.linspace(0.0, 0.3, quarter),
                np.linspace(0.3, 1.0, quarter // 2),
                np.geomspace(1.0 / normal.size, 0.3, size // 2 - quarter - quarter // 2 - 2),
            ]
        )
        low = normal[np.round((1.0 - by_rank) * (normal.size - 1)).astype(np.int64)]
        ranks = np.round(np.linspace(0, defective.size - 1, size // 2)).astype(np.int64)
        grid = np.unique(np.concatenate([low, defective[ranks], normal[:1], defective[:1]]))
    falling = grid[::-1]
    mixed = np.zeros(falling.size, np.bool_)
    for side in (normal, defective):
        # Scores strictly between a threshold and the one before it.
        upper = np.append(side.size, np.searchsorted(side, falling[:-1], side="left"))
        mixed |= upper > np.searchsorted(side, falling, side="right")
    return falling.astype(np.float64), mixed


def count_images(maps: Maps, masks: Masks, grid: Floats, mixed: NDArray[np.bool_]) -> ImageCounts:
    """Count, per image, what is found at each threshold of a grid.

    Args:
        maps: Anomaly maps, [N, H, W] or a sequence of [H, W].
        masks: Boolean masks of the same sizes.
        grid: Thresholds, strictly falling, float64 [K].
        mixed: Second result of `threshold_grid`.

    Returns:
        The counts.
    """
    n, k = len(maps), grid.size
    tp, fp, pro = (np.zeros((n, k)) for _ in range(3))
    regions = np.zeros(n)
    rising = grid[::-1]
    for i, (scores, mask) in enumerate(zip(maps, masks, strict=True)):
        values = np.asarray(scores)
        normal = np.sort(values[~mask])
        fp[i] = (normal.size - np.searchsorted(normal, rising.astype(normal.dtype), side="left"))[::-1]
        labels, areas = label_regions(mask)
        if areas.size == 0:
            continue
        regions[i] = areas.size
        reached = k - np.searchsorted(rising, values[mask].astype(np.float64), side="right")
        share = (1.0 / areas)[labels[mask] - 1]
        tp[i] = np.bincount(reached, minlength=k + 1)[:k].cumsum()
        pro[i] = np.bincount(reached, share, minlength=k + 1)[:k].cumsum()
    return ImageCounts(tp, fp, pro, regions, mixed)


def grid_metrics(counts: ImageCounts, weights: Floats, limits: Sequence[float]) -> list[Floats]:
    """Compute the pixel metrics of weighted sets of images.

    Args:
        counts: Result of `count_images`.
        weights: How often each image counts, float64 [B, N].
        limits: False-positive-rate limits of the AUPRO.

    Returns:
        AUROC, AP, F1-max and one AUPRO per limit, float64 [B] each.
    """
    tp, fp = weights @ counts.tp, weights @ counts.fp
    pro = (weights @ counts.pro) / (weights @ counts.regions)[:, None]
    result = [roc_area(tp, fp), average_precision(tp, fp, counts.mixed), best_f1(tp, fp)]
    start = np.zeros((tp.shape[0], 1))
    x = np.concatenate([start, fp / fp[:, -1:]], axis=1)
    y = np.concatenate([start, pro], axis=1)
    for limit in limits:
        width = np.diff(x, axis=1)
        inside = np.clip(limit - x[:, :-1], 0.0, width)
        part = np.divide(inside, width, out=np.zeros_like(width), where=width > 0)
        end = y[:, :-1] + (y[:, 1:] - y[:, :-1]) * part
        result.append(np.sum(inside * (y[:, :-1] + end) / 2, axis=1) / limit)
    return result


def pixel_replicates(
    maps: Maps,
    masks: Masks,
    *,
    labels: ArrayLike | None = None,
    ids: Sequence[str] | None = None,
    ordering: PixelOrdering | None = None,
    limits: Sequence[float] = DEFAULT_LIMITS,
    resamples: int = PIXEL_RESAMPLES,
    seed: int = 0,
    grid: int = GRID,
) -> dict[str, Replicates]:
    """Recompute the pixel metrics on resampled sets of images.

    Args:
        maps: Anomaly maps, float32 [N, H, W] or a sequence of [H, W].
        masks: Boolean masks of the same sizes.
        labels: 0/1 or boolean, [N], by which to stratify; None: images with a defective pixel.
        ids: Names of the images, [N]; None for their places.
        ordering: Result of `order_pixels` on the same maps and masks, if it is there already.
        limits: False-positive-rate limits of the AUPRO, in (0, 1].
        resamples: Number of resamples.
        seed: Seed; the same for two methods means the same resamples.
        grid: Number of thresholds (see the module's description); more is more exact.

    Returns:
        Replicates of `pixel_auroc`, `pixel_ap`, `pixel_f1max` and the AUPRO, by name. Values are exact, draws
        are marked approximate where the grid does not hold all scores.

    Raises:
        MetricError: If maps and masks don't fit together, a limit is out of range, or the labels don't fit.
    """
    ordered = order_pixels(maps, masks) if ordering is None else ordering
    defective = np.array([bool(mask.any()) for mask in masks], np.bool_)
    strata = defective if labels is None else np.asarray(labels).astype(np.bool_)
    if strata.shape != (len(maps),):
        raise MetricError(f"{strata.size} labels for {len(maps)} maps.", "Give one label per map.")
    if bool(np.any(defective & ~strata)):
        i = int(np.flatnonzero(defective & ~strata)[0])
        raise MetricError(f"Image {i} is labelled normal but its mask has defective pixels.", "Mend the label.")
    if ordered.n_images != len(maps):
        raise MetricError(f"The ordering holds {ordered.n_images} images, not {len(maps)}.", "Order these maps.")
    values = evaluate_pixels(ordered, limits, curves=False).values
    design, fewest = design_of(strata, seed, ids), fewest_of(strata)
    if ordered.missing is not None:
        return {k: Replicates(k, None, np.zeros(0), v.n, fewest, design, v.reason) for k, v in values.items()}
    thresholds, mixed = threshold_grid(ordered, grid)
    counts = count_images(maps, masks, thresholds, mixed)
    full = [float(column[0]) for column in grid_metrics(counts, np.ones((1, len(maps))), limits)]
    columns = np.full((len(values), resamples), np.nan)
    done = 0
    for weights in resample_weights(strata, resamples, seed, ids):
        for start in range(0, weights.shape[0], _DRAWS_AT_ONCE):
            rows = weights[start : start + _DRAWS_AT_ONCE].astype(np.float64)
            # An anomalous image may have an empty mask: a resample of such images alone has no regions.
            usable = (rows @ counts.regions > 0) & (rows @ counts.fp[:, -1] > 0)
            columns[:, done + np.flatnonzero(usable)] = grid_metrics(counts, rows[usable], limits)
            done += len(rows)
    result: dict[str, Replicates] = {}
    for k, (name, value) in enumerate(values.items()):
        exact = value.value if value.value is not None else full[k]
        draws = np.clip(columns[k] + (exact - full[k]), 0.0, 1.0)
        result[name] = Replicates(name, value.value, draws, value.n, fewest, design, None, bool(mixed.any()))
    return result
