from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlmad_core.errors import MetricError
from vlmad_core.metrics import Replicates, compare_methods, image_replicates, pixel_replicates
from vlmad_core.metrics.comparison import compare, holm, over_seeds, wilcoxon_over_categories


def two_methods(seed: int, gaps: tuple[float, float], images: int = 60) -> tuple[Replicates, Replicates]:
    rng = np.random.default_rng(seed)
    labels = np.arange(images) % 2 == 1
    shared = rng.standard_normal(images)
    results = []
    for gap in gaps:
        scores = shared + 0.3 * rng.standard_normal(images) + gap * labels
        results.append(image_replicates(labels, scores, resamples=400, seed=7)["image_auroc"])
    return results[0], results[1]


def test_a_method_does_not_differ_from_itself() -> None:
    first, _ = two_methods(0, (1.0, 1.0))
    result = compare(first, first)
    assert (result.difference, result.low, result.high, result.p, result.n) == (0.0, 0.0, 0.0, 1.0, 60)


def test_a_clear_difference_is_found_and_changes_sign() -> None:
    first, second = two_methods(0, (2.0, 0.3))
    result, mirrored = compare(first, second), compare(second, first)
    assert result.p is not None
    assert result.p < 0.01
    assert result.low is not None
    assert result.low > 0
    assert mirrored.difference == pytest.approx(-result.difference)  # type: ignore[operator]
    assert mirrored.p == result.p
    assert mirrored.high == pytest.approx(-result.low)


def test_pairing_is_sharper_than_two_intervals() -> None:
    first, second = two_methods(3, (1.2, 0.9))
    paired = compare(first, second)
    unpaired = np.sqrt(first.draws.var() + second.draws.var())
    assert (paired.high - paired.low) / 3.92 < 0.8 * unpaired  # type: ignore[operator]


def test_equal_methods_are_rarely_called_different() -> None:
    ps = [compare(*two_methods(seed, (1.0, 1.0), images=100)).p for seed in range(60)]
    assert sum(p <= 0.05 for p in ps if p is not None) <= 9


def test_what_can_not_be_compared() -> None:
    first, second = two_methods(0, (1.0, 0.5))
    labels = np.arange(60) % 2 == 1
    other_seed = image_replicates(labels, np.arange(60.0), resamples=400, seed=8)
    with pytest.raises(MetricError, match="resampled alike"):
        compare(first, other_seed["image_auroc"])
    with pytest.raises(MetricError, match="image_ap"):
        compare(first, other_seed["image_ap"])
    with pytest.raises(MetricError, match="level"):
        compare(first, second, level=0.0)
    empty = image_replicates([1, 1], [0.1, 0.2])["image_auroc"]
    blank = compare(first, empty)
    assert (blank.difference, blank.p, blank.reason) == (None, None, "no normal images")


def test_pixel_metrics_compare_too(make_case) -> None:  # type: ignore[no-untyped-def]
    maps, masks = make_case(images=20)
    worse = maps + np.random.default_rng(0).standard_normal(maps.shape).astype(np.float32) * 3
    a = pixel_replicates(maps, masks, resamples=200)["aupro_30"]
    b = pixel_replicates(worse, masks, resamples=200)["aupro_30"]
    result = compare(a, b)
    assert result.p is not None
    assert result.p < 0.05
    assert result.difference == pytest.approx(a.value - b.value)  # type: ignore[operator]


def test_methods_over_categories() -> None:
    pairs = {f"c{k}": two_methods(k, (1.5, 0.5)) for k in range(8)}
    first = {name: pair[0] for name, pair in pairs.items()}
    second = {name: pair[1] for name, pair in pairs.items()}
    first["only_first"] = first["c0"]
    result = compare_methods(first, second)
    assert list(result.per_category) == list(pairs)
    raw = [item.p for item in result.per_category.values()]
    assert [item.p_holm for item in result.per_category.values()] == holm(raw)
    assert result.overall.n == 8 * 60
    assert result.overall.difference == pytest.approx(
        np.mean([item.difference for item in result.per_category.values()])
    )
    assert result.overall.p is not None
    assert result.overall.p < 0.01
    assert result.wilcoxon.categories == 8
    assert result.wilcoxon.p == pytest.approx(2 / 2**8)
    assert result.wilcoxon.smallest_p == result.wilcoxon.p


