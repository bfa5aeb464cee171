"""Image-level metrics: AUROC, AP and F1-max of one score per image, exact, with ties as one step; calibration.

Calibration asks whether scores mean what they say: reliability, and the expected calibration error.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlmad_core.errors import MetricError
from vlmad_core.metrics.curves import Curve, CurveKind, CurveThinner
from vlmad_core.metrics.spec import MetricValue

BINS = 10
"""Groups of items in which reliability is looked at, at most."""


@dataclass(frozen=True)
class Steps:
    """Cumulative counts at every distinct score, from the highest down.

    Attributes:
        thresholds: Distinct scores, strictly descending, float64 [K].
        tp: Anomalous items with score >= threshold, int64 [K].
        fp: Normal items with score >= threshold, int64 [K].
    """

    thresholds: NDArray[np.float64]
    tp: NDArray[np.int64]
    fp: NDArray[np.int64]

    @property
    def positives(self) -> int:
        """Number of anomalous items."""
        return int(self.tp[-1]) if self.tp.size else 0

    @property
    def negatives(self) -> int:
        """Number of normal items."""
        return int(self.fp[-1]) if self.fp.size else 0


def check_scores(labels: ArrayLike, scores: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Check labels and scores of images and bring them to one form.

    Args:
        labels: 0/1 or boolean, [N]; 1 is anomalous.
        scores: Real numbers, [N]; higher is more anomalous.

    Returns:
        Labels as bool [N] and scores as float64 [N].

    Raises:
        MetricError: If shapes differ, a label is neither 0 nor 1, or a score is not finite; names the index.
    """
    y = np.asarray(labels)
    s = np.asarray(scores, dtype=np.float64)
    if y.ndim != 1 or s.ndim != 1 or y.shape != s.shape:
        raise MetricError(
            f"Labels {y.shape} and scores {s.shape} must be one-dimensional and of equal length.",
            "Give one label and one score per image.",
        )
    if y.dtype != np.bool_:
        wrong = np.flatnonzero((y != 0) & (y != 1))
        if wrong.size:
            raise MetricError(f"Label at index {wrong[0]} is {y[wrong[0]]!r}.", "Use 0 (normal) or 1 (anomalous).")
        y = y.astype(np.bool_)
    wrong = np.flatnonzero(~np.isfinite(s))
    if wrong.size:
        raise MetricError(
            f"Score at index {wrong[0]} is {s[wrong[0]]} ({wrong.size} of {s.size} are not finite).",
            "Leave images without a score out, or find out why the method gave none.",
        )
    return y, s


def steps(labels: ArrayLike, scores: ArrayLike) -> Steps:
    """Count true and false positives at every distinct score.

    Args:
        labels: 0/1 or boolean, [N]; 1 is anomalous.
        scores: Finite real numbers, [N].

    Returns:
        Cumulative counts from the highest threshold down.

    Raises:
        MetricError: If labels or scores are malformed (see `check_scores`).

    Examples:
        >>> steps([0, 1, 1], [0.2, 0.9, 0.2]).tp.tolist()
        [1, 2]
    """
    y, s = check_scores(labels, scores)
    order = np.argsort(-s, kind="stable")
    y, s = y[order], s[order]
    last = np.flatnonzero(np.append(s[1:] != s[:-1], True)) if s.size else np.zeros(0, np.int64)
    tp = np.cumsum(y, dtype=np.int64)[last]
    return Steps(s[last], tp, last.astype(np.int64) + 1 - tp)


def missing_class(labels: ArrayLike) -> str | None:
    """Say why ranking metrics do not exist for these labels, if they do not.

    Args:
        labels: 0/1 or boolean, [N].

    Returns:
        The reason, or None where both classes are there.

    Examples:
        >>> missing_class([1, 1])
        'no normal images'
    """
    y = np.asarray(labels).astype(np.bool_)
    if y.size == 0:
        return "no images"
    if not y.any():
        return "no anomalous images"
    return "no normal images" if y.all() else None


def auroc_of(counts: Steps) -> float:
    """AUROC from cumulative counts; both classes must be present.

    Args:
        counts: Result of `steps`.

    Returns:
        Area in [0, 1]; 0.5 where all scores are equal.
    """
    d_fp = np.diff(counts.fp, prepend=0)
    # Twice the area in whole pairs, so that nothing is rounded before the division.
    twice = int(np.sum(d_fp * (2 * counts.tp - np.diff(counts.tp, prepend=0))))
    return twice / (2 * counts.positives * counts.negatives)


def ap_of(counts: Steps) -> float:
    """Average precision (step-wise) from cumulative counts.

    Args:
        counts: Result of `steps`, with at least one anomalous item.

    Returns:
        Average precision in [0, 1].
    """
    precision = counts.tp / (counts.tp + counts.fp)
    return float(np.sum(np.diff(counts.tp, prepend=0) * precision) / counts.positives)


def f1max_of(counts: Steps) -> tuple[float, float]:
    """Largest F1 over all thresholds and the highest threshold that reaches it.

    Args:
        counts: Result of `steps`, with at least one anomalous item.

    Returns:
        F1 in [0, 1] and the threshold (an oracle: it was chosen on these labels).
    """
    f1 = 2.0 * counts.tp / (counts.tp + counts.fp + counts.positives)
    best = int(np.argmax(f1))
    return float(f1[best]), float(counts.thresholds[best])


