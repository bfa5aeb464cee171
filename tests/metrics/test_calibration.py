from __future__ import annotations

import numpy as np
import pytest

from vlmad_core.errors import MetricError
from vlmad_core.metrics.calibration import expected_calibration_error, reliability


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
