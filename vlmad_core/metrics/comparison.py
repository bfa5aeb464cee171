"""Is one method better than another, or is it the test images: paired comparisons, corrected for their number."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from vlmad_core.errors import MetricError
from vlmad_core.metrics.uncertainty import LEVEL, Replicates, mean_over_categories


@dataclass(frozen=True)
class PairedDifference:
    """Difference of one metric between two methods on the same images.

    Attributes:
        metric: Name of the metric.
        difference: First minus second, or None.
        low: Lower end of the paired bootstrap interval, or None.
        high: Upper end, or None.
        p: Two-sided p-value of the paired bootstrap, or None.
        p_holm: The same after Holm's correction for all comparisons made together; None where not corrected.
        n: Number of images.
        reason: Why there is no difference, or None.
    """

    metric: str
    difference: float | None
    low: float | None
    high: float | None
    p: float | None
    n: int
    reason: str | None = None
    p_holm: float | None = None


@dataclass(frozen=True)
class WilcoxonResult:
    """Wilcoxon's signed-rank test over categories.

    Attributes:
        p: Two-sided p-value, or None.
        n: Categories in which both methods have a value and differ.
        categories: Categories in which both methods have a value.
        median_difference: Median over those categories of first minus second, or None.
        smallest_p: The smallest p-value that so many categories can give: with 5 it is 0.0625, so 5
            categories can never show a difference at the 0.05 level.
        reason: Why there is no p-value, or None.
    """

    p: float | None
    n: int
    categories: int
    median_difference: float | None
    smallest_p: float | None
    reason: str | None = None


@dataclass(frozen=True)
class MethodComparison:
    """Two methods compared on one metric, per category and overall.

    Attributes:
        per_category: Paired differences by category, with Holm-corrected p-values.
        overall: Paired difference of the means over the categories both have.
        wilcoxon: Signed-rank test over the categories both have.
    """

    per_category: Mapping[str, PairedDifference]
    overall: PairedDifference
    wilcoxon: WilcoxonResult


@dataclass(frozen=True)
class SeedSummary:
    """Values of several seeds.

    Attributes:
        mean: Mean over the seeds that have a value, or None.
        std: Sample standard deviation (n - 1), or None with fewer than two seeds.
        n: Number of seeds that have a value.
        reason: What is missing, or None.
    """

    mean: float | None
    std: float | None
    n: int
    reason: str | None = None


def compare(first: Replicates, second: Replicates, level: float = LEVEL) -> PairedDifference:
    """Paired bootstrap of the difference of two methods on the same images.

    The p-value is twice the smaller share of draws on either side of zero, counting the test set itself as one
    draw more, so that it is never zero.

    Args:
        first: Replicates of the first method.
        second: Replicates of the second, of the same metric, on the same images in the same order, with the
            same seed.
        level: Share of the draws inside the interval, in (0, 1).

    Returns:
        First minus second.

    Raises:
        MetricError: If metric, labels, seed or number of resamples differ.
    """
    if first.metric != second.metric:
        raise MetricError(f"{first.metric} can't be compared with {second.metric}.", "Compare one metric.")
    if not 0.0 < level < 1.0:
        raise MetricError(f"Interval level {level!r} is outside (0, 1).", "Use 0.95, for instance.")
    n = min(first.n, second.n)
    if first.value is None or second.value is None:
        return PairedDifference(first.metric, None, None, None, None, n, first.reason or second.reason)
    if first.design != second.design or first.draws.shape != second.draws.shape:
        raise MetricError(
            f"{first.metric}: the two methods were not resampled alike (images, labels, seed or number differ).",
            "Score the same images with both and use one seed and one number of resamples.",
        )
    difference = first.value - second.value
    if first.draws.size == 0:
        return PairedDifference(first.metric, difference, None, None, None, n, "no resample had both classes")
    draws = first.draws - second.draws
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    below, above = int(np.sum(draws <= 0)), int(np.sum(draws >= 0))
    p = min(1.0, 2 * (1 + min(below, above)) / (1 + draws.size))
    return PairedDifference(first.metric, difference, float(low), float(high), p, n)


def compare_methods(
    first: Mapping[str, Replicates], second: Mapping[str, Replicates], level: float = LEVEL
) -> MethodComparison:
    """Compare two methods per category and overall.

    Args:
        first: Replicates of one metric by category.
        second: The same for the other method.
        level: Share of the draws inside the intervals.

    Returns:
        Differences (first minus second) for the categories both mappings hold, in the order of `first`.

    Raises:
        MetricError: If they have no category in common, or were not resampled alike.
    """
    names = [name for name in first if name in second]
    if not names:
        raise MetricError("The two methods have no category in common.", "Run both on the same data set.")
    single = {name: compare(first[name], second[name], level) for name in names}
    corrected = holm([item.p for item in single.values()])
    per_category = {name: replace(item, p_holm=p) for (name, item), p in zip(single.items(), corrected, strict=True)}
    shared = [name for name in names if single[name].difference is not None]
    test = wilcoxon_over_categories(
        {name: first[name].value for name in names}, {name: second[name].value for name in names}
    )
    if not shared:
        metric = first[names[0]].metric
        none = PairedDifference(metric, None, None, None, None, 0, "no category in which both have a value")
        return MethodComparison(per_category, none, test)
    overall = compare(
        mean_over_categories([first[name] for name in shared]),
        mean_over_categories([second[name] for name in shared]),
        level,
    )
    left_out = len(names) - len(shared)
    if left_out:
        overall = replace(overall, reason=f"{left_out} of {len(names)} categories have no value")
    return MethodComparison(per_category, overall, test)


def wilcoxon_over_categories(first: Mapping[str, float | None], second: Mapping[str, float | None]) -> WilcoxonResult:
    """Wilcoxon's signed-rank test of two methods over categories (two-sided; equal categories dropped).

    Args:
        first: Value of one metric by category.
        second: The same for the other method.

    Returns:
        The test over the categories in which both have a value.

    Examples:
        >>> a = {"a": 0.9, "b": 0.8, "c": 0.7}
        >>> b = {"a": 0.8, "b": 0.6, "c": 0.4}
        >>> wilcoxon_over_categories(a, b).p
        0.25
    """
    differences: list[float] = []
    for name, value in first.items():
        other = second.get(name)
        if value is not None and other is not None:
            differences.append(value - other)
    total = len(differences)
    if total == 0:
        return WilcoxonResult(None, 0, 0, None, None, "no category in which both have a value")
    median = float(np.median(differences))
    # Rounding apart, equal differences must tie: 0.9 - 0.8 and 0.3 - 0.2 differ in the last bits.
    moved = [round(value, 12) for value in differences if round(value, 12) != 0.0]
    if not moved:
        return WilcoxonResult(None, 0, total, median, None, "the methods are equal in every category")
    p = float(stats.wilcoxon(moved, alternative="two-sided").pvalue)
    return WilcoxonResult(p, len(moved), total, median, 2.0 ** (1 - len(moved)))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Correct p-values for their number (Holm 1979, step-down; controls the family-wise error rate).

    Args:
        p_values: p-values of all comparisons made together; None entries are not counted.

    Returns:
        Corrected p-values in the same order.

    Raises:
        MetricError: If a p-value is outside [0, 1].

    Examples:
        >>> holm([0.01, 0.04, None, 0.03])
        [0.03, 0.06, None, 0.06]
    """
    present = [(p, k) for k, p in enumerate(p_values) if p is not None]
    wrong = [p for p, _ in present if not 0.0 <= p <= 1.0]
    if wrong:
        raise MetricError(f"p-value {wrong[0]!r} is outside [0, 1].", "Pass p-values only.")
    result: list[float | None] = [None] * len(p_values)
    running = 0.0
    for rank, (p, k) in enumerate(sorted(present)):
        running = max(running, min(1.0, p * (len(present) - rank)))
        result[k] = running
    return result


def over_seeds(values: Sequence[float | None]) -> SeedSummary:
    """Mean and standard deviation of one metric over seeds.

    Args:
        values: One value per seed; None where a seed has none.

    Returns:
        The summary.

    Raises:
        MetricError: If a value is not finite.

    Examples:
        >>> over_seeds([0.25, 0.75, None]).reason
        '1 of 3 seeds have no value'
    """
    present = [value for value in values if value is not None]
    wrong = [value for value in present if not math.isfinite(value)]
    if wrong:
        raise MetricError(f"A seed has the value {wrong[0]!r}.", "Store None with a reason instead.")
    if not present:
        return SeedSummary(None, None, 0, "no seed has a value")
    missing = len(values) - len(present)
    reason = f"{missing} of {len(values)} seeds have no value" if missing else None
    if len(present) < 2:
        return SeedSummary(present[0], None, 1, reason or "a single seed has no standard deviation")
    return SeedSummary(float(np.mean(present)), float(np.std(present, ddof=1)), len(present), reason)
