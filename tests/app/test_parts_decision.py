"""The decision of Your parts, in process: recommendation first, thresholds by promise or costs, kept as a file."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from vlmad_core import paths
from vlmad_core.analysis.comparable import comparisons
from vlmad_core.analysis.decision import choose, scored_by
from vlmad_core.analysis.recommendation import sentence
from vlmad_core.datasets.parts import Part
from vlmad_core.datasets.views import View
from vlmad_core.metrics.rules import Costs, Promise
from vlmad_core.store.reader import open_store


@pytest.fixture
def part(monkeypatch: pytest.MonkeyPatch, tiny_dataset, tmp_path: Path) -> Part:
    """A part whose results are those of the made-up store."""
    monkeypatch.setenv(paths.WORKSPACE, str(tmp_path / "workspace"))
    photos = tiny_dataset(tmp_path / "data" / "widgets", categories=("bolt",))
    monkeypatch.setenv(paths.DATA_DIR, str(tmp_path / "data"))
    made = Part("widgets", "Widgets", "bolt", "2026-01-01T00:00:00+00:00", str(photos))
    made.write()
    return made


@pytest.fixture
def page(open_app, measured: Path, part: Part, tmp_path: Path):
    return open_app(measured, "your_parts", {"dataset": "widgets"}, data_dir=tmp_path / "data")


def texts(app) -> str:
    kinds = (app.subheader, app.markdown, app.caption, app.warning, app.info, app.error, app.success)
    return "\n".join(str(element.value) for kind in kinds for element in kind)


def said(measured: Path, rule: Promise | Costs) -> str:
    store = open_store(measured)
    one = next(one for one in comparisons(store) if one.dataset == "widgets")
    scored, _, _ = scored_by(store, one.entries(), "bolt")
    return sentence(choose(scored, rule), scored)


def test_the_recommendation_is_that_of_the_library(page, measured: Path) -> None:
    assert not page.exception
    assert "4. Decision" in texts(page)
    assert said(measured, Promise(1 / 7)) in texts(page)
    assert "With 6 good photos no threshold can promise less than 14.3 % false alarms." in texts(page)
    assert ":green-badge[recommended]" in texts(page)
    assert "demonstration backbone" in texts(page)
    page.segmented_control(key="part_rule").set_value("costs").run()
    page.number_input(key="part_miss").set_value(3.0).run()
    assert not page.exception
    assert said(measured, Costs(3, 0.02)) in texts(page)
    assert "false alarms' worth per 1,000 parts" in texts(page)


def test_a_decision_is_kept_with_what_it_rests_on(page, part: Part) -> None:
    page.button(key="part_keep").click().run()
    assert not page.exception
    (file,) = (part.home / "decisions").glob("*.json")
    kept = json.loads(file.read_text())
    assert kept["schema_version"] == 1
    assert kept["rule"] == "promise"
    assert kept["sentence"] in texts(page)
    assert kept["run"].startswith("widgets/")
    assert kept["photos"] == "0" * 16


def test_tiles_are_named_where_there_is_a_choice_of_conditions() -> None:
    """Runs of whole photos and of tiles are never ranked together, so the chooser tells them apart."""
    from pages._ui.frame import conditions_title

    def titled(reading: dict[str, Any]) -> str:
        protocol = SimpleNamespace(data={"size": "full"}, reading=reading)
        backbone = {"title": "CLIP", "image_size": 64}
        return conditions_title(
            SimpleNamespace(runs=[SimpleNamespace(protocol=protocol)], backbone=backbone, mode="matched")
        )

    assert titled({}) == "CLIP, 64 px"
    assert titled({"view": View(tiles=(3, 2)).to_json()}) == "CLIP, 64 px, 3 x 2 tiles"
    assert titled({"view": View((0, 0, 0.5, 1)).to_json()}) == "CLIP, 64 px, a region of the photo"
