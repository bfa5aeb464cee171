"""Thresholds that know where they came from, and the verdict they lead to."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from vlmad_core.errors import MetricError
from vlmad_core.metrics.image import f1max_of, missing_class, steps

Origin = Literal["f1max_oracle", "normal_references", "user", "stored_run", "promise", "costs"]

ORIGIN_LABELS: dict[Origin, str] = {
    "f1max_oracle": "chosen on the test labels (oracle)",
    "normal_references": "from normal references",
    "user": "set by the user",
    "stored_run": "from a stored run",
    "promise": "promised for new good parts",
    "costs": "of the least expected cost",
}


@dataclass(frozen=True)
class Threshold:
    """A threshold and its origin; anomalous if score >= value.

    Attributes:
        value: The threshold, on the scale of the scores it belongs to.
        origin: Where it came from; `f1max_oracle` was chosen with the test labels known.
        detail: What one needs to repeat it: the rate, the number of references, the run.
    """

    value: float
    origin: Origin
    detail: str

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            raise MetricError(f"Threshold {self.value!r} is not a finite number.", "Give a finite threshold.")
        if self.origin not in ORIGIN_LABELS:
            raise MetricError(f"Unknown threshold origin {self.origin!r}.", f"Use one of: {', '.join(ORIGIN_LABELS)}.")


@dataclass(frozen=True)
class Verdict:
    """What a threshold says about one score.

    Attributes:
        anomalous: Whether score >= threshold.
        score: The score judged.
        threshold: The threshold with its origin.
    """

    anomalous: bool
    score: float
    threshold: Threshold

    def __str__(self) -> str:
        """Say the verdict with the origin of its threshold."""
        sign, word = (">=", "anomalous") if self.anomalous else ("<", "normal")
        origin = ORIGIN_LABELS[self.threshold.origin]
        return f"{word} ({self.score:.4g} {sign} {self.threshold.value:.4g}, {origin}: {self.threshold.detail})"


def just_above(score: float) -> float:
    """Smallest number above a score that stays above it when rounded to the score's own precision.

    A score that is exact in float32 gets its float32 successor: the float64 one would round back to the score
    as soon as it is compared with float32 scores, and turn `>` into `>=`.

    Args:
        score: A finite score.

    Returns:
        The successor.

    Examples:
        >>> float(np.float32(just_above(0.5))) > 0.5
        True
    """
    with np.errstate(over="ignore"):
        single = np.float32(score)
    if float(single) == score:
        return float(np.nextafter(single, np.float32(np.inf)))
    return float(np.nextafter(np.float64(score), np.inf))


def allowed_count(rate: float, n: int) -> int:
    """How many of n normal items may be called anomalous at a false-positive rate.

    Args:
        rate: False-positive rate in [0, 1].
        n: Number of normal items.

    Returns:
        Largest count whose share does not exceed the rate.

    Raises:
        MetricError: If the rate is outside [0, 1].

    Examples:
        >>> allowed_count(0.3, 10)
        3
    """
    if not 0.0 <= rate <= 1.0:
        raise MetricError(f"False-positive rate {rate!r} is outside [0, 1].", "Give a share, such as 0.05.")
    return min(n, math.floor(rate * n + 1e-9))


def f1max_threshold(labels: ArrayLike, scores: ArrayLike) -> Threshold | None:
    """Threshold of the largest F1 on labelled scores: an oracle, since it is chosen on the test labels.

    Args:
        labels: 0/1 or boolean, [N]; 1 is anomalous.
        scores: Finite real numbers, [N].

    Returns:
        The highest threshold that reaches the largest F1, or None where a class is missing.

    Raises:
        MetricError: If labels or scores are malformed; names the index.

    Examples:
        >>> f1max_threshold([0, 0, 1, 1], [0.1, 0.2, 0.7, 0.9]).value
        0.7
    """
    counts = steps(labels, scores)
    if missing_class(labels) is not None:
        return None
    f1, value = f1max_of(counts)
    n = counts.positives + counts.negatives
    return Threshold(value, "f1max_oracle", f"F1 {f1:.4f} on {n} labelled items")


def threshold_from_normals(scores: ArrayLike, rate: float) -> Threshold:
    """Lowest threshold at which at most a given share of normal reference scores is called anomalous.

    With n references the rate reached moves in steps of 1/n; a rate below 1/n calls none of them anomalous.

    Args:
        scores: Scores of normal references, [n], finite. They must not have been used to build the method's
            memory, or they lie too low (leave-one-out scores are fine).
        rate: Chosen false-positive rate in [0, 1).

    Returns:
        The threshold; its detail states rate and number of references.

    Raises:
        MetricError: If there are no references, one is not finite, or the rate is outside [0, 1).

    Examples:
        >>> t = threshold_from_normals([0.1, 0.2, 0.3, 0.4], 0.25)
        >>> [s >= t.value for s in (0.1, 0.2, 0.3, 0.4)]
        [False, False, False, True]
    """
    values = np.asarray(scores, np.float64).ravel()
    if values.size == 0:
        raise MetricError("No normal reference scores to take a threshold from.", "Add normal reference images.")
    wrong = np.flatnonzero(~np.isfinite(values))
    if wrong.size:
        raise MetricError(f"Reference score at index {wrong[0]} is {values[wrong[0]]}.", "Leave that reference out.")
    if not 0.0 <= rate < 1.0:
        raise MetricError(f"False-positive rate {rate!r} is outside [0, 1).", "Give a share, such as 0.05.")
    allowed = allowed_count(rate, values.size)
    value = just_above(float(np.sort(values)[values.size - 1 - allowed]))
    return Threshold(value, "normal_references", f"false-positive rate {rate:g} on {values.size} normal references")


def user_threshold(value: float) -> Threshold:
    """A threshold set by the user.

    Args:
        value: A finite number on the scale of the scores.

    Returns:
        The threshold, marked as the user's.

    Raises:
        MetricError: If the value is not finite.

    Examples:
        >>> user_threshold(0.5).origin
        'user'
    """
    return Threshold(float(value), "user", "typed in or moved by hand")


def stored_threshold(value: float, run: str) -> Threshold:
    """A threshold read from a stored run.

    Args:
        value: A finite number on the scale of the scores.
        run: The run it was read from.

    Returns:
        The threshold, marked with the run.

    Raises:
        MetricError: If the value is not finite.
    """
    return Threshold(float(value), "stored_run", run)


def verdict(score: float, threshold: Threshold) -> Verdict:
    """Judge a score: anomalous if score >= threshold.

    Args:
        score: The score.
        threshold: The threshold with its origin.

    Returns:
        The verdict, which carries the threshold.

    Raises:
        MetricError: If the score is not finite.

    Examples:
        >>> verdict(0.5, user_threshold(0.5)).anomalous
        True
    """
    if not math.isfinite(score):
        raise MetricError(f"Score {score!r} is not a finite number.", "A broken score has no verdict.")
    return Verdict(score >= threshold.value, float(score), threshold)
