from __future__ import annotations

import numpy as np
import pytest

from vlmad_core.errors import MetricError
from vlmad_core.metrics import MetricValue, image_metrics, image_replicates, uncertainty, with_intervals
from vlmad_core.metrics.uncertainty import (
    IMAGE_METRICS,
    interval,
    mean_over_categories,
    resample_weights,
    shared_replicates,
)


def sample(seed: int, normal: int = 30, anomalous: int = 40, gap: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.arange(normal + anomalous) >= normal
    return labels, rng.standard_normal(labels.size) + gap * labels


@pytest.mark.parametrize("digits", [None, 0])
def test_draws_are_the_metrics_of_the_resampled_images(digits: int | None) -> None:
    labels, scores = sample(0)
    scores = scores if digits is None else scores.round(digits)
    replicates = image_replicates(labels, scores, resamples=20, seed=4)
    (weights,) = resample_weights(labels, 20, 4)
    for row in range(20):
        index = np.repeat(np.arange(labels.size), weights[row])
        for name, value in image_metrics(labels[index], scores[index]).items():
            assert replicates[name].draws[row] == pytest.approx(value.value, abs=1e-12), name


def test_resamples_are_stratified_and_repeatable() -> None:
    labels = np.arange(50) % 3 == 0
    weights = np.concatenate(list(resample_weights(labels, 30, 1)))
    assert weights.shape == (30, 50)
    assert np.all(weights[:, labels].sum(axis=1) == labels.sum())
    assert np.all(weights[:, ~labels].sum(axis=1) == (~labels).sum())
    assert np.array_equal(weights, np.concatenate(list(resample_weights(labels, 30, 1))))
    assert not np.array_equal(weights, np.concatenate(list(resample_weights(labels, 30, 2))))


def test_memory_chunks_do_not_change_the_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = np.arange(50) % 3 == 0
    whole = np.concatenate(list(resample_weights(labels, 30, 1)))
    monkeypatch.setattr(uncertainty, "_CHUNK", 350)
    parts = list(resample_weights(labels, 30, 1))
    assert len(parts) == 5
    assert np.array_equal(np.concatenate(parts), whole)


def test_interval_covers_the_true_value() -> None:
    # AUROC of two normal distributions one standard deviation apart.
    truth = 0.7602499
    covered = 0
    for seed in range(120):
        replicates = image_replicates(*sample(seed), resamples=300, seed=seed)
        value = interval(replicates["image_auroc"])
        assert value.low is not None
        assert value.high is not None
        covered += value.low <= truth <= value.high
    # 95 % nominal; 120 tries and a percentile interval leave some room.
    assert 0.88 <= covered / 120 <= 1.0


def test_interval_holds_the_value_and_narrows_with_images() -> None:
    widths = []
    for size in (20, 80, 320):
        value = interval(image_replicates(*sample(1, size, size), resamples=500)["image_auroc"])
        assert value.low is not None
        assert value.high is not None
        assert value.value is not None
        assert value.low <= value.value <= value.high
        assert value.n == 2 * size
        widths.append(value.high - value.low)
    assert widths[0] > widths[1] > widths[2]
    wide = interval(image_replicates(*sample(1, 80, 80), resamples=500)["image_auroc"], 0.5)
    assert wide.high is not None
    assert wide.low is not None
    assert wide.high - wide.low < widths[1]


def test_missing_class_has_no_interval() -> None:
    replicates = image_replicates([1, 1], [0.1, 0.2])["image_auroc"]
    assert replicates.value is None
    assert interval(replicates) == MetricValue(None, "no normal images", n=2)


def test_with_intervals_keeps_what_has_none() -> None:
    labels, scores = sample(0)
    values = {**image_metrics(labels, scores), "other": MetricValue(0.5, n=3)}
    filled = with_intervals(values, image_replicates(labels, scores, resamples=100))
    assert list(filled) == list(values)
    assert filled["other"] == values["other"]
    auroc = filled["image_auroc"]
    assert auroc.value == values["image_auroc"].value
    assert auroc.low is not None
    assert auroc.low < auroc.value < auroc.high  # type: ignore[operator]


def test_mean_over_categories() -> None:
    categories = [image_replicates(*sample(seed), resamples=400)["image_auroc"] for seed in range(6)]
    mean = mean_over_categories(categories)
    assert mean.value == pytest.approx(np.mean([item.value for item in categories]))
    assert mean.n == 6 * 70
    # Independent categories: the spread of the mean is that of one over the root of their number.
    spread = np.mean([item.draws.std() for item in categories]) / np.sqrt(6)
    assert mean.draws.std() == pytest.approx(spread, rel=0.2)


def test_mean_names_what_it_leaves_out() -> None:
    full = image_replicates(*sample(0), resamples=50)["image_auroc"]
    empty = image_replicates([1, 1], [0.1, 0.2], resamples=50)["image_auroc"]
    mean = mean_over_categories([full, empty])
    assert mean.value == full.value
    assert mean.reason == "1 of 2 categories have no value"
    assert mean_over_categories([empty]).value is None
    with pytest.raises(MetricError, match="different metrics"):
        mean_over_categories([full, image_replicates(*sample(0), resamples=50)["image_ap"]])
    with pytest.raises(MetricError, match="numbers of resamples"):
        mean_over_categories([full, image_replicates(*sample(0), resamples=60)["image_auroc"]])
    with pytest.raises(MetricError, match="No categories"):
        mean_over_categories([])


def test_bad_settings() -> None:
    with pytest.raises(MetricError, match="resamples"):
        image_replicates(*sample(0), resamples=0)
    with pytest.raises(MetricError, match="level"):
        interval(image_replicates(*sample(0), resamples=10)["image_ap"], 1.0)


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


def test_pixel_metrics_can_not_be_resampled_from_image_scores() -> None:
    with pytest.raises(MetricError, match="aupro_30"):
        shared_replicates(LABELS, [scores(1.0)], "aupro_30")
