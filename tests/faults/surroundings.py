"""What a process meets that other processes do not: little memory, small files, a clock that goes backwards."""

from __future__ import annotations

import importlib
import itertools
import os
import sys
import time
import traceback
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from types import ModuleType

WORKER = "worker"
"""In the place of a command: do the first job of a workspace's queue."""

LOADED = (
    "vlmad_core.cli", "vlmad_core.precompute", "vlmad_core.engine.runner", "vlmad_core.analysis.leaderboard",
    "vlmad_core.training.cli", "vlmad_core.exchange.cli", "vlmad_core.exchange.measuring", "vlmad_core.exchange.maps",
    "vlmad_core.exchange.tables", "vlmad_core.workspace.worker", "vlmad_core.workspace.queue",
)  # fmt: skip


@dataclass(frozen=True)
class Surroundings:
    """What is set up in a process before its command.

    Attributes:
        memory: Bytes of address space it may take beyond what it has; None for no bound.
        largest_file: Bytes after which a file can't grow; None for no bound.
        backwards: Seconds that the clock goes back each time it is looked at; 0 for a clock that goes forwards.
        folder: The current folder; the checkout's if empty.
    """

    memory: int | None = None
    largest_file: int | None = None
    backwards: float = 0.0
    folder: str = ""


def load_everything() -> None:
    """Load what the commands need."""
    for name in LOADED:
        importlib.import_module(name)


def work(words: list[str], surroundings: Surroundings) -> int:
    """Run a command, or the worker of a workspace, in such surroundings; gives its exit code."""
    from vlmad_core.cli import main
    from vlmad_core.workspace import worker

    _set_up(surroundings)
    try:
        if words[0] != WORKER:
            return main(words)
        try:
            worker.work(Path(words[1]))
        except OSError as problem:  # as the worker's own process says it
            print(problem, file=sys.stderr)
            return 1
    except SystemExit as ended:
        return int(ended.code or 0)
    except KeyboardInterrupt:
        return 130
    except BaseException:
        traceback.print_exc()
        return 70
    return 0


def _set_up(surroundings: Surroundings) -> None:
    import resource

    if surroundings.folder:
        os.chdir(surroundings.folder)
    if surroundings.largest_file is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (surroundings.largest_file,) * 2)
    if surroundings.backwards:
        set_back(surroundings.backwards)
    if surroundings.memory is not None:
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + surroundings.memory,) * 2)


def set_back(seconds: float) -> list[tuple[ModuleType, str, object]]:
    """Let the clock of the program go back by so many seconds each time it is looked at.

    Returns:
        What was there before, as module, name and value.
    """
    looks, plain = itertools.count(1), time.time

    class Backwards(datetime):
        """The time of day, earlier each time."""

        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) - timedelta(seconds=seconds * next(looks))

    before: list[tuple[ModuleType, str, object]] = [(time, "time", plain)]
    for name, module in list(sys.modules.items()):
        if name.startswith("vlmad_core") and getattr(module, "datetime", None) is datetime:
            before.append((module, "datetime", datetime))
            module.datetime = Backwards  # type: ignore[attr-defined]
    time.time = lambda: plain() - seconds * next(looks)
    return before
