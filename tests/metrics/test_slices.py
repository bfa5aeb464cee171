from __future__ import annotations

import numpy as np
import pytest

from vlmad_core.metrics import (
    evaluate_pixels,
    find_regions,
    group_by_area,
    group_by_defect_type,
    order_pixels,
    recall_at_fpr,
    region_slices,
)


def test_recall_at_a_rate_equals_brute_force(make_case, brute) -> None:  # type: ignore[no-untyped-def]
    maps, masks = make_case(images=6)
    recall = recall_at_fpr(order_pixels(maps, masks), (0.05, 0.2))
    normal = np.sort(maps[~masks])[::-1]
    for rate, shares in recall.items():
        edge = normal[int(rate * normal.size)]
        expected = [
            np.mean([maps[i][p] > edge for p in region]) for i in range(len(maps)) for region in brute.regions(masks[i])
        ]
        assert shares is not None
        assert np.allclose(shares, expected)


def test_slices_average_to_the_whole(make_case) -> None:  # type: ignore[no-untyped-def]
    maps, masks = make_case(images=12)
    ordering = order_pixels(maps, masks)
    assert ordering.regions == find_regions(masks)
    types = ["scratch" if i % 2 else "dent" for i in range(12)]
    whole = evaluate_pixels(ordering).values["aupro_30"].value
    recall = recall_at_fpr(ordering)[0.05]
    assert recall is not None
    for groups in (group_by_defect_type(ordering.regions, types), group_by_area(ordering.regions)):
        slices = region_slices(ordering, groups)
        counts = np.array([item.n_regions for item in slices])
        assert counts.sum() == len(ordering.regions)
        assert [item.name for item in slices] == list(groups)
        aupro = [item.aupro["aupro_30"].value for item in slices]
        assert np.average(np.array(aupro, float), weights=counts) == pytest.approx(whole)
        assert np.average([item.recall[0.05] for item in slices], weights=counts) == pytest.approx(recall.mean())


def test_an_easy_type_stands_out() -> None:
    rng = np.random.default_rng(0)
    maps = rng.standard_normal((4, 20, 20)).astype(np.float32)
    masks = np.zeros(maps.shape, bool)
    masks[:, 5:9, 5:9] = True
    maps[:2][masks[:2]] += 10
    ordering = order_pixels(maps, masks)
    groups = group_by_defect_type(ordering.regions, ["hole", "hole", "haze", "haze"])
    haze, hole = region_slices(ordering, groups)
    assert (haze.name, hole.name) == ("haze", "hole")
    assert hole.recall[0.05] == 1.0
    assert hole.aupro["aupro_30"].value == pytest.approx(1.0)
    assert hole.aupro["aupro_30"].n == 2
    assert haze.recall[0.05] is not None
    assert haze.recall[0.05] < 0.5


def test_without_normal_pixels_recall_is_blank() -> None:
    ordering = order_pixels(np.zeros((1, 3, 3), np.float32), np.ones((1, 3, 3), bool))
    (item,) = region_slices(ordering, group_by_area(ordering.regions))
    assert item.recall == {0.05: None}
    assert item.aupro["aupro_30"].reason == "no normal pixels"
