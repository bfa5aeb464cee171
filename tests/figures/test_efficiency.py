from __future__ import annotations

import pandas as pd
import pytest

from vlmad_core.figures.efficiency import COSTS, STAGE_COLOURS, cost_figure, stage_figure, throughput_figure
from vlmad_core.figures.style import method_style


def points() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "method": ["clip_ac", "winclip", "musc"],
            "name": ["CLIP-AC", "WinCLIP", "MuSc"],
            "latency_ms": [10.0, 30.0, 50.0],
            "value": [0.6, 0.9, 0.8],
            "low": [0.5, 0.8, 0.7],
            "high": [0.7, 0.95, 0.85],
            "front": [True, True, False],
        }
    )


def test_the_pareto_front_is_joined_and_ringed_and_points_keep_their_colours() -> None:
    traces = {trace.name: trace for trace in cost_figure(points(), "latency_ms", "Image AUROC").data}
    assert list(traces["Pareto front"].x) == [10.0, 30.0]
    assert list(traces["On the front"].x) == [10.0, 30.0]
    assert traces["WinCLIP"].marker.color == method_style("winclip").colour
    assert traces["MuSc"].error_y.arrayminus[0] > 0


def test_a_front_of_one_is_still_marked() -> None:
    names = [trace.name for trace in cost_figure(points().head(1), "latency_ms", "x").data]
    assert "On the front" in names
    assert "Pareto front" not in names


def test_stages_keep_their_colours_and_say_how_they_were_timed() -> None:
    stages = pd.DataFrame(
        {"name": ["A", "A", "B"], "stage": ["reading", "windows", "new stage"], "ms": [1.0, 2.0, 3.0]}
    )
    figure = stage_figure(stages, alone=True)
    colours = {trace.name: trace.marker.color for trace in figure.data}
    assert colours["windows"] == STAGE_COLOURS["windows"]
    assert len(set(colours.values())) == 3
    assert "one at a time" in figure.layout.xaxis.title.text
    assert "batches" in stage_figure(stages).layout.xaxis.title.text


def test_throughput_has_one_line_per_method_over_batch_sizes() -> None:
    frame = pd.DataFrame(
        {"method": ["winclip", "winclip", "musc"], "name": ["W", "W", "M"], "batch": [16, 1, 16],
         "images_per_second": [80.0, 50.0, 9.0]}
    )  # fmt: skip
    figure = throughput_figure(frame)
    assert [list(trace.x) for trace in figure.data] == [[1, 16], [16]]
    assert list(figure.layout.xaxis.tickvals) == [1, 16]


def test_every_cost_has_a_name() -> None:
    for cost in COSTS:
        frame = points().assign(**{cost: [1.0, 2.0, 3.0]})
        assert cost_figure(frame, cost, "x").layout.xaxis.title.text == COSTS[cost]


def test_cost_marks_the_front() -> None:
    points = pd.DataFrame(
        {
            "method": ["clip_ac", "winclip"],
            "name": ["CLIP-AC", "WinCLIP"],
            "latency_ms": [10.0, 80.0],
            "value": [0.7, 0.9],
            "low": [0.6, 0.85],
            "high": [0.8, 0.95],
            "front": [True, True],
        }
    )
    front, _rings, *lines = cost_figure(points, "latency_ms", "Image AUROC").data
    assert list(front.x) == [10.0, 80.0]
    assert [trace.marker.symbol for trace in lines] == ["circle", "diamond"]
    assert lines[1].error_y.array[0] == pytest.approx(0.05)
