from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmad_core.errors import VlmadError
from vlmad_core.figures.scale import DECADES, rarity_scale, raw_scale, shared_range


def normal_maps(seed: int = 0, n: int = 10) -> list[np.ndarray]:
    return list(np.random.default_rng(seed).normal(size=(n, 64, 64)).astype(np.float32))


def test_raw_scale_is_linear_and_fixed() -> None:
    scale = raw_scale(0.2, 0.6)
    assert scale.place(np.array([0.2, 0.4, 0.6])) == pytest.approx([0, 0.5, 1])
    assert scale.place(np.array([-1.0, 9.0])) == pytest.approx([0, 1])
    assert [label for _, label in scale.ticks] == ["0.2", "0.3", "0.4", "0.5", "0.6"]


@pytest.mark.parametrize(("low", "high"), [(1.0, 1.0), (2.0, 1.0), (float("nan"), 1.0), (0.0, float("inf"))])
def test_raw_scale_refuses_ends_that_do_not_rise(low: float, high: float) -> None:
    with pytest.raises(VlmadError, match="rising"):
        raw_scale(low, high)


def test_rarity_says_how_many_normal_pixels_score_as_high() -> None:
    maps = normal_maps()
    scale = rarity_scale(maps)
    values = np.sort(np.concatenate([m.ravel() for m in maps]))
    for rate in (0.5, 0.1, 0.01, 0.002):
        value = values[-int(rate * len(values))]
        assert scale.place(np.array([value]))[0] == pytest.approx(-np.log10(rate) / DECADES, abs=0.02)
    assert scale.place(values[-1:])[0] == 1.0
    assert scale.place(values[:1])[0] == 0.0


@given(st.integers(0, 5), st.sampled_from(["affine", "cube", "sigmoid"]))
def test_rarity_depends_only_on_the_order_of_values(seed: int, kind: str) -> None:
    change = {
        "affine": lambda x: 3 * x - 7,
        "cube": lambda x: x**3,
        "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    }[kind]
    maps = [m.astype(np.float64) for m in normal_maps(seed, 2)]
    values = np.concatenate([m.ravel() for m in maps])
    plain = rarity_scale(maps).place(values)
    changed = rarity_scale([change(m) for m in maps]).place(change(values))
    # Between two knots the place is interpolated, so it may move within one of the 120 steps.
    assert np.abs(plain - changed).max() <= 1 / 120 + 1e-9


def test_rarity_of_equal_values_is_one_place() -> None:
    maps = [np.zeros((8, 8), np.float32)]
    places = rarity_scale(maps).place(np.array([0.0, 1.0]))
    assert places.tolist() == [0.0, 1.0]


def test_rarity_needs_normal_maps() -> None:
    with pytest.raises(VlmadError, match="no maps"):
        rarity_scale([])


def test_shared_range_rises_even_for_constant_maps() -> None:
    low, high = shared_range([np.full((4, 4), 0.3, np.float32)])
    assert low < 0.3 < high
    low, high = shared_range([])
    assert low < high
