"""Is it more than chance? The one place that says how wide an interval is and which differences are clear.

There are two designs, called by the same words wherever a number is shown:

- *over images*: would other images of these parts change it? The images of each category are drawn again (bootstrap),
  the categories stay as they are. Draws and the interval of a single metric are made when a unit is evaluated
  (``vlmad_core.metrics.uncertainty``); competitors are compared here, on the same draws.
- *over categories*: would other parts change it? Each category is one observation: Student's t. Few categories can't
  be bootstrapped: with six of them, resampling calls one in two sets of equal methods different.

Comparisons that are made together are corrected together (Holm). A difference is called clear, in every view and in
every sentence, if its corrected p-value is below five percent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from vlmad_core.errors import MetricError
from vlmad_core.libraries import stats
from vlmad_core.metrics.resampling import Replicates
from vlmad_core.metrics.uncertainty import LEVEL

Design = Literal["over images", "over categories"]
OVER_IMAGES: Design = "over images"
OVER_CATEGORIES: Design = "over categories"

DESIGNS: tuple[Design, Design] = (OVER_IMAGES, OVER_CATEGORIES)
"""Both, the one that views show first in front."""

INTERVAL_NAMES: Mapping[Design, str] = {OVER_IMAGES: "bootstrap over images", OVER_CATEGORIES: "t over categories"}
"""How the interval of each design is made, in a few words."""
TEST_NAMES: Mapping[Design, str] = {OVER_IMAGES: "paired bootstrap", OVER_CATEGORIES: "paired t-test"}
"""How two competitors are compared in each design."""

FEWEST_CATEGORIES = 3
"""Categories that two competitors must have in common to be compared over categories."""
MOST_CATEGORIES = 200
"""A need for more categories than this is not put into a number."""

Pairs = Sequence[tuple[int, int]]
"""Which competitors are held against which, by their places in a list."""


@dataclass(frozen=True)
class MeanInterval:
    """A mean over categories with its 95 % interval.

    Attributes:
        value: The mean; NaN without categories.
        low: Lower end of the interval; NaN with fewer than two categories.
        high: Upper end.
        categories: Number of categories.
    """

    value: float
    low: float
    high: float
    categories: int


@dataclass(frozen=True)
class PairedDifference:
    """One competitor minus another in a metric, on the same images or categories.

    Attributes:
        first: Place of the one in the list that was compared.
        second: Place of the other.
        value: First minus second; None where there is none.
        low: Lower end of its 95 % interval, or None.
        high: Upper end, or None.
        p: Two-sided p-value of this comparison alone, or None.
        p_corrected: The same, corrected for all comparisons made together.
        n: Number of images or of categories it rests on.
        design: What was resampled or counted.
        pairs: Number of comparisons made together.
        reason: What is missing, or None.
    """

    first: int
    second: int
    value: float | None
    low: float | None
    high: float | None
    p: float | None
    n: int
    design: Design
    reason: str | None = None
    p_corrected: float | None = None
    pairs: int = 1

    @property
    def clear(self) -> bool:
        """Whether the corrected p-value is below five percent: the one rule for this word."""
        return self.p_corrected is not None and self.p_corrected < 1 - LEVEL

    @property
    def ahead(self) -> bool:
        """Whether the first is clearly ahead."""
        return self.clear and self.value is not None and self.value > 0

    @property
    def behind(self) -> bool:
        """Whether the first is clearly behind."""
        return self.clear and self.value is not None and self.value < 0

    def reversed(self) -> PairedDifference:
        """The second minus the first."""
        value, low, high = (None if one is None else -one for one in (self.value, self.high, self.low))
        return replace(self, first=self.second, second=self.first, value=value, low=low, high=high)


@dataclass(frozen=True)
class MeanRanks:
    """Competitors by their mean rank over categories.

    Attributes:
        ranks: Mean rank of each, 1 is best; ties share the mean of their ranks.
        n: Number of categories.
        p: Of the hypothesis that all are equal (Friedman); None where it can't be tested.
        bars: Places of competitors, best first, no two of which clearly differ; none of one alone.
        reason: Why nothing was tested, or None.
    """

    ranks: tuple[float, ...]
    n: int
    p: float | None
    bars: tuple[tuple[int, ...], ...]
    reason: str | None = None


def mean_interval(values: Sequence[float], *, fractions: bool = True) -> MeanInterval:
    """Mean over categories with Student's t interval.

    Args:
        values: One value for each category.
        fractions: Whether values are in [0, 1]; the interval of their mean then stays there too.

    Returns:
        The mean; without an interval for fewer than two categories.

    Examples:
        >>> estimate = mean_interval([0.6, 0.7, 0.8])
        >>> round(estimate.value, 3), round(estimate.low, 3), round(estimate.high, 3)
        (0.7, 0.452, 0.948)
        >>> mean_interval([0.5, 1.0]).high
        1.0
    """
    numbers = np.asarray(values, dtype=float)
    if len(numbers) < 2:
        return MeanInterval(float(numbers.mean()) if len(numbers) else math.nan, math.nan, math.nan, len(numbers))
    mean, reach = float(numbers.mean()), _reach(numbers)
    low, high = mean - reach, mean + reach
    return MeanInterval(mean, max(0.0, low) if fractions else low, min(1.0, high) if fractions else high, len(numbers))


def compare_over_images(competitors: Sequence[Replicates], pairs: Pairs | None = None) -> tuple[PairedDifference, ...]:
    """Compare competitors by a paired bootstrap over images.

    Interval and p-value take the difference as normal, with the spread of the differences of draws. Counting draws on
    the other side of zero can't give p-values small enough for the correction of many pairs with a few hundred draws;
    the normal form can, and of equal methods it calls at most one pair in twenty different (``docs/metrics.md``).

    Args:
        competitors: For each, its draws of one metric in one category, or of its mean over categories
            (``vlmad_core.metrics.uncertainty.mean_over_categories``), all under one design.
        pairs: Which to compare; every two if None.

    Returns:
        Their differences in the order of ``pairs``, corrected together; ``n`` counts images.

    Raises:
        MetricError: If they are of several metrics, or were not resampled alike.
    """
    known = [item for item in competitors if item.value is not None]
    if len({item.metric for item in known}) > 1:
        names = " and ".join(sorted({item.metric for item in known}))
        raise MetricError(f"{names} can't be compared.", "Compare one metric.")
    if len({(item.design, item.draws.size) for item in known}) > 1:
        raise MetricError(
            f"{known[0].metric}: the methods were not resampled alike (images, labels, seed or number differ).",
            "Score the same images with all and use one seed and one number of resamples.",
        )
    return corrected([_over_images(competitors[i], competitors[j], i, j) for i, j in _chosen(pairs, len(competitors))])


def compare_over_categories(
    competitors: Sequence[Mapping[str, float | None]], pairs: Pairs | None = None
) -> tuple[PairedDifference, ...]:
    """Compare competitors by a paired t-test over the categories in which both have a value.

    Args:
        competitors: For each, one metric by category.
        pairs: Which to compare; every two if None.

    Returns:
        Their differences in the order of ``pairs``, corrected together; ``n`` counts categories. With fewer than
        ``FEWEST_CATEGORIES`` in common there is a difference but neither interval nor p-value.

    Examples:
        >>> one, other = {"a": 0.9, "b": 0.8, "c": 0.9}, {"a": 0.8, "b": 0.6, "c": 0.7}
        >>> (gap,) = compare_over_categories([one, other])
        >>> round(gap.value, 3), round(gap.p, 3), gap.clear
        (0.167, 0.038, True)
    """
    return corrected(
        [_over_categories(competitors[i], competitors[j], i, j) for i, j in _chosen(pairs, len(competitors))]
    )


def compare_ranks(competitors: Sequence[Mapping[str, float | None]]) -> MeanRanks:
    """Compare competitors by their ranks over categories: Friedman, then every two with Holm's correction.

    The test of all together is Friedman's in the form of Iman and Davenport (F); only if it is clear are two compared,
    by the difference of their mean ranks against its standard error root(k (k + 1) / 6 n) (Demšar, Statistical
    comparisons of classifiers over multiple data sets, JMLR 2006).

    Args:
        competitors: For each, one metric by category, all with values in the same categories.

    Examples:
        >>> found = compare_ranks([dict.fromkeys("abc", value) for value in (0.9, 0.7, 0.1)])
        >>> found.ranks, found.p, found.bars
        ((1.0, 2.0, 3.0), 0.0, ((0, 1), (1, 2)))
    """
    names = sorted(competitors[0]) if competitors else []
    values = np.array([[one[name] for name in names] for one in competitors], np.float64)
    count, n = len(competitors), len(names)
    ranks = stats.rankdata(-values, axis=0).mean(axis=1) if n else np.zeros(0)
    if count < 3 or n < FEWEST_CATEGORIES:
        few = f"{count} methods" if count < 3 else f"{n} {'category' if n == 1 else 'categories'}"
        return MeanRanks(tuple(map(float, ranks)), n, None, (), f"{few} are too few")
    square = float(stats.friedmanchisquare(*values).statistic) if np.ptp(values, axis=0).any() else 0.0
    rest = n * (count - 1) - square
    p = 0.0 if rest <= 1e-9 else float(stats.f.sf((n - 1) * square / rest, count - 1, (count - 1) * (n - 1)))
    order = [int(place) for place in np.argsort(ranks, kind="stable")]
    pairs = _chosen(None, count)  # of places in the order
    error = math.sqrt(count * (count + 1) / (6 * n))
    each = holm([float(2 * stats.norm.sf(abs(ranks[order[i]] - ranks[order[j]]) / error)) for i, j in pairs])
    apart = {pair for pair, one in zip(pairs, each, strict=True) if max(p, one or 0.0) < 1 - LEVEL}
    bars: list[range] = []
    for start in range(count):
        # The farther apart two mean ranks are, the smaller the p-value: who is apart from the first ends the bar.
        end = next((j for j in range(start + 1, count) if (start, j) in apart), count)
        if end - start > 1 and (not bars or end > bars[-1].stop):
            bars.append(range(start, end))
    return MeanRanks(tuple(map(float, ranks)), n, p, tuple(tuple(order[k] for k in bar) for bar in bars))


def corrected(found: Sequence[PairedDifference]) -> tuple[PairedDifference, ...]:
    """Correct comparisons that are made together for their number.

    Args:
        found: The comparisons; those without a p-value are not counted.
    """
    fixed = holm([one.p for one in found])
    tested = sum(one.p is not None for one in found)
    return tuple(replace(one, p_corrected=p, pairs=tested) for one, p in zip(found, fixed, strict=True))


def categories_needed(effect: float, pairs: int = 1, power: float = 0.8) -> int | None:
    """How many categories a paired t-test would need to find a difference clear, were it as large as it seems.

    Power is that of the noncentral t distribution (Cohen, Statistical Power Analysis for the Behavioral Sciences, 1988,
    chapter 2). Of several comparisons made together each is tested at its share of five percent, the first step of
    Holm's correction: what is not clear on some categories then always needs more of them.

    Args:
        effect: Mean of the differences in their standard deviations (Cohen's d of pairs): t / sqrt(n).
        pairs: Number of comparisons made together.
        power: Chance to find the difference clear, in (0, 1).

    Returns:
        The smallest number, at least ``FEWEST_CATEGORIES``; None if ``MOST_CATEGORIES`` would not do.
    """
    counts = np.arange(FEWEST_CATEGORIES, MOST_CATEGORIES + 1)
    ends = stats.t.isf((1 - LEVEL) / 2 / max(pairs, 1), counts - 1)
    centre = abs(effect) * np.sqrt(counts)
    found = stats.nct.sf(ends, counts - 1, centre) + stats.nct.cdf(-ends, counts - 1, centre)
    # Far from its centre the distribution may have no value in floating point: then the difference is plain.
    enough = np.flatnonzero(np.nan_to_num(found, nan=1.0) >= power)
    return int(counts[enough[0]]) if enough.size else None


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


def letters(values: Sequence[float | None], differences: Sequence[PairedDifference]) -> list[str]:
    """A compact letter display: competitors that share a letter are not significantly different.

    Insert and absorb (Piepho, An algorithm for a letter-based representation of all-pairwise comparisons, Journal
    of Computational and Graphical Statistics 2004); ``a`` holds the best.

    Args:
        values: The metric for each competitor; None where it has none.
        differences: Of every two of the same list.

    Returns:
        Letters such as ``ab`` for each; empty where it has no value.

    Examples:
        >>> def gap(i, j, p): return PairedDifference(i, j, 0.1, 0.0, 0.2, p, 9, OVER_IMAGES, None, p)
        >>> letters([0.9, 0.8, 0.5], [gap(0, 1, 0.4), gap(0, 2, 0.01), gap(1, 2, 0.3)])
        ['a', 'ab', 'b']
    """
    present = [place for place, value in enumerate(values) if value is not None]
    groups: list[set[int]] = [set(present)] if present else []
    for one in differences:
        both = {one.first, one.second}
        if not one.clear or not both <= set(present):
            continue
        split: list[set[int]] = []
        for group in groups:
            split += [group - {one.first}, group - {one.second}] if both <= group else [group]
        groups = [g for k, g in enumerate(split) if not any(g < h or (g == h and k > m) for m, h in enumerate(split))]
    groups.sort(key=lambda group: sorted((-float(values[place] or 0.0), place) for place in group))
    result = [""] * len(values)
    for index, group in enumerate(groups):
        for place in group:
            result[place] += chr(ord("a") + index) if index < 26 else f"({index + 1})"
    return result


def _over_images(one: Replicates, two: Replicates, first: int, second: int) -> PairedDifference:
    n = min(one.n, two.n)
    if one.value is None or two.value is None:
        return PairedDifference(first, second, None, None, None, None, n, OVER_IMAGES, one.reason or two.reason)
    gap = one.value - two.value
    reason = one.reason or two.reason
    spread = one.spread_of(one.draws - two.draws)
    if spread is None:
        return PairedDifference(first, second, gap, None, None, None, n, OVER_IMAGES, reason or "no draws were made")
    if gap == 0:
        p = 1.0
    elif spread <= 0:  # all draws agree: no more than so many draws can show
        p = 2 / (one.draws.size + 1)
    else:
        p = float(2 * stats.norm.sf(abs(gap) / spread))
    reach = float(stats.norm.isf((1 - LEVEL) / 2)) * spread
    low, high = max(-1.0, gap - reach), min(1.0, gap + reach)
    return PairedDifference(first, second, gap, low, high, p, n, OVER_IMAGES, reason)


def _over_categories(
    one: Mapping[str, float | None], two: Mapping[str, float | None], first: int, second: int
) -> PairedDifference:
    both = [(a, two.get(name)) for name, a in one.items()]
    gaps = np.array([a - b for a, b in both if a is not None and b is not None], np.float64)
    n = len(gaps)
    if n < FEWEST_CATEGORIES:
        gap = float(gaps.mean()) if n else None
        reason = f"only {n} {'category' if n == 1 else 'categories'} in common"
        return PairedDifference(first, second, gap, None, None, None, n, OVER_CATEGORIES, reason)
    mean, spread = float(gaps.mean()), float(gaps.std(ddof=1) / math.sqrt(n))
    if spread <= 1e-12:  # the same gap everywhere, but for rounding
        p = 1.0 if abs(mean) <= 1e-12 else 0.0
        return PairedDifference(first, second, mean, mean, mean, p, n, OVER_CATEGORIES)
    p = float(2 * stats.t.sf(abs(mean) / spread, n - 1))
    reach = _reach(gaps)
    return PairedDifference(first, second, mean, mean - reach, mean + reach, p, n, OVER_CATEGORIES)


def _reach(numbers: np.ndarray) -> float:
    """Half the width of Student's t interval of a mean."""
    n = len(numbers)
    return float(stats.t.isf((1 - LEVEL) / 2, n - 1) * numbers.std(ddof=1) / math.sqrt(n))


def _chosen(pairs: Pairs | None, count: int) -> Pairs:
    return [(i, j) for i in range(count) for j in range(i + 1, count)] if pairs is None else pairs
