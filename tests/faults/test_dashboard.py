"""A store that is deleted, replaced or damaged under a running dashboard: no traceback, and then the new numbers."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from tests.faults.conftest import RESULT_PAGES, traceback_of
from vlmad_core.bench.serving import start_server, stop_server
from vlmad_core.store.reader import open_store

pytestmark = pytest.mark.usefixtures("quick_disk", "router_has_run")

NOTICED = 120.0
"""Seconds within which a change must be seen, on however busy a machine; a store is looked at every two."""

Make = Callable[..., Path]


def write_first(made_up_store: Make, path: Path) -> Path:
    return made_up_store(path)


def write_second(made_up_store: Make, path: Path) -> Path:
    return made_up_store(path, images=20, methods=("clip_ac", "clip_cpe", "winclip"))


def numbers(store: Path) -> set[float]:
    """The mean image AUROC of each method in percent, as the leaderboard shows it."""
    frame = open_store(store).metrics()
    values = frame[frame["metric"] == "image_auroc"].groupby("run_id")["value"].mean()
    return {round(100 * value, 6) for value in values}


def shown(app: AppTest) -> set[float]:
    """The same as a leaderboard on the screen has it."""
    frames = [one.value for one in app.dataframe if "image_auroc" in one.value.columns]
    return {round(value, 6) for frame in frames for value in frame["image_auroc"].dropna()}


def visit(app: AppTest, page: str) -> AppTest:
    app.switch_page(f"pages/{page}.py").run()
    assert not app.exception, f"the page {page} shows a traceback: {traceback_of(app)}"
    return app


def swap(store: Path, other: Path, rng: random.Random) -> None:
    """Put another store in its place, with a moment in which there is none."""
    store.rename(store.with_name("old"))
    time.sleep(rng.uniform(0, 0.02))
    other.rename(store)
    shutil.rmtree(store.with_name("old"))


def delete(store: Path, other: Path, rng: random.Random) -> None:
    shutil.rmtree(store)


def empty(store: Path, other: Path, rng: random.Random) -> None:
    for path in store.iterdir():
        shutil.rmtree(path)


def lose_a_run(store: Path, other: Path, rng: random.Random) -> None:
    shutil.rmtree(rng.choice(sorted(store.glob("*/*shot*"))))


def lose_units(store: Path, other: Path, rng: random.Random) -> None:
    for unit in rng.sample(sorted(store.glob("*/*shot*/*/unit.json")), 2):
        shutil.rmtree(unit.parent)


def lose_files(store: Path, other: Path, rng: random.Random) -> None:
    for path in rng.sample(sorted(store.rglob("*.parquet")), 6):
        path.unlink()


def lose_thumbnails(store: Path, other: Path, rng: random.Random) -> None:
    shutil.rmtree(next(store.glob("*/thumbnails")))


def turn_into_a_file(store: Path, other: Path, rng: random.Random) -> None:
    shutil.rmtree(store)
    store.write_text("a file")


HAPPENS = {
    function.__name__.replace("_", " "): function
    for function in (
        swap, delete, empty, lose_a_run, lose_units, lose_files, lose_thumbnails, turn_into_a_file
    )
}  # fmt: skip
"""What happens to the store; one more entry happens to it too."""


@pytest.fixture
def session(made_up_store: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[AppTest, Path]:
    """A visitor who has been on every page, and the store he looks at."""
    store = write_first(made_up_store, tmp_path / "store")
    monkeypatch.setenv("VLMAD_STORE", str(store))
    monkeypatch.delenv("VLMAD_DATA_DIR", raising=False)
    app = AppTest.from_file(str(Path(__file__).parents[2] / "app.py"), default_timeout=180).run()
    return app, store


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name == "swap" else pytest.mark.slow) for name in HAPPENS]
)
def test_whatever_happens_to_the_store_no_page_breaks_and_new_numbers_are_shown(
    name: str, session: tuple[AppTest, Path], made_up_store: Make, tmp_path: Path, rng: random.Random, cases_of: Any
) -> None:
    app, store = session
    other, kind = write_second(made_up_store, tmp_path / "other"), f"store under the dashboard: {name}"
    expected, pages = numbers(other), list(RESULT_PAGES)
    rng.shuffle(pages)
    assert numbers(store) == shown(visit(app, "leaderboard"))
    with cases_of(kind) as cases:
        HAPPENS[name](store, other, rng)
        for page in pages:  # what the session still knows, then what there is
            with cases.case(page):
                visit(app, page)
        time.sleep(2.1)
        for page in pages[:4]:
            with cases.case(f"{page}, noticed"):
                visit(app, page)
        if other.exists():
            if store.is_dir():
                shutil.rmtree(store)
            store.unlink(missing_ok=True)
            other.rename(store)
        with cases.case("another store in its place"):
            until = time.monotonic() + NOTICED
            while shown(visit(app, "leaderboard")) != expected:
                assert time.monotonic() < until, "the old numbers are still shown"
                time.sleep(0.5)


@pytest.mark.slow
def test_a_store_that_is_replaced_again_and_again_shows_one_or_the_other(
    session: tuple[AppTest, Path], made_up_store: Make, tmp_path: Path, rng: random.Random, cases_of: Any
) -> None:
    app, store = session
    second = write_second(made_up_store, tmp_path / "second")
    possible, over = (numbers(store), numbers(second)), threading.Event()

    def replace() -> None:
        while not over.is_set():
            copy = tmp_path / "copy"
            shutil.copytree(store, copy, copy_function=os.link)
            store.rename(tmp_path / "gone")
            time.sleep(rng.uniform(0, 0.01))
            second.rename(store)
            shutil.rmtree(tmp_path / "gone")
            copy.rename(second)
            time.sleep(rng.uniform(0, 0.5))

    thread = threading.Thread(target=replace)
    thread.start()
    try:
        with cases_of("store replaced again and again") as cases:
            for number in range(40):
                page = rng.choice(RESULT_PAGES)
                with cases.case(f"{number}: {page}"):
                    visit(app, page)
                    if page == "leaderboard":
                        assert any(shown(app) <= one for one in (*possible, set())), "numbers of no store"
    finally:
        over.set()
        thread.join()


@pytest.mark.slow
def test_a_server_whose_store_goes_and_comes_back_answers_every_visitor(
    made_up_store: Make, tmp_path: Path, rng: random.Random, cases_of: Any
) -> None:
    clients = pytest.importorskip("tests.performance.clients", reason="NOT TESTED HERE: no client without a browser")
    store = write_first(made_up_store, tmp_path / "store")
    others = [write_second(made_up_store, tmp_path / f"other{number}") for number in range(3)]
    process, address = start_server(store)

    async def tour(pages: tuple[str, ...]) -> list[str]:
        """What goes wrong for a visitor who goes from page to page."""
        wrong, visitor = [], clients.Visitor(address)
        try:
            await visitor.open()
            for page in pages:
                await visitor.go("" if page == "overview" else page)
        except clients.Failed as error:
            wrong.append(str(error))
        finally:
            await visitor.close()
        return wrong

    async def crowd() -> list[str]:
        told = await asyncio.gather(*(tour(tuple(rng.sample(RESULT_PAGES, 5))) for _ in range(3)))
        return [one for wrong in told for one in wrong]

    try:
        with cases_of("store under a server with three visitors") as cases:
            for name in ("swap", "delete", "lose files", "turn into a file"):
                with cases.case(name):
                    thread = threading.Timer(rng.uniform(0, 2), HAPPENS[name], (store, others[0], rng))
                    thread.start()
                    wrong = asyncio.run(crowd())
                    thread.join()
                    assert not wrong, wrong
                    if store.is_dir():
                        shutil.rmtree(store)
                    store.unlink(missing_ok=True)
                    write_first(made_up_store, store)
                    others[0] = others[0] if others[0].exists() else others.pop()
    finally:
        stop_server(process)
