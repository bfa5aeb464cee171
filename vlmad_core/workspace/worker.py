"""The process of a job: takes the first of the queue, does it, and starts the process of the next.

``python -m vlmad_core.workspace.worker WORKSPACE``, started by ``queue.ensure_worker``. A process does one job, so that
no job meets what another left in memory.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from vlmad_core.errors import StoreError
from vlmad_core.io import lock
from vlmad_core.signals import Stopped, ending_in_order
from vlmad_core.workspace.jobs import (
    CANCEL,
    FOLDER,
    LOG,
    OUTPUT,
    PROGRESS,
    WORKER,
    Job,
    JobProgress,
    JobState,
    stopped,
    write_progress,
    write_state,
)
from vlmad_core.workspace.queue import ensure_worker, take_next, written_moment

if TYPE_CHECKING:
    from vlmad_core.engine.progress import Standing

NICE = 5
"""How much the dashboard goes before a job where both want the processor."""

STOPPED = "What is finished is kept; go on with it from the dashboard, or with jobs run."

TRIES, PAUSE = 20, 0.05
"""How often to try for the worker's lock, which whoever looks holds for a moment, and seconds between."""

TELL_EVERY = 0.5
"""Seconds between two notes of how far a job is."""


def main(workspace: Path) -> int:
    """Do the first job of a workspace's queue in a process made for it, then see that the next is begun.

    Returns:
        The exit code: 1 where the workspace can't be written to, so that how a job ended stands in its output alone;
        128 and the signal's number where one ended it.
    """
    try:
        with ending_in_order():
            work(workspace, _settle)
            ensure_worker(workspace)
    except Stopped as ended:
        return ended.code
    except (OSError, StoreError) as problem:
        print(f"How the job stands can't be written: {problem}.", file=sys.stderr)
        return 1
    return 0


def work(workspace: Path, settle: Callable[[Job], None] = lambda job: None) -> None:
    """Do the first job of a workspace's queue here; nothing if another process is at work.

    Args:
        workspace: The workspace.
        settle: Called with the job before it is begun.
    """
    for _ in range(TRIES):
        with lock(workspace / FOLDER, WORKER) as held:
            if held:
                job = take_next(workspace)
                if job is not None:
                    settle(job)
                    _do(job)
                return
        time.sleep(PAUSE)


def _settle(job: Job) -> None:
    """Leave the dashboard its turn, and write to the job's own file."""
    with contextlib.suppress(OSError, AttributeError):  # refused, or not on this system
        os.nice(NICE)
    with (job.home / OUTPUT).open("ab") as output:
        os.dup2(output.fileno(), sys.stdout.fileno())
        os.dup2(output.fileno(), sys.stderr.fileno())


def _do(job: Job) -> None:
    """Do a job, and write how it ended, whatever happens."""
    try:
        os.chdir(job.record.folder)
        with _Teller(job) as teller:
            state = _download(job, teller) if job.record.doing == "download" else _compute(job, teller)
    except Stopped as stop:
        print(f"stopped by {stop.name}. {STOPPED}", file=sys.stderr, flush=True)
        write_state(job.home, replace(stopped(job.state), reason=f"Its process was ended by {stop.name}. {STOPPED}"))
        raise
    except Exception as error:
        from vlmad_core.engine.extraction import Failure

        failure = Failure.of(error)
        state = replace(job.state, stands="failed", reason=failure.reason, traceback=failure.traceback)
    _close(job.home, replace(state, finished=written_moment()))


def _close(home: Path, state: JobState) -> None:
    """Write how a job ended; on a full disk in the place of how far it was, which is of no use any more."""
    try:
        write_state(home, state)
    except OSError:
        (home / PROGRESS).unlink(missing_ok=True)
        write_state(home, state)


class _Teller:
    """Writes how far a job is, from a thread of its own so that what is told last is never held back."""

    def __init__(self, job: Job) -> None:
        self._home = job.home
        self._latest: JobProgress | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._write, daemon=True)

    def __enter__(self) -> _Teller:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Write what was told last."""
        self._over.set()
        self._thread.join()

    def tell(self, progress: JobProgress) -> None:
        """So far it is."""
        self._latest = progress

    def cancelled(self) -> bool:
        """Whether somebody wants the job ended."""
        return (self._home / CANCEL).exists()

    def _write(self) -> None:
        written = None
        while True:
            over = self._over.wait(TELL_EVERY)
            latest = self._latest
            if latest is not None and latest is not written:
                with contextlib.suppress(OSError):  # a full disk is told by what it stops
                    write_progress(self._home, latest)
                written = latest
            if over:
                return


def _compute(job: Job, teller: _Teller) -> JobState:
    """Do a plan: what ``precompute`` does, with a look at whether it is cancelled."""
    from vlmad_core.engine.options import make_options
    from vlmad_core.engine.plan import build_plan, store_path
    from vlmad_core.engine.progress import Reporter
    from vlmad_core.engine.runner import keep_command, run_plan

    started = time.time()

    def told(standing: Standing) -> None:
        teller.tell(JobProgress(standing.stage, standing.images, standing.images_in_all, standing.share, standing.left))

    with Reporter(log=job.home / LOG, told=told) as reporter:
        reporter.stage("loading the backbone")
        options = make_options(job.record.options, f"The job {job.id}")
        plan = build_plan(options, command=job.record.command)
        store_path(options.store)
        for note in plan.notes:
            reporter.say(f"note: {note}")
        for skipped in plan.not_applicable:
            reporter.say(f"not applicable: {skipped.what}: {skipped.reason}", event="not_applicable")
        summary = run_plan(plan, reporter, cancelled=teller.cancelled)
    keep_command(plan, summary, job.record.command, started)
    units = dict(Counter(unit.outcome for unit in summary.units))
    reason = ""
    if summary.troubled:
        first = summary.troubled[0]
        reason = f"{len(summary.troubled)} units are not whole; the first, {first.run_id}: {first.reason}"
    return replace(job.state, stands="cancelled" if summary.cancelled else "done", units=units, reason=reason)


def _download(job: Job, teller: _Teller) -> JobState:
    """Fetch a model from the hub."""
    from vlmad_core.backbones.hub import download_model
    from vlmad_core.engine.progress import Reporter, roughly

    started, already = time.monotonic(), None
    stage = f"fetching {job.record.hub_id}"

    def told(done: int, in_all: int) -> bool:
        nonlocal already
        already = done if already is None else already
        pace = (done - already) / max(time.monotonic() - started, 1e-9)
        left = f"{roughly((in_all - done) / pace)} left" if pace else ""
        teller.tell(JobProgress(stage, done, in_all, done / in_all if in_all else 0.0, left))
        return not teller.cancelled()

    with Reporter(log=job.home / LOG) as reporter:
        reporter.stage(stage)
        folder = download_model(job.record.hub_id, told)
        if folder is None:
            return replace(job.state, stands="cancelled")
        reporter.say(f"{job.record.hub_id} is here: {folder}")
    return replace(job.state, stands="done")


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
