"""Your parts: a plan with its estimate, started as a job, seen going on, cancelled and gone on with."""

from __future__ import annotations

from pathlib import Path

import pytest

from pages._ui import machine
from vlmad_core.workspace import parts, queue, worker
from vlmad_core.workspace.jobs import list_jobs


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace in which nobody works but who is told to."""
    monkeypatch.setenv("VLMAD_WORKSPACE", str(tmp_path / "workspace"))
    monkeypatch.delenv("VLMAD_JOBS", raising=False)
    monkeypatch.setattr(queue, "ensure_worker", lambda workspace: False)
    return tmp_path / "workspace"


@pytest.fixture
def open_part(open_app, tiny_dataset, tmp_path: Path, workspace: Path, tiny_backbone: None, monkeypatch):
    """A function that opens the page on a part whose photos lie on the server."""
    monkeypatch.setenv("VLMAD_DATA_DIR", str(tmp_path / "data"))
    tiny_dataset(tmp_path / "data" / "bolts", categories=("bolt",), train=3, normal=2, defective=1)
    part = parts.keep(parts.new_part("Bolt M8", Path("bolts")))
    (tmp_path / "store").mkdir()

    def open_page():
        app = open_app(tmp_path / "store", "your_parts", {"dataset": part.slug}, data_dir=tmp_path / "data")
        assert not app.exception
        return app

    return open_page


def shown(app) -> str:
    kinds = (app.markdown, app.caption, app.warning, app.info, app.error, app.code)
    return "\n".join(str(element.value) for kind in kinds for element in kind)


def click(app, label: str):
    next(button for button in app.button if button.label == label).click()
    app.run()
    assert not app.exception
    return app


def test_a_plan_is_estimated_started_and_its_results_come_with_the_units(open_part, workspace, tmp_path) -> None:
    app = open_part()
    assert "4 photos to judge: time about" in shown(app)
    assert "(from one pass)" in shown(app)
    click(app, "Start")
    (job,) = list_jobs(workspace)
    assert (job.record.part, job.state.stands) == ("bolt-m8", "queued")
    assert "waiting, next in the queue" in shown(app)
    click(app, "Cancel")
    assert "cancelled" in shown(app)
    click(app, "Continue")
    worker.work(workspace)
    app.run()
    assert not app.exception
    assert "done, 4 units computed" in shown(app)
    assert "All of it is done" in shown(app)
    assert list((tmp_path / "store").glob("bolt-m8/*/*/unit.json"))


def test_where_others_may_call_nothing_can_be_started(open_part, workspace, monkeypatch) -> None:
    monkeypatch.setattr(machine, "address", lambda: "0.0.0.0")
    app = open_part()
    assert "VLMAD_JOBS=1" in shown(app)
    assert "Start" not in [button.label for button in app.button]
    assert not [button for button in app.button if button.label == "Download"]
    monkeypatch.setenv("VLMAD_JOBS", "1")
    assert "Start" in [button.label for button in app.run().button]
