from __future__ import annotations

import pandas as pd
import pytest

from vlmad_core.figures.agreement import SELECTION, pair_data, pair_grid


@pytest.fixture
def pairs() -> pd.DataFrame:
    rows = [("a", "a", 5, 9), ("a", "b", 2, 8), ("b", "a", 0, 8), ("b", "b", 3, 8)]
    return pd.DataFrame(rows, columns=["wrong", "right", "n", "of"])


def test_every_pair_is_drawn_with_a_sentence(pairs: pd.DataFrame) -> None:
    data = pair_data(pairs, {"a": "Method A", "b": "Method B"})
    assert data["note"].tolist()[:2] == [
        "5 of 9: all that Method A gets wrong",
        "2 of 8: Method A wrong, Method B right",
    ]
    assert data["fill"].tolist()[0] == data["fill"].tolist()[3] == "transparent"
    assert data["fill"].nunique() == 3


def test_the_pairs_can_be_clicked(pairs: pd.DataFrame) -> None:
    spec = pair_grid(pairs, {}).to_dict()
    (parameter,) = [p for p in spec["params"] if p["name"] == SELECTION]
    assert parameter["select"]["fields"] == ["wrong", "right"]


def test_one_method_alone_is_no_error(pairs: pd.DataFrame) -> None:
    assert len(pair_data(pairs.iloc[:1], {})) == 1
    assert pair_data(pairs.iloc[:0], {}).empty
    pair_grid(pairs.iloc[:1], {}).to_dict()
