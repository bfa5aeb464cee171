"""Several methods on the same resampled test sets, and which of their differences are more than chance.

Two designs. Over images: the images of each category are drawn again, the categories stay as they are; this asks
whether other images of the same parts would change the order. Over categories: each category counts as one
observation; this asks whether other parts would. Few categories can't be bootstrapped: with six of them, resampling
calls one in two sets of equal methods different, so over categories the paired t-test is used.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from vlmad_core.errors import MetricError
from vlmad_core.metrics.comparison import PairedDifference, holm
from vlmad_core.metrics.image import check_scores, image_metrics, missing_class
from vlmad_core.metrics.uncertainty import (
    LEVEL,
    Floats,
    Replicates,
    average_precision,
    best_f1,
    design_of,
    resample_weights,
)

RESAMPLES = 500
Basis = Literal["images", "categories"]
IMAGE_METRICS = ("image_auroc", "image_ap", "image_f1max")


@dataclass(frozen=True)
class Pair:
    """Two methods, by their place in a list, and their difference (first minus second).

    Attributes:
        first: Place of the first.
        second: Place of the second.
        difference: The difference with interval and p-values; ``p_holm`` is corrected for all pairs.
    """

    first: int
    second: int
    difference: PairedDifference

    @property
    def clear(self) -> bool:
        """Whether the corrected p-value is below five percent."""
        return self.difference.p_holm is not None and self.difference.p_holm < 1 - LEVEL


def shared_replicates(
    labels: ArrayLike,
    scores: Sequence[ArrayLike],
    metric: str,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> list[Replicates]:
    """One image metric of several methods on the same resampled test sets of one category.

    The same values as ``image_replicates`` gives, for one metric; the resamples are drawn once for all methods.

    Args:
        labels: 0/1 or boolean, [N]; 1 is anomalous.
        scores: For each method, finite real numbers, [N], in the order of the labels.
        metric: One of ``IMAGE_METRICS``.
        resamples: Number of resamples.
        seed: Seed of the resampling.

    Returns:
        One for each method; without draws where a class is missing.

    Raises:
        MetricError: If labels or scores are malformed, or the metric is none of an image.
    """
    if metric not in IMAGE_METRICS:
        raise MetricError(f"{metric} can't be resampled from image scores.", f"Use one of {', '.join(IMAGE_METRICS)}.")
    if not scores:
        return []
    checked = [check_scores(labels, one) for one in scores]
    y = checked[0][0]
    design = design_of(y, resamples, seed)
    values = [image_metrics(y, s)[metric] for _, s in checked]
    if missing_class(y) is not None:
        return [Replicates(metric, None, np.zeros(0), v.n, seed, design, v.reason) for v in values]
    draws: list[list[Floats]] = [[] for _ in checked]
    for weights in resample_weights(y, resamples, seed):
        floats = weights.astype(np.float32)
        for place, (_, s) in enumerate(checked):
            draws[place].append(_areas(floats, y, s) if metric == "image_auroc" else _stepwise(weights, y, s, metric))
    return [
        Replicates(metric, value.value, np.concatenate(parts), value.n, seed, design)
        for value, parts in zip(values, draws, strict=True)
    ]


def compare_all(replicates: Sequence[Replicates]) -> tuple[Pair, ...]:
    """Compare every two methods by their draws; the p-value takes the difference of draws as normal.

    Counting draws on the other side of zero, as ``comparison.compare`` does, can't give p-values small enough for
    the correction of many pairs with a few hundred draws; the normal form can.

    Args:
        replicates: One for each method, of one metric with one design.

    Raises:
        MetricError: If they were not resampled alike.
    """
    known = [item for item in replicates if item.value is not None]
    if len({(item.metric, item.design, item.draws.size) for item in known}) > 1:
        raise MetricError("The methods were not resampled alike.", "Use the same images, seed and resamples for all.")
    together = [(i, j) for i, j in _pairs(len(replicates)) if None not in (replicates[i].value, replicates[j].value)]
    ends: dict[tuple[int, int], tuple[float, float, float]] = {}
    if together:
        draws = np.stack([replicates[i].draws - replicates[j].draws for i, j in together])
        low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=1)
        spread = draws.std(axis=1, ddof=1)
        ends = {pair: (float(a), float(b), float(c)) for pair, a, b, c in zip(together, low, high, spread, strict=True)}
    found = []
    for i, j in _pairs(len(replicates)):
        one, two = replicates[i], replicates[j]
        n = min(one.n, two.n)
        if one.value is None or two.value is None:
            found.append(Pair(i, j, _none(one.metric, n, one.reason or two.reason)))
            continue
        gap = one.value - two.value
        lower, upper, width = ends[i, j]
        p = 1.0 if gap == 0 else _normal_p(gap, width, one.draws.size)
        found.append(Pair(i, j, PairedDifference(one.metric, gap, lower, upper, p, n)))
    return _corrected(found)


def compare_over_categories(metric: str, values: Sequence[Mapping[str, float | None]]) -> tuple[Pair, ...]:
    """Compare every two methods by a paired t-test over the categories in which both have a value.

    Args:
        metric: Name of the metric.
        values: For each method, the metric by category.

    Returns:
        All pairs; those with fewer than three categories in common have no p-value and say so. ``n`` counts
        categories.
    """
    found = []
    for i, j in _pairs(len(values)):
        gaps = np.array(_gaps(values[i], values[j]))
        if len(gaps) < 3:
            found.append(Pair(i, j, _none(metric, len(gaps), f"only {len(gaps)} categories in common")))
            continue
        mean, spread = float(gaps.mean()), float(gaps.std(ddof=1) / math.sqrt(len(gaps)))
        if spread <= 1e-12:
            p = 1.0 if abs(mean) <= 1e-12 else 0.0
            found.append(Pair(i, j, PairedDifference(metric, mean, mean, mean, p, len(gaps))))
            continue
        p = float(2 * stats.t.sf(abs(mean) / spread, len(gaps) - 1))
        reach = float(stats.t.isf((1 - LEVEL) / 2, len(gaps) - 1)) * spread
        found.append(Pair(i, j, PairedDifference(metric, mean, mean - reach, mean + reach, p, len(gaps))))
    return _corrected(found)


def letters(values: Sequence[float | None], pairs: Sequence[Pair]) -> list[str]:
    """A compact letter display: methods that share a letter are not significantly different.

    Insert and absorb (Piepho, An algorithm for a letter-based representation of all-pairwise comparisons, Journal
    of Computational and Graphical Statistics 2004); ``a`` holds the best.

    Args:
        values: The metric for each method; None where it has none.
        pairs: As ``compare_all`` or ``compare_over_categories`` gives them for the same list.

    Returns:
        Letters such as ``ab`` for each method; empty where it has no value.

    Examples:
        >>> def pair(i, j, p): return Pair(i, j, PairedDifference("m", 0.1, 0.0, 0.2, p, 9, None, p))
        >>> letters([0.9, 0.8, 0.5], [pair(0, 1, 0.4), pair(0, 2, 0.01), pair(1, 2, 0.3)])
        ['a', 'ab', 'b']
    """
    present = [place for place, value in enumerate(values) if value is not None]
    groups: list[set[int]] = [set(present)] if present else []
    for pair in pairs:
        if not pair.clear or not {pair.first, pair.second} <= set(present):
            continue
        split: list[set[int]] = []
        for group in groups:
            parts = [group - {pair.first}, group - {pair.second}] if {pair.first, pair.second} <= group else [group]
            split += parts
        groups = [g for k, g in enumerate(split) if not any(g < h or (g == h and k > m) for m, h in enumerate(split))]
    groups.sort(key=lambda group: sorted((-float(values[place] or 0.0), place) for place in group))
    result = [""] * len(values)
    for index, group in enumerate(groups):
        for place in group:
            result[place] += _letter(index)
    return result


def _letter(index: int) -> str:
    return chr(ord("a") + index) if index < 26 else f"({index + 1})"


def _pairs(count: int) -> list[tuple[int, int]]:
    return [(i, j) for i in range(count) for j in range(i + 1, count)]


def _gaps(first: Mapping[str, float | None], second: Mapping[str, float | None]) -> list[float]:
    both = [(first[name], second.get(name)) for name in first]
    return [one - two for one, two in both if one is not None and two is not None]


def _none(metric: str, n: int, reason: str | None) -> PairedDifference:
    return PairedDifference(metric, None, None, None, None, n, reason)


def _normal_p(gap: float, spread: float, draws: int) -> float:
    """Never below what so many draws could show if they were counted and all lay on one side."""
    smallest = 2 / (draws + 1)
    return smallest if spread <= 0 else float(2 * stats.norm.sf(abs(gap) / spread))


def _corrected(pairs: Sequence[Pair]) -> tuple[Pair, ...]:
    corrected = holm([pair.difference.p for pair in pairs])
    return tuple(
        replace(pair, difference=replace(pair.difference, p_holm=p)) for pair, p in zip(pairs, corrected, strict=True)
    )


def _areas(weights: NDArray[np.float32], y: NDArray[np.bool_], s: Floats) -> Floats:
    """Area under the ROC curve for each row of weights: the weighted share of pairs in order, ties counted half."""
    positive, negative = s[y], s[~y]
    order = ((positive[:, None] > negative).astype(np.float32) * 2 + (positive[:, None] == negative)) / 2
    up, down = weights[:, y], weights[:, ~y]
    won = np.einsum("bp,bp->b", up @ order, down, dtype=np.float64)
    return np.asarray(won / (up.sum(axis=1, dtype=np.float64) * down.sum(axis=1, dtype=np.float64)), np.float64)


def _stepwise(weights: NDArray[np.int64], y: NDArray[np.bool_], s: Floats, metric: str) -> Floats:
    order = np.argsort(-s, kind="stable")
    last = np.flatnonzero(np.append(s[order][1:] != s[order][:-1], True))
    sorted_weights = weights[:, order]
    tp = np.cumsum(sorted_weights * y[order], axis=1)[:, last].astype(np.float64)
    fp = np.cumsum(sorted_weights * ~y[order], axis=1)[:, last].astype(np.float64)
    return average_precision(tp, fp) if metric == "image_ap" else best_f1(tp, fp)
