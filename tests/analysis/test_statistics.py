"""The two designs: honest intervals and tests, one correction, one rule for the word "clear", letters."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from vlmad_core.analysis.statistics import (
    OVER_CATEGORIES,
    OVER_IMAGES,
    PairedDifference,
    categories_needed,
    compare_over_categories,
    compare_over_images,
    compare_ranks,
    holm,
    letters,
    mean_interval,
)
from vlmad_core.errors import MetricError
from vlmad_core.metrics import Replicates, image_replicates, pixel_replicates
from vlmad_core.metrics.resampling import mean_over_categories

LABELS = np.r_[np.zeros(30), np.ones(25)].astype(int)


def scores(strength: float, seed: int = 0) -> np.ndarray:
    return np.round(np.random.default_rng(seed).normal(size=LABELS.size) + strength * LABELS, 1)


def drawn(labels: np.ndarray, methods: Sequence[np.ndarray], seed: int = 0) -> list[Replicates]:
    return [image_replicates(labels, one, 300, seed)["image_auroc"] for one in methods]


def test_equal_methods_are_never_told_apart_and_unequal_ones_are() -> None:
    same, better = scores(0.2), scores(0.2) + 5 * LABELS
    found = compare_over_images(drawn(LABELS, [same, same, better]))
    by_pair = {(pair.first, pair.second): pair for pair in found}
    assert by_pair[0, 1].p == 1.0
    assert not by_pair[0, 1].clear
    assert by_pair[0, 2].clear
    assert by_pair[0, 2].high < 0
    assert all(pair.p_corrected >= pair.p for pair in found)


def test_a_category_with_one_class_has_no_difference_but_a_reason() -> None:
    (pair,) = compare_over_images(drawn(np.zeros(5, int), [np.arange(5.0), np.arange(5.0)]))
    assert pair.p is None
    assert pair.reason
    assert not pair.clear


def test_methods_resampled_differently_are_refused() -> None:
    one = drawn(LABELS, [scores(1.0)], seed=0)
    two = drawn(LABELS, [scores(1.0)], seed=1)
    with pytest.raises(MetricError, match="not resampled alike"):
        compare_over_images(one + two)


def test_over_categories_a_steady_gap_is_clear_and_a_wavering_one_is_not() -> None:
    names = "abcdefgh"
    base = {name: 0.5 + 0.05 * k for k, name in enumerate(names)}
    steady = {name: value + 0.1 + 0.01 * (k % 2) for k, (name, value) in enumerate(base.items())}
    wavering = {name: value + (0.2 if k % 2 else -0.15) for k, (name, value) in enumerate(base.items())}
    found = {(p.first, p.second): p for p in compare_over_categories([base, steady, wavering])}
    assert found[0, 1].clear
    assert found[0, 1].n == 8
    assert not found[0, 2].clear


def test_two_categories_are_too_few() -> None:
    (pair,) = compare_over_categories([{"a": 0.1, "b": 0.2}, {"a": 0.8, "b": 0.9, "c": None}])
    assert pair.p is None
    assert "2 categories" in str(pair.reason)


def bootstrap_says_clear(gaps: np.ndarray, random: np.random.Generator) -> bool:
    """What stood in four places before: categories resampled, uncorrected; clear if the interval leaves zero out."""
    picks = random.integers(0, len(gaps), (500, len(gaps)))
    low, high = np.quantile(gaps[picks].mean(axis=1), [0.025, 0.975])
    return bool(low > 0 or high < 0)


def test_sets_of_equal_methods_are_rarely_called_different() -> None:
    """Six equal methods on six categories: the old rule calls about one set in two different, this one few."""
    random = np.random.default_rng(5)
    sets, old, new = 300, 0, 0
    for _ in range(sets):
        values = random.normal(0.7, 0.1, (6, 1)) + random.normal(0, 0.05, (6, 6))
        methods = [dict(zip("abcdef", column, strict=True)) for column in values.T]
        new += any(one.clear for one in compare_over_categories(methods))
        pairs = [(i, j) for i in range(6) for j in range(i + 1, 6)]
        old += any(bootstrap_says_clear(values[:, i] - values[:, j], random) for i, j in pairs)
    assert new / sets <= 0.07
    assert old / sets >= 0.4


def test_one_pair_of_equal_methods_is_called_different_one_time_in_twenty() -> None:
    random = np.random.default_rng(6)
    gaps = random.normal(0.0, 0.05, (2000, 6))
    named = [({name: 0.7 + gap for name, gap in zip("abcdef", row, strict=True)}) for row in gaps]
    base = dict.fromkeys("abcdef", 0.7)
    false_alarms = sum(compare_over_categories([one, base])[0].clear for one in named)
    assert 0.035 <= false_alarms / len(named) <= 0.065


def test_equal_methods_over_images_are_rarely_called_different() -> None:
    found = [compare_over_images(two_methods(seed, (1.0, 1.0), images=100))[0] for seed in range(60)]
    assert sum(one.clear for one in found) <= 9


@pytest.mark.parametrize(("mean", "spread"), [(0.0, 0.05), (0.03, 0.05)])
def test_intervals_over_categories_cover(mean: float, spread: float) -> None:
    """Of many made-up comparisons with a known true gain, about 95 % of the intervals hold it."""
    random = np.random.default_rng(1)
    hits = 0
    for _ in range(1000):
        base = random.normal(0.7, 0.1, 6)
        one = base + random.normal(mean, spread, 6)
        (gap,) = compare_over_categories([dict(zip("abcdef", v, strict=True)) for v in (one, base)])
        assert gap.low is not None
        assert gap.high is not None
        hits += gap.low <= mean <= gap.high
    assert 930 <= hits <= 970


def test_intervals_of_means_of_fractions_stay_fractions() -> None:
    assert mean_interval([0.5, 1.0, 1.0]).high == 1.0
    assert mean_interval([0.0, 0.0, 0.4]).low == 0.0
    assert mean_interval([0.5, 1.0, 1.0], fractions=False).high > 1.0


def test_one_category_has_no_interval() -> None:
    assert np.isnan(mean_interval([0.7]).low)
    assert mean_interval([0.7]).value == 0.7
    assert np.isnan(mean_interval([]).value)


def test_only_the_pairs_asked_for_are_compared_and_corrected_together() -> None:
    random = np.random.default_rng(0)
    methods = [{name: float(random.uniform()) for name in "abcdef"} for _ in range(4)]
    some = compare_over_categories(methods, [(1, 0), (2, 0)])
    assert [(one.first, one.second, one.pairs) for one in some] == [(1, 0, 2), (2, 0, 2)]
    assert [one.p_corrected for one in some] == holm([one.p for one in some])
    every = {(one.first, one.second): one for one in compare_over_categories(methods)}
    assert some[0].p == every[0, 1].p
    assert some[0].value == every[0, 1].reversed().value
    assert (some[0].low, some[0].high) == (every[0, 1].reversed().low, every[0, 1].reversed().high)
    assert {one.design for one in every.values()} == {OVER_CATEGORIES}


def two_methods(seed: int, gaps: tuple[float, float], images: int = 60) -> tuple[Replicates, Replicates]:
    random = np.random.default_rng(seed)
    labels = np.arange(images) % 2 == 1
    shared = random.standard_normal(images)
    one, two = (
        image_replicates(labels, shared + 0.3 * random.standard_normal(images) + gap * labels, 400, 7)["image_auroc"]
        for gap in gaps
    )
    return one, two


def test_a_clear_difference_is_found_and_changes_sign() -> None:
    first, second = two_methods(0, (2.0, 0.3))
    (one,), (mirrored,) = compare_over_images([first, second]), compare_over_images([second, first])
    assert one.ahead
    assert mirrored.behind
    assert one.low is not None
    assert one.low > 0
    assert mirrored.value == pytest.approx(-one.value)  # type: ignore[operator]
    assert mirrored.p == one.p
    assert mirrored.high == pytest.approx(-one.low)


def test_pairing_is_sharper_than_two_intervals() -> None:
    first, second = two_methods(3, (1.2, 0.9))
    (paired,) = compare_over_images([first, second])
    unpaired = np.sqrt(first.draws.var() + second.draws.var())
    assert (paired.high - paired.low) / 3.92 < 0.8 * unpaired  # type: ignore[operator]


def test_what_can_not_be_compared_is_said() -> None:
    first, second = two_methods(0, (1.0, 0.5))
    other = image_replicates(np.arange(60) % 2 == 1, np.arange(60.0), resamples=400, seed=7)["image_ap"]
    with pytest.raises(MetricError, match="image_ap and image_auroc"):
        compare_over_images([first, other])
    blank = image_replicates([1, 1], [0.1, 0.2], resamples=400, seed=7)["image_auroc"]
    (one,) = compare_over_images([first, blank])
    assert (one.value, one.p, one.clear, one.reason) == (None, None, False, "no normal images")
    (mean,) = compare_over_images([mean_over_categories([method, blank]) for method in (first, second)])
    assert mean.value == pytest.approx(first.value - second.value)  # type: ignore[operator]
    assert mean.reason == "1 of 2 categories have no value"


def test_pixel_metrics_compare_too() -> None:
    random = np.random.default_rng(0)
    masks = np.zeros((20, 24, 24), bool)
    masks[10:, 4:12, 6:14] = True
    maps = (random.standard_normal(masks.shape) + 2 * masks).astype(np.float32)
    worse = maps + 3 * random.standard_normal(masks.shape).astype(np.float32)
    a, b = (pixel_replicates(one, masks, resamples=200)["aupro_30"] for one in (maps, worse))
    (one,) = compare_over_images([a, b])
    assert one.ahead
    assert one.value == pytest.approx(a.value - b.value)  # type: ignore[operator]


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


def pair(first: int, second: int, p: float) -> PairedDifference:
    return PairedDifference(first, second, 0.1, 0.0, 0.2, p, 9, OVER_IMAGES, None, p)


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


def by_category(*columns: Sequence[float]) -> list[dict[str, float | None]]:
    return [dict(zip("abcdefghij", column, strict=False)) for column in columns]


def test_ranks_over_categories_are_those_of_friedmans_test() -> None:
    random = np.random.default_rng(3)
    values = random.uniform(size=(4, 9))
    found = compare_ranks(by_category(*values))
    ranks = (4 - values.argsort(axis=0).argsort(axis=0)).mean(axis=1)
    assert found.ranks == pytest.approx(ranks.tolist())
    square = stats.friedmanchisquare(*values).statistic
    assert found.p == pytest.approx(stats.f.sf(8 * square / (27 - square), 3, 24))
    assert found.n == 9


def test_a_bar_joins_those_that_do_not_clearly_differ() -> None:
    steps = np.arange(10) / 1000
    found = compare_ranks(by_category(0.5 + steps, 0.9 + steps, 0.1 + steps, 0.8 + steps, 0.2 + steps))
    assert found.ranks == (3.0, 1.0, 5.0, 2.0, 4.0)
    # On ten categories, ranks one apart (z = 1.4) do not clearly differ; those two apart (z = 2.8, times 7) do.
    assert found.p == 0.0
    assert found.bars == ((1, 3), (3, 0), (0, 4), (4, 2))
    equal = compare_ranks(by_category(steps, steps, steps))
    assert (equal.p, equal.bars) == (1.0, ((0, 1, 2),))


def test_equal_methods_are_rarely_told_apart_by_their_ranks() -> None:
    random = np.random.default_rng(8)
    sets = [compare_ranks(by_category(*random.normal(size=(6, 6)))) for _ in range(200)]
    assert sum(one.bars != (tuple(np.argsort(one.ranks, kind="stable").tolist()),) for one in sets) <= 14


@pytest.mark.parametrize(("columns", "few"), [(2, "2 methods"), (0, "0 methods"), (3, "2 categories")])
def test_too_few_to_rank_are_said(columns: int, few: str) -> None:
    found = compare_ranks(by_category(*np.arange(2.0 * columns).reshape(columns, 2)) if columns else [])
    assert (found.p, found.bars, found.reason) == (None, (), f"{few} are too few")


@pytest.mark.parametrize(("effect", "count"), [(0.2, 199), (0.3, 90), (0.5, 34), (0.8, 15), (1.0, 10), (-0.5, 34)])
def test_the_categories_needed_are_those_of_known_tables(effect: float, count: int) -> None:
    """Pairs for 80 % power at 5 %, two-sided, as tables and G*Power give them."""
    assert categories_needed(effect) == count


def test_the_categories_needed_find_the_difference_four_times_in_five() -> None:
    count = categories_needed(0.6)
    assert count is not None
    rng = np.random.default_rng(0)
    trials = rng.normal(0.6, 1.0, (1500, count))
    found = [
        compare_over_categories([dict(enumerate(map(float, some))), dict.fromkeys(range(count), 0.0)])[0].clear
        for some in trials
    ]
    assert 0.77 <= np.mean(found) <= 0.83


def test_what_is_not_clear_needs_more_categories_than_there_are() -> None:
    rng = np.random.default_rng(1)
    for _ in range(10):
        some = [dict(zip("abcdef", rng.normal(k / 10, 0.1, 6), strict=True)) for k in range(4)]
        for gap in compare_over_categories(some):
            assert gap.p is not None
            needed = categories_needed(stats.t.isf(gap.p / 2, gap.n - 1) / math.sqrt(gap.n), gap.pairs)
            assert gap.clear or needed is None or needed > gap.n
    assert categories_needed(0.1) is None
    assert categories_needed(0.5, pairs=3) == 45
    assert categories_needed(80.0) == 3
