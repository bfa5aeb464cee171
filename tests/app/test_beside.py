"""The pages with the process that computes beside them, as the dashboard has it."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import vlmad_core
from pages._ui import machine
from tests.inference import operations
from vlmad_core.inference.client import Inference, InferenceError

ROOT = Path(__file__).parents[2]
PATIENCE = 120.0


def picture(number: int = 0) -> bytes:
    pixels = np.random.default_rng(number).integers(0, 256, (72, 96, 3)).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def texts(app) -> str:
    kinds = (app.title, app.markdown, app.caption, app.warning, app.info, app.error)
    return "\n".join(str(element.value) for kind in kinds for element in kind)


def wait_until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture
def beside(inference_here: None, tiny_backbone: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Inference]:
    """The process, with room for two requests."""
    monkeypatch.setattr(machine, "Inference", Inference)
    monkeypatch.setenv("VLMAD_QUEUE", "2")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    inference = machine.inference()
    yield inference
    inference.close()


@pytest.fixture
def busy(beside: Inference, tmp_path: Path) -> Iterator[Path]:
    """Somebody has the turn until this file is there."""
    door = tmp_path / "door"

    def ask() -> None:
        with suppress(InferenceError):  # where a test ends the process
            beside.ask("somebody", operations.wait_for, door)

    thread = threading.Thread(target=ask)
    thread.start()
    wait_until((tmp_path / operations.LOG).exists)
    yield door
    door.touch()
    thread.join(PATIENCE)


@pytest.fixture
def waiting_demo(open_app, measured: Path, beside: Inference):
    """The demo where nothing is judged yet, since no words are there."""
    app = open_app(measured, "overview")
    app.switch_page("pages/live_demo.py")
    app.session_state["source"] = "Upload"
    app.run()
    app.file_uploader(key="upload").upload("part.png", picture())
    assert not app.exception
    return app


def judge(app):
    return app.text_input(key="words-Upload-").set_value("gear wheel").run()


def shown(app) -> dict[str, object]:
    return {one.method_id: one for one in app.session_state["live"].results.values()}


def test_the_page_shows_what_predict_gives_bit_for_bit(waiting_demo, tiny_clip: Path) -> None:
    app = judge(waiting_demo)
    assert not app.exception
    judged = vlmad_core.predict([("part.png", picture())], "gear wheel", backbone=str(tiny_clip), stores=[])
    found = shown(app)
    assert len(found) == 3
    for opinion in judged.images[0].opinions:
        here, there = opinion.prediction, found[opinion.prediction.method_id]
        assert there.image_score == here.image_score
        assert there.reasons == here.reasons
        if here.anomaly_map is not None:
            assert there.anomaly_map.tobytes() == here.anomaly_map.tobytes()


def test_pages_of_stored_results_do_not_wait_for_the_models(open_app, measured: Path, busy: Path) -> None:
    for page in ("leaderboard", "categories", "failures", "segmentation"):
        app = open_app(measured, page, {"dataset": "widgets"})
        assert not app.exception, page
    assert not busy.exists(), "all the while somebody else's image was being judged"


def test_a_full_line_is_said_and_tried_again(waiting_demo, busy: Path, beside: Inference) -> None:
    other = threading.Thread(target=beside.ask, args=("another", operations.echo, 1))
    other.start()
    wait_until(lambda: sum(beside._admitted.values()) == 2)
    app = judge(waiting_demo)
    assert not app.exception
    assert "The line for the models is full: 2 of 2 places are taken. Try again in a minute." in texts(app)
    assert not shown(app)
    busy.touch()
    other.join(PATIENCE)
    wait_until(lambda: not sum(beside._admitted.values()))
    app.button(key="live_again").click().run()
    assert "The line for the models is full" not in texts(app)
    assert len(shown(app)) == 3


def test_a_killed_process_is_said_and_the_next_try_works(waiting_demo, busy: Path, beside: Inference) -> None:
    page = threading.Thread(target=judge, args=(waiting_demo,))
    page.start()
    wait_until(lambda: sum(beside._admitted.values()) == 2)
    os.kill(beside.start().pid, signal.SIGKILL)
    page.join(PATIENCE)
    app = waiting_demo
    assert not app.exception
    assert "The process that computes with the models was ended by SIGKILL" in texts(app)
    app.button(key="live_again").click().run()
    assert not app.exception
    assert len(shown(app)) == 3


WITHOUT_TORCH = """
import sys
from streamlit.runtime.pages_manager import PagesManager
from streamlit.testing.v1 import AppTest

class Forbidden:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            raise ModuleNotFoundError("torch is for the process that computes", name="torch")

sys.meta_path.insert(0, Forbidden())
plain = PagesManager.__init__
def init(self, *args, **named):
    plain(self, *args, **named)
    PagesManager.uses_pages_directory = False
PagesManager.__init__ = init
app = AppTest.from_file(sys.argv[1], default_timeout=180).run()
for page in sys.argv[2:]:
    app.switch_page(f"pages/{page}.py").run()
    found = [one.message for one in app.exception] + [str(one.value) for one in app.error]
    print(page, *found)
from pages._ui import machine
machine.inference().close()
"""


def test_no_page_loads_torch(measured: Path, tiny_clip: Path, tiny_dataset, tmp_path: Path, app_server) -> None:
    """The demo judges an image of a data set, the failures show maps; all with torch out of reach of the pages."""
    tiny_dataset(tmp_path / "data" / "parts")
    pages = [page for page in app_server.all_pages() if page != "overview"]
    variables = {"VLMAD_STORE": measured, "VLMAD_BACKBONE": tiny_clip, "VLMAD_DATA_DIR": tmp_path / "data"}
    environment = {**os.environ, **{name: str(value) for name, value in variables.items()}}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, str(ROOT / "app.py"), *pages],
        env=environment, cwd=ROOT, capture_output=True, text=True, timeout=300, check=True,
    )  # fmt: skip
    assert [line for line in done.stdout.splitlines() if line.split()[0] in pages] == pages
