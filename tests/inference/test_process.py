"""The process that computes with models: places in its line, refusals, ends of every kind, and no orphans."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from tests.inference import operations
from vlmad_core.errors import VlmadError
from vlmad_core.inference.client import Inference, InferenceError

PATIENCE = 60.0


def wait_until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.fixture(scope="module")
def inference() -> Iterator[Inference]:
    """One for all tests: it starts a new process where a test has ended the last."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
        made = Inference(most=4)
        yield made
        made.close()


class Visitor:
    """Somebody who asks in a thread of his own, as the script of a page does."""

    def __init__(self, inference: Inference, name: str, operation: Callable[..., Any], *arguments: Any) -> None:
        self.places: list[int | None] = []
        self.told: list[Any] = []
        self.found: Any = None
        self.error: VlmadError | None = None
        self.leaves = False
        self._asked = (inference, name, operation, *arguments)
        self._thread = threading.Thread(target=self._ask)
        self._thread.start()

    def _ask(self) -> None:
        inference, *asked = self._asked
        try:
            self.found = inference.ask(*asked, told=self.told.append, place=self._place)
        except InferenceError as error:
            self.error = error
        except KeyboardInterrupt:
            pass

    def _place(self, before: int | None) -> None:
        if self.leaves:
            raise KeyboardInterrupt
        self.places.append(before)

    def wait(self) -> Any:
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        return self.found


def test_answers_are_what_was_computed_bit_for_bit(inference: Inference) -> None:
    values = np.random.default_rng(0).standard_normal((4, 64, 64)).astype(np.float32)
    found = inference.ask("a", operations.echo, {"map": values, "none": None})
    assert found["none"] is None
    assert found["map"].dtype == np.float32
    assert found["map"].tobytes() == values.tobytes()
    large = os.urandom(3_000_000)  # more than a pipe holds, both ways
    assert inference.ask("a", operations.echo, large) == large


def test_who_waits_is_told_how_many_are_before_him(inference: Inference, tmp_path: Path) -> None:
    door = tmp_path / "door"
    first = Visitor(inference, "first", operations.wait_for, door)
    wait_until(lambda: first.told)
    second = Visitor(inference, "second", operations.echo, "two")
    wait_until(lambda: 1 in second.places)
    third = Visitor(inference, "third", operations.echo, "three")
    wait_until(lambda: 2 in third.places)
    door.touch()
    assert [second.wait(), third.wait()] == ["two", "three"], "each gets his own answer"
    assert first.wait() == inference.start().pid
    assert 2 not in second.places


def test_a_full_line_refuses_with_a_sentence_and_then_takes_more(inference: Inference, tmp_path: Path) -> None:
    door = tmp_path / "door"
    waiting = [Visitor(inference, name, operations.wait_for, door) for name in "aabc"]
    wait_until(lambda: sum(inference._admitted.values()) == 4)
    with pytest.raises(InferenceError, match="The line for the models is full: 4 of 4 places are taken"):
        inference.ask("d", operations.echo, "late")
    with pytest.raises(InferenceError, match="2 requests of yours"):
        inference.ask("a", operations.echo, "greedy")
    assert inference.look_up("d", operations.look, "seen") == "seen"
    door.touch()
    assert len({one.wait() for one in waiting}) == 1
    assert inference.ask("d", operations.echo, "late") == "late"


def test_visitors_take_turns_unit_by_unit(inference: Inference, tmp_path: Path) -> None:
    slow, quick = tmp_path / "slow", tmp_path / "quick"
    quick.touch()
    many = Visitor(inference, "many", operations.wait_for, slow, 50)
    wait_until(lambda: many.told)
    one = Visitor(inference, "one", operations.wait_for, quick, 1)
    wait_until(lambda: 1 in one.places)
    slow.touch()
    one.wait()
    many.wait()
    assert many.told == list(range(50))
    assert one.told == [0]
    log = (tmp_path / operations.LOG).read_text().split()
    assert log[:2] == ["slow", "quick"], "the second visitor came next, not after all of the first"
    assert len(log) == 51


@pytest.mark.parametrize(
    ("how", "said"),
    [("said", "The thing is broken. Mend it."), ("left", "SystemExit: 3"), ("bug", "ZeroDivisionError: a bug")],
)
def test_what_goes_wrong_is_said_and_costs_that_request(inference: Inference, how: str, said: str) -> None:
    with pytest.raises(InferenceError) as caught:
        inference.ask("a", operations.fail, how)
    assert str(caught.value) == said
    assert inference.ask("a", operations.echo, 1) == 1


def test_a_kill_is_said_to_all_who_wait_and_the_next_request_has_a_new_process(
    inference: Inference, tmp_path: Path
) -> None:
    first = Visitor(inference, "first", operations.wait_for, tmp_path / "door")
    wait_until(lambda: first.told)
    second = Visitor(inference, "second", operations.echo, "two")
    wait_until(lambda: 1 in second.places)
    killed = inference.start().pid
    os.kill(killed, signal.SIGKILL)
    for one in (first, second):
        one.wait()
        assert "was ended by SIGKILL, as the system does when memory runs out. Ask again" in str(one.error)
    assert inference.ask("second", operations.echo, "two") == "two"
    assert inference.start().pid != killed
    with pytest.raises(InferenceError, match="SIGKILL"):
        inference.ask("second", operations.fail, "killed")
    assert inference.ask("second", operations.echo, "again") == "again"


def test_who_goes_away_is_not_worked_for_any_more(inference: Inference, tmp_path: Path) -> None:
    door = tmp_path / "door"
    gone = Visitor(inference, "gone", operations.wait_for, door, 1000)
    wait_until(lambda: gone.told)
    gone.leaves = True
    gone.wait()
    assert sum(inference._admitted.values()) == 0, "at once, although what was begun goes on"
    door.touch()
    assert inference.ask("other", operations.echo, "next") == "next"
    assert inference.ask("gone", operations.echo, "again") == "again", "the unit that was begun is the last one"
    assert len((tmp_path / operations.LOG).read_text().split()) < 1000


def test_closing_ends_the_process_though_it_computes(inference: Inference, tmp_path: Path) -> None:
    visitor = Visitor(inference, "a", operations.wait_for, tmp_path / "door")
    wait_until(lambda: visitor.told)
    process = psutil.Process(inference.start().pid)
    inference.close()
    assert not process.is_running()
    visitor.wait()
    assert "ended with code 0" in str(visitor.error)


DASHBOARD = """
import sys, threading
from pathlib import Path
from tests.inference import operations
from vlmad_core.inference.client import Inference
inference = Inference(most=4)
print(inference.start().pid, flush=True)
door = Path(sys.argv[1])
threading.Thread(target=inference.ask, args=("a", operations.wait_for, door), daemon=True).start()
while not door.with_name(operations.LOG).exists():
    pass
print("computing", flush=True)
if sys.argv[2] == "leave":
    sys.exit()
threading.Event().wait()
"""


@pytest.mark.parametrize("how", ["kill", "term", "leave"])
def test_it_ends_with_the_dashboard_however_that_ends(tmp_path: Path, how: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", DASHBOARD, str(tmp_path / "door"), how]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as dashboard:
        assert dashboard.stdout is not None
        process = psutil.Process(int(dashboard.stdout.readline()))
        assert dashboard.stdout.readline() == "computing\n"
        if how != "leave":
            dashboard.send_signal(signal.SIGKILL if how == "kill" else signal.SIGTERM)
        dashboard.wait(PATIENCE)
    process.wait(PATIENCE)
