from __future__ import annotations

import math

import pandas as pd
import pytest

from vlmad_core.analysis.failures import explanation, prompt_lead

NO_BOX = (math.nan,) * 4


@pytest.fixture
def reasons() -> pd.DataFrame:
    return pd.DataFrame(
        [
            ("a", "prompt", 1, "with flaw", 0.30, "abnormal", *NO_BOX),
            ("a", "prompt", 4, "perfect", 0.32, "normal", *NO_BOX),
            ("a", "window", 7, "2 x 2 patches", 0.8, "abnormal", 0.0, 0.5, 0.25, 0.75),
            ("a", "window", 8, "no box", 0.7, "abnormal", *NO_BOX),
            ("a", "reference", 9, "nearest: reference 3, row 2, column 4", 0.9, "abnormal", 0.5, 0.5, 0.625, 0.75),
            ("b", "reference", 1, "something else", 0.9, "abnormal", 0.5, 0.5, 0.625, 0.75),
        ],
        columns=["image_id", "kind", "rank", "text", "value", "towards", "x0", "y0", "x1", "y1"],
    )


def test_each_kind_of_reason_has_its_place(reasons: pd.DataFrame) -> None:
    found = explanation(reasons, "a")
    assert found.prompts["text"].tolist() == ["perfect", "with flaw"]
    assert found.boxes == ((0.0, 0.5, 0.25, 0.75),)
    assert prompt_lead(found.prompts) == pytest.approx(-0.02)


def test_the_place_of_the_nearest_reference_patch_is_on_the_same_grid(reasons: pd.DataFrame) -> None:
    nearest = explanation(reasons, "a").nearest
    assert nearest is not None
    assert nearest.reference == 2
    assert nearest.place == pytest.approx((0.375, 0.25, 0.5, 0.5))
    assert nearest.similarity == 0.9


def test_what_is_not_known_is_empty(reasons: pd.DataFrame) -> None:
    assert not explanation(reasons, "b")
    assert not explanation(reasons, "nothing")
    assert prompt_lead(explanation(reasons, "b").prompts) is None
