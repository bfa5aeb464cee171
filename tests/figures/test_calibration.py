from __future__ import annotations

from vlmad_core.figures.calibration import NamedReliability, reliability_figure
from vlmad_core.figures.colours import method_style
from vlmad_core.metrics.image import reliability


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
