"""Two ensembles on the same images: differences with paired intervals, category by category and on the whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from vlmad_core.metrics import compare_methods
from vlmad_core.prompt_lab.scoring import LabResult

RESAMPLES = 2000


@dataclass(frozen=True)
class Change:
    """One metric of an ensemble beside that of another.

    Attributes:
        value: Of the ensemble, or None.
        base: Of the one it is compared with, or None.
        difference: Value minus base, or None.
        low: Lower end of the 95 % interval of the difference, or None.
        high: Upper end, or None.
        p: p-value, corrected for the number of categories; None where there is none.
        n: Number of images.
        reason: Why something is missing, or None.
    """

    value: float | None
    base: float | None
    difference: float | None
    low: float | None
    high: float | None
    p: float | None
    n: int
    reason: str | None = None

    @property
    def clear(self) -> bool:
        """Whether the interval leaves zero out."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


@dataclass(frozen=True)
class Changes:
    """One metric of two ensembles on a data set.

    Attributes:
        metric: Name of the metric.
        categories: By category.
        mean: Of the means over categories.
        resampled: What the interval of the mean resamples: ``images`` or ``categories``.
    """

    metric: str
    categories: Mapping[str, Change]
    mean: Change
    resampled: str


def compare_results(result: LabResult, base: LabResult, metric: str) -> Changes:
    """Compare two results of one data set in a metric.

    Where both hold bootstrap draws of the metric (always for image metrics), intervals are over images, these
    categories taken as given. Otherwise only the mean has an interval, over categories.

    Args:
        result: The ensemble of interest.
        base: What it is compared with, on the same images.
        metric: Name of the metric.
    """
    names = list(result.categories)
    values, other = result.values(metric), base.values(metric)
    drawn = all(metric in one.categories[name].replicates for one in (result, base) for name in names)
    if not drawn:
        changes = {name: _plain(result, name, metric, values[name], other[name]) for name in names}
        return Changes(metric, changes, _over_categories(changes), "categories")
    compared = compare_methods(
        {name: result.categories[name].replicates[metric] for name in names},
        {name: base.categories[name].replicates[metric] for name in names},
    )
    changes = {
        name: Change(values[name], other[name], one.difference, one.low, one.high, one.p_holm, one.n, one.reason)
        for name, one in compared.per_category.items()
    }
    overall = compared.overall
    mean = Change(
        _mean([c.value for c in changes.values() if c.difference is not None]),
        _mean([c.base for c in changes.values() if c.difference is not None]),
        *(overall.difference, overall.low, overall.high, overall.p, overall.n, overall.reason),
    )
    return Changes(metric, changes, mean, "images")


def _plain(result: LabResult, name: str, metric: str, value: float | None, base: float | None) -> Change:
    spec = result.categories[name].values[metric]
    difference = None if value is None or base is None else value - base
    return Change(value, base, difference, None, None, None, spec.n, spec.reason)


def _over_categories(changes: Mapping[str, Change]) -> Change:
    """Mean over categories with an interval from resampling categories, where there are at least two."""
    known = [change for change in changes.values() if change.difference is not None]
    gaps = np.array([change.difference for change in known], np.float64)
    left_out = len(changes) - len(known)
    reason = f"{left_out} of {len(changes)} categories have no value" if left_out else None
    n = sum(change.n for change in known)
    if gaps.size == 0:
        return Change(None, None, None, None, None, None, 0, reason)
    value, base = _mean([c.value for c in known]), _mean([c.base for c in known])
    if gaps.size == 1:
        return Change(value, base, float(gaps[0]), None, None, None, n, "one category has no interval over categories")
    picks = np.random.default_rng(0).integers(0, gaps.size, size=(RESAMPLES, gaps.size))
    low, high = np.quantile(gaps[picks].mean(axis=1), [0.025, 0.975])
    return Change(value, base, float(gaps.mean()), float(low), float(high), None, n, reason)


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
