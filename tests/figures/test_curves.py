from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from vlmad_core.errors import VlmadError
from vlmad_core.figures.bars import recall_bars, shots_figure
from vlmad_core.figures.colours import method_style
from vlmad_core.figures.curves import NamedCurve, curve_figure, curves_csv, score_histogram
from vlmad_core.figures.efficiency import cost_figure, stage_figure


@pytest.fixture
def curves() -> list[NamedCurve]:
    points = pd.DataFrame({"x": [0.0, 0.2, 1.0], "y": [0.0, 0.8, 1.0], "threshold": [0.9, 0.5, 0.1]})
    return [NamedCurve("winclip", "WinCLIP (91.0)", points), NamedCurve("clip_ac", "CLIP-AC (70.0)", points)]


@pytest.mark.parametrize("kind", ["roc", "pr", "pro"])
def test_each_curve_is_there_in_its_colour(curves: list[NamedCurve], kind: str) -> None:
    figure = curve_figure(curves, kind, limit=0.3 if kind == "pro" else None)
    assert [trace.name for trace in figure.data] == ["WinCLIP (91.0)", "CLIP-AC (70.0)"]
    assert figure.data[0].line.color == method_style("winclip").colour
    assert list(figure.data[0].customdata) == [0.9, 0.5, 0.1]


def test_roc_shows_chance_pr_the_base_rate_pro_its_limit(curves: list[NamedCurve]) -> None:
    (diagonal,) = curve_figure(curves, "roc").layout.shapes
    assert (diagonal.x0, diagonal.y0, diagonal.x1, diagonal.y1) == (0, 0, 1, 1)
    (base,) = curve_figure(curves, "pr", base_rate=0.6).layout.shapes
    assert base.y0 == base.y1 == 0.6
    (limit,) = curve_figure(curves, "pro", limit=0.3).layout.shapes
    assert (limit.x0, limit.x1) == (0, 0.3)


def test_unknown_curve_is_refused(curves: list[NamedCurve]) -> None:
    with pytest.raises(VlmadError, match="no curve 'det'"):
        curve_figure(curves, "det")


def test_histogram_counts_every_image_once_and_never_across_the_threshold() -> None:
    rng = np.random.default_rng(3)
    images = pd.DataFrame({"label": [0] * 40 + [1] * 60, "score": rng.normal(size=100)})
    images.loc[0, "score"] = None
    figure = score_histogram(images, threshold=0.123)
    normal, defective = figure.data
    assert sum(normal.y) == 39
    assert sum(defective.y) == 60
    for bars in (normal, defective):
        right = np.array(bars.x) > 0.123
        label = 0 if bars is normal else 1
        flagged = (images["label"] == label) & (images["score"] >= 0.123)
        assert np.array(bars.y)[right].sum() == flagged.sum()


def test_histogram_of_nothing() -> None:
    assert len(score_histogram(pd.DataFrame({"label": [], "score": []})).data) == 0


def test_recall_bars_say_how_many_regions() -> None:
    frame = pd.DataFrame({"method": ["winclip"], "title": ["WinCLIP"], "group": ["scratch"], "value": [0.4], "n": [12]})
    (bars,) = recall_bars(frame, "Defect type").data
    assert bars.x[0] == "scratch<br>(12)"
    assert bars.marker.color == method_style("winclip").colour


def test_shots_are_joined_with_their_spread() -> None:
    frame = pd.DataFrame(
        {
            "method": "winclip",
            "preset": "canonical",
            "title": ["WinCLIP", "WinCLIP+", "WinCLIP+"],
            "shots": [0, 4, 1],
            "value": [0.8, 0.95, 0.9],
            "sd": [np.nan, 0.01, 0.02],
            "n_seeds": [1, 3, 3],
        }
    )
    (line,) = shots_figure(frame, "Image AUROC").data
    assert list(line.x) == [0, 1, 4]
    assert list(line.error_y.array) == [0.0, 0.02, 0.01]


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


def test_stages_are_stacked() -> None:
    stages = pd.DataFrame({"name": ["A", "A", "B"], "stage": ["read", "vision", "read"], "ms": [1.0, 9.0, 2.0]})
    figure = stage_figure(stages)
    assert figure.layout.barmode == "stack"
    assert [(trace.name, sum(trace.x)) for trace in figure.data] == [("read", 3.0), ("vision", 9.0)]


def test_points_can_be_taken_along() -> None:
    points = pd.DataFrame({"x": [0.0, 1.0], "y": [0.5, 1.0], "threshold": [0.9, 0.1], "curve": "image_roc"})
    lines = curves_csv([NamedCurve("winclip", "WinCLIP, 4 ref.", points)]).splitlines()
    assert lines[0] == "method,title,x,y,threshold"
    assert lines[1] == 'winclip,"WinCLIP, 4 ref.",0.0,0.5,0.9'
    assert curves_csv([]).strip() == lines[0]
