from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from vlmad_core.analysis.comparable import comparisons
from vlmad_core.analysis.verdicts import judge_others, keep_company, pairs, shared_by, wrong_elsewhere
from vlmad_core.store.reader import open_store


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


@pytest.mark.parametrize(
    ("company", "kept"),
    [("any", ["a", "b", "c"]), ("all", ["a"]), ("only", ["b"]), ("x", ["b"]), ("y", ["c"])],
)
def test_images_by_whom_the_mistake_is_shared_with(judged, others, company: str, kept: list[str]) -> None:
    assert keep_company(judged, others, company)["image_id"].tolist() == kept


def test_a_disagreement_is_found_from_the_side_of_the_right_one(others: dict[str, pd.DataFrame]) -> None:
    right = pd.DataFrame({"image_id": ["a", "b"], "verdict": ["found", "found"]})
    assert keep_company(right, others, "x")["image_id"].tolist() == ["a"]


def test_without_others_every_image_stays(judged: pd.DataFrame) -> None:
    assert len(keep_company(judged, {}, "all")) == 3


def test_pairs_count_where_one_is_wrong_and_the_other_right(judged, others) -> None:
    found = pairs({"z": judged, **others}).set_index(["wrong", "right"])
    assert found.loc[("z", "x"), "n"] == 1  # b
    assert found.loc[("z", "y"), "n"] == 1  # c; b is unknown to y
    assert found.loc[("y", "z"), "n"] == 0
    assert found.loc[("x", "x"), "n"] == 2
    assert found.loc[("z", "y"), "of"] == 2


def test_images_by_the_number_of_lines_that_are_wrong(judged, others) -> None:
    assert shared_by({"z": judged, **others})["n"].tolist() == [0, 1, 1, 1]
    assert shared_by({})["n"].tolist() == [0]


def test_others_are_judged_at_their_own_threshold(made_up_store, tmp_path: Path) -> None:
    store = open_store(made_up_store(tmp_path, unfinished=(("winclip", "felt"),)))
    (one,) = comparisons(store)
    first, second = one.entries()
    found = judge_others(store, one.entries(), first, ["bolt", "felt"], "image_f1max")
    assert list(found) == [second.id]
    assert (found[second.id]["margin"] + 0.5).equals(found[second.id]["score"])
    assert set(found[second.id]["category"]) == {"bolt"}
    assert judge_others(store, one.entries(), first, ["felt"], None) == {}
