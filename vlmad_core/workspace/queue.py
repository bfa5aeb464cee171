"""Putting jobs into the queue, taking them out, and seeing that a process works on them."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from vlmad_core import paths
from vlmad_core.errors import StoreError, VlmadError
from vlmad_core.io import is_locked, json_bytes, lock, make_folder, remove_folder, write_synced
from vlmad_core.workspace.jobs import (
    CANCEL,
    FOLDER,
    OUTPUT,
    PROGRESS,
    QUEUE,
    RECORD,
    STARTING,
    STATE,
    WORKER,
    Doing,
    Job,
    JobRecord,
    JobState,
    find_job,
    list_jobs,
    read_job,
    stopped,
    tail,
    write_state,
)

if TYPE_CHECKING:
    from vlmad_core.engine.options import PlanOptions

HUB_ID = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}", re.ASCII)

MOST_KEPT = 50
"""Jobs that are kept when they have ended; the oldest go."""

START_SECONDS = 20.0
"""How long a started process may take until it is at work, on a busy machine."""


def check_allowed(address: str | None) -> None:
    """See that visitors of a server may start jobs.

    Args:
        address: What the server is bound to; None where it answers to everybody.

    Raises:
        VlmadError: If they may not.
    """
    if not paths.jobs_allowed(address):
        raise VlmadError(
            "Jobs can't be started from here: this dashboard answers to other machines, too.",
            f"Whoever runs it can bind it to localhost, or allow jobs with {paths.JOBS}=1.",
        )


def submit(workspace: Path, options: PlanOptions, title: str, part: str | None = None, command: str = "") -> Job:
    """Put a plan into the queue; see ``ensure_worker`` for who works on it.

    Args:
        workspace: The workspace; made if it isn't there.
        options: The plan; relative places in it are below the current folder.
        title: What to call it.
        part: Slug of the part it is for.
        command: What does the same on the command line; worked out if it is not given.

    Raises:
        StoreError: If the workspace can't be written to.
    """
    from vlmad_core.engine.options import as_command, plain_options

    return _submit(
        workspace, "compute", title, part=part, options=plain_options(options), command=command or as_command(options)
    )


def submit_download(workspace: Path, hub_id: str) -> Job:
    """Put the fetching of a model from the hub into the queue; the job that is at it already, if there is one.

    Raises:
        StoreError: If no model can have that name, or the workspace can't be written to.
    """
    if not HUB_ID.fullmatch(hub_id):
        raise StoreError(
            f"No model of the hub can be called {hub_id[:60]!r}.", "Give owner/name, e.g. openai/clip-vit-base-patch16."
        )
    for job in list_jobs(workspace):
        if job.open and job.record.hub_id == hub_id:
            return job
    return _submit(
        workspace, "download", hub_id, hub_id=hub_id, command=f"python -m vlmad_core jobs run --download {hub_id}"
    )


def _submit(workspace: Path, doing: Doing, title: str, **asked: object) -> Job:
    moment = datetime.now(UTC)
    identifier = f"{moment:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
    home = workspace / FOLDER / identifier
    record = JobRecord(identifier, doing, title, written_moment(moment), str(Path.cwd()), **asked)  # type: ignore[arg-type]
    with _writing(workspace):
        make_folder(home)
        with lock(workspace / FOLDER, QUEUE, wait=True):
            write_state(home, JobState("queued", written_moment(moment)))
            write_synced(home / RECORD, json_bytes(asdict(record)))  # last: without it there is no job
        _tidy(workspace)
    return find_job(workspace, identifier)


@contextmanager
def _writing(workspace: Path) -> Iterator[None]:
    """Turn what the disk refuses into a sentence."""
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"The queue of jobs is as it was: {workspace / FOLDER} can't be written to ({error}).",
            f"Make room there, or name another folder in {paths.WORKSPACE}.",
        ) from error


def cancel(workspace: Path, identifier: str) -> Job:
    """End a job: one that waits at once, the running one after the batch or unit it is at. What is done is kept.

    Raises:
        StoreError: If there is no such job, it has ended already, or the workspace can't be written to.
    """
    with _writing(workspace), lock(workspace / FOLDER, QUEUE, wait=True):
        job = find_job(workspace, identifier)
        if job.state.stands == "queued":
            write_state(job.home, replace(job.state, stands="cancelled", finished=written_moment()))
        elif job.state.stands == "running":
            (job.home / CANCEL).touch()
        else:
            raise StoreError(f"The job {job.id} is {job.state.stands}: nothing is left to cancel.")
    return find_job(workspace, job.id)


def go_on(workspace: Path, identifier: str) -> Job:
    """Put a job that did not end well into the queue again; what is done is kept.

    Raises:
        StoreError: If there is no such job, nothing of it is left to do, or the workspace can't be written to.
    """
    with _writing(workspace), lock(workspace / FOLDER, QUEUE, wait=True):
        job = find_job(workspace, identifier)
        if not job.can_go_on:
            raise StoreError(f"The job {job.id} is {job.state.stands}: there is nothing to go on with.")
        for name in (CANCEL, PROGRESS, OUTPUT):
            (job.home / name).unlink(missing_ok=True)
        write_state(job.home, JobState("queued", written_moment()))
    return find_job(workspace, job.id)


def check_idle(workspace: Path, part: str) -> None:
    """See that no job of a part waits or runs, whose photos or results it would lose.

    Raises:
        StoreError: If one does.
    """
    for job in list_jobs(workspace, part):
        if job.open:
            raise StoreError(f"A job of {part} is open: {job.words}.", "Cancel it first, or wait for its end.")


def forget(workspace: Path, part: str) -> None:
    """Remove the jobs of a part, all of which have ended; what they computed stays in the store.

    Raises:
        StoreError: If one has not.
        OSError: If one can't be removed.
    """
    check_idle(workspace, part)
    for job in list_jobs(workspace, part):
        remove_folder(job.home)


def take_next(workspace: Path) -> Job | None:
    """Take the first job of the queue; call only while holding the worker's lock.

    What is written as running then was left by a killed process.
    """
    with lock(workspace / FOLDER, QUEUE, wait=True):
        for path in (workspace / FOLDER).glob(f"*/{STATE}"):
            job = read_job(path.parent)
            if job.state.stands == "running":
                write_state(job.home, stopped(job.state))
        first = next((job for job in list_jobs(workspace) if job.state.stands == "queued"), None)
        if first is None:
            return None
        (first.home / CANCEL).unlink(missing_ok=True)
        write_state(first.home, replace(first.state, stands="running", started=written_moment(), process=os.getpid()))
        return read_job(first.home)


def ensure_worker(workspace: Path) -> bool:
    """See that somebody works on the queue: whoever looks starts the next job where a killed process did not.

    The process is one of its own: it outlives the page, the session and the server that started it.

    Returns:
        Whether one was started now.

    Raises:
        StoreError: If the workspace can't be written to.
    """
    folder = workspace / FOLDER
    waiting = [job for job in list_jobs(workspace) if job.state.stands == "queued"]
    if not waiting or is_locked(folder, WORKER):
        return False
    with _writing(workspace), lock(folder, STARTING) as mine:
        if not mine or is_locked(folder, WORKER):
            return False
        process = _start(workspace)
        threading.Thread(target=process.wait, daemon=True).start()  # so that no dead process is left on the list
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until and process.poll() is None and not is_locked(folder, WORKER):
            time.sleep(0.05)
        if process.poll():
            _give_up(workspace, waiting[0].id, process.returncode)
    return True


def _give_up(workspace: Path, identifier: str, code: int) -> None:
    """The process of a job ended before it took it: else whoever looks would start it again and again."""
    with lock(workspace / FOLDER, QUEUE, wait=True):
        job = find_job(workspace, identifier)
        if job.state.stands == "queued":
            said = "; ".join(tail(workspace / FOLDER / OUTPUT, 1)) or "it wrote nothing"
            reason = f"Its process ended with code {code} before it began: {said}"
            write_state(job.home, replace(job.state, stands="failed", finished=written_moment(), reason=reason))


def _start(workspace: Path) -> subprocess.Popen[bytes]:
    """Start the process that takes the first job."""
    home = str(paths.PACKAGE.parent)
    known = os.environ.get("PYTHONPATH")
    environment = {
        "OMP_WAIT_POLICY": "PASSIVE",  # threads that wait must not keep the dashboard from its turn
        **os.environ,
        paths.WORKSPACE: str(workspace.resolve()),
        "PYTHONPATH": os.pathsep.join([home, known]) if known else home,
    }
    command = [sys.executable, "-m", "vlmad_core.workspace.worker", str(workspace.resolve())]
    with (workspace / FOLDER / OUTPUT).open("wb") as output:
        return subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _tidy(workspace: Path) -> None:
    """Let the oldest go of those that have ended."""
    for job in [job for job in list_jobs(workspace) if not job.open][MOST_KEPT:]:
        remove_folder(job.home)


def written_moment(moment: datetime | None = None) -> str:
    """A moment, now if None, to the microsecond: the queue's order."""
    return (moment or datetime.now(UTC)).isoformat(timespec="microseconds")
