from __future__ import annotations

import math

import pandas as pd
import pytest

from vlmad_core.analysis.entries import with_means
from vlmad_core.figures.grid import SELECTION, category_grid, category_label, grid_data, value_range
from vlmad_core.metrics.spec import MEAN


@pytest.fixture
def cells() -> pd.DataFrame:
    nan = math.nan
    return pd.DataFrame(
        [
            ("hex_nut", "clip_ac", "CLIP-AC", 0.61, 0.5, 0.7, 50, 1, None),
            ("hex_nut", "winclip", "WinCLIP", 0.93, 0.9, 0.96, 50, 1, None),
            ("felt", "clip_ac", "CLIP-AC", 0.7, 0.6, 0.8, 50, 1, None),
            ("felt", "winclip", "WinCLIP", nan, nan, nan, 0, 0, "WinCLIP has no finished result."),
        ],
        columns=["category", "line", "title", "value", "low", "high", "n", "n_seeds", "reason"],
    )


def test_every_cell_is_drawn_and_blanks_say_why(cells: pd.DataFrame) -> None:
    data = grid_data(cells)
    assert data["shown"].tolist() == ["61.0", "93.0", "70.0", "–"]
    assert data["category_label"].tolist() == ["hex nut", "hex nut", "felt", "felt"]
    assert data["note"].iloc[3] == "WinCLIP has no finished result."
    assert data["value"].iloc[3] is None or math.isnan(data["value"].iloc[3])
    assert data["interval"].iloc[1] == "90.0% to 96.0%"


def test_the_grid_can_be_clicked(cells: pd.DataFrame) -> None:
    spec = category_grid(cells, "Image AUROC").to_dict()
    (parameter,) = [p for p in spec["params"] if p["name"] == SELECTION]
    assert parameter["select"]["type"] == "point"
    assert parameter["select"]["fields"] == ["category", "line"]
    assert {layer["mark"]["type"] for layer in spec["layer"]} == {"rect", "text"}


def test_the_colour_scale_is_shown_and_fixed_to_whole_tens(cells: pd.DataFrame) -> None:
    spec = category_grid(cells, "Image AUROC").to_dict()
    fill = next(layer["encoding"]["fill"] for layer in spec["layer"] if "scale" in layer["encoding"].get("fill", {}))
    assert fill["scale"]["domain"] == [0.6, 1.0]
    assert fill["legend"]["title"] == "Image AUROC"


def test_differences_are_drawn_around_zero(cells: pd.DataFrame) -> None:
    cells["value"] -= 0.7
    spec = category_grid(cells, "Image AUROC", difference=True).to_dict()
    fill = next(layer["encoding"]["fill"] for layer in spec["layer"] if "scale" in layer["encoding"].get("fill", {}))
    assert fill["scale"]["domain"] == [-0.25, 0.25]
    assert grid_data(cells, difference=True)["shown"].tolist() == ["-9.0", "+23.0", "+0.0", "–"]


def test_means_come_first_and_are_blank_where_a_category_is(cells: pd.DataFrame) -> None:
    data = grid_data(with_means(cells))
    means = data[data["category"] == MEAN].set_index("line")
    assert data["category"].iloc[0] == MEAN
    assert means.loc["clip_ac", "shown"] == "65.5"
    assert means.loc["winclip", "shown"] == "–"
    assert "1 of 2 categories are blank" in means.loc["winclip", "note"]


def test_range_of_nothing_is_the_whole() -> None:
    assert value_range(pd.Series([math.nan])) == (0.0, 1.0)
    assert value_range(pd.Series([0.8])) == (0.8, 0.9)
    assert value_range(pd.Series([0.0, 0.0]), difference=True) == (-0.05, 0.05)


def test_labels_are_words() -> None:
    assert category_label("metal_nut") == "metal nut"


def test_on_a_narrow_page_names_are_turned_and_shortened(cells: pd.DataFrame) -> None:
    named = cells.replace({"title": {"WinCLIP": "MuSc (transductive)"}})
    spec = category_grid(named, "Image AUROC").to_dict()
    axis = spec["layer"][0]["encoding"]["x"]["axis"]
    assert axis["labelAngle"]["expr"].startswith("width < 520 ? -55")
    assert '"MuSc (transductive)": "MuSc"' in axis["labelExpr"]
    assert '"MuSc (transductive)": ["MuSc", "(transductive)"]' in axis["labelExpr"]
    text = next(layer["mark"] for layer in spec["layer"] if layer["mark"]["type"] == "text")
    assert "width / 2" in text["fontSize"]["expr"]  # two columns
