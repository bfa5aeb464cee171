from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import average_precision_score, roc_auc_score

from vlmad_core.errors import MetricError
from vlmad_core.metrics import (
    evaluate_pixels,
    order_pixels,
    pixel_metrics,
    pixel_threshold_at_fpr,
)

SHAPES = st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(1, 6))


@st.composite
def cases(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Small maps with few distinct scores, and any masks with both kinds of pixel."""
    shape = draw(SHAPES)
    scores = draw(hnp.arrays(np.int8, shape, elements=st.integers(-4, 4)))
    masks = draw(hnp.arrays(np.bool_, shape))
    assume(masks.any() and not masks.all())
    return scores.astype(np.float32) / 4, masks


def values(maps: Any, masks: Any, limits: tuple[float, ...] = (0.3, 0.05)) -> dict[str, float]:
    return {name: value.value for name, value in pixel_metrics(maps, masks, limits).items()}  # type: ignore[misc]


@given(cases())
@settings(max_examples=80, deadline=None)
def test_equals_brute_force_with_ties(brute, case) -> None:  # type: ignore[no-untyped-def]
    limits = (0.3, 0.05, 1.0, 0.5)
    found = values(case[0], case[1], limits)
    expected = brute.metrics(*case, limits)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-12), name
        assert 0.0 <= found[name] <= 1.0


@given(cases(), st.lists(st.floats(0.0078125, 64, width=16), min_size=9, max_size=9))
@settings(max_examples=60, deadline=None)
def test_strictly_increasing_maps_of_the_scores_change_nothing(case, gaps) -> None:  # type: ignore[no-untyped-def]
    maps, masks = case
    stretched = np.cumsum(gaps, dtype=np.float32)[(maps * 4).astype(int) + 4] - np.float32(100)
    assert values(stretched, masks) == values(maps, masks)


@given(cases(), st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_order_of_images_changes_nothing(case, random) -> None:  # type: ignore[no-untyped-def]
    maps, masks = case
    order = list(range(len(maps)))
    random.shuffle(order)
    moved = values(maps[order], masks[order])
    for name, value in values(maps, masks).items():
        assert moved[name] == pytest.approx(value, abs=1e-13)


@given(cases(), st.integers(1, 9))
@settings(max_examples=40, deadline=None)
def test_blocks_do_not_depend_on_their_size(case, size) -> None:  # type: ignore[no-untyped-def]
    ordering = order_pixels(*case)
    weights = ordering.region_weights()
    (whole,) = ordering.blocks(weights, 10_000)
    parts = list(ordering.blocks(weights, size))
    for name in ("thresholds", "tp", "fp", "fp_above", "tp_before", "fp_before"):
        joined = np.concatenate([getattr(part, name) for part in parts])
        assert np.array_equal(joined, getattr(whole, name)), name
    assert np.allclose(np.concatenate([part.pro for part in parts]), whole.pro, atol=1e-14)
    assert whole.tp[-1] == ordering.n_defective
    assert whole.pro[-1] == pytest.approx(1.0)


@pytest.mark.parametrize("case", ["smooth", "ties", "narrow"])
def test_golden(golden_folder: Path, case: str) -> None:
    expected = json.loads((golden_folder / "expected.json").read_text())["cases"][case]
    arrays = np.load(golden_folder / "cases.npz")
    found = values(arrays[f"{case}_maps"], arrays[f"{case}_masks"].astype(bool))
    for name in ("pixel_auroc", "pixel_ap", "pixel_f1max"):
        assert found[name] == pytest.approx(expected[name], abs=1e-6)
    assert found["aupro_30"] == pytest.approx(expected["aupro_exact"], abs=1e-6)
    assert found["aupro_30"] == pytest.approx(expected["aupro_anomalib"], abs=1e-6)


def test_equals_scikit_learn_and_brute_force_on_real_valued_maps(make_case, brute) -> None:  # type: ignore[no-untyped-def]
    maps, masks = make_case(images=4, side=16)
    found = values(maps, masks)
    assert found["pixel_auroc"] == pytest.approx(roc_auc_score(masks.ravel(), maps.ravel()), abs=1e-12)
    assert found["pixel_ap"] == pytest.approx(average_precision_score(masks.ravel(), maps.ravel()), abs=1e-12)
    assert found == pytest.approx(brute.metrics(maps, masks), abs=1e-12)


def test_images_of_different_sizes(brute) -> None:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(0)
    maps = [rng.integers(0, 5, shape).astype(np.float32) for shape in ((4, 7), (6, 3), (5, 5))]
    masks = [rng.random(scores.shape) < 0.3 for scores in maps]
    assert values(maps, masks) == pytest.approx(brute.metrics(maps, masks), abs=1e-12)


def test_double_precision_is_not_rounded(brute) -> None:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(1)
    maps = 1.0 + rng.integers(0, 40, (2, 6, 6)) * 1e-12
    masks = rng.random(maps.shape) < 0.3
    assert len(np.unique(maps.astype(np.float32))) == 1
    assert values(maps, masks) == pytest.approx(brute.metrics(maps, masks), abs=1e-12)


def test_single_and_double_precision_agree(make_case) -> None:  # type: ignore[no-untyped-def]
    maps, masks = make_case()
    assert values(maps.astype(np.float64), masks) == pytest.approx(values(maps, masks), abs=1e-13)
    halves = maps.astype(np.float16)
    assert values(halves, masks) == values(halves.astype(np.float32), masks)


def test_extreme_scores_keep_their_order() -> None:
    scores = np.array([-3.4e38, -1.0, -1e-45, -0.0, 0.0, 1e-45, 1.0, 3.4e38], np.float32)
    ordering = order_pixels(scores.reshape(1, 1, -1), np.array([[[True] * 7 + [False]]]))
    assert np.array_equal(ordering.slice_defective(0, 7)[0], scores[:7])
    assert ordering.extremes() == (float(scores[0]), float(scores[-1]))
    assert values(scores[3:5].reshape(1, 1, 2), np.array([[[True, False]]]))["pixel_auroc"] == 0.5


def test_constant_maps_have_values() -> None:
    maps, masks = np.full((2, 8, 8), 0.5, np.float32), np.zeros((2, 8, 8), bool)
    masks[0, :4, :4] = True
    found = values(maps, masks)
    assert found["pixel_auroc"] == 0.5
    assert found["pixel_ap"] == pytest.approx(16 / 128)
    assert found["aupro_30"] == pytest.approx(0.15)


@pytest.mark.parametrize(("mask", "reason"), [(False, "no defective pixels"), (True, "no normal pixels")])
def test_missing_kind_of_pixel_is_blank_with_reason(mask: bool, reason: str) -> None:
    evaluation = evaluate_pixels(order_pixels(np.zeros((2, 3, 3), np.float32), np.full((2, 3, 3), mask)))
    assert set(evaluation.values) == {"pixel_auroc", "pixel_ap", "pixel_f1max", "aupro_30", "aupro_05"}
    for value in evaluation.values.values():
        assert (value.value, value.reason, value.n) == (None, reason, 2)
    assert evaluation.curves == {}
    assert evaluation.f1max is None


def test_no_images() -> None:
    empty = np.zeros((0, 4, 4))
    assert pixel_metrics(empty.astype(np.float32), empty.astype(bool))["aupro_30"].reason == "no images"


def test_malformed_input_names_the_image() -> None:
    maps, masks = np.zeros((3, 4, 4), np.float32), np.zeros((3, 4, 4), bool)
    broken = maps.copy()
    broken[1, 2, 3] = np.nan
    with pytest.raises(MetricError, match="Map 1 is not finite at row 2, column 3"):
        pixel_metrics(broken, masks)
    broken[1, 2, 3] = np.inf
    with pytest.raises(MetricError, match="Map 1"):
        pixel_metrics(broken, masks)
    with pytest.raises(MetricError, match="Mask 0 must be boolean"):
        pixel_metrics(maps, masks.astype(np.uint8))
    with pytest.raises(MetricError, match="Map 2 has shape"):
        pixel_metrics([*maps[:2], np.zeros((4, 5), np.float32)], masks)
    with pytest.raises(MetricError, match="3 anomaly maps but 2 masks"):
        pixel_metrics(maps, masks[:2])
    with pytest.raises(MetricError, match="Map 0 holds"):
        pixel_metrics(maps.astype(str), masks)
    with pytest.raises(MetricError, match="repeat"):
        pixel_metrics(maps, masks, (0.3, 0.3))


def test_curves_are_short_and_faithful(make_case) -> None:  # type: ignore[no-untyped-def]
    maps, masks = make_case(images=60, side=64)
    ordering = order_pixels(maps, masks)
    evaluation = evaluate_pixels(ordering)
    value = {name: item.value for name, item in evaluation.values.items()}
    roc, pr, pro = (evaluation.curves[kind] for kind in ("roc", "pr", "pro"))
    for curve in (roc, pr, pro):
        assert 2 <= curve.x.size <= 512
        assert not curve.complete
        assert np.all(np.diff(curve.x) >= 0)
        assert np.all(np.diff(curve.thresholds) <= 0)
    assert np.trapezoid(roc.y, roc.x) == pytest.approx(value["pixel_auroc"], abs=1e-3)
    assert np.trapezoid(pr.y, pr.x) == pytest.approx(value["pixel_ap"], abs=5e-3)
    for limit, name in ((0.3, "aupro_30"), (0.05, "aupro_05")):
        x = np.append(pro.x[pro.x < limit], limit)
        assert np.trapezoid(np.interp(x, pro.x, pro.y), x) / limit == pytest.approx(value[name], abs=3e-3)
    assert (roc.x[0], roc.y[0], roc.x[-1], roc.y[-1]) == (0.0, 0.0, 1.0, 1.0)
    for k in (0, 3, 100, 250, roc.x.size - 1):
        called = maps >= roc.thresholds[k]
        assert roc.x[k] == pytest.approx(called[~masks].mean())
        assert roc.y[k] == pytest.approx(called[masks].mean())
    for k in (0, 50, pro.x.size - 1):
        assert pro.y[k] == pytest.approx(ordering.recalls(pro.thresholds[k]).mean())
    best = evaluation.f1max
    assert best is not None
    called = maps >= best.value
    f1 = 2 * (called & masks).sum() / (called.sum() + masks.sum())
    assert f1 == pytest.approx(value["pixel_f1max"], abs=1e-12)


def test_short_curves_are_complete(brute) -> None:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(3)
    maps = rng.integers(0, 6, (2, 6, 6)).astype(np.float32)
    masks = rng.random(maps.shape) < 0.3
    roc = evaluate_pixels(order_pixels(maps, masks)).curves["roc"]
    p, n = masks.sum(), (~masks).sum()
    corners = {(round(x * n), round(y * p)) for x, y in zip(roc.x, roc.y, strict=True)}
    assert roc.complete
    assert {(fp, tp) for _, tp, fp, _ in brute.curve(maps, masks)} <= corners


@given(cases(), st.floats(0, 1))
@settings(max_examples=40, deadline=None)
def test_threshold_keeps_the_rate_and_is_the_lowest_that_does(case, rate) -> None:  # type: ignore[no-untyped-def]
    maps, masks = case
    threshold = pixel_threshold_at_fpr(order_pixels(maps, masks), rate)
    assert threshold is not None
    normal = maps[~masks]
    assert (normal >= threshold).mean() <= rate + 1e-9
    lower = maps[maps < threshold]
    if lower.size:
        assert (normal >= lower.max()).mean() > rate


def test_recall_at_thresholds_between_scores(make_case, brute) -> None:  # type: ignore[no-untyped-def]
    maps, masks = make_case(images=3, side=16)
    cuts = np.array([0.1, 1.0 / 3.0, -9.0, 9.0, float(np.nextafter(np.float64(maps[0, 0, 0]), 9.0))])
    ordering = order_pixels(maps, masks)
    expected = [
        [np.mean([float(maps[i][p]) >= t for p in region]) for t in cuts]
        for i in range(3)
        for region in brute.regions(masks[i])
    ]
    assert np.allclose(ordering.recalls(cuts), expected)
    assert ordering.normal_at_least(cuts).tolist() == [int((maps[~masks].astype(float) >= t).sum()) for t in cuts]


@pytest.mark.parametrize("share", [0.03, 0.5, 1.0])
def test_extra_memory_stays_below_three_times_the_scores(share: float) -> None:
    rng = np.random.default_rng(0)
    maps = rng.standard_normal((16, 200, 200), dtype=np.float32)
    masks = np.zeros(maps.shape, bool)
    masks[:, : int(200 * share)] = True
    masks[0, 0] = False
    tracemalloc.start()
    pixel_metrics(maps, masks)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * maps.nbytes
