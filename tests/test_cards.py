"""A card is the one place where a method's order, style and title are said."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from vlmad_core import cards
from vlmad_core.cards import MethodStyle, card_names, first_choices, first_for_parts
from vlmad_core.errors import MethodError
from vlmad_core.figures.ranking import ranking_data
from vlmad_core.figures.variants import shots_figure
from vlmad_core.methods import list_methods, load_plugin, plugins, registry

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "tests" / "methods" / "example_method.py"
MEASURING = ("vlmad_core/methods/", "vlmad_core/bench/", "vlmad_core/factory/")
"""Methods, and programs that say which methods they time or train with."""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A plugin whose card says where it stands and how it is drawn."""
    monkeypatch.setattr(registry, "_METHODS", dict(registry._METHODS))
    monkeypatch.setattr(cards, "_ADDED", dict(cards._ADDED))
    importlib.import_module("torch")  # which the plugin imports, and which can't be loaded into a copy
    monkeypatch.setattr(plugins.sys, "modules", plugins.sys.modules.copy())
    path = tmp_path / "styled.py"
    style = 'order=35, style=MethodStyle("#3F7A12", "dashdot", "octagon"), needs='
    text = EXAMPLE.read_text().replace("needs=", style).replace("MethodSettings,", "MethodSettings, MethodStyle,", 1)
    path.write_text(text)
    (name,) = load_plugin(path)
    return name


def test_a_plugin_with_a_style_stands_in_its_place_and_colour(plugin: str) -> None:
    assert list_methods("*")[2:5] == ("winclip", plugin, "april_gan")
    assert card_names()[2:5] == ("winclip", plugin, "april_gan")
    rows = pd.DataFrame({"method": [plugin, "winclip"], "name": ["mine", "WinCLIP"], "value": [0.9, 0.8]})
    board = rows.assign(rank=[1, 2], low=rows["value"], high=rows["value"], group="", reason=None)
    assert ranking_data(board)["colour"].tolist() == ["#3F7A12", "#D9701A"]
    points = pd.DataFrame(
        {"method": plugin, "preset": "canonical", "title": "mine", "shots": [1, 2], "value": [0.8, 0.9],
         "sd": [0.0, 0.0], "n_seeds": [1, 1]}
    )  # fmt: skip
    (trace,) = shots_figure(points, "Image AUROC").data
    assert (trace.line.color, trace.line.dash, trace.marker.symbol) == ("#3F7A12", "dashdot", "octagon")


def test_what_a_card_says_of_its_style_is_checked() -> None:
    with pytest.raises(MethodError, match="colour 'red'"):
        MethodStyle("red", "solid", "circle")
    with pytest.raises(MethodError, match="line style 'wavy'"):
        MethodStyle("#123456", "wavy", "circle")  # type: ignore[arg-type]


def test_first_choices_need_neither_references_nor_training() -> None:
    assert set(first_choices()) <= set(card_names())
    able = [registry.create_method(name).capabilities for name in first_choices()]
    assert not any(one.trained or one.needs_references or one.transductive for one in able)


def test_what_parts_are_judged_with_at_first_needs_no_training_and_no_other_photos() -> None:
    able = [registry.create_method(name).capabilities for name in first_for_parts()]
    assert not any(one.trained or one.transductive for one in able)
    assert {one.needs_references for one in able} == {True, False}


def collections_of_names(path: Path) -> Iterator[tuple[int, set[str]]]:
    """Line and method names of each literal tuple, list, set or dictionary that holds any, by its elements or keys."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Tuple | ast.List | ast.Set | ast.Dict):
            elements = node.keys if isinstance(node, ast.Dict) else node.elts
            texts = {element.value for element in elements if isinstance(element, ast.Constant)}
            named = texts & set(card_names())
            if named:
                yield node.lineno, named


def test_no_second_list_of_methods() -> None:
    """Three names together are a list of methods: it would have to be kept up by hand."""
    files = [ROOT / "app.py", *(ROOT / "pages").rglob("*.py"), *(ROOT / "vlmad_core").rglob("*.py")]
    assert len(files) > 100
    found = [
        f"{path.relative_to(ROOT)}:{line}: {sorted(named)}"
        for path in files
        if not path.relative_to(ROOT).as_posix().startswith(MEASURING)
        for line, named in collections_of_names(path)
        if len(named) > 2
    ]
    assert not found, f"Put order, style and titles on the cards in methods/cards instead of: {found}"
