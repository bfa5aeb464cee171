from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vlmad_core.errors import MetricError
from vlmad_core.metrics.ordering import order_pixels
from vlmad_core.metrics.regions import label_regions


@given(hnp.arrays(np.bool_, st.tuples(st.integers(1, 8), st.integers(1, 8))))
@settings(max_examples=60, deadline=None)
def test_regions_equal_flood_fill(brute, mask) -> None:  # type: ignore[no-untyped-def]
    labels, areas = label_regions(mask)
    expected = brute.regions(mask)
    assert areas.tolist() == [len(region) for region in expected]
    for k, region in enumerate(expected):
        assert {(int(r), int(c)) for r, c in np.argwhere(labels == k + 1)} == region
    assert np.array_equal(labels > 0, mask)


def test_corners_connect() -> None:
    assert label_regions(np.eye(4, dtype=bool))[1].tolist() == [4]


def test_region_records() -> None:
    masks = [np.zeros((4, 5), bool), np.zeros((2, 10), bool)]
    masks[1][0, :3] = True
    masks[1][1, 9] = True
    first, second = order_pixels([mask.astype(np.float32) for mask in masks], masks).regions
    assert (first.image, first.index, first.area, first.area_fraction) == (1, 0, 3, 0.15)
    assert first.box == (0.0, 0.0, 0.3, 0.5)
    assert (second.image, second.index, second.area, second.box) == (1, 1, 1, (0.9, 0.5, 1.0, 1.0))


def test_mask_must_be_boolean() -> None:
    with pytest.raises(MetricError, match="boolean"):
        label_regions(np.zeros((2, 2)))  # type: ignore[arg-type]
    with pytest.raises(MetricError, match="boolean"):
        label_regions(np.zeros((2, 2, 3), bool))
