"""What a viewer sees and may do where signing in is set up, beside an operator, and who is not signed in."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import streamlit as st

from pages._failures import demos, judging
from pages._lab import words
from pages._live import keep
from pages._parts import photos, progress, workspace
from pages._ui import gate, signed, visitor
from vlmad_core.access import Access
from vlmad_core.datasets.parts import list_parts
from vlmad_core.errors import AccessError
from vlmad_core.workspace import parts, queue
from vlmad_core.workspace.jobs import list_jobs

ACCESS = Access(("@lab.example.org",), ("ann@example.com",), "http://127.0.0.1:1", ("default",), False, "s3cret" * 8)
SENTENCE = "only operators can change this"
CHANGES = {"Start", "Rename", "Delete it", "Remove its photos", "Download", "Cancel", "Continue", "Save", "Remove it"}


@pytest.fixture
def sign_in(monkeypatch: pytest.MonkeyPatch):
    """A function that puts somebody before the pages, as the gate does; nobody at first."""
    told: dict[str, str] = {}
    monkeypatch.setattr(gate, "access", lambda: ACCESS)
    monkeypatch.setattr(type(st.context), "headers", property(lambda _: told))

    def put(address: str, *, hours: float = 1.0, secret: str = ACCESS.cookie_secret) -> None:
        value = signed.signer(secret, signed.HEADER).dumps({"address": address, "until": time.time() + 3600 * hours})
        told[signed.HEADER] = str(value)

    return put


def shown(app) -> str:
    kinds = (app.markdown, app.caption, app.warning, app.info, app.error, app.code)
    return "\n".join(str(element.value) for kind in kinds for element in kind)


@pytest.fixture
def part(tiny_dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workspace: Path, tiny_backbone: None):
    """A part of the workspace with a job that waits."""
    monkeypatch.setenv("VLMAD_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setattr(queue, "ensure_worker", lambda workspace: False)
    tiny_dataset(tmp_path / "data" / "bolts", categories=("bolt",), train=3, normal=2, defective=1)
    (tmp_path / "store").mkdir()
    kept = parts.keep(parts.new_part("Bolt M8", Path("bolts")))
    queue.submit_download(workspace, "owner/name")
    return kept


def test_without_the_gate_a_dashboard_that_needs_it_shows_nothing(
    sign_in, router_has_run, monkeypatch, measured
) -> None:
    """As with ``streamlit run app.py``: there is no header, and one that is forged, old or of nobody is none."""
    from streamlit.testing.v1 import AppTest

    monkeypatch.setenv("VLMAD_STORE", str(measured))
    script = str(Path(__file__).parents[2] / "app.py")

    def seen() -> str:
        app = AppTest.from_file(script, default_timeout=180).run()
        assert not app.exception
        assert len(app.main) == 1
        assert not app.sidebar
        return app.error[0].value

    assert "started without the gate" in seen()
    sign_in("ann@example.com", secret="another")
    assert "This sign-in has ended" in seen()
    sign_in("ann@example.com", hours=-0.1)
    assert "This sign-in has ended" in seen()
    sign_in("eve@elsewhere.example")
    assert "eve@elsewhere.example is not on the list" in seen()


def test_a_list_without_secrets_shows_nothing_either(router_has_run, monkeypatch, measured) -> None:
    from streamlit.testing.v1 import AppTest

    monkeypatch.setenv("VLMAD_STORE", str(measured))
    monkeypatch.setenv("VLMAD_OPERATORS", "ann@example.com")
    app = AppTest.from_file(str(Path(__file__).parents[2] / "app.py"), default_timeout=180).run()
    assert "no table (auth)" in app.error[0].value
    assert len(app.main) == 1


def test_a_viewer_sees_a_sentence_where_an_operator_has_controls(
    sign_in, open_app, part, tmp_path, monkeypatch
) -> None:
    monkeypatch.setenv("VLMAD_JOBS", "1")  # says who may without signing in; here it says nothing
    sign_in("bob@lab.example.org")
    app = open_app(tmp_path / "store", "your_parts", {"dataset": part.slug}, data_dir=tmp_path / "data")
    assert not app.exception
    assert not CHANGES & {button.label for button in app.button}
    assert SENTENCE in shown(app)
    sign_in("ann@example.com")
    monkeypatch.delenv("VLMAD_JOBS")
    monkeypatch.setattr(visitor.machine, "address", lambda: "0.0.0.0")
    app.run()
    assert not app.exception
    assert {"Start", "Rename", "Delete it", "Cancel"} <= {button.label for button in app.button}
    assert SENTENCE not in shown(app)


def test_what_an_operator_s_page_has_drawn_is_refused_to_who_has_become_a_viewer(
    sign_in, open_app, part, tmp_path, workspace
) -> None:
    sign_in("ann@example.com")
    app = open_app(tmp_path / "store", "your_parts", {"dataset": part.slug}, data_dir=tmp_path / "data")
    buttons = {button.label: button for button in app.button}
    sign_in("bob@lab.example.org")
    buttons["Cancel"].click()
    buttons["Start"].click()
    buttons["Delete it"].click()
    app.run()
    assert not app.exception
    assert [job.state.stands for job in list_jobs(workspace)] == ["queued"]
    assert [one.slug for one in list_parts()] == [part.slug]
    assert SENTENCE in shown(app)


def refused(action: Any) -> str:
    """What an action says that is refused; it may raise, or keep the sentence for the page."""
    try:
        action()
    except AccessError as error:
        return str(error)
    return ""


def test_each_action_itself_refuses_a_viewer(sign_in, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Not only the button that is not there."""
    done: list[str] = []

    def record(name: str):
        return lambda *_, **__: done.append(name)

    session: dict[str, Any] = {"note-x": "a", "tags-x": []}
    monkeypatch.setattr(st, "session_state", session)
    said: list[str] = []
    monkeypatch.setattr(st, "error", lambda text, **_: said.append(text))
    monkeypatch.setattr(st, "toast", lambda text, **_: said.append(text))
    monkeypatch.setattr(judging, "save_annotation", record("note"))
    monkeypatch.setattr(demos, "remove_demo", record("demo removed"))
    monkeypatch.setattr(words, "save_ensemble", record("prompts"))
    monkeypatch.setattr(parts, "keep", record("part"))
    sign_in("bob@lab.example.org")
    fresh = judging.Annotation("d", "c", "i", "m", 0)
    judging._save(fresh, "x", "")
    assert SENTENCE in session["note_message"][1]
    demos._remove(SimpleNamespace(id="one"))
    progress._tried(record("cancelled"), SimpleNamespace(id="one"))
    assert [SENTENCE in text for text in said] == [True, True]
    words._saved(SimpleNamespace(chosen=""), None, "mine", again=False)
    assert SENTENCE in session["lab_said"][1]
    workspace._try(partial(record("deleted")))
    assert SENTENCE in session["workspace_error"]
    new = parts.new_part("Bolt", None)
    assert SENTENCE in refused(lambda: photos.keep(new))
    assert SENTENCE in refused(lambda: keep._save(None, [], None, "", ""))
    assert SENTENCE in refused(visitor.check_jobs)
    assert done == []
    sign_in("ann@example.com")
    workspace._try(partial(record("deleted")))
    assert done == ["deleted"]


def test_where_signing_in_is_off_all_is_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "access", lambda: None)
    visitor.check_operator()
    monkeypatch.setattr(visitor.machine, "address", lambda: "localhost")
    visitor.check_jobs()
    monkeypatch.setattr(visitor.machine, "address", lambda: "0.0.0.0")
    assert "VLMAD_JOBS=1" in visitor.why_not_jobs()