def image_metrics(labels: ArrayLike, scores: ArrayLike) -> dict[str, MetricValue]:
    """Compute all image-level metrics of one category from one ordering.

    Args:
        labels: 0/1 or boolean, [N]; 1 is anomalous.
        scores: Finite real numbers, [N]; higher is more anomalous.

    Returns:
        `image_auroc`, `image_ap`, `image_f1max`; None with a reason where a class is missing.

    Raises:
        MetricError: If labels or scores are malformed; names the index.

    Examples:
        >>> image_metrics([0, 0, 1, 1], [0.1, 0.4, 0.4, 0.8])["image_auroc"].value
        0.875
        >>> image_metrics([0, 0], [0.1, 0.4])["image_ap"].reason
        'no anomalous images'
    """
    y, s = check_scores(labels, scores)
    n = int(y.size)
    reason = missing_class(y)
    if reason is not None:
        return {name: MetricValue(None, reason, n=n) for name in ("image_auroc", "image_ap", "image_f1max")}
    counts = steps(y, s)
    return {
        "image_auroc": MetricValue(auroc_of(counts), n=n),
        "image_ap": MetricValue(ap_of(counts), n=n),
        "image_f1max": MetricValue(f1max_of(counts)[0], n=n),
    }


def image_curves(labels: ArrayLike, scores: ArrayLike) -> dict[CurveKind, Curve]:
    """ROC and PR curve of one score per image.

    Args:
        labels: 0/1 or boolean, [N]; 1 is anomalous.
        scores: Finite real numbers, [N].

    Returns:
        `roc` and `pr`, at most 512 points each; empty where a class is missing.

    Raises:
        MetricError: If labels or scores are malformed; names the index.

    Examples:
        >>> image_curves([0, 1], [0.1, 0.9])["roc"].y.tolist()
        [0.0, 1.0, 1.0]
    """
    counts = steps(labels, scores)
    if missing_class(labels) is not None:
        return {}
    p, n = counts.positives, counts.negatives
    above = float(np.nextafter(counts.thresholds[0], np.inf))
    fpr, tpr = np.append(0.0, counts.fp / n), np.append(0.0, counts.tp / p)
    roc, pr = CurveThinner("roc"), CurveThinner("pr")
    roc.add(fpr, tpr, np.append(above, counts.thresholds), (fpr + tpr) / 2)
    called, recall = counts.tp + counts.fp, counts.tp / p
    pr.add(recall, counts.tp / called, counts.thresholds, (recall + called / (n + p)) / 2)
    return {"roc": roc.curve(), "pr": pr.curve()}


def image_auroc(labels: ArrayLike, scores: ArrayLike) -> MetricValue:
    """Image AUROC: probability that a defective image scores above a normal one, ties counted half.

    Args:
        labels: 0/1 or boolean, [N]; 1 is anomalous.
        scores: Finite real numbers, [N].

    Returns:
        The value in [0, 1], or None with a reason.

    Raises:
        MetricError: If labels or scores are malformed; names the index.

    Examples:
        >>> image_auroc([0, 1], [0.5, 0.5]).value
        0.5
    """
    return image_metrics(labels, scores)["image_auroc"]


@dataclass(frozen=True)
class Reliability:
    """Items in groups of about equally many, by rising score.

    Attributes:
        score: Mean score of each group [B].
        share: Share of anomalous items in each group [B].
        n: Items in each group [B].
    """

    score: NDArray[np.float64]
    share: NDArray[np.float64]
    n: NDArray[np.int64]


def reliability(labels: ArrayLike, scores: ArrayLike, bins: int = BINS) -> Reliability:
    """Share of anomalous items among those with about the same score.

    Equal scores always come into the same group, so that the order of items does not matter.

    Args:
        labels: [N] 0 or 1.
        scores: [N] finite, on any scale.
        bins: Most groups; of about equally many items (equal-mass binning).

    Raises:
        MetricError: If lengths differ, a label is not 0 or 1, a score is not finite, or there are no bins.
    """
    y, s = np.asarray(labels, np.float64), np.asarray(scores, np.float64)
    if y.shape != s.shape or y.ndim != 1:
        raise MetricError(f"{y.shape} labels and {s.shape} scores.", "Give one label per score.")
    if not np.isin(y, (0, 1)).all() or not np.isfinite(s).all():
        raise MetricError("A label is not 0 or 1, or a score is not finite.", "Leave such items out.")
    if bins < 1:
        raise MetricError(f"{bins} bins asked for.", "Use at least one.")
    values, where = np.unique(s, return_inverse=True)
    n = np.bincount(where, minlength=len(values)).astype(np.int64)
    middle = np.cumsum(n) - 0.5 * n
    group = np.minimum((middle * bins / max(1, len(s))).astype(np.intp), bins - 1)
    used, which = np.unique(group, return_inverse=True)
    count = np.bincount(which, n, len(used))
    positive = np.bincount(which, np.bincount(where, y, len(values)), len(used))
    total = np.bincount(which, values * n, len(used))
    return Reliability(total / count, positive / count, count.astype(np.int64))


def expected_calibration_error(labels: ArrayLike, scores: ArrayLike, bins: int = BINS) -> float | None:
    """Mean distance of scores, read as probabilities, from the share of anomalous items (0 is best).

    Equal-mass bins, weighted by their items (Nguyen and O'Connor, Posterior calibration and exploratory analysis,
    2015; the name is from Naeini et al., Obtaining well calibrated probabilities, 2015, who use bins of equal width).

    Args:
        labels: [N] 0 or 1.
        scores: [N].
        bins: Most groups.

    Returns:
        In [0, 1]; None without items, or where a score is outside [0, 1] and so can't be read as a probability.
    """
    found = reliability(labels, scores, bins)
    s = np.asarray(scores, np.float64)
    if len(s) == 0 or s.min() < 0 or s.max() > 1:
        return None
    return float(np.average(np.abs(found.score - found.share), weights=found.n))
