from __future__ import annotations

import math

import pandas as pd
import pytest

from vlmad_core.figures.matrices import PAIR, pair_data, pair_grid, transfer_chart, transfer_data


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
    (parameter,) = [p for p in spec["params"] if p["name"] == PAIR]
    assert parameter["select"]["fields"] == ["wrong", "right"]


def test_one_method_alone_is_no_error(pairs: pd.DataFrame) -> None:
    assert len(pair_data(pairs.iloc[:1], {})) == 1
    assert pair_data(pairs.iloc[:0], {}).empty
    pair_grid(pairs.iloc[:1], {}).to_dict()


def cells() -> pd.DataFrame:
    rows = [
        ("a", "a", "APRIL-GAN", 0.9, 0.8, 0.95, "yes", "contaminated", "seen"),
        ("a", "b", "APRIL-GAN", 0.6, math.nan, math.nan, "no", "clean", "new"),
        ("b", "b", "APRIL-GAN", math.nan, math.nan, math.nan, "", "", "Not run yet."),
        ("nothing", "a", "CLIP + CPE", 0.7, 0.6, 0.8, "not recorded", "unknown", "?"),
    ]
    columns = ["trained_on", "dataset", "title", "value", "low", "high", "seen", "verdict", "reason"]
    return pd.DataFrame(rows, columns=columns)


def test_contaminated_cells_are_framed_and_say_so_and_blanks_stay_blank() -> None:
    data = transfer_data(cells()).set_index(["row", "dataset"])
    assert data.loc[("trained on: a", "a"), "word"] == "saw this data"
    assert data.loc[("trained on: a", "a"), "frame"] != "transparent"
    assert data.loc[("trained on: a", "b"), "frame"] == "transparent"
    missing = data.loc[("trained on: b", "b")]
    assert (missing["shown"], missing["word"]) == ("–", "not run")
    assert math.isnan(missing["value"])
    assert data.loc[("no training: CLIP + CPE", "a"), "word"] == "training unknown"


def test_ink_can_be_read_in_both_themes() -> None:
    for dark in (False, True):
        inks = transfer_data(cells(), dark=dark)["ink"].tolist()
        assert set(inks) <= {"#000000", "#ffffff", "#8a96a3"}
        assert inks[2] == "#8a96a3"


def test_the_chart_has_a_row_for_each_training_set_and_a_colour_bar() -> None:
    spec = transfer_chart(cells(), "Image AUROC").to_dict()
    fill = spec["layer"][0]["encoding"]["fill"]
    assert fill["legend"]["title"] == "Image AUROC"
    low, high = fill["scale"]["domain"]
    assert low <= 0.6 < 0.9 <= high
    rows = ["trained on: a", "trained on: b", "no training: CLIP + CPE"]
    assert spec["layer"][0]["encoding"]["y"]["sort"] == rows
