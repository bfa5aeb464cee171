from __future__ import annotations

import math

import pandas as pd
import pytest

from vlmad_core.analysis.reported import load_reported
from vlmad_core.analysis.reproduction import reproduction_table, steps_table, story
from vlmad_core.analysis.sources import load_sources
from vlmad_core.figures.ranking import (
    method_order,
    moves_chart,
    moves_data,
    rank_diagram,
    ranking_chart,
    ranking_data,
    reproduction_figure,
    story_figure,
)
from vlmad_core.figures.style import method_style


def board() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "method": ["clip_ac", "winclip", "musc"],
            "name": ["CLIP-AC", "WinCLIP", "MuSc"],
            "value": [0.7, 0.9, math.nan],
            "low": [0.6, 0.85, math.nan],
            "high": [0.8, 0.94, math.nan],
            "rank": pd.array([2, 1, None], dtype="Int64"),
            "reason": ["", "", "It makes no map."],
            "group": ["b", "a", ""],
        }
    )


def test_best_first_each_in_its_colour_and_blanks_below_with_their_reason() -> None:
    data = ranking_data(board())
    assert data["name"].tolist() == ["WinCLIP", "CLIP-AC", "MuSc"]
    assert data["colour"].tolist()[:2] == [method_style("winclip").colour, method_style("clip_ac").colour]
    assert data["shown"].tolist() == ["90.0%  a", "70.0%  b", "–"]
    assert data["note"].iloc[2] == "It makes no map."


def test_chart_holds_intervals_and_the_chance_level() -> None:
    spec = ranking_chart(board(), "Image AUROC", chance=0.5).to_dict()
    kinds = [layer["mark"]["type"] for layer in spec["layer"]]
    assert {"tick", "rule", "point", "text", "rect"} <= set(kinds)
    domain = spec["layer"][kinds.index("rule")]["encoding"]["x"]["scale"]["domain"]
    assert domain[0] < 0.5
    assert domain[1] > 0.94
    over_values = [layer for layer in spec["layer"] if "scale" in layer["encoding"]["x"]]
    assert all(layer["encoding"]["x"]["scale"]["domain"] == domain for layer in over_values)
    tips = spec["layer"][kinds.index("rect")]["encoding"]["tooltip"]
    assert "note" in {tip["field"] for tip in tips}


def test_missing_intervals_become_points() -> None:
    data = ranking_data(board().assign(low=math.nan, high=math.nan))
    assert data["low"].tolist()[:2] == data["value"].tolist()[:2]
    assert data["interval"].tolist()[:2] == ["none", "none"]


def moves() -> pd.DataFrame:
    rows = [
        ("clip_ac", "CLIP-AC", "image_auroc", 0.9, 1, 1), ("winclip", "Win'CLIP", "image_auroc", 0.8, 2, 2),
        ("winclip", "Win'CLIP", "image_ap", 0.9, 1, 1), ("clip_ac", "CLIP-AC", "image_ap", 0.7, 2, 2),
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["method", "name", "metric", "value", "rank", "place"])


def test_moves_are_drawn_for_each_line_and_metric_in_the_methods_colour() -> None:
    data = moves_data(moves(), ["image_auroc", "image_ap"], {"image_ap": "Image AP"})
    assert len(data) == 4
    assert set(data.loc[data["method"] == "winclip", "colour"]) == {method_style("winclip").colour}
    assert data.loc[data["metric"] == "image_ap", "label"].unique().tolist() == ["Image AP"]


def test_names_stand_at_the_places_of_the_first_metric() -> None:
    spec = moves_chart(moves(), ["image_auroc", "image_ap"], {}).to_dict()
    axis = spec["layer"][0]["encoding"]["y"]["axis"]
    assert axis["labelExpr"] == "['CLIP-AC', 'Win\\'CLIP'][datum.value - 1]"
    assert spec["layer"][0]["encoding"]["y"]["scale"]["reverse"] is True
    assert spec["layer"][0]["encoding"]["x"]["sort"] == ["AUROC", "AP"]


def test_every_claim_is_drawn_on_its_methods_row() -> None:
    table = reproduction_table(load_reported(), load_sources(), "mvtec_ad", metrics=["image_auroc"])
    rows = table[table["shots"] == 0]
    figure = reproduction_figure(rows, "Image AUROC")
    drawn = [(y, x) for trace in figure.data for y, x in zip(trace.y, trace.x, strict=True)]
    assert sorted(drawn) == sorted(zip(rows["method"], rows["value"], strict=True))
    assert {trace.name for trace in figure.data} == {"Others' runs, logs and listings", "The paper"}
    symbols = {trace.marker.symbol for trace in figure.data}
    assert len(symbols) == 2  # told apart without colour
    order = method_order(rows)
    papers = rows[rows["who"] == "paper"].groupby("method")["value"].max().sort_values(ascending=False)
    assert order[0] == "MuSc"
    assert [papers[name] for name in order[: len(papers)]] == list(papers)
    assert order.index("AA-CLIP") < order.index("CLIP")  # with a paper's number first


def test_the_story_shows_each_number_against_the_papers() -> None:
    told = story(load_reported(), load_sources())
    figure = story_figure(steps_table(told), "Image AUROC")
    points = figure.data[-1]
    assert list(points.text) == ["91.8", "90.4", "90.0", "70.2", "61.2"]
    assert points.x[0] == pytest.approx(0.918)
    assert points.marker.color == method_style("winclip").colour
    assert len(figure.data) == len(told.steps)


def test_a_rank_diagram_has_a_marker_a_name_and_the_bars() -> None:
    names = ["MuSc", "WinCLIP", "CLIP-AC"]
    ranked = pd.DataFrame({"method": ["musc", "winclip", "clip_ac"], "name": names, "rank": [1.2, 2.0, 2.8]})
    figure = rank_diagram(ranked, [(2.0, 2.8)], 6)
    markers = [trace for trace in figure.data if trace.mode == "markers"]
    assert [trace.x[0] for trace in markers] == [1.2, 2.0, 2.8]
    assert [trace.marker.color for trace in markers] == [method_style(name).colour for name in ranked["method"]]
    texts = [trace for trace in figure.data if trace.mode == "text"]
    assert [trace.text[0] for trace in texts] == ["MuSc  1.2", "WinCLIP  2.0", "CLIP-AC  2.8"]
    assert len({trace.y[0] for trace in texts}) == 3
    (bar,) = [trace for trace in figure.data if trace.mode == "lines" and trace.line.width == 6]
    assert bar.x[0] < 2.0 < 2.8 < bar.x[1]
    assert max(trace.y[0] for trace in texts) < bar.y[0] < 0
    assert "over 6 categories" in figure.layout.xaxis.title.text
