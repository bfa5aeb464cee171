"""The process that computes with models for the dashboard: ``python -m vlmad_core.inference.process``.

Requests come in through standard input, answers go out through standard output, both as pickles with their length
before them: the pipes are the dashboard's own on both sides, and what visitors give travels in them as plain bytes. It
ends when its input does, so it outlives the dashboard by no more than a moment, however that ended.
"""

from __future__ import annotations

import importlib
import os
import pickle
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlmad_core.errors import VlmadError
from vlmad_core.inference.engine import Engine, Kept, Turns, load_engine

if TYPE_CHECKING:
    from vlmad_core.backbones.info import AskedPrecision

Tell = Callable[[Any], None]
"""Sends something on the way to the answer, such as one of several results, or how far things are."""

MOST_ENGINES = 2
"""Backbones held at a time."""

BREATH = 0.2
"""Seconds between two looks at who waits; who waits for less is told no place."""

POLITE = 5
"""By how much it yields to the pages of stored results where both want the processor."""

AHEAD = ("torch", "vlmad_core.live.panel", "vlmad_core.backbones.loading", "vlmad_core.engine.provenance")
"""What is loaded before anybody asks."""


class CancelledError(BaseException):
    """Nobody waits for the answer any more. No ``Exception``: whoever goes on when a method fails must not here."""


class Holdings:
    """What the process holds for all requests, in bounds; operations are given it.

    Attributes:
        turns: Holdings for one unit of work at a time: an image, or a method.
    """

    def __init__(self, turns: Turns | None = None) -> None:
        self.turns = turns or Turns()
        self._engines: Kept[Engine] = Kept(MOST_ENGINES)
        self._kept: dict[str, Kept[Any]] = {}
        self._beside: dict[str, Kept[Any]] = {}
        self._lock = threading.Lock()

    def kept(self, what: str, most: int, *, on_backbone: bool = False) -> Kept[Any]:
        """Things of a kind, those used last; empty at first.

        Args:
            what: The kind.
            most: Things held at most.
            on_backbone: Whether they hold a backbone: all such go when another one is loaded, or it could not.
        """
        with self._lock:
            return (self._beside if on_backbone else self._kept).setdefault(what, Kept(most))

    def engine(self, backbone: str, precision: AskedPrecision, device: str) -> Engine:
        """A backbone that is loaded, or is loaded now.

        Raises:
            BackboneError: As ``load_engine``.
        """

        def load() -> Engine:
            with self._lock:
                self._beside = {}
            return load_engine(backbone, precision, device, turns=self.turns)

        return self._engines.get((backbone, precision, device), load)


@dataclass(eq=False)
class Asked:
    """What somebody waits for.

    Attributes:
        number: Its number.
        payload: Operation and arguments, pickled.
        left: Whether nobody waits for it any more.
        before: How many were before it when it was told last; None if it was not told.
    """

    number: int
    payload: bytes
    left: bool = False
    before: int | None = None

    def check(self) -> None:
        """Go no further if nobody waits.

        Raises:
            CancelledError: If so.
        """
        if self.left:
            raise CancelledError


class Serving(Turns):
    """Requests and who works on them: a thread for each visitor, who then has one place in the line, not several."""

    def __init__(self, answers: Connection) -> None:
        super().__init__()
        self._held = Holdings(self)
        self._answers, self._sending = answers, threading.Lock()
        self._lock = threading.Lock()
        self._waiting: dict[str, deque[Asked]] = {}
        self._now: dict[threading.Thread, Asked] = {}

    def ask(self, number: int, visitor: str, payload: bytes) -> None:
        """Take a request; those of one visitor are answered one after the other."""
        with self._lock:
            first = visitor not in self._waiting
            self._waiting.setdefault(visitor, deque()).append(Asked(number, payload))
        if first:
            threading.Thread(target=self._serve, args=(visitor,), name=f"visitor {number}").start()

    def leave(self, number: int) -> None:
        """Note that nobody waits for a request any more; what is being computed is not interrupted."""
        with self._lock:
            for request in (*self._now.values(), *(one for line in self._waiting.values() for one in line)):
                if request.number == number:
                    request.left = True

    @property
    def busy(self) -> bool:
        """Whether there is a request."""
        return bool(self._waiting)

    def tell_places(self) -> None:
        """Tell who waits how many are before him, where that has changed."""
        order = self.order()
        with self._lock:
            now = [(place, self._now.get(thread)) for place, thread in enumerate(order)]
        for place, request in now:
            if request is not None and request.before != place:
                request.before = place
                self._send(request, "place", place)

    @contextmanager
    def take(self) -> Iterator[None]:
        """A turn for a request that somebody waits for."""
        with super().take():
            request = self._now.get(threading.current_thread())
            if request is not None:
                request.check()
            yield

    def _serve(self, visitor: str) -> None:
        me = threading.current_thread()
        while True:
            with self._lock:
                if not self._waiting[visitor]:
                    del self._waiting[visitor]
                    self._now.pop(me, None)
                    return
                request = self._now[me] = self._waiting[visitor].popleft()
            with suppress(CancelledError):
                self._answer(request)

    def _answer(self, request: Asked) -> None:
        def tell(what: Any) -> None:
            request.check()
            self._send(request, "told", what)

        try:
            request.check()
            operation, arguments = pickle.loads(request.payload)
            request.payload = b""
            self._send(request, "done", operation(self._held, tell, *arguments))
        except VlmadError as error:
            self._send(request, "failed", (error.problem, error.fix))
        except (Exception, SystemExit) as error:  # a plugin may do anything; the other requests go on
            self._send(request, "failed", (f"{type(error).__name__}: {error}", ""))

    def _send(self, request: Asked, kind: str, what: Any) -> None:
        content = pickle.dumps((request.number, kind, pickle.dumps(what)))
        with self._sending:
            self._answers.send_bytes(content)


def serve(asked: Connection, answers: Connection) -> None:
    """Answer requests until there can be no more."""
    serving = Serving(answers)
    while True:
        while not asked.poll(BREATH if serving.busy else None):
            serving.tell_places()
        what, number, *visitor = pickle.loads(asked.recv_bytes())
        if what == "ask":
            serving.ask(number, visitor[0], asked.recv_bytes())
        else:
            serving.leave(number)


def main() -> None:
    """Serve whoever started the process, and end with it."""
    asked, answers = Connection(os.dup(0), writable=False), Connection(os.dup(1), readable=False)
    os.dup2(2, 1)  # what a method prints must not get among the answers
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is for the dashboard, which then closes the input
    if hasattr(os, "nice"):
        os.nice(POLITE)
    threading.Thread(target=_load, name="load ahead").start()
    with suppress(EOFError, OSError):
        serve(asked, answers)
    sys.stderr.flush()
    os._exit(0)  # whatever is being computed is for nobody


def _load() -> None:
    for name in AHEAD:
        importlib.import_module(name)


if __name__ == "__main__":
    main()
