from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from vlmad_core.results.agreement import judged_by_others, keep_company, wrong_elsewhere
from vlmad_core.results.comparison import comparisons
from vlmad_core.results.store import open_store


@pytest.fixture
def judged() -> pd.DataFrame:
    return pd.DataFrame({"image_id": ["a", "b", "c"], "verdict": ["missed", "missed", "missed"]}, index=[5, 6, 7])


@pytest.fixture
def others() -> dict[str, pd.DataFrame]:
    return {
        "x": pd.DataFrame({"image_id": ["a", "b", "c"], "verdict": ["missed", "found", "false_alarm"]}),
        "y": pd.DataFrame({"image_id": ["a", "c"], "verdict": ["missed", "passed"]}),
    }


def test_mistakes_are_counted_per_image(judged: pd.DataFrame, others: dict[str, pd.DataFrame]) -> None:
    assert wrong_elsewhere(judged, others).to_dict() == {5: 2, 6: 0, 7: 1}


@pytest.mark.parametrize(("company", "kept"), [("any", ["a", "b", "c"]), ("all", ["a"]), ("none", ["b"])])
def test_images_by_whom_the_mistake_is_shared_with(judged, others, company: str, kept: list[str]) -> None:
    assert keep_company(judged, others, company)["image_id"].tolist() == kept


def test_without_others_every_image_stays(judged: pd.DataFrame) -> None:
    assert len(keep_company(judged, {}, "all")) == 3


def test_others_are_judged_at_their_own_threshold(made_up_store, tmp_path: Path) -> None:
    store = open_store(made_up_store(tmp_path, unfinished=(("winclip", "felt"),)))
    (one,) = comparisons(store)
    first, second = one.lines()
    found = judged_by_others(store, one.lines(), first, "bolt", "image_f1max")
    assert list(found) == [second.id]
    assert (found[second.id]["margin"] + 0.5).equals(found[second.id]["score"])
    assert judged_by_others(store, one.lines(), first, "felt", None) == {}
