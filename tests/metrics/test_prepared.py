from __future__ import annotations

import numpy as np
import pytest

from vlmad_core.errors import MetricError
from vlmad_core.metrics import evaluate_pixels, order_pixels
from vlmad_core.metrics.prepared import prepare_masks

RNG = np.random.default_rng(4)
MASKS = RNG.random((7, 12, 9)) < np.array([0, 0.1, 0.5, 0, 1.0, 0.02, 0])[:, None, None]
MAPS = np.round(RNG.normal(size=MASKS.shape), 1).astype(np.float32)  # with ties, and both zeros


@pytest.mark.parametrize("size", [1, 3, 7])
def test_it_is_the_ordering_of_order_pixels(size):
    prepared = prepare_masks(MASKS)
    buffer = np.empty((size, *MASKS.shape[1:]), np.float32)

    def parts():
        for start in range(0, len(MAPS), size):
            part = MAPS[start : start + size]
            buffer[: len(part)] = part
            yield buffer[: len(part)]

    found, expected = prepared.order(parts()), order_pixels(MAPS, MASKS)
    np.testing.assert_array_equal(found.normal, expected.normal)
    np.testing.assert_array_equal(found.defective, expected.defective)
    assert found.regions == expected.regions
    np.testing.assert_array_equal(np.stack(prepared.unpacked()), MASKS)
    assert found.n_images == expected.n_images
    assert evaluate_pixels(found, curves=False).values == evaluate_pixels(expected, curves=False).values


def test_without_defects_there_are_reasons():
    ordering = prepare_masks(np.zeros((2, 3, 3), bool)).order([np.zeros((2, 3, 3), np.float32)])
    assert evaluate_pixels(ordering).values["pixel_auroc"].reason == "no defective pixels"
    ordering = prepare_masks(np.ones((2, 3, 3), bool)).order([np.zeros((2, 3, 3), np.float32)])
    assert evaluate_pixels(ordering).values["aupro_30"].reason == "no normal pixels"


@pytest.mark.parametrize(
    ("masks", "maps", "message"),
    [
        (MASKS, MAPS[:6], "6 maps for 7 masks"),
        (MASKS, np.concatenate([MAPS, MAPS[:1]]), "don't fit 7 masks"),
        (MASKS, MAPS.astype(np.float64), "float64"),
        (MASKS, MAPS[:, :-1], "don't fit"),
        (MASKS[:0], MAPS[:0], "no masks"),
        (MASKS.astype(int), MAPS, "Mask at index 0 is int64"),
    ],
)
def test_what_does_not_fit_is_refused(masks, maps, message):
    with pytest.raises(MetricError, match=message):
        prepare_masks(masks).order([maps])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("defective", [True, False])
def test_scores_that_are_not_finite_are_refused(value, defective):
    maps = MAPS.copy()
    image, row, column = np.argwhere(defective == MASKS)[5]
    maps[image, row, column] = value
    with pytest.raises(MetricError, match="not finite"):
        prepare_masks(MASKS).order([maps])
