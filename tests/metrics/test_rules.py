"""Thresholds by a rule: promises are kept, costs are least, no image is judged by itself; bounds are exact."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from vlmad_core.errors import MetricError
from vlmad_core.metrics import rules
from vlmad_core.metrics.rules import (
    Costs,
    Promise,
    Rule,
    at_least,
    at_most,
    flagged_by_the_rest,
    least_cost,
    least_promise,
    promised,
    threshold_of,
)

DRAWS = 1000


@pytest.mark.parametrize("normals", [20, 50, 200])
@pytest.mark.parametrize("digits", [None, 1])
def test_a_promise_is_kept_on_new_parts(normals: int, digits: int | None) -> None:
    """A thousand times: so many good parts, a threshold, one new part. Ties flag fewer, never more."""
    random = np.random.default_rng(normals)
    scores = random.gamma(2.0, size=(DRAWS, normals + 1))
    scores = scores if digits is None else scores.round(digits)
    alarms = sum(new >= promised(known, 0.05).value for *known, new in scores)
    error = np.sqrt(0.05 * 0.95 / DRAWS)
    assert alarms / DRAWS <= 0.05 + 2 * error
    if digits is None:
        exact = (int(0.05 * (normals + 1) + 1e-9)) / (normals + 1)
        assert abs(alarms / DRAWS - exact) <= 3 * error


def test_the_share_reached_by_references_would_not_be_a_promise() -> None:
    """The threshold at which 5 % of the known parts are flagged flags more of the new ones."""
    from vlmad_core.metrics.thresholds import threshold_from_normals

    random = np.random.default_rng(0)
    scores = random.normal(size=(DRAWS, 21))
    alarms = [
        np.mean([new >= rule(known, 0.05).value for *known, new in scores])
        for rule in (threshold_from_normals, promised)
    ]
    assert alarms[0] > 0.07
    assert alarms[1] < 0.065


@pytest.mark.parametrize(("normals", "kept"), [(18, "5.3"), (19, "5.0"), (1, "50.0")])
def test_what_few_parts_can_promise_is_said(normals: int, kept: str) -> None:
    found = promised(np.arange(normals), 0.05)
    assert found.value > normals - 1
    assert f"at most {kept} % false alarms" in found.detail
    assert ("can promise no less" in found.detail) == (least_promise(normals) > 0.05)
    assert found.origin == "promise"


scores_and_labels = st.lists(st.tuples(st.integers(0, 12), st.booleans()), min_size=4, max_size=24).filter(
    lambda rows: 2 <= sum(label for _, label in rows) <= len(rows) - 2
)
any_rule = st.one_of(
    st.floats(0.02, 0.6).map(Promise),
    st.tuples(st.floats(0.5, 50), st.floats(0.01, 0.6)).map(lambda both: Costs(*both)),
)


@given(scores_and_labels, any_rule, st.integers(1, 40))
@settings(max_examples=150, deadline=None)
def test_each_image_is_judged_at_the_threshold_of_the_rest(
    rows: list[tuple[int, bool]], rule: Rule, cells: int
) -> None:
    scores, labels = np.array([score for score, _ in rows], float), np.array([label for _, label in rows])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rules, "_CELLS", cells)
        flags = flagged_by_the_rest(rule, labels, scores)
    for place in range(labels.size):
        rest = np.arange(labels.size) != place
        if isinstance(rule, Promise) and labels[place]:
            rest[:] = True  # a promise looks at good parts only
        at = threshold_of(rule, labels[rest], scores[rest]).value
        assert flags[place] == (scores[place] >= at)


@given(scores_and_labels, st.floats(0.5, 50), st.floats(0.01, 0.6))
@settings(max_examples=100, deadline=None)
def test_no_threshold_is_cheaper(rows: list[tuple[int, bool]], miss: float, defective: float) -> None:
    scores, labels = np.array([score for score, _ in rows], float), np.array([label for _, label in rows])
    costs = Costs(miss, defective)

    def cost(threshold: float) -> float:
        wrong = (scores >= threshold) != labels
        return defective * miss * wrong[labels].mean() + (1 - defective) * wrong[~labels].mean()

    assert cost(least_cost(labels, scores, costs).value) <= min(map(cost, [*scores, 99.0])) + 1e-9


def test_of_equally_cheap_thresholds_the_one_in_the_widest_gap_is_taken() -> None:
    assert least_cost([0, 0, 1, 1], [0.0, 1.0, 5.0, 6.0], Costs(10, 0.1)).value == 3.0


@pytest.mark.parametrize("share", [0.02, 0.3, 0.9])
@pytest.mark.parametrize("of", [5, 20, 60])
def test_bounds_hold_the_true_share_in_at_least_95_of_100(share: float, of: int) -> None:
    chance = stats.binom.pmf(np.arange(of + 1), of, share)
    below = np.array([at_least(count, of).bound <= share for count in range(of + 1)])
    above = np.array([at_most(count, of).bound >= share for count in range(of + 1)])
    assert chance[below].sum() >= 0.95
    assert chance[above].sum() >= 0.95


def test_a_bound_is_said_as_one_would() -> None:
    assert str(at_least(19, 20)) == "19 of 20: at least 78 % with 95 % confidence"
    assert str(at_most(1, 26)) == "1 of 26: at most 17 % with 95 % confidence"
    assert at_least(0, 5).bound == 0.0
    assert at_most(5, 5).bound == 1.0


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: promised([], 0.05),
        lambda: promised([0.1, np.nan], 0.05),
        lambda: promised([0.1], 0.0),
        lambda: Costs(0, 0.1),
        lambda: Costs(10, 1.0),
        lambda: least_cost([0, 0], [0.1, 0.2], Costs(10, 0.1)),
        lambda: flagged_by_the_rest(Promise(0.1), [0, 1], [0.1, 0.2]),
        lambda: flagged_by_the_rest(Costs(10, 0.1), [0, 0, 1], [0.1, 0.2, 0.3]),
    ],
)
def test_what_makes_no_sense_is_refused(wrong) -> None:
    with pytest.raises(MetricError):
        wrong()
