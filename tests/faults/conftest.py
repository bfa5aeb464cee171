"""What the fault suite needs: cases that are counted, a table of them at the end, processes, pages, and what is whole.

``make test-faults`` runs all of it. Cases beyond the short form, which ``make test`` runs, carry the marker ``slow``.
Every random choice follows from a seed, which is printed; ``FAULTS_SEED=N make test-faults`` makes the same again.
"""

from __future__ import annotations

import os
import random
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.app.conftest import router_has_run  # noqa: F401 - a fixture
from tests.faults.invariants import Look, Undisturbed
from tests.faults.processes import Forks
from tests.faults.works import Ground, Work

SEED = int(os.environ.setdefault("FAULTS_SEED", str(random.SystemRandom().randrange(10**6))))
"""Of all random moments and changes; processes that share the tests find it in the environment."""

RESULT_PAGES = (
    "overview", "leaderboard", "categories", "accuracy", "segmentation", "efficiency", "shots", "transfer", "failures",
    "reproduction", "runs", "study",
)  # fmt: skip
"""Pages of stored results."""

STARTED = time.monotonic()


class Cases:
    """Cases of one kind: each may fail for itself, all are counted.

    Attributes:
        kind: What they have in common, as the table names it.
        tried: How many there were.
        lost: What went wrong, case by case.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.tried = 0
        self.lost: list[str] = []

    @contextmanager
    def case(self, what: object) -> Iterator[None]:
        """One case; what goes wrong in it is noted, and the next one is tried."""
        self.tried += 1
        try:
            yield
        except Exception as error:
            place = _innermost(error)
            self.lost.append(f"{what}: {type(error).__name__}: {str(error)[:600]} ({place})")


def _innermost(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else ""


@pytest.fixture
def cases_of(record_property: Callable[[str, object], None]) -> Callable[[str], Any]:
    """A function that counts cases of a kind, and fails at the end if one was lost."""

    @contextmanager
    def counted(kind: str) -> Iterator[Cases]:
        cases = Cases(kind)
        try:
            yield cases
        finally:
            record_property("faults", [kind, cases.tried, len(cases.lost)])
        assert not cases.lost, f"{len(cases.lost)} of {cases.tried} (FAULTS_SEED={SEED}):\n" + "\n".join(cases.lost)

    return counted


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> random.Random:
    """Random choices of one test, whichever other tests run."""
    return random.Random(SEED + zlib.crc32(request.node.name.encode()))


@pytest.fixture(scope="session")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    """What starts commands quickly."""
    if not hasattr(os, "fork"):
        pytest.skip("this system can't fork")
    running = Forks(tmp_path_factory.mktemp("forks"))
    yield running
    running.close()


@pytest.fixture(scope="session")
def widgets(tmp_path_factory: pytest.TempPathFactory, tiny_dataset: Callable[..., Path]) -> Path:
    """A tiny data set."""
    return tiny_dataset(tmp_path_factory.mktemp("faults") / "widgets", train=2, normal=3, defective=2)


@pytest.fixture(scope="session")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory, forks: Forks, widgets: Path, tiny_clip: Path
) -> Callable[[Work], tuple[Undisturbed, float]]:
    """A function that gives what a work makes without a fault, and the seconds it takes."""
    known: dict[str, tuple[Undisturbed, float]] = {}

    def make(work: Work) -> tuple[Undisturbed, float]:
        if work.name not in known:
            ground = Ground(widgets, tiny_clip, tmp_path_factory.mktemp("whole"))
            words, started = work.words(ground), time.monotonic()
            fork = forks.run(words)
            assert fork.code == 0, fork.said
            known[work.name] = Undisturbed(ground.out), time.monotonic() - started
            assert work.finished(ground.out)
        return known[work.name]

    return make


@pytest.fixture
def look(router_has_run: None, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Look]:  # noqa: F811
    """A function that gives what opens pages, all of them or some, on a store."""
    from streamlit.testing.v1 import AppTest

    def looks(pages: Sequence[str] = RESULT_PAGES) -> Look:
        def open_pages(store: Path) -> None:
            monkeypatch.setenv("VLMAD_STORE", str(store))
            monkeypatch.delenv("VLMAD_DATA_DIR", raising=False)
            app = AppTest.from_file(str(Path(__file__).parents[2] / "app.py"), default_timeout=180).run()
            for page in pages:
                if page != "overview":
                    app.switch_page(f"pages/{page}.py").run()
                assert not app.exception, f"the page {page} shows a traceback: {traceback_of(app)}"

        return open_pages

    return looks


def traceback_of(app: Any) -> str:
    """The last lines of the traceback that a page shows."""
    error = app.exception[0]
    return " | ".join([str(error.message or error.value)[:300], *error.stack_trace[-3:]])


def pytest_report_header() -> str:
    """The seed, before anything runs."""
    return f"faults: FAULTS_SEED={SEED}"


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """The figures: by kind, how many cases were tried, survived and lost."""
    kinds: dict[str, list[int]] = {}
    reports = [one for group in terminalreporter.stats.values() for one in group]
    for report in reports:
        for name, value in getattr(report, "user_properties", ()) if getattr(report, "when", "") == "call" else ():
            if name == "faults":
                kind, tried, lost = value
                row = kinds.setdefault(kind, [0, 0])
                row[0] += tried
                row[1] += lost
    if not kinds:
        return
    terminalreporter.section("faults")
    rows = [(kind, tried, tried - lost, lost) for kind, (tried, lost) in sorted(kinds.items())]
    rows.append(("all", *(sum(column) for column in list(zip(*rows, strict=True))[1:])))  # type: ignore[arg-type]
    width = max(len(row[0]) for row in rows)
    terminalreporter.line(f"{'kind':<{width}}  tried  survived  lost")
    for kind, tried, survived, lost in rows:
        terminalreporter.line(f"{kind:<{width}}  {tried:>5}  {survived:>8}  {lost:>4}")
    load = f", load average {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    terminalreporter.line(f"FAULTS_SEED={SEED}, {time.monotonic() - STARTED:.0f} s{load}")
