"""How far a value would move with other test images: bootstrap over images, stratified by label.

Image metrics are recomputed exactly for every resample. Pixel metrics are recomputed from per-image counts at a
few thousand thresholds (exact where there are no more distinct scores than that), which makes a resample a
product of two small matrices instead of another sort.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlmad_core.errors import MetricError
from vlmad_core.metrics.image import check_scores, image_metrics, missing_class
from vlmad_core.metrics.spec import MetricValue

Floats = NDArray[np.float64]

IMAGE_RESAMPLES = 2000
PIXEL_RESAMPLES = 500
SHARED_RESAMPLES = 500
LEVEL = 0.95
IMAGE_METRICS = ("image_auroc", "image_ap", "image_f1max")
"""Metrics that are resampled from image scores."""

_CHUNK = 1 << 21
"""Weights (resamples times images) handled at a time."""


@dataclass(frozen=True)
class Replicates:
    """One metric on resampled test sets.

    Attributes:
        metric: Name of the metric.
        value: The metric on the test set itself, exact; None where it does not exist.
        draws: The metric on each resample, float64 [B]; empty where `value` is None.
        n: Number of images (of all categories, for a mean over categories).
        seed: Seed of the resampling.
        design: Digest of labels, seed and number of resamples: two results with the same digest used the same
            resamples and may be compared draw by draw.
        reason: Why there is no value, or None.
        approximate: Whether the draws come from counts at a grid of thresholds instead of all of them.
    """

    metric: str
    value: float | None
    draws: Floats
    n: int
    seed: int
    design: str
    reason: str | None = None
    approximate: bool = False


def resample_weights(labels: NDArray[np.bool_], resamples: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Draw how often each image stands in each resample, separately among normal and anomalous images.

    Args:
        labels: Boolean [N]; True is anomalous.
        resamples: Number of resamples.
        seed: Seed; the same labels and seed give the same weights.

    Yields:
        int64 [b, N], as many rows at a time as fit into bounded memory; `resamples` rows in all.

    Raises:
        MetricError: If `resamples` is below 1.
    """
    if resamples < 1:
        raise MetricError(f"{resamples} resamples asked for.", "Ask for at least 1; 1000 or more for an interval.")
    # One generator per class, so that the draws don't depend on how many rows are made at a time.
    generators = [np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(2)]
    members = [np.flatnonzero(~labels), np.flatnonzero(labels)]
    rows = max(1, _CHUNK // max(labels.size, 1))
    for start in range(0, resamples, rows):
        count = min(rows, resamples - start)
        weights = np.zeros((count, labels.size), np.int64)
        for generator, index in zip(generators, members, strict=True):
            if index.size:
                shares = np.full(index.size, 1.0 / index.size)
                weights[:, index] = generator.multinomial(index.size, shares, size=count)
        yield weights


def design_of(labels: NDArray[np.bool_], resamples: int, seed: int) -> str:
    """Digest of what the resamples depend on.

    Args:
        labels: Boolean [N].
        resamples: Number of resamples.
        seed: Seed.

    Returns:
        16 hexadecimal digits.
    """
    content = f"{labels.size}:{resamples}:{seed}:".encode() + np.packbits(labels).tobytes()
    return hashlib.sha256(content).hexdigest()[:16]


def image_replicates(
    labels: ArrayLike, scores: ArrayLike, resamples: int = IMAGE_RESAMPLES, seed: int = 0
) -> dict[str, Replicates]:
    """Recompute the image metrics on resampled test sets, exactly.

    Args:
        labels: 0/1 or boolean, [N]; 1 is anomalous.
        scores: Finite real numbers, [N].
        resamples: Number of resamples.
        seed: Seed; the same for two methods means the same resamples.

    Returns:
        `image_auroc`, `image_ap`, `image_f1max`; without draws where a class is missing.

    Raises:
        MetricError: If labels or scores are malformed; names the index.

    Examples:
        >>> r = image_replicates([0, 0, 0, 1, 1, 1], [1, 2, 4, 3, 5, 6], resamples=200)["image_auroc"]
        >>> r.draws.shape, bool(r.draws.min() >= 0), round(r.value, 3)
        ((200,), True, 0.889)
    """
    y, s = check_scores(labels, scores)
    values = image_metrics(y, s)
    design = design_of(y, resamples, seed)
    if missing_class(y) is not None:
        return {k: Replicates(k, None, np.zeros(0), v.n, seed, design, v.reason) for k, v in values.items()}
    order = np.argsort(-s, kind="stable")
    last = np.flatnonzero(np.append(s[order][1:] != s[order][:-1], True))
    positive = y[order]
    parts: list[tuple[Floats, Floats, Floats]] = []
    for weights in resample_weights(y, resamples, seed):
        sorted_weights = weights[:, order]
        tp = np.cumsum(sorted_weights * positive, axis=1)[:, last].astype(np.float64)
        fp = np.cumsum(sorted_weights * ~positive, axis=1)[:, last].astype(np.float64)
        parts.append((roc_area(tp, fp), average_precision(tp, fp), best_f1(tp, fp)))
    draws = [np.concatenate(column) for column in zip(*parts, strict=True)]
    return {
        name: Replicates(name, value.value, draw, value.n, seed, design)
        for (name, value), draw in zip(values.items(), draws, strict=True)
    }


def shared_replicates(
    labels: ArrayLike,
    scores: Sequence[ArrayLike],
    metric: str,
    resamples: int = SHARED_RESAMPLES,
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


def roc_area(tp: Floats, fp: Floats) -> Floats:
    """Area under the ROC curve from cumulative counts.

    Args:
        tp: True positives at falling thresholds, [B, K]; the last is the number of positives.
        fp: False positives, [B, K].

    Returns:
        float64 [B].
    """
    width = np.diff(fp, axis=1, prepend=0.0)
    before = np.concatenate([np.zeros((tp.shape[0], 1)), tp[:, :-1]], axis=1)
    return np.sum(width * (tp + before), axis=1) / (2 * tp[:, -1] * fp[:, -1])


def average_precision(tp: Floats, fp: Floats, mixed: NDArray[np.bool_] | None = None) -> Floats:
    """Average precision from cumulative counts.

    Args:
        tp: True positives at falling thresholds, [B, K]; the last is the number of positives.
        fp: False positives, [B, K].
        mixed: Boolean [K]: steps that stand for many scores, for which the precisions before and after are
            averaged; None where every step is one score.

    Returns:
        float64 [B].
    """
    called = tp + fp
    precision = np.divide(tp, called, out=np.zeros_like(tp), where=called > 0)
    gain = np.diff(tp, axis=1, prepend=0.0)
    if mixed is not None:
        before = np.concatenate([precision[:, :1], precision[:, :-1]], axis=1)
        started = np.concatenate([np.zeros((tp.shape[0], 1), np.bool_), called[:, :-1] > 0], axis=1)
        precision = np.where(mixed & started, (precision + before) / 2, precision)
    return np.sum(gain * precision, axis=1) / tp[:, -1]


def best_f1(tp: Floats, fp: Floats) -> Floats:
    """Largest F1 over thresholds from cumulative counts.

    Args:
        tp: True positives at falling thresholds, [B, K]; the last is the number of positives.
        fp: False positives, [B, K].

    Returns:
        float64 [B].
    """
    return np.max(2 * tp / (tp + fp + tp[:, -1:]), axis=1)


def interval(replicates: Replicates, level: float = LEVEL) -> MetricValue:
    """Percentile interval of a metric.

    Where a method separates its test images perfectly, so does it every resample of them: the interval then has
    no width, which does not mean that no other image could be misjudged.

    Args:
        replicates: Result of `image_replicates`, `pixel_replicates` or `mean_over_categories`.
        level: Share of the draws inside, in (0, 1).

    Returns:
        The exact value with both ends, or None with the reason.

    Raises:
        MetricError: If the level is outside (0, 1).
    """
    if not 0.0 < level < 1.0:
        raise MetricError(f"Interval level {level!r} is outside (0, 1).", "Use 0.95, for instance.")
    if replicates.value is None or replicates.draws.size == 0:
        return MetricValue(replicates.value, replicates.reason, n=replicates.n)
    low, high = np.quantile(replicates.draws, [(1 - level) / 2, (1 + level) / 2])
    return MetricValue(replicates.value, None, float(low), float(high), replicates.n)


def with_intervals(
    values: Mapping[str, MetricValue], replicates: Mapping[str, Replicates], level: float = LEVEL
) -> dict[str, MetricValue]:
    """Add intervals to the metrics that have replicates.

    Args:
        values: Metrics by name.
        replicates: Replicates by name; metrics without stay as they are.
        level: Share of the draws inside, in (0, 1).

    Returns:
        Metrics by name, in the order of `values`.
    """
    result: dict[str, MetricValue] = {}
    for name, value in values.items():
        result[name] = value
        if name in replicates and value.value is not None:
            ends = interval(replicates[name], level)
            result[name] = replace(value, low=ends.low, high=ends.high)
    return result


def mean_over_categories(categories: Sequence[Replicates]) -> Replicates:
    """Mean of one metric over categories, draw by draw.

    The images of each category are resampled independently; the categories themselves are taken as given. Each
    category counts the same, whatever its number of images. Categories without a value are left out and named
    in the reason.

    Args:
        categories: Replicates of the same metric, one per category, with equally many draws.

    Returns:
        The mean; `n` is the number of images of the categories that counted.

    Raises:
        MetricError: If metrics or numbers of draws differ.
    """
    if not categories:
        raise MetricError("No categories to take a mean over.", "Give at least one.")
    metrics = {item.metric for item in categories}
    if len(metrics) > 1:
        raise MetricError(f"Mean over different metrics: {', '.join(sorted(metrics))}.", "Give one metric.")
    present = [item for item in categories if item.value is not None]
    digest = hashlib.sha256("+".join(item.design for item in present).encode()).hexdigest()[:16]
    first = categories[0]
    if not present:
        return Replicates(first.metric, None, np.zeros(0), 0, first.seed, digest, "no category has a value")
    if len({item.draws.size for item in present}) > 1:
        raise MetricError("Categories have different numbers of resamples.", "Use one number for all.")
    # The same weights in every category would tie the categories together: shift the draws of each.
    shifted = [np.roll(item.draws, k * _stride(item.draws.size)) for k, item in enumerate(present)]
    left_out = len(categories) - len(present)
    return Replicates(
        metric=first.metric,
        value=float(np.mean([item.value for item in present if item.value is not None])),
        draws=np.mean(shifted, axis=0),
        n=sum(item.n for item in present),
        seed=first.seed,
        design=digest,
        reason=f"{left_out} of {len(categories)} categories have no value" if left_out else None,
        approximate=any(item.approximate for item in present),
    )


def _stride(size: int) -> int:
    return max(1, round(size * 0.381966))


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
