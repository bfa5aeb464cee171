from __future__ import annotations

import pytest

from vlmad_core.analysis.reported import load_reported, load_sources
from vlmad_core.analysis.reproduction import reproduction_table, story
from vlmad_core.figures.reproduction import method_order, reproduction_figure, story_figure


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
    assert order[:2] == ["MuSc", "WinCLIP"]
    assert order.index("AA-CLIP") < order.index("CLIP")  # with a paper's number first


def test_the_story_shows_each_number_against_the_papers() -> None:
    told = story(load_reported(), load_sources())
    figure = story_figure(told, "Image AUROC")
    points = figure.data[-1]
    assert list(points.text) == ["91.8", "90.4", "90.0", "70.2", "61.2"]
    assert points.x[0] == pytest.approx(0.918)
    assert len(figure.data) == len(told.steps)
