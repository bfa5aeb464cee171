"""Test sets drawn again: which images stand in each resample, and a metric on each of them.

Which images a resample draws depends on their ids and labels alone, not on their order: all methods, presets, numbers
of references and seeds that judged the same images can be compared draw by draw.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vlmad_core.errors import MetricError

Floats = NDArray[np.float64]

IMAGE_RESAMPLES = 2000
PIXEL_RESAMPLES = 500
STORED_RESAMPLES = 200
"""Resamples that a unit keeps, the first of those its intervals are made of: what entries are compared with."""

_CHUNK = 1 << 21
"""Weights (resamples times images) handled at a time."""


@dataclass(frozen=True)
class Replicates:
    """One metric on resampled test sets.

    Attributes:
        metric: Name of the metric.
        value: The metric on the test set itself, exact; None where it does not exist.
        draws: The metric on each resample, float64 [B]; NaN where a resample can't be evaluated (no defective pixel is
            in it); empty where `value` is None.
        n: Number of images (of all categories, for a mean over categories).
        fewest: Number of images of the smaller class (summed over categories, for a mean over them).
        design: Digest of ids, labels and seed: two results with the same digest used the same resamples and may be
            compared draw by draw.
        reason: Why there is no value, or None.
        approximate: Whether the draws come from counts at a grid of thresholds instead of all of them.
        parts: Number of categories a mean is over; 1 for a single one.
    """

    metric: str
    value: float | None
    draws: Floats
    n: int
    fewest: int
    design: str
    reason: str | None = None
    approximate: bool = False
    parts: int = 1

    @property
    def spread(self) -> float | None:
        """Standard error of the value; None with fewer than two draws."""
        return self.spread_of(self.draws)

    def spread_of(self, draws: Floats) -> float | None:
        """Standard error of a value with these draws: their deviation, put right.

        Resampling n images shows (n - 1) / n of their variance.

        Args:
            draws: Of the metric, or of its difference to another; float64 [B]; NaN are left out.
        """
        known = draws[np.isfinite(draws)]
        if known.size < 2:
            return None
        images = self.fewest / self.parts
        return float(known.std(ddof=1)) * math.sqrt(images / max(images - 1, 1))


def resample_weights(
    labels: NDArray[np.bool_], resamples: int, seed: int, ids: Sequence[str] | None = None
) -> Iterator[NDArray[np.int64]]:
    """Draw how often each image stands in each resample, separately among normal and anomalous images.

    Args:
        labels: Boolean [N]; True is anomalous.
        resamples: Number of resamples; more of them begin with the same ones.
        seed: Seed; the same images and seed give the same weights.
        ids: Names of the images, [N]; in which order they are given then plays no part. None: their places.

    Yields:
        int64 [b, N], as many rows at a time as fit into bounded memory; `resamples` rows in all.

    Raises:
        MetricError: If `resamples` is below 1.
    """
    if resamples < 1:
        raise MetricError(f"{resamples} resamples asked for.", "Ask for at least 1; 1000 or more for an interval.")
    # One generator per class, so that the draws don't depend on how many rows are made at a time.
    generators = [np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(2)]
    order = np.arange(labels.size) if ids is None else np.argsort(np.asarray(ids, dtype=np.str_), kind="stable")
    members = [order[~labels[order]], order[labels[order]]]
    rows = max(1, _CHUNK // max(labels.size, 1))
    for start in range(0, resamples, rows):
        count = min(rows, resamples - start)
        weights = np.zeros((count, labels.size), np.int64)
        for generator, index in zip(generators, members, strict=True):
            if index.size:
                shares = np.full(index.size, 1.0 / index.size)
                weights[:, index] = generator.multinomial(index.size, shares, size=count)
        yield weights


def design_of(labels: NDArray[np.bool_], seed: int, ids: Sequence[str] | None = None) -> str:
    """Digest of what the resamples depend on.

    Args:
        labels: Boolean [N].
        seed: Seed.
        ids: Names of the images, [N]; None for their places.

    Returns:
        16 hexadecimal digits.

    Raises:
        MetricError: If there is not one id for each label.
    """
    names = [str(place) for place in range(labels.size)] if ids is None else list(ids)
    if len(names) != labels.size:
        raise MetricError(f"{len(names)} ids for {labels.size} labels.", "Give one id per image.")
    images = sorted(zip(names, labels.tolist(), strict=True))
    content = "\n".join([str(seed), *(f"{int(label)} {name}" for name, label in images)])
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def fewest_of(labels: NDArray[np.bool_]) -> int:
    """Number of images of the smaller class that has any."""
    anomalous = int(labels.sum())
    return min((count for count in (anomalous, labels.size - anomalous) if count), default=0)


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
        return Replicates(first.metric, None, np.zeros(0), 0, 0, digest, "no category has a value")
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
        fewest=sum(item.fewest for item in present),
        design=digest,
        reason=f"{left_out} of {len(categories)} categories have no value" if left_out else None,
        approximate=any(item.approximate for item in present),
        parts=len(present),
    )


def mean_over_seeds(seeds: Sequence[Replicates]) -> Replicates:
    """Mean of one metric in one category over several draws of references, draw by draw, on the same test images.

    Args:
        seeds: Replicates of the same metric under one design; at least one.

    Returns:
        The mean; one without a value if one of them has none.
    """
    without = next((item for item in seeds if item.value is None), None)
    if without is not None or len(seeds) == 1:
        return without or seeds[0]
    value = float(np.mean([item.value for item in seeds if item.value is not None]))
    return replace(seeds[0], value=value, draws=np.mean([item.draws for item in seeds], axis=0))


def _stride(size: int) -> int:
    return max(1, round(size * 0.381966))
