from __future__ import annotations

import numpy as np
import pytest

from vlmad_core.errors import MetricError
from vlmad_core.metrics import MetricValue, image_metrics, image_replicates, resampling, with_intervals
from vlmad_core.metrics.resampling import design_of, mean_over_categories, mean_over_seeds, resample_weights
from vlmad_core.metrics.uncertainty import interval


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
    monkeypatch.setattr(resampling, "_CHUNK", 350)
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


def test_draws_depend_on_ids_and_labels_but_not_on_their_order() -> None:
    labels, scores = sample(2)
    ids = [f"{number:03d}.png" for number in range(labels.size)]
    shuffled = np.random.default_rng(0).permutation(labels.size)
    one = image_replicates(labels, scores, 50, ids=ids)["image_ap"]
    other = image_replicates(labels[shuffled], scores[shuffled], 50, ids=[ids[k] for k in shuffled])["image_ap"]
    assert one.design == other.design
    np.testing.assert_allclose(one.draws, other.draws, atol=1e-12)
    assert design_of(labels, 0, [f"other/{name}" for name in ids]) != one.design
    assert design_of(~labels, 0, ids) != one.design
    with pytest.raises(MetricError, match="2 ids for 70 labels"):
        design_of(labels, 0, ["a", "b"])


def test_more_resamples_begin_with_the_same_ones() -> None:
    few, many = (image_replicates(*sample(2), resamples=count)["image_auroc"] for count in (50, 120))
    assert few.design == many.design
    assert np.array_equal(few.draws, many.draws[:50])


def test_mean_over_seeds_is_taken_draw_by_draw() -> None:
    labels, scores = sample(0)
    seeds = [image_replicates(labels, scores + shift * labels, 40)["image_auroc"] for shift in (0.0, 1.0)]
    mean = mean_over_seeds(seeds)
    assert mean.value == pytest.approx((seeds[0].value + seeds[1].value) / 2)  # type: ignore[operator]
    assert np.allclose(mean.draws, (seeds[0].draws + seeds[1].draws) / 2)
    assert mean.fewest == 30
    blank = image_replicates([1, 1], [0.1, 0.2])["image_auroc"]
    assert mean_over_seeds([seeds[0], blank]).value is None


def test_the_spread_is_put_right_for_the_number_of_images() -> None:
    one = image_replicates([0] * 4 + [1] * 4, [1, 2, 3, 6, 4, 5, 7, 8], resamples=300)["image_auroc"]
    assert one.spread == pytest.approx(one.draws.std(ddof=1) * np.sqrt(4 / 3))
    mean = mean_over_categories([one] * 6)
    assert mean.spread == pytest.approx(mean.draws.std(ddof=1) * np.sqrt(4 / 3))
    assert (mean.fewest, mean.parts) == (24, 6)
