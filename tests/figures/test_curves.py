from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from vlmad_core.errors import VlmadError
from vlmad_core.figures.curves import (
    NamedCurve,
    NamedReliability,
    curve_figure,
    curve_points,
    recall_bars,
    reliability_figure,
    score_histogram,
)
from vlmad_core.figures.efficiency import stage_figure
from vlmad_core.figures.style import method_style
from vlmad_core.metrics.image import reliability


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


def test_stages_are_stacked() -> None:
    stages = pd.DataFrame({"name": ["A", "A", "B"], "stage": ["read", "vision", "read"], "ms": [1.0, 9.0, 2.0]})
    figure = stage_figure(stages)
    assert figure.layout.barmode == "stack"
    assert [(trace.name, sum(trace.x)) for trace in figure.data] == [("read", 3.0), ("vision", 9.0)]


def test_points_can_be_taken_along() -> None:
    points = pd.DataFrame({"x": [0.0, 1.0], "y": [0.5, 1.0], "threshold": [0.9, 0.1], "curve": "image_roc"})
    table = curve_points([NamedCurve("winclip", "WinCLIP, 4 ref.", points)])
    assert list(table.columns) == ["method", "title", "x", "y", "threshold"]
    assert table.iloc[0].tolist() == ["winclip", "WinCLIP, 4 ref.", 0.0, 0.5, 0.9]
    assert list(curve_points([]).columns) == list(table.columns)


def test_each_method_is_drawn_in_its_colour_with_the_numbers_behind_it() -> None:
    points = reliability([0, 0, 1, 1], [0.1, 0.2, 0.7, 0.9], bins=2)
    figure = reliability_figure([NamedReliability(name, name.upper(), points) for name in ("winclip", "clip_ac")], 0.5)
    assert [trace.name for trace in figure.data] == ["WINCLIP", "CLIP_AC"]
    assert [trace.line.color for trace in figure.data] == [method_style(n).colour for n in ("winclip", "clip_ac")]
    assert list(figure.data[0].y) == [0.0, 1.0]
    assert list(figure.data[0].customdata) == [2, 2]


def test_the_diagonal_and_the_base_rate_are_marked() -> None:
    figure = reliability_figure([], 0.6)
    assert [(s.x0, s.y0, s.x1, s.y1) for s in figure.layout.shapes] == [(0, 0, 1, 1), (0, 0.6, 1, 0.6)]
    assert len(reliability_figure([]).layout.shapes) == 1
