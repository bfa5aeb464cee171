"""Several methods on the same resamples: the same draws as one by one, honest tests, letters."""

from __future__ import annotations

import numpy as np
import pytest

from vlmad_core.errors import MetricError
from vlmad_core.metrics.comparison import PairedDifference
from vlmad_core.metrics.paired import (
    IMAGE_METRICS,
    Pair,
    compare_all,
    compare_over_categories,
    letters,
    shared_replicates,
)
from vlmad_core.metrics.uncertainty import image_replicates

LABELS = np.r_[np.zeros(30), np.ones(25)].astype(int)


def scores(strength: float, seed: int = 0) -> np.ndarray:
    return np.round(np.random.default_rng(seed).normal(size=LABELS.size) + strength * LABELS, 1)


@pytest.mark.parametrize("metric", IMAGE_METRICS)
def test_shared_draws_equal_those_made_one_by_one(metric: str) -> None:
    methods = [scores(0.5), scores(1.5, 1)]
    for one, shared in zip(methods, shared_replicates(LABELS, methods, metric, 200, 3), strict=True):
        alone = image_replicates(LABELS, one, 200, 3)[metric]
        np.testing.assert_allclose(shared.draws, alone.draws, atol=1e-6)
        assert (shared.value, shared.design) == (alone.value, alone.design)


def test_equal_methods_are_never_told_apart_and_unequal_ones_are() -> None:
    same, better = scores(0.2), scores(0.2) + 5 * LABELS
    found = compare_all(shared_replicates(LABELS, [same, same, better], "image_auroc"))
    by_pair = {(pair.first, pair.second): pair for pair in found}
    assert by_pair[0, 1].difference.p == 1.0
    assert not by_pair[0, 1].clear
    assert by_pair[0, 2].clear
    assert by_pair[0, 2].difference.high < 0
    assert all(pair.difference.p_holm >= pair.difference.p for pair in found)


def test_a_category_with_one_class_has_no_difference_but_a_reason() -> None:
    drawn = shared_replicates(np.zeros(5, int), [np.arange(5.0), np.arange(5.0)], "image_auroc")
    (pair,) = compare_all(drawn)
    assert pair.difference.p is None
    assert pair.difference.reason
    assert not pair.clear


def test_pixel_metrics_can_not_be_resampled_from_image_scores() -> None:
    with pytest.raises(MetricError, match="aupro_30"):
        shared_replicates(LABELS, [scores(1.0)], "aupro_30")


def test_methods_resampled_differently_are_refused() -> None:
    one = shared_replicates(LABELS, [scores(1.0)], "image_auroc", seed=0)
    two = shared_replicates(LABELS, [scores(1.0)], "image_auroc", seed=1)
    with pytest.raises(MetricError, match="not resampled alike"):
        compare_all(one + two)


def test_over_categories_a_steady_gap_is_clear_and_a_wavering_one_is_not() -> None:
    names = "abcdefgh"
    base = {name: 0.5 + 0.05 * k for k, name in enumerate(names)}
    steady = {name: value + 0.1 + 0.01 * (k % 2) for k, (name, value) in enumerate(base.items())}
    wavering = {name: value + (0.2 if k % 2 else -0.15) for k, (name, value) in enumerate(base.items())}
    found = {(p.first, p.second): p for p in compare_over_categories("aupro_30", [base, steady, wavering])}
    assert found[0, 1].clear
    assert found[0, 1].difference.n == 8
    assert not found[0, 2].clear


def test_two_categories_are_too_few() -> None:
    (pair,) = compare_over_categories("aupro_30", [{"a": 0.1, "b": 0.2}, {"a": 0.8, "b": 0.9, "c": None}])
    assert pair.difference.p is None
    assert "2 categories" in str(pair.difference.reason)


def test_few_categories_of_equal_methods_are_rarely_called_different() -> None:
    """The plain bootstrap over six categories would call about one in two such sets different."""
    random = np.random.default_rng(5)
    wrong = 0
    for _ in range(100):
        values = random.normal(0.7, 0.1, (6, 1)) + random.normal(0, 0.05, (6, 5))
        methods = [dict(zip("abcdef", column, strict=True)) for column in values.T]
        wrong += any(pair.clear for pair in compare_over_categories("aupro_30", methods))
    assert wrong <= 12


def pair(first: int, second: int, p: float) -> Pair:
    return Pair(first, second, PairedDifference("m", 0.1, 0.0, 0.2, p, 9, None, p))


def test_letters_say_exactly_what_the_pairs_say() -> None:
    random = np.random.default_rng(2)
    for _ in range(50):
        values = sorted(random.uniform(size=6), reverse=True)
        pairs = [pair(i, j, float(random.uniform(0, 0.12))) for i in range(6) for j in range(i + 1, 6)]
        shown = letters(values, pairs)
        for one in pairs:
            share = bool(set(shown[one.first]) & set(shown[one.second]))
            assert share == (not one.clear)


def test_the_best_has_the_letter_a_and_blanks_have_none() -> None:
    assert letters([None, 0.4, 0.9], [pair(1, 2, 0.001)]) == ["", "b", "a"]
    assert letters([], []) == []
