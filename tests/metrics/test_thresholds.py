from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlmad_core.errors import MetricError
from vlmad_core.metrics import f1max_threshold
from vlmad_core.metrics.thresholds import Threshold, stored_threshold, threshold_from_normals, user_threshold, verdict


def test_oracle_reaches_the_largest_f1_and_says_that_it_is_one() -> None:
    labels, scores = np.array([0, 0, 1, 0, 1, 1]), np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    threshold = f1max_threshold(labels, scores)
    assert threshold is not None
    assert threshold.value == 0.3
    assert threshold.origin == "f1max_oracle"
    assert "oracle" in str(verdict(0.4, threshold))
    assert f1max_threshold([1, 1], [0.1, 0.2]) is None


@given(
    st.lists(st.floats(-10, 10, width=32), min_size=1, max_size=40),
    st.floats(0, 0.999),
    st.sampled_from([np.float32, np.float64]),
)
@settings(max_examples=80, deadline=None)
def test_rate_on_the_references_is_kept(scores: list[float], rate: float, dtype: type) -> None:
    values: np.ndarray = np.array(scores, dtype)
    threshold = threshold_from_normals(values, rate)
    assert threshold.origin == "normal_references"
    assert str(values.size) in threshold.detail
    # Also when compared in the precision of the scores.
    assert np.mean(values >= dtype(threshold.value)) <= rate + 1e-9
    lower = values[values < threshold.value]
    if lower.size:
        assert np.mean(values >= lower.max()) > rate - 1e-9


def test_rate_of_zero_calls_no_reference_anomalous() -> None:
    assert threshold_from_normals([0.1, 0.9, 0.5], 0.0).value > 0.9


def test_bad_references() -> None:
    with pytest.raises(MetricError, match="No normal reference"):
        threshold_from_normals([], 0.05)
    with pytest.raises(MetricError, match="index 1"):
        threshold_from_normals([0.1, np.nan], 0.05)
    with pytest.raises(MetricError, match="outside"):
        threshold_from_normals([0.1], 1.0)


def test_score_on_the_threshold_is_anomalous() -> None:
    threshold = user_threshold(0.25)
    assert verdict(0.25, threshold).anomalous
    assert not verdict(np.nextafter(0.25, 0), threshold).anomalous


def test_verdict_carries_where_its_threshold_came_from() -> None:
    assert "set by the user" in str(verdict(0.1, user_threshold(0.5)))
    stored = verdict(0.9, stored_threshold(0.5, "bundled_a/winclip"))
    assert stored.threshold.origin == "stored_run"
    assert "bundled_a/winclip" in str(stored)
    assert str(stored).startswith("anomalous")


def test_what_is_no_threshold() -> None:
    with pytest.raises(MetricError, match="finite"):
        user_threshold(float("nan"))
    with pytest.raises(MetricError, match="origin"):
        Threshold(0.5, "guess", "")  # type: ignore[arg-type]
    with pytest.raises(MetricError, match="finite"):
        verdict(float("inf"), user_threshold(0.5))
