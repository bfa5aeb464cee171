from __future__ import annotations

import math

import pandas as pd

from vlmad_core.figures.colours import METHOD_STYLES
from vlmad_core.figures.ranking import ranking_chart, ranking_data


def board() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "method": ["clip_ac", "winclip", "musc"],
            "preset": "canonical",
            "shots": 0,
            "title": ["CLIP-AC", "WinCLIP", "MuSc"],
            "value": [0.7, 0.9, math.nan],
            "low": [0.6, 0.85, math.nan],
            "high": [0.8, 0.94, math.nan],
            "rank": pd.array([2, 1, None], dtype="Int64"),
        }
    )


def test_best_first_blanks_left_out_each_in_its_colour() -> None:
    data = ranking_data(board())
    assert data["title"].tolist() == ["WinCLIP", "CLIP-AC"]
    assert data["colour"].tolist() == [METHOD_STYLES["winclip"].colour, METHOD_STYLES["clip_ac"].colour]


def test_chart_holds_intervals_and_the_chance_level() -> None:
    spec = ranking_chart(board(), "Image AUROC", chance=0.5).to_dict()
    rules = [layer for layer in spec["layer"] if layer["mark"]["type"] == "rule"]
    assert len(rules) == 2
    domain = rules[0]["encoding"]["x"]["scale"]["domain"]
    assert domain[0] < 0.5
    assert domain[1] > 0.94
    assert all(layer["encoding"]["x"]["scale"]["domain"] == domain for layer in spec["layer"])


def test_missing_intervals_become_points_and_equal_titles_are_told_apart() -> None:
    frame = board().assign(title="WinCLIP", shots=[0, 4, 8], low=math.nan, high=math.nan)
    data = ranking_data(frame)
    assert data["low"].tolist() == data["value"].tolist()
    assert data["title"].is_unique