def test_categories_without_a_value_are_said() -> None:
    first, second = two_methods(0, (1.0, 0.5))
    blank = image_replicates([1, 1], [0.1, 0.2], resamples=400, seed=7)["image_auroc"]
    result = compare_methods({"a": first, "b": blank}, {"a": second, "b": blank})
    assert result.per_category["b"].p_holm is None
    assert result.overall.difference == pytest.approx(first.value - second.value)  # type: ignore[operator]
    assert result.overall.reason == "1 of 2 categories have no value"
    nothing = compare_methods({"b": blank}, {"b": blank})
    assert nothing.overall.difference is None
    assert nothing.wilcoxon.p is None
    with pytest.raises(MetricError, match="in common"):
        compare_methods({"a": first}, {"b": second})


@given(st.lists(st.integers(-60, 60).filter(bool), min_size=1, max_size=7, unique_by=abs))
@settings(max_examples=30, deadline=None)
def test_wilcoxon_equals_all_sign_patterns(differences: list[int]) -> None:
    names = [f"c{k}" for k in range(len(differences))]
    first = {name: 0.3 + d / 100 for name, d in zip(names, differences, strict=True)}
    result = wilcoxon_over_categories(first, dict.fromkeys(names, 0.3))
    ranks = np.argsort(np.argsort(np.abs(differences))) + 1
    middle = ranks.sum() / 2
    observed = abs(ranks[np.array(differences) > 0].sum() - middle)
    patterns = [
        abs(sum(r for r, s in zip(ranks, signs, strict=True) if s) - middle)
        for signs in itertools.product((0, 1), repeat=len(ranks))
    ]
    assert result.p == pytest.approx(np.mean([value >= observed for value in patterns]))
    assert result.n == len(differences)


def test_wilcoxon_without_differences_or_categories() -> None:
    equal = wilcoxon_over_categories({"a": 0.5, "b": 0.3}, {"a": 0.5, "b": 0.1 + 0.2})
    assert (equal.p, equal.categories, equal.reason) == (None, 2, "the methods are equal in every category")
    none = wilcoxon_over_categories({"a": None}, {"a": 0.5})
    assert (none.p, none.median_difference, none.categories) == (None, None, 0)


@given(st.lists(st.one_of(st.none(), st.floats(0, 1)), max_size=8))
@settings(max_examples=60, deadline=None)
def test_holm(p_values: list[float | None]) -> None:
    corrected = holm(p_values)
    present = [p for p in p_values if p is not None]
    assert [p is None for p in corrected] == [p is None for p in p_values]
    for level in (0.01, 0.05, 0.2, 0.5):
        # The step-down procedure itself: reject until the first that fails.
        rejected = 0
        for rank, p in enumerate(sorted(present)):
            if p * (len(present) - rank) > level:
                break
            rejected += 1
        assert sum(p is not None and p <= level for p in corrected) == rejected
    assert all(c >= p for c, p in zip(corrected, p_values, strict=True) if c is not None and p is not None)


def test_holm_refuses_what_is_no_p_value() -> None:
    with pytest.raises(MetricError, match=r"1\.5"):
        holm([0.1, 1.5])


def test_seeds() -> None:
    summary = over_seeds([0.1, 0.2, 0.6])
    assert summary.mean == pytest.approx(0.3)
    assert summary.std == pytest.approx(np.std([0.1, 0.2, 0.6], ddof=1))
    assert (summary.n, summary.reason) == (3, None)
    single = over_seeds([0.4])
    assert (single.mean, single.std, single.n) == (0.4, None, 1)
    assert single.reason
    assert over_seeds([None, None]).reason == "no seed has a value"
    with pytest.raises(MetricError, match="nan"):
        over_seeds([0.1, float("nan")])
