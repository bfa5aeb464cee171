"""Asking the process that computes with models: started when it is needed, started again if it ended."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from queue import Empty, SimpleQueue
from typing import Any

from vlmad_core import paths
from vlmad_core.errors import VlmadError

MOST_EACH = 2
"""Requests of one visitor at a time: one that is worked on, one that waits."""

BREATH = 0.25
"""Seconds after which who waits is told his place again, so that he can go away."""

PIPE_BYTES = 2**20
"""What the pipes hold: where the processor is wanted by many, an image must not need a turn of it every 64 KB."""

PATIENCE = 10.0
"""Seconds in which the process must end when its input does."""

Place = Callable[[int | None], object]
"""Told how many are before one in the line, None while that is not known; at least every ``BREATH`` seconds. What it
raises ends the waiting, and the request with it."""

Answer = tuple[str, bytes]


class InferenceError(VlmadError):
    """A request was refused, what it asked for failed, or its process ended before it was answered."""


def no_place(before: int | None) -> None:
    """Nobody wants to know."""


class Inference:
    """The way to the process; for all threads of a dashboard."""

    def __init__(self, most: int | None = None) -> None:
        """Start nothing yet.

        Args:
            most: Requests at a time, all visitors together; ``paths.longest_queue()`` if None.
        """
        self._most = paths.longest_queue() if most is None else most
        self._lock = threading.Lock()
        self._admitted: Counter[str] = Counter()
        self._process: Process | None = None

    def start(self) -> Process:
        """The process; started if there is none, or it ended. It loads what it needs while the visitor chooses."""
        with self._lock:
            if self._process is None or self._process.ended:
                self._process = Process()
            return self._process

    def close(self) -> None:
        """End the process, if there is one."""
        with self._lock:
            process, self._process = self._process, None
        if process is not None:
            process.close()

    def stream(
        self, visitor: str, operation: Callable[..., Any], *arguments: Any, place: Place = no_place
    ) -> Generator[Any, None, Any]:
        """Ask for something that takes its turn, and give what is told on the way as soon as it is there.

        Args:
            visitor: Who asks; the requests of one visitor are answered one after the other.
            operation: A function of a module, given ``process.Holdings``, ``process.Tell`` and the arguments.
            arguments: Plain data.
            place: Told how many are before one.

        Returns:
            What the operation returns. Who stops asking for more gives up his request.

        Raises:
            InferenceError: If too much waits already, the operation fails, or the process ends.
        """
        with self._admit(visitor):
            return (yield from self._asked(visitor, operation, arguments, place))

    def ask(
        self,
        visitor: str,
        operation: Callable[..., Any],
        *arguments: Any,
        told: Callable[[Any], object] = lambda what: None,
        place: Place = no_place,
    ) -> Any:
        """As ``stream``, for who wants the answer; ``told`` is called with what comes on the way."""
        return _last(self.stream(visitor, operation, *arguments, place=place), told)

    def look_up(self, visitor: str, operation: Callable[..., Any], *arguments: Any) -> Any:
        """As ``ask``, for what needs no turn and so is never refused: what can be chosen, what is held."""
        # Beside the visitor's other requests: a choice must not wait for his image.
        return _last(self._asked(f"{visitor} looks up", operation, arguments, no_place), lambda what: None)

    def _asked(
        self, visitor: str, operation: Callable[..., Any], arguments: tuple[Any, ...], place: Place
    ) -> Generator[Any, None, Any]:
        process, number, answers = self._send(visitor, pickle.dumps((operation, arguments), protocol=5))
        before: int | None = None
        kind, content = "", b""
        try:
            place(before)
            while kind not in ("done", "failed"):
                try:
                    kind, content = answers.get(timeout=BREATH)
                except Empty:
                    place(before)
                    continue
                if kind == "place":
                    before = pickle.loads(content)
                    place(before)
                elif kind == "told":
                    yield pickle.loads(content)
        finally:
            process.forget(number, still=kind not in ("done", "failed"))
        found = pickle.loads(content)
        if kind == "failed":
            raise InferenceError(*found)
        return found

    def _send(self, visitor: str, payload: bytes) -> tuple[Process, int, SimpleQueue[Answer]]:
        for _ in range(2):  # it may just have ended
            try:
                process = self.start()
                return process, *process.ask(visitor, payload)
            except OSError as error:
                reason = error
        raise InferenceError(
            f"The process that computes with the models can't be started: {reason}.", "Try again in a minute."
        ) from reason

    @contextmanager
    def _admit(self, visitor: str) -> Iterator[None]:
        with self._lock:
            waiting, own = self._admitted.total(), self._admitted[visitor]
            if own >= MOST_EACH:
                raise InferenceError(
                    f"{own} requests of yours are being worked on.", "Wait for one to end, or cancel it."
                )
            if waiting >= self._most:
                raise InferenceError(
                    f"The line for the models is full: {waiting} of {self._most} places are taken.",
                    "Try again in a minute.",
                )
            self._admitted[visitor] += 1
        try:
            yield
        finally:
            with self._lock:
                self._admitted[visitor] -= 1
                self._admitted += Counter()  # those at zero go


class Process:
    """One run of the process.

    Attributes:
        pid: Its number.
        ended: Whether it takes no more requests.
    """

    def __init__(self) -> None:
        home, known = str(paths.PACKAGE.parent), os.environ.get("PYTHONPATH")
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([home, known]) if known else home}
        command = [sys.executable, "-m", "vlmad_core.inference.process"]
        self._popen = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pipesize=PIPE_BYTES
        )
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        self._requests = Connection(os.dup(self._popen.stdin.fileno()), readable=False)
        self._answers = Connection(os.dup(self._popen.stdout.fileno()), writable=False)
        self._popen.stdin.close()
        self._popen.stdout.close()
        self.pid, self.ended = self._popen.pid, False
        self._sending, self._lock = threading.Lock(), threading.Lock()
        self._asked: dict[int, SimpleQueue[Answer]] = {}
        self._count = 0
        # No daemon: Python would take the interpreter down around it. It ends with the main thread by itself.
        self._reader = threading.Thread(target=self._read, name="vlmad-answers", daemon=False)
        self._reader.start()

    def ask(self, visitor: str, payload: bytes) -> tuple[int, SimpleQueue[Answer]]:
        """Send a request.

        Returns:
            Its number, and where its answers come.

        Raises:
            OSError: If the process has ended.
        """
        answers: SimpleQueue[Answer] = SimpleQueue()
        with self._lock:
            if self.ended:
                raise BrokenPipeError
            self._count += 1
            number = self._count
            self._asked[number] = answers
        self._send(payload, "ask", number, visitor)
        return number, answers

    def forget(self, number: int, *, still: bool) -> None:
        """Want no more answers; ``still``: and tell the process, which may be working on them."""
        with self._lock:
            self._asked.pop(number, None)
        if still and not self.ended:
            with suppress(OSError):
                self._send(b"", "leave", number)

    def close(self) -> None:
        """End it and wait until it is gone."""
        self._shut()
        if threading.current_thread() is not self._reader:
            self._reader.join()

    def _send(self, payload: bytes, *values: Any) -> None:
        content = pickle.dumps(values)
        with self._sending:
            self._requests.send_bytes(content)
            if payload:  # by itself: an image is not copied once more
                self._requests.send_bytes(payload)

    def _shut(self) -> None:
        with self._sending, suppress(OSError):
            self._requests.close()

    def _read(self) -> None:
        try:
            while threading.main_thread().is_alive():
                if self._answers.poll(BREATH):
                    number, kind, content = pickle.loads(self._answers.recv_bytes())
                    with self._lock:
                        answers = self._asked.get(number)
                    if answers is not None:
                        answers.put((kind, content))
        except (EOFError, OSError):
            pass
        self._shut()
        try:
            code = self._popen.wait(PATIENCE)
        except subprocess.TimeoutExpired:  # stopped, or stuck in a library
            self._popen.kill()
            code = self._popen.wait()
        self._answers.close()
        with self._lock:
            self.ended = True
            left, self._asked = self._asked, {}
        for answers in left.values():
            answers.put(("failed", pickle.dumps(_ended(code))))


def _last(steps: Generator[Any, None, Any], told: Callable[[Any], object]) -> Any:
    """What a generator returns; ``told`` is called with what it yields."""
    while True:
        try:
            what = next(steps)
        except StopIteration as end:
            return end.value
        told(what)


def _ended(code: int) -> tuple[str, str]:
    """Why there is no answer, and what to do."""
    how = f"ended with code {code}"
    if code < 0:
        with suppress(ValueError):
            how = f"was ended by {signal.Signals(-code).name}"
        if code == -signal.SIGKILL:
            how += ", as the system does when memory runs out"
    return f"The process that computes with the models {how}.", "Ask again: a new one is started."
