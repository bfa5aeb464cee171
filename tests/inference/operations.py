"""Operations for the tests of the process: they wait for files, so that nothing depends on who is quick."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from vlmad_core.errors import DatasetError
from vlmad_core.inference.process import Holdings, Tell

LOG = "log"


def wait_for(held: Holdings, tell: Tell, door: Path, units: int = 1) -> int:
    """Take turns, each until a file is there; each is told, and noted in a file beside it."""
    for number in range(units):
        with held.turns.take():
            tell(number)
            with door.with_name(LOG).open("a") as log:
                log.write(f"{door.name}\n")
            while not door.exists():
                time.sleep(0.005)
    return os.getpid()


def echo(held: Holdings, tell: Tell, what: Any) -> Any:
    """The same, after a turn."""
    with held.turns.take():
        print("what an operation prints is no answer")
        return what


def look(held: Holdings, tell: Tell, what: Any) -> Any:
    """The same, without a turn."""
    return what


def fail(held: Holdings, tell: Tell, how: str) -> None:
    """Go wrong."""
    if how == "said":
        raise DatasetError("The thing is broken.", "Mend it.")
    if how == "left":
        raise SystemExit(3)
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    raise ZeroDivisionError("a bug")
