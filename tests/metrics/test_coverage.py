"""Do intervals hold the true value, and are equal methods called equal? Simulated; docs/metrics.md has larger runs."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from vlmad_core.analysis.statistics import compare_over_images
from vlmad_core.metrics import image_replicates
from vlmad_core.metrics.resampling import Replicates, mean_over_categories
from vlmad_core.metrics.uncertainty import interval

SIDE = 30
LABELS = np.arange(2 * SIDE) >= SIDE


def drawn(true_auroc: float, random: np.random.Generator, resamples: int = 200) -> tuple[np.ndarray, Replicates]:
    """Scores of normal and anomalous images at a true image AUROC, and their replicates."""
    scores = random.standard_normal(LABELS.size) + LABELS * stats.norm.ppf(true_auroc) * np.sqrt(2)
    return scores, image_replicates(LABELS, scores, resamples)["image_auroc"]


def delong(scores: np.ndarray) -> float:
    """Standard error of the AUROC (DeLong, DeLong and Clarke-Pearson, Biometrics 1988), from placement values."""
    normal, anomalous = scores[~LABELS], scores[LABELS]
    won = (anomalous[:, None] > normal[None]) + 0.5 * (anomalous[:, None] == normal[None])
    return float(np.sqrt(won.mean(axis=1).var(ddof=1) / anomalous.size + won.mean(axis=0).var(ddof=1) / normal.size))


@pytest.mark.parametrize("true_auroc", [0.75, 0.9, 0.97])
def test_intervals_hold_the_true_value_where_quantiles_of_draws_miss_it(true_auroc: float) -> None:
    random = np.random.default_rng(3)
    sets, held, by_quantiles = 300, 0, 0
    for _ in range(sets):
        _, one = drawn(true_auroc, random)
        ends = interval(one)
        held += ends.low <= true_auroc <= ends.high  # type: ignore[operator]
        low, high = np.quantile(one.draws, [0.025, 0.975])
        by_quantiles += low <= true_auroc <= high
    assert 0.93 <= held / sets <= 0.97
    if true_auroc == 0.97:
        assert by_quantiles / sets < 0.9


def test_intervals_agree_with_delongs() -> None:
    """On moderate AUROC: the standard errors within a tenth, the ends within three points of DeLong's on the logit."""
    random = np.random.default_rng(4)
    for true_auroc in (0.75, 0.85):
        for _ in range(12):
            scores, one = drawn(true_auroc, random, 1000)
            error, value, ends = delong(scores), one.value, interval(one)
            assert one.spread == pytest.approx(error, rel=0.1)
            assert value is not None
            reach = 1.96 * error / (value * (1 - value))
            logit = np.log(value / (1 - value))
            expected = 1 / (1 + np.exp(-(logit + np.array([-reach, reach]))))
            assert [ends.low, ends.high] == pytest.approx(expected.tolist(), abs=0.03)


def test_perfect_separation_has_an_interval_with_a_width() -> None:
    perfect = interval(image_replicates(LABELS, np.arange(60.0))["image_auroc"])
    assert perfect.value == perfect.high == 1.0
    assert perfect.low == pytest.approx(150 / (150 + 1.96**2), abs=1e-4)
    worst = interval(image_replicates(LABELS, -np.arange(60.0))["image_auroc"])
    assert (worst.low, worst.high) == pytest.approx((0.0, 1 - 0.975), abs=1e-3)


@pytest.mark.parametrize(("true_auroc", "categories"), [(0.75, 1), (0.97, 1), (0.9, 6)])
def test_equal_methods_are_called_different_at_most_seven_times_in_a_hundred(
    true_auroc: float, categories: int
) -> None:
    random = np.random.default_rng(5)
    sets = 600 // (2 * categories)
    alarms = 0
    for _ in range(sets):
        pair = [mean_over_categories([drawn(true_auroc, random)[1] for _ in range(categories)]) for _ in range(2)]
        alarms += compare_over_images(pair)[0].clear
    assert alarms / sets <= 0.07


def test_a_difference_of_half_its_interval_is_where_it_begins_to_be_clear() -> None:
    random = np.random.default_rng(6)
    for _ in range(30):
        (gap,) = compare_over_images([drawn(quality, random)[1] for quality in (0.9, 0.75)])
        assert gap.low is not None
        assert gap.high is not None
        assert gap.clear == (gap.low > 0 or gap.high < 0)
