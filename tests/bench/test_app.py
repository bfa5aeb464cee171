"""The made-up store, and what ``bench app`` says when something is missing."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from vlmad_core import paths
from vlmad_core.analysis.comparable import comparisons
from vlmad_core.bench import app, serving
from vlmad_core.bench.made_up import write_made_up_store
from vlmad_core.cli import main
from vlmad_core.errors import VlmadError
from vlmad_core.store.reader import open_store
from vlmad_core.store.verifying import verify_run


@pytest.fixture(scope="module")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)  # it need not survive a power cut
        return write_made_up_store(tmp_path_factory.mktemp("store"), runs=8, images=104)


def arguments(**changes: object) -> argparse.Namespace:
    return argparse.Namespace(
        **{"runs": 20, "images": 4000, "interactions": 50, "store": None, "json": False} | changes
    )


def test_a_made_up_store_is_whole_and_of_the_size_asked_for(made_up: Path) -> None:
    store = open_store(made_up)
    assert store.problems == ()
    assert len(store.runs) == 8
    assert all(len(store.images(run.id)) == 104 for run in store.runs)
    assert not verify_run(store, store.runs[0].id).problems
    (one,) = comparisons(store)
    assert one.shots == (0, 1)
    image = store.images(store.runs[-1].id)["image_id"].iloc[-1]
    category = str(image).partition("/")[0]
    assert store.anomaly_map(store.runs[-1].id, category, image, (32, 32)).shape == (32, 32)
    assert store.thumbnail(store.runs[-1].id, category, image)


def test_nobody_can_take_it_for_measured(made_up: Path) -> None:
    assert "made up" in (made_up / "README.md").read_text()
    for run in open_store(made_up).runs:
        assert run.key.dataset == "made_up"
        assert run.protocol.backbone["title"] == "Made-up backbone"
        assert run.provenance.code_version == "made up"
        assert run.provenance.data["synthetic"]


def test_without_playwright_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "playwright.sync_api", None)
    with pytest.raises(VlmadError, match=r"requirements-dev\.txt"):
        app.run(arguments())


def test_without_chromium_the_message_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(VlmadError, match="No Chromium"):
        app.run(arguments())


@pytest.mark.parametrize("changes", [{"runs": 0}, {"images": 10}, {"interactions": 0}])
def test_too_little_is_refused(changes: dict[str, int]) -> None:
    with pytest.raises(VlmadError, match="too little"):
        app.run(arguments(**changes))


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    monkeypatch.setattr(app, "chromium", lambda: None)
    with pytest.raises(VlmadError, match="something else"):
        app.run(arguments(store=tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]


def test_a_dashboard_that_is_not_there_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "shipped", lambda name: tmp_path / name)
    with pytest.raises(VlmadError, match="no dashboard"):
        serving.start_server(None)


def test_processor_time_of_a_process_grows_with_work() -> None:
    before = serving.cpu_seconds_of(os.getpid())
    assert before is not None
    while (serving.cpu_seconds_of(os.getpid()) or 0) <= before:
        sum(range(10_000))
    assert serving.cpu_seconds_of(2**30) is None


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.skipif(serving.find_browser() is None, reason="there is no Chromium")
def test_the_dashboard_is_clicked_through(made_up: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")
    code = main(["bench", "app", "--store", str(made_up), "--interactions", "20", "--json"])
    figures = json.loads(capsys.readouterr().out)
    assert code in (0, 1)  # whether it is quick enough depends on the machine
    assert figures["failed_interactions"] == []
    assert len(figures["steps"]) == 20
    assert figures["ok"] == (code == 0)
    assert 0 < figures["interaction_seconds"]["median"] <= figures["interaction_seconds"]["p95"]
