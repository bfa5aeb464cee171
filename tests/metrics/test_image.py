from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from vlmad_core.errors import MetricError
from vlmad_core.metrics.image import (
    expected_calibration_error,
    image_auroc,
    image_curves,
    image_metrics,
    reliability,
    steps,
)

# Few distinct scores, so that ties are common.
ITEMS = st.lists(st.tuples(st.booleans(), st.integers(-3, 3)), min_size=2, max_size=30).filter(
    lambda items: len({label for label, _ in items}) == 2
)


def split(items: list[tuple[bool, int]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([label for label, _ in items]), np.array([score for _, score in items], float)


def values(labels: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    return {name: value.value for name, value in image_metrics(labels, scores).items()}  # type: ignore[misc]


@given(ITEMS)
@settings(max_examples=60, deadline=None)
def test_equals_scikit_learn_with_ties(items: list[tuple[bool, int]]) -> None:
    labels, scores = split(items)
    found = values(labels, scores)
    assert found["image_auroc"] == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert found["image_ap"] == pytest.approx(average_precision_score(labels, scores), abs=1e-12)
    precision, recall, _ = precision_recall_curve(labels, scores)
    f1 = 2 * precision * recall / np.where(precision + recall > 0, precision + recall, 1)
    assert found["image_f1max"] == pytest.approx(f1.max(), abs=1e-12)
    assert all(0.0 <= value <= 1.0 for value in found.values())


@given(ITEMS, st.lists(st.floats(0.001, 1000), min_size=7, max_size=7), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_only_the_order_of_scores_matters(items, gaps, random) -> None:  # type: ignore[no-untyped-def]
    labels, scores = split(items)
    stretched = np.cumsum(gaps)[scores.astype(int) + 3] - 500.0
    assert values(labels, stretched) == values(labels, scores)
    order = list(range(len(items)))
    random.shuffle(order)
    assert values(labels[order], scores[order]) == values(labels, scores)


@given(ITEMS)
@settings(max_examples=30, deadline=None)
def test_reversed_scores_mirror_auroc(items: list[tuple[bool, int]]) -> None:
    labels, scores = split(items)
    assert values(labels, -scores)["image_auroc"] == pytest.approx(1 - values(labels, scores)["image_auroc"])


def test_constant_scores() -> None:
    found = image_metrics([0, 0, 0, 1], [0.5] * 4)
    assert found["image_auroc"].value == 0.5
    assert found["image_ap"].value == 0.25
    assert found["image_f1max"].value == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("labels", "reason"), [([1, 1], "no normal images"), ([0, 0], "no anomalous images"), ([], "no images")]
)
def test_missing_class_is_blank_with_reason(labels: list[int], reason: str) -> None:
    for value in image_metrics(labels, [0.1] * len(labels)).values():
        assert value.value is None
        assert value.reason == reason
        assert value.n == len(labels)
    assert image_curves(labels, [0.1] * len(labels)) == {}


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_score_that_is_not_finite_is_named(bad: float) -> None:
    with pytest.raises(MetricError, match="index 2"):
        image_metrics([0, 1, 1, 0], [0.1, 0.2, bad, bad])


def test_malformed_input() -> None:
    with pytest.raises(MetricError, match="one-dimensional"):
        image_auroc([[0, 1]], [[0.1, 0.2]])
    with pytest.raises(MetricError, match="equal length"):
        image_metrics([0, 1], [0.1])
    with pytest.raises(MetricError, match="index 1"):
        image_metrics([0, 2], [0.1, 0.2])


def test_negative_zero_ties_with_zero() -> None:
    assert image_auroc([0, 1], [0.0, -0.0]).value == 0.5


def test_steps_end_with_all_items() -> None:
    counts = steps([0, 1, 1, 0], [3, 3, 2, 1])
    assert counts.thresholds.tolist() == [3, 2, 1]
    assert (counts.tp.tolist(), counts.fp.tolist()) == ([1, 2, 2], [1, 1, 2])
    assert (counts.positives, counts.negatives) == (2, 2)


def test_curves_carry_the_metrics() -> None:
    rng = np.random.default_rng(0)
    labels = rng.random(3000) < 0.4
    scores = rng.standard_normal(3000) + labels
    curves = image_curves(labels, scores)
    found = image_metrics(labels, scores)
    roc, pr = curves["roc"], curves["pr"]
    assert max(roc.x.size, pr.x.size) <= 512
    assert not roc.complete
    assert np.trapezoid(roc.y, roc.x) == pytest.approx(found["image_auroc"].value, abs=1e-3)
    assert np.trapezoid(pr.y, pr.x) == pytest.approx(found["image_ap"].value, abs=5e-3)
    assert np.all(np.diff(roc.x) >= 0)
    assert np.all(np.diff(roc.thresholds) <= 0)
    # Each point is what its threshold says.
    for k in (0, 100, 300, roc.x.size - 1):
        called = scores >= roc.thresholds[k]
        assert roc.x[k] == pytest.approx(called[~labels].mean())
        assert roc.y[k] == pytest.approx(called[labels].mean())


def test_groups_hold_every_item_once_by_rising_score() -> None:
    rng = np.random.default_rng(0)
    scores = rng.uniform(size=97)
    labels = rng.integers(0, 2, 97)
    found = reliability(labels, scores)
    assert found.n.sum() == 97
    assert found.n.max() - found.n.min() <= 1
    assert (np.diff(found.score) > 0).all()
    assert np.average(found.share, weights=found.n) == pytest.approx(labels.mean())
    assert np.average(found.score, weights=found.n) == pytest.approx(scores.mean())


def test_the_order_of_items_does_not_matter_even_with_ties() -> None:
    rng = np.random.default_rng(1)
    scores = rng.integers(0, 4, 60) / 4
    labels = rng.integers(0, 2, 60)
    order = rng.permutation(60)
    first, second = reliability(labels, scores), reliability(labels[order], scores[order])
    np.testing.assert_array_equal(first.n, second.n)
    np.testing.assert_allclose(first.share, second.share)
    assert len(set(first.score.tolist())) == len(first.score)


def test_error_of_right_probabilities_is_zero_and_of_wrong_ones_one() -> None:
    labels = np.array([0, 0, 1, 1])
    assert expected_calibration_error(labels, labels.astype(float)) == 0.0
    assert expected_calibration_error(labels, 1.0 - labels) == 1.0
    assert expected_calibration_error([0, 1, 0, 1], [0.5] * 4) == 0.0


def test_error_by_hand() -> None:
    # two groups: scores 0.1 and 0.3 (mean 0.2, none anomalous), 0.8 and 0.9 (mean 0.85, half anomalous)
    assert expected_calibration_error([0, 0, 1, 0], [0.1, 0.3, 0.8, 0.9], bins=2) == pytest.approx(
        0.5 * 0.2 + 0.5 * 0.35
    )


def test_scores_that_are_no_probabilities_have_no_error() -> None:
    assert expected_calibration_error([0, 1], [0.2, 1.2]) is None
    assert expected_calibration_error([0, 1], [-0.1, 0.5]) is None
    assert expected_calibration_error([], []) is None
    assert len(reliability([0, 1], [-5.0, 12.0]).n) == 2


@pytest.mark.parametrize(
    ("labels", "scores", "bins"),
    [([0, 1], [0.5], 3), ([0, 2], [0.1, 0.2], 3), ([0, 1], [0.1, np.nan], 3), ([0], [0], 0)],
)
def test_what_can_not_be_grouped_is_refused(labels: list[int], scores: list[float], bins: int) -> None:
    with pytest.raises(MetricError):
        reliability(labels, scores, bins)
