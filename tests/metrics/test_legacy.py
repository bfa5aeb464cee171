from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from vlmad_core.metrics import aupro_legacy200, order_pixels, pixel_metrics


@pytest.mark.parametrize("case", ["smooth", "ties", "narrow"])
def test_golden(golden_folder: Path, case: str) -> None:
    expected = json.loads((golden_folder / "expected.json").read_text())["cases"][case]
    arrays = np.load(golden_folder / "cases.npz")
    ordering = order_pixels(arrays[f"{case}_maps"], arrays[f"{case}_masks"].astype(bool))
    found, reference = aupro_legacy200(ordering), expected["aupro_200_steps_authors"]
    if reference is None:
        assert found.value is None
        assert "200 steps" in str(found.reason)
    else:
        assert found.value == pytest.approx(reference, abs=1e-4)


def test_rescaling_moves_it_but_not_the_exact_one(make_case) -> None:  # type: ignore[no-untyped-def]
    maps, masks = make_case(images=20)
    outlier = maps.copy()
    outlier.flat[int(np.argmax(maps))] *= 50
    before, after = (aupro_legacy200(order_pixels(m, masks)).value for m in (maps, outlier))
    assert before is not None
    assert after is not None
    assert abs(before - after) > 0.01
    exact = [pixel_metrics(m, masks)["aupro_30"].value for m in (maps, outlier)]
    assert exact[0] == exact[1]


@pytest.mark.parametrize(
    ("maps", "mask", "reason"),
    [
        (np.full((1, 4, 4), 0.5, np.float32), True, "equal"),
        (np.arange(16, dtype=np.float32).reshape(1, 4, 4), False, "no defective pixels"),
    ],
)
def test_blank_with_reason(maps: np.ndarray, mask: bool, reason: str) -> None:
    masks = np.zeros(maps.shape, bool)
    masks[0, 0, 0] = mask
    found = aupro_legacy200(order_pixels(maps, masks))
    assert found.value is None
    assert reason in str(found.reason)
