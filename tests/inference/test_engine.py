"""Turns are given first come, first served; what is held is held in bounds."""

from __future__ import annotations

import threading
import time

import pytest

from vlmad_core.inference.engine import Kept, Turns

PATIENCE = 30.0


def wait_until(condition) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_turns_are_given_first_come_first_served() -> None:
    turns, order = Turns(), []

    def visit(name: str) -> None:
        with turns.take():
            order.append(name)

    threads = [threading.Thread(target=visit, args=(name,)) for name in "abcd"]
    with turns.take():
        for number, thread in enumerate(threads, start=2):
            thread.start()
            wait_until(lambda n=number: len(turns._queue) == n)
    for thread in threads:
        thread.join(PATIENCE)
    assert order == list("abcd")


def test_a_turn_ends_with_an_error() -> None:
    turns = Turns()
    with pytest.raises(RuntimeError), turns.take():
        raise RuntimeError
    with turns.take():
        pass


def test_a_visitor_who_leaves_the_queue_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = Turns()

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with turns.take():
        with monkeypatch.context() as patch:
            patch.setattr(turns._changed, "wait_for", interrupted)
            with pytest.raises(KeyboardInterrupt), turns.take():
                pass
        assert len(turns._queue) == 1
    with turns.take():
        pass


def test_what_was_used_last_is_held() -> None:
    kept: Kept[str] = Kept(2)
    made: list[str] = []

    def get(name: str) -> str:
        return kept.get(name, lambda: made.append(name) or name.upper())

    assert [get(name) for name in "abacb"] == list("ABACB")
    assert made == list("abcb"), "b was used longest ago when c came"
    assert kept.find("c") == "C"
    assert kept.find("a") is None
