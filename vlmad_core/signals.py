"""Being ended in order: a signal becomes an exception, so that locks, temporary files and threads are let go of."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""What ends a command: an interrupt from the keyboard, a stop from outside, a terminal that is closed."""

PATIENCE = 2.0
"""Seconds in which further signals are the same wish: ``timeout`` and terminals may send one twice."""


class Stopped(KeyboardInterrupt):
    """A signal ended the work; no error, so that nobody takes it for a failure of one item.

    Args:
        number: The signal's.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.name = signal.Signals(number).name
        self.code = 128 + number


@contextmanager
def ending_in_order() -> Iterator[None]:
    """Within, the signals of ``ENDING`` raise ``Stopped``; who sends one again later ends the process at once.

    Signals that are ignored already (``nohup``, a shell's background) stay so. Only a process's main thread can do it;
    elsewhere nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    first: list[float] = []

    def end(number: int, frame: FrameType | None) -> None:
        if not first:
            first.append(time.monotonic())
            raise Stopped(number)
        if time.monotonic() - first[0] > PATIENCE:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    before = {number: signal.getsignal(number) for number in ENDING}
    taken = [number for number, handler in before.items() if handler in (signal.SIG_DFL, signal.default_int_handler)]
    for number in taken:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, before[number])
