"""Two ensembles on the same images: how they differ, category by category and on the whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vlmad_core.analysis.statistics import (
    OVER_CATEGORIES,
    OVER_IMAGES,
    Design,
    PairedDifference,
    compare_over_categories,
    compare_over_images,
    corrected,
)
from vlmad_core.metrics.resampling import mean_over_categories
from vlmad_core.prompt_lab.scoring import LabResult


@dataclass(frozen=True)
class Change:
    """One metric of an ensemble beside that of another.

    Attributes:
        value: Of the ensemble, or None.
        base: Of the one it is compared with, or None.
        gap: Value minus base, with its interval and whether it is clear.
        n: Number of images.
        reason: Why something is missing, or None.
    """

    value: float | None
    base: float | None
    gap: PairedDifference
    n: int
    reason: str | None = None


@dataclass(frozen=True)
class Changes:
    """One metric of two ensembles on a data set.

    Attributes:
        metric: Name of the metric.
        categories: By category, corrected for their number.
        mean: Of the means over categories.
        design: What the interval of the mean resamples or counts.
    """

    metric: str
    categories: Mapping[str, Change]
    mean: Change
    design: Design


def compare_results(result: LabResult, base: LabResult, metric: str) -> Changes:
    """Compare two results of one data set in a metric.

    Where both hold bootstrap draws of the metric (always for image metrics), they are compared over images, these
    categories taken as given. Otherwise only the means are compared, over categories.

    Args:
        result: The ensemble of interest.
        base: What it is compared with, on the same images.
        metric: Name of the metric.
    """
    names = list(result.categories)
    values, other = result.values(metric), base.values(metric)
    images = {name: result.categories[name].values[metric] for name in names}
    drawn = all(metric in one.categories[name].replicates for one in (result, base) for name in names)
    if drawn:
        pairs = [[one.categories[name].replicates[metric] for one in (result, base)] for name in names]
        gaps = corrected([compare_over_images(pair)[0] for pair in pairs])
    else:
        gaps = tuple(_plain(values[name], other[name]) for name in names)
    changes = {
        name: Change(values[name], other[name], gap, images[name].n, gap.reason or images[name].reason)
        for name, gap in zip(names, gaps, strict=True)
    }
    known = [name for name in names if changes[name].gap.value is not None]
    if drawn and known:
        both = [[one.categories[name].replicates[metric] for name in known] for one in (result, base)]
        (mean,) = compare_over_images([mean_over_categories(some) for some in both])
    else:
        (mean,) = compare_over_categories([values, other])
    left_out = len(names) - len(known)
    whole = Change(
        _mean([changes[name].value for name in known]),
        _mean([changes[name].base for name in known]),
        mean,
        sum(changes[name].n for name in known),
        f"{left_out} of {len(names)} categories have no value" if left_out else mean.reason,
    )
    return Changes(metric, changes, whole, OVER_IMAGES if drawn else OVER_CATEGORIES)


def _plain(value: float | None, base: float | None) -> PairedDifference:
    """A difference in one category without draws: one category can't be compared over categories."""
    gap = None if value is None or base is None else value - base
    return PairedDifference(0, 1, gap, None, None, None, 1, OVER_CATEGORIES)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
