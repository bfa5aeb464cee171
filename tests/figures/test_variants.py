from __future__ import annotations

import math

import pandas as pd
import pytest

from vlmad_core.figures.variants import change_figure, effect_figure, shots_figure


@pytest.fixture
def frame() -> pd.DataFrame:
    rows = [("Mean", 1.0, -0.5, 2.5, 61.0, 60.0), ("a<b>x</b>", -2.0, math.nan, math.nan, 50.0, 52.0)]
    rows.append(("felt", math.nan, math.nan, math.nan, math.nan, math.nan))
    return pd.DataFrame(rows, columns=["name", "difference", "low", "high", "value", "base"])


@pytest.mark.parametrize("dark", [False, True])
def test_changes_keep_sides_and_intervals(frame, dark):
    dots = change_figure(frame, "Image AUROC", dark).data[0]
    assert list(dots.x) == [1.0, -2.0]
    assert list(dots.y) == ["Mean", "a&lt;b&gt;x&lt;/b&gt;"]
    assert list(dots.error_x.array) == [1.5, 0.0]
    assert list(dots.error_x.arrayminus) == [1.5, 0.0]
    assert len(set(dots.marker.color)) == 2


def test_effects_leave_out_what_is_not_known_but_name_it():
    same = "a very long template that begins like another one {}"
    figure = effect_figure([f"{same} first", f"{same} second", "<i> {}"], [0.5, -0.25, None])
    bars = figure.data[0]
    assert list(bars.x) == [0.5, -0.25]
    assert list(bars.y) == [0, 1]
    assert bars.marker.color[0] != bars.marker.color[1]
    labels = figure.layout.yaxis.ticktext
    assert len(labels) == 3
    assert labels[0].endswith("…")
    assert labels[2] == "&lt;i&gt; {}"
    assert bars.customdata[1] == f"{same} second"


def test_nothing_known_draws_nothing():
    assert list(effect_figure(["{}"], [None]).data[0].x) == []


def test_shots_are_joined_with_their_spread() -> None:
    frame = pd.DataFrame(
        {
            "method": "winclip",
            "preset": "canonical",
            "title": ["WinCLIP", "WinCLIP+", "WinCLIP+"],
            "shots": [0, 4, 1],
            "value": [0.8, 0.95, 0.9],
            "sd": [math.nan, 0.01, 0.02],
            "n_seeds": [1, 3, 3],
        }
    )
    (line,) = shots_figure(frame, "Image AUROC").data
    assert list(line.x) == [0, 1, 4]
    assert list(line.error_y.array) == [0.0, 0.02, 0.01]


def test_a_preset_is_named_once() -> None:
    """As the entries of a comparison are titled: the preset stands in the title where it is not the method's own."""
    rows = [("canonical", "CLIP-AC"), ("templates", "CLIP-AC (templates)")]
    frame = pd.DataFrame(rows, columns=["preset", "title"]).assign(
        method="clip_ac", shots=0, value=0.8, sd=math.nan, n_seeds=1
    )
    assert [line.name for line in shots_figure(frame, "Image AUROC").data] == ["CLIP-AC", "CLIP-AC (templates)"]
