"""Stores for the pages, the app in process, and the app behind a browser."""

from __future__ import annotations

import importlib.util
import json
import pickle
import shutil
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import streamlit as st
from streamlit.runtime.pages_manager import PagesManager
from streamlit.testing.v1 import AppTest

from pages._ui import machine
from vlmad_core.errors import VlmadError
from vlmad_core.inference.client import Inference, InferenceError, Place
from vlmad_core.inference.process import Holdings

collect_ignore = ["slow_method.py"]
ROOT = Path(__file__).parents[2]
CHROMIUM = Path("/usr/bin/chromium")


OpenApp = Callable[..., AppTest]


class InferenceHere(Inference):
    """Answers in the thread that asks, so that a test is quick and may reach into what computes."""

    def __init__(self) -> None:
        super().__init__()
        self._held = Holdings()

    def start(self) -> Any:
        """There is no process."""

    def _asked(self, visitor: str, operation: Any, arguments: tuple[Any, ...], place: Place) -> Generator[Any]:
        operation, arguments = pickle.loads(pickle.dumps((operation, arguments)))
        told: list[bytes] = []
        place(None)
        try:
            found = pickle.dumps(operation(self._held, lambda what: told.append(pickle.dumps(what)), *arguments))
        except VlmadError as error:
            raise InferenceError(error.problem, error.fix) from error
        yield from map(pickle.loads, told)
        return pickle.loads(found)


@pytest.fixture(autouse=True)
def inference_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """No process for models; ``inference_beside`` is for the tests that are about it."""
    monkeypatch.setattr(machine, "Inference", InferenceHere)


@pytest.fixture(scope="session")
def measured(quick_disk: None, made_up_store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A made-up store with blanks of every kind: no maps, no masks, an unfinished category, few-shot runs."""
    return made_up_store(
        tmp_path_factory.mktemp("measured"),
        datasets=("widgets", "gadgets"),
        categories=("bolt", "felt", "hex_nut"),
        methods=("clip_ac", "clip_cpe", "winclip"),
        shots=(0, 2),
        seeds=2,
        without_masks=("felt",),
        unfinished=(("clip_cpe", "hex_nut"),),
    )


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with nothing in it."""
    return tmp_path_factory.mktemp("empty")


@pytest.fixture(scope="session")
def damaged(quick_disk: None, made_up_store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with damage of every kind; one run is whole."""
    path = made_up_store(tmp_path_factory.mktemp("damaged"), methods=("clip_ac", "clip_cpe", "winclip"))
    (path / "notes.txt").write_text("not a result")
    runs = {folder.name.partition("-")[0]: folder for folder in (path / "widgets").iterdir() if "shot" in folder.name}
    (runs["clip_ac"] / "run.json").write_text("{ half a file")
    (runs["clip_cpe"] / "bolt" / "images.parquet").unlink()
    mark = runs["clip_cpe"] / "felt" / "unit.json"
    mark.write_text(json.dumps({**json.loads(mark.read_text()), "schema_version": 99}))
    curves = runs["winclip"] / "bolt" / "curves.parquet"
    curves.write_bytes(bytes(curves.stat().st_size))
    shutil.copytree(runs["winclip"] / "felt", path / "widgets" / "stray")
    return path


@pytest.fixture
def router_has_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put AppTest into the state of a server after its first visitor.

    Streamlit takes the files of ``pages/`` for pages of their own until ``st.navigation`` has run once; AppTest
    starts from there with every run, so that the router would be left out. (The first visit to a real server is
    tested in the browser.)
    """
    plain = PagesManager.__init__

    def init(self: PagesManager, *args: Any, **kwargs: Any) -> None:
        plain(self, *args, **kwargs)
        PagesManager.uses_pages_directory = False

    monkeypatch.setattr(PagesManager, "__init__", init)


@pytest.fixture
def open_app(router_has_run: None, monkeypatch: pytest.MonkeyPatch) -> OpenApp:
    """A function that opens a page of the app on a store, as a visitor with a link would."""

    def open_page(
        store: Path, page: str, parameters: Mapping[str, str] | None = None, data_dir: Path | None = None
    ) -> AppTest:
        monkeypatch.setenv("VLMAD_STORE", str(store))
        monkeypatch.delenv("VLMAD_DATA_DIR", raising=False)
        if data_dir is not None:
            monkeypatch.setenv("VLMAD_DATA_DIR", str(data_dir))
        app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=180)
        app.run()
        assert not app.exception
        if page != "overview":
            app.switch_page(f"pages/{page}.py")
        for name, value in (parameters or {}).items():
            app.query_params[name] = value
        return app.run()

    return open_page


@pytest.fixture
def tiny_backbone(tiny_clip: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A tiny CLIP of random weights in the place of the bundled one."""
    st.cache_resource.clear()
    st.cache_data.clear()
    monkeypatch.setenv("VLMAD_BACKBONE", str(tiny_clip))
    yield
    st.cache_resource.clear()
    st.cache_data.clear()


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty workspace."""
    monkeypatch.setenv("VLMAD_WORKSPACE", str(tmp_path / "workspace"))
    return tmp_path / "workspace"


@pytest.fixture
def demo(open_app: OpenApp, measured: Path, tiny_backbone: None) -> AppTest:
    """The live demo, ready for an upload."""
    app = open_app(measured, "live_demo")
    app.segmented_control(key="source").set_value("Upload").run()
    app.session_state["live"].results.clear()  # of the example that is judged at the first sight
    return app


@pytest.fixture(scope="session")
def app_server() -> ModuleType:
    """The module that serves the app and takes its pictures."""
    spec = importlib.util.spec_from_file_location("screenshots", Path(__file__).with_name("screenshots.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def serve(app_server: ModuleType) -> Iterator[Callable[..., str]]:
    """A function that serves the app on a store and gives its address; all servers end with the session."""
    running: dict[tuple[Path, Path | None, str], tuple[Any, str]] = {}

    def start(store: Path, backbone: Path | None = None, plugins: str = "") -> str:
        key = (store, backbone, plugins)
        if key not in running:
            extra = {"VLMAD_BACKBONE": str(backbone)} if backbone else {}
            extra |= {"VLMAD_PLUGINS": plugins} if plugins else {}
            running[key] = app_server.start_server(store, extra)
        return running[key][1]

    yield start
    for process, _ in running.values():
        app_server.stop_server(process)


@pytest.fixture(scope="session")
def browser(app_server: ModuleType) -> Iterator[Any]:
    """Chromium, one for all tests."""
    playwright = pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=str(CHROMIUM), args=list(app_server.FLAGS))
        yield opened
        opened.close()


@pytest.fixture
def open_tab(browser: Any, app_server: ModuleType) -> Iterator[Callable[..., Any]]:
    """A function that opens an address in a fresh session; at the end no tab may have logged an error."""
    errors: list[str] = []
    contexts = []

    def listen(message: Any) -> None:
        # For a page below the root Streamlit's frontend first asks for its health under that page; the 404 is its own.
        if message.type == "error" and "/_stcore/" not in str(message.location):
            errors.append(f"{message.text} {message.location.get('url')}")

    def open_address(address: str, *, width: int = 1280, theme: str = "light") -> Any:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)
        contexts.append(context)
        tab = context.new_page()
        tab.set_default_timeout(60_000)
        tab.on("console", listen)
        tab.on("pageerror", lambda error: errors.append(str(error)))
        tab.goto(address)
        app_server.settle(tab)
        return tab

    yield open_address
    for context in contexts:
        context.close()
    assert errors == []
