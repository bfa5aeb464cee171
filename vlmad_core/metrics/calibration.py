"""Do scores mean what they say? Reliability, and the expected calibration error."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlmad_core.errors import MetricError

BINS = 10


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
