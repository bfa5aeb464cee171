"""Commands in processes of their own that can be ended at any moment, or run on a machine that lacks something."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]

WAIT, PATIENCE = 1200, 300
"""Seconds after which processes are taken to hang, on however busy a machine: the one that forks, and a command."""

FORKS = """
import json, os, signal, sys
from tests.faults.surroundings import Surroundings, load_everything, work
load_everything()
for line in sys.stdin:
    order = json.loads(line)
    if "words" in order:
        pid = os.fork()
        if pid == 0:
            signal.alarm(order["patience"])
            for number, name in ((1, "out"), (2, "err")):
                os.dup2(os.open(order[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
            code = work(order["words"], Surroundings(**order["surroundings"]))
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
        print(pid, flush=True)
    else:
        pid, status = os.waitpid(order["pid"], 0 if order["wait"] else os.WNOHANG)
        print(os.waitstatus_to_exitcode(status) if pid else "", flush=True)
"""
"""A process that has loaded everything and forks one that runs a command: loading takes far longer than the work."""


class Forks:
    """Commands in processes of their own, quickly started.

    Args:
        folder: Where what they print is kept.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.count = 0
        self.server = subprocess.Popen(
            [sys.executable, "-c", FORKS],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
            start_new_session=True,  # a signal from the keyboard is for the tests, which end it
        )

    def ask(self, **order: Any) -> str:
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        self.server.stdin.write(json.dumps(order) + "\n")
        self.server.stdin.flush()
        return self.server.stdout.readline().strip()

    def start(self, words: list[str], surroundings: Any = None) -> Fork:
        self.count += 1
        out, err = (self.folder / f"{self.count}.{name}" for name in ("out", "err"))
        around: Mapping[str, Any] = {} if surroundings is None else asdict(surroundings)
        order = {"words": words, "surroundings": around, "out": str(out), "err": str(err), "patience": PATIENCE}
        return Fork(self, int(self.ask(**order)), out, err)

    def run(self, words: list[str], surroundings: Any = None) -> Fork:
        """Run a command to its end."""
        fork = self.start(words, surroundings)
        fork.poll(wait=True)
        return fork

    def close(self) -> None:
        assert self.server.stdin is not None
        self.server.stdin.close()
        self.server.wait(WAIT)


@dataclass
class Fork:
    """One running command."""

    forks: Forks
    pid: int
    out: Path
    err: Path
    code: int | None = None

    def poll(self, wait: bool = False) -> int | None:
        if self.code is None:
            answer = self.forks.ask(pid=self.pid, wait=wait)
            self.code = int(answer) if answer else None
        assert self.code != -signal.SIGALRM, f"it hung: {self.said}"
        return self.code

    def end(self, by: signal.Signals) -> bool:
        """End it; False if it was done just before."""
        if self.poll() is not None:
            return False
        os.kill(self.pid, by)
        return self.poll(wait=True) != 0

    @property
    def said(self) -> str:
        return self.out.read_text(errors="replace") + self.err.read_text(errors="replace")

    def outcome(self) -> dict[str, Any]:
        assert self.poll(wait=True) == 0, self.said
        result: dict[str, Any] = json.loads(self.out.read_text())
        return result


def end_at_random(
    forks: Forks,
    words: list[str],
    by: signal.Signals,
    seconds: float,
    rng: random.Random,
    begun: Callable[[], object] = lambda: True,
) -> Fork | None:
    """Start a command and end it at a random moment of its work.

    Args:
        forks: What starts it.
        words: The command.
        by: The signal.
        seconds: Within which it is ended, from when it has begun.
        rng: Where the moment comes from.
        begun: Whether it has begun.

    Returns:
        The ended process; None if it was done before.
    """
    process = forks.start(words)
    moment = rng.uniform(0, seconds)
    while process.poll() is None and not begun():
        time.sleep(0.002)
    time.sleep(moment)
    return process if process.end(by) else None
