"""Rules that set a threshold from labelled scores, and what they cost an image that had no part in it.

Two rules: a promise to good parts, which needs no defects, and the least expected cost, which does. A threshold fits
the very images it was set on; so each image is judged at the threshold that the same rule sets on all the others
(leave-one-out), and shares counted that way come with an exact binomial bound. Formulae and simulations:
``docs/decisions.md``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from vlmad_core.errors import MetricError
from vlmad_core.metrics.image import check_scores
from vlmad_core.metrics.resampling import Floats
from vlmad_core.metrics.thresholds import Threshold, allowed_count, just_above
from vlmad_core.metrics.uncertainty import LEVEL

_CELLS = 1 << 22
"""Numbers of left-out images times thresholds that are held at a time."""
_ROUNDING = 1e-12
"""Costs nearer than this are equal."""

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Promise:
    """At most this share of new good parts is called anomalous.

    Attributes:
        rate: The share, in (0, 1).
    """

    rate: float

    def __post_init__(self) -> None:
        if not 0.0 < self.rate < 1.0:
            raise MetricError(
                f"A promise of {self.rate!r} false alarms.", "Give a share between 0 and 1, such as 0.05."
            )


@dataclass(frozen=True)
class Costs:
    """What a mistake costs, and how many parts are defective: the threshold of the least expected cost.

    Attributes:
        miss: Cost of a missed defect, in false alarms; above 0.
        defective: Share of defective parts where the threshold will be used, in (0, 1); not that of the test images.
    """

    miss: float
    defective: float

    def __post_init__(self) -> None:
        if not (self.miss > 0 and math.isfinite(self.miss)):
            raise MetricError(f"A miss that costs {self.miss!r} false alarms.", "Give a number above 0, such as 10.")
        if not 0.0 < self.defective < 1.0:
            raise MetricError(
                f"A share of {self.defective!r} defective parts.", "Give one between 0 and 1, such as 0.02."
            )

    def weights(self, labels: Flags) -> Floats:
        """What judging each image wrongly adds to the expected cost of a part, in false alarms; [N].

        Args:
            labels: Boolean [N], both classes; True is anomalous.
        """
        defects = int(labels.sum())
        return np.where(labels, self.defective * self.miss / defects, (1 - self.defective) / (labels.size - defects))


Rule = Promise | Costs


@dataclass(frozen=True)
class Bounded:
    """So many of so many, and how far the true share can be trusted: an exact one-sided binomial bound.

    Attributes:
        count: How many.
        of: Of how many; above 0.
        bound: The share that is reached at least, or at most, with a confidence of ``LEVEL``.
        least: Whether the bound is from below.
    """

    count: int
    of: int
    bound: float
    least: bool

    def __str__(self) -> str:
        """Such as ``19 of 20: at least 78 % with 95 % confidence``."""
        percent = math.floor(100 * self.bound) if self.least else math.ceil(100 * self.bound)
        side = "least" if self.least else "most"
        return f"{self.count} of {self.of}: at {side} {percent} % with {100 * LEVEL:.0f} % confidence"


def at_least(count: int, of: int) -> Bounded:
    """A share with its lower bound (Clopper and Pearson, Biometrika 1934, one-sided).

    Args:
        count: How many, in [0, of].
        of: Of how many independent ones, above 0.

    Examples:
        >>> str(at_least(19, 20))
        '19 of 20: at least 78 % with 95 % confidence'
    """
    bound = float(stats.beta.ppf(1 - LEVEL, count, of - count + 1)) if count else 0.0
    return Bounded(count, of, bound, least=True)


def at_most(count: int, of: int) -> Bounded:
    """A share with its upper bound.

    Args:
        count: How many, in [0, of].
        of: Of how many independent ones, above 0.

    Examples:
        >>> str(at_most(0, 30))
        '0 of 30: at most 10 % with 95 % confidence'
    """
    bound = float(stats.beta.ppf(LEVEL, count + 1, of - count)) if count < of else 1.0
    return Bounded(count, of, bound, least=False)


def least_promise(normals: int) -> float:
    """The smallest share of false alarms that a threshold from so many good parts can promise: 1 / (n + 1).

    >>> least_promise(19)
    0.05
    """
    return 1 / (normals + 1)


def promised(scores: ArrayLike, rate: float) -> Threshold:
    """Lowest threshold that calls a new good part anomalous with a probability of at most ``rate``.

    Split conformal: if the new part is drawn like the n known ones, its rank among the n + 1 is as likely to be any as
    another; so with a threshold just above the m-th smallest score it is called anomalous with a probability of at
    most (n + 1 - m) / (n + 1), whatever the distribution of scores (Vovk, Gammerman and Shafer, Algorithmic Learning
    in a Random World, 2005). The probability is over the known parts and the new one: of a particular threshold, the
    share of false alarms scatters about it. Below ``least_promise`` nothing can be promised; the threshold is then
    just above all of them, and its detail says what it does promise.

    Args:
        scores: Scores of good parts that are no references, [n], finite, at least one.
        rate: The share, in (0, 1).

    Returns:
        The threshold; its detail states the promise.

    Raises:
        MetricError: If there are no scores, one is not finite, or the rate is outside (0, 1).

    Examples:
        >>> promised(range(19), 0.05).detail
        'at most 5.0 % false alarms promised by 19 good parts'
        >>> promised(range(9), 0.05).detail
        'at most 10.0 % false alarms promised by 9 good parts, which can promise no less'
    """
    values = np.sort(np.asarray(scores, np.float64).ravel())
    if not values.size:
        raise MetricError("No good part to take a threshold from.", "Add photos of good parts that are no references.")
    if not np.isfinite(values).all():
        raise MetricError("A good part's score is not a finite number.", "Leave that photo out.")
    above = _alarms_allowed(values.size, Promise(rate).rate)
    kept = (above + 1) / (values.size + 1)
    parts = f"{values.size} good part{'s' if values.size > 1 else ''}"
    detail = f"at most {100 * kept:.1f} % false alarms promised by {parts}"
    more = ", which can promise no less" if rate < kept else ""
    return Threshold(just_above(float(values[values.size - 1 - above])), "promise", detail + more)


def least_cost(labels: ArrayLike, scores: ArrayLike, costs: Costs) -> Threshold:
    """The threshold with the least expected cost on labelled scores; of several, that in the widest gap.

    Args:
        labels: 0/1 or boolean, [N], both classes; 1 is anomalous.
        scores: Finite real numbers, [N].
        costs: What mistakes cost.

    Returns:
        The threshold, midway between the scores that it parts.

    Raises:
        MetricError: If labels or scores are malformed, or a class is missing.

    Examples:
        >>> least_cost([0, 0, 1, 0, 1], [0.1, 0.2, 0.4, 0.5, 0.9], Costs(miss=100, defective=0.5)).value
        0.30000000000000004
    """
    y, s = _both_classes(labels, scores)
    order = np.argsort(s, kind="stable")
    (value,) = _cheapest(y[order], s[order], costs.weights(y)[order], np.array([-1]))
    detail = f"a miss costs {costs.miss:g} false alarms, {100 * costs.defective:g} % of parts are defective"
    return Threshold(float(value), "costs", f"{detail}; set on {y.size} labelled photos")


def threshold_of(rule: Rule, labels: ArrayLike, scores: ArrayLike) -> Threshold:
    """The threshold that a rule sets; a promise looks at good parts only.

    Args:
        rule: The rule.
        labels: 0/1 or boolean, [N]; 1 is anomalous.
        scores: Finite real numbers, [N].

    Raises:
        MetricError: As ``promised`` and ``least_cost``.
    """
    if isinstance(rule, Costs):
        return least_cost(labels, scores, rule)
    y, s = check_scores(labels, scores)
    return promised(s[~y], rule.rate)


def flagged_by_the_rest(rule: Rule, labels: ArrayLike, scores: ArrayLike) -> Flags:
    """Whether each image is called anomalous at the threshold that the rule sets on all the others.

    Args:
        rule: The rule.
        labels: 0/1 or boolean, [N]; 1 is anomalous. At least two good parts, and for costs two defects.
        scores: Finite real numbers, [N].

    Returns:
        Boolean [N].

    Raises:
        MetricError: If labels or scores are malformed, or there are too few images.
    """
    y, s = check_scores(labels, scores)
    fewest = int(min((~y).sum(), y.sum())) if isinstance(rule, Costs) else int((~y).sum())
    if fewest < 2:
        raise MetricError(
            "There is one image of a kind only; without it nothing is left to set a threshold on.", "Add more."
        )
    if isinstance(rule, Costs):
        order = np.argsort(s, kind="stable")
        flags = np.zeros(y.size, bool)
        step = max(1, _CELLS // (y.size + 1))
        for start in range(0, y.size, step):
            rows = np.arange(start, min(start + step, y.size))
            cuts = _cheapest(y[order], s[order], rule.weights(y)[order], rows)
            flags[order[rows]] = s[order[rows]] >= cuts
        return flags
    normal = np.sort(s[~y])
    above = _alarms_allowed(normal.size - 1, rule.rate)
    # Without a good part, the score just below which the threshold lies is one place further up, if it was below that.
    place = normal.size - 1 - above
    highest = np.where(s >= normal[place], normal[place - 1], normal[place])
    return np.where(y, s >= promised(normal, rule.rate).value, s > highest)


def _alarms_allowed(normals: int, rate: float) -> int:
    """How many of n good parts may lie above a threshold that promises a rate to the next one."""
    return min(max(0, allowed_count(rate, normals + 1) - 1), normals - 1)


def _cheapest(labels: Flags, scores: Floats, weights: Floats, left_out: NDArray[np.int_]) -> Floats:
    """The cheapest threshold without one of the images, for several of them; -1 leaves out none.

    Args:
        labels: Boolean [N], in the order of scores.
        scores: float64 [N], rising.
        weights: What judging each wrongly costs, float64 [N].
        left_out: Places [R].

    Returns:
        float64 [R].
    """
    n, rows = scores.size, np.arange(left_out.size)
    places = np.arange(n + 1)
    # Cost of a cut before each place: defects below it are missed, good parts from it on are false alarms.
    missed, alarms = np.where(labels, weights, 0.0), np.where(labels, 0.0, weights)
    out, some = left_out[:, None], (left_out >= 0)[:, None]
    own = np.where(some, weights[out], 0.0)
    defective = labels[out]
    below = np.append(0.0, np.cumsum(missed)) - np.where(defective & (places > out), own, 0.0)
    above = np.append(np.cumsum(alarms[::-1])[::-1], 0.0) - np.where(~defective & (places <= out), own, 0.0)
    # Each class counts as before it lost one: its images then weigh a little more.
    sizes = np.array([n - labels.sum(), labels.sum()], float)
    grown = np.where(some, sizes[defective.astype(int)] / np.maximum(sizes[defective.astype(int)] - 1, 1), 1.0)
    cost = below * np.where(defective, grown, 1.0) + above * np.where(defective, 1.0, grown)
    low = np.append(-np.inf, scores) + np.zeros((left_out.size, 1))
    high = np.append(scores, np.inf) + np.zeros((left_out.size, 1))
    taken = rows[left_out >= 0], left_out[left_out >= 0]
    low[taken[0], taken[1] + 1] = low[taken]
    high[taken] = high[taken[0], taken[1] + 1]
    cost = np.where(low < high, cost, np.inf)
    # At the ends nothing is parted: there a cut is taken only where no other is as cheap.
    gap = np.where(np.isfinite(low) & np.isfinite(high), high - low, 0.0)
    best = np.where(cost <= cost.min(axis=1, keepdims=True) + _ROUNDING, gap, -1.0).argmax(axis=1)
    return np.array([_between(*ends) for ends in zip(low[rows, best], high[rows, best], strict=True)])


def _between(low: float, high: float) -> float:
    """A threshold that parts two neighbouring scores; at the ends one that flags all or none."""
    if math.isinf(high):
        return just_above(low)
    middle = high if math.isinf(low) else low + (high - low) / 2
    return middle if middle > low else high


def _both_classes(labels: ArrayLike, scores: ArrayLike) -> tuple[Flags, Floats]:
    y, s = check_scores(labels, scores)
    if y.all() or not y.any():
        raise MetricError("Costs need good and defective images.", "Add photos of the kind that is missing.")
    return y, s
