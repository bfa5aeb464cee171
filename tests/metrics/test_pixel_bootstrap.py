from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from vlmad_core.errors import MetricError
from vlmad_core.metrics import order_pixels, pixel_metrics, pixel_replicates
from vlmad_core.metrics.pixel_bootstrap import threshold_grid
from vlmad_core.metrics.resampling import resample_weights
from vlmad_core.metrics.uncertainty import interval


def exact_draws(maps: np.ndarray, masks: np.ndarray, resamples: int, seed: int) -> dict[str, np.ndarray]:
    """Every resample put together image by image and evaluated in full."""
    (weights,) = resample_weights(np.asarray(masks.any(axis=(1, 2))), resamples, seed)
    rows = []
    for row in weights:
        index = np.repeat(np.arange(len(maps)), row)
        rows.append({k: v.value for k, v in pixel_metrics(maps[index], masks[index]).items()})
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def test_grid_is_close_to_exact(make_case) -> None:  # type: ignore[no-untyped-def]
    maps, masks = make_case(images=30, side=64)
    replicates = pixel_replicates(maps, masks, resamples=10, seed=5)
    for name, expected in exact_draws(maps, masks, 10, 5).items():
        assert replicates[name].approximate
        assert np.abs(replicates[name].draws - expected).max() < 1e-3, name
        # The error is far below what the interval says about the images.
        assert np.abs(replicates[name].draws - expected).max() < 0.1 * expected.std(), name


def test_few_distinct_scores_are_exact(make_case) -> None:  # type: ignore[no-untyped-def]
    maps, masks = make_case(images=12)
    coarse = maps.round(1)
    replicates = pixel_replicates(coarse, masks, resamples=8, seed=1)
    for name, expected in exact_draws(coarse, masks, 8, 1).items():
        assert not replicates[name].approximate
        assert np.allclose(replicates[name].draws, expected, atol=1e-12), name


def test_rescaled_scores_give_the_same_draws(make_case) -> None:  # type: ignore[no-untyped-def]
    maps, masks = make_case(images=12)
    ranks = np.unique(maps, return_inverse=True)[1].reshape(maps.shape)
    a = pixel_replicates(maps, masks, resamples=5)
    b = pixel_replicates(ranks.astype(np.float32) ** 2, masks, resamples=5)
    for name in a:
        assert np.allclose(a[name].draws, b[name].draws, atol=1e-12), name


def test_values_are_exact_and_inside(make_case) -> None:  # type: ignore[no-untyped-def]
    maps, masks = make_case(images=30)
    values = pixel_metrics(maps, masks)
    for name, item in pixel_replicates(maps, masks, ordering=order_pixels(maps, masks), resamples=200).items():
        value = interval(item)
        assert value.value == values[name].value
        assert value.n == 30
        assert value.low is not None
        assert value.high is not None
        assert 0 <= value.low < value.value < value.high <= 1  # type: ignore[operator]


def test_anomalous_images_may_have_empty_masks(make_case) -> None:  # type: ignore[no-untyped-def]
    maps, masks = make_case(images=4)
    masks[1] = False
    labels = [1, 1, 0, 0]
    masks[3] = False
    draws = pixel_replicates(maps, masks, labels=labels, resamples=100)["aupro_30"].draws
    # A quarter of the resamples holds the empty mask twice and can't be evaluated; each keeps its place.
    assert draws.size == 100
    assert 50 < np.isfinite(draws).sum() < 100


def test_grid_is_falling_and_ends_with_the_smallest_score(make_case) -> None:  # type: ignore[no-untyped-def]
    maps, masks = make_case(images=20)
    grid, mixed = threshold_grid(order_pixels(maps, masks), 256)
    assert grid.size <= 256
    assert np.all(np.diff(grid) < 0)
    assert grid[-1] == maps.min()
    distinct = np.unique(maps)
    between = [int(((distinct > low) & (distinct < high)).sum()) for high, low in pairwise(grid)]
    assert mixed[1:].tolist() == [count > 0 for count in between]
    with pytest.raises(MetricError, match="coarse"):
        threshold_grid(order_pixels(maps, masks), 8)


def test_no_defects_and_bad_labels(make_case) -> None:  # type: ignore[no-untyped-def]
    maps, masks = make_case(images=3)
    found = pixel_replicates(maps, np.zeros_like(masks), resamples=5)
    assert all(item.value is None and item.reason == "no defective pixels" for item in found.values())
    with pytest.raises(MetricError, match="Image 0 is labelled normal"):
        pixel_replicates(maps, masks, labels=[0, 1, 0])
    with pytest.raises(MetricError, match="2 labels for 3 maps"):
        pixel_replicates(maps, masks, labels=[1, 1])
    with pytest.raises(MetricError, match="ordering holds 2 images"):
        pixel_replicates(maps, masks, ordering=order_pixels(maps[:2], masks[:2]))
