"""Jobs as anybody may look at them: files in the workspace, written by whoever asks and by the process that is at it.

A job is a folder ``<workspace>/.jobs/<id>/``: ``job.json``, what was asked, never changed; ``state.json``, how it
stands; ``progress.json``, how far it is; ``log.jsonl``, what happened; ``output.txt``, what its process wrote; and
``cancel``, which is there while somebody wants it ended. The process that works holds a lock, which the system takes
from a killed one: so who looks can tell the two apart.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, ValidationError

from vlmad_core.errors import StoreError
from vlmad_core.io import is_locked, json_bytes, parse_json, read_json, write_atomically
from vlmad_core.records import Count, Number, in_words, read_as

T = TypeVar("T")

FOLDER = ".jobs"
"""Folder of the workspace that holds the jobs."""

WORKER, QUEUE, STARTING = "worker", "queue", "starting"
"""Locks there: of the process that works, of who moves jobs in the queue, and of who starts a worker."""

RECORD, STATE, PROGRESS, LOG, OUTPUT, CANCEL = (
    "job.json", "state.json", "progress.json", "log.jsonl", "output.txt", "cancel"
)  # fmt: skip

Doing = Literal["compute", "download"]
Stands = Literal["queued", "running", "done", "failed", "cancelled", "stopped"]

KILLED = (
    "The process was killed, by somebody or by the system when memory ran out, or its disk was too full to write how "
    "it ended. What was finished is kept."
)
DAMAGED = "Its record is damaged."


@dataclass(frozen=True)
class JobRecord:
    """What was asked; never changes.

    Attributes:
        id: Its identifier and folder; sorts by time.
        doing: ``compute``: a plan; ``download``: a backbone.
        title: In words.
        created: When, in ISO 8601 with the time zone.
        folder: The current folder of who asked; relative places in the plan are below it.
        part: Slug of the part it is for; None where it is for none.
        options: The plan, from which ``make_options`` makes what was asked; empty for a download.
        hub_id: The model to fetch; empty for a plan.
        command: What does the same on the command line.
    """

    id: str
    doing: Doing
    title: str
    created: str
    folder: str
    part: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    hub_id: str = ""
    command: str = ""


@dataclass(frozen=True)
class JobState:
    """How a job stands, as it was last written.

    Attributes:
        stands: ``queued``, ``running``, ``done``, ``failed``, ``cancelled``, or ``stopped`` by a kill.
        queued: When it was put into the queue, in ISO 8601; the queue's order.
        started: When its process took it; None before.
        finished: When it ended; None before.
        reason: Why it is not done, in a sentence; or what went wrong with some of its units.
        traceback: The last lines, for errors that do not speak for themselves.
        units: Number of units by what became of them.
        process: The system's number of its process; None before.
    """

    stands: Stands
    queued: str
    started: str | None = None
    finished: str | None = None
    reason: str = ""
    traceback: str = ""
    units: Mapping[str, Count] = field(default_factory=dict)
    process: int | None = None


@dataclass(frozen=True)
class JobProgress:
    """How far a job is.

    Attributes:
        stage: What is being done now.
        done: Images passed, or bytes fetched.
        in_all: Of how many; 0 as long as it is not known.
        share: What share of the time is over, from 0 to 1.
        left: The time left in words; empty as long as it is not known.
    """

    stage: str = ""
    done: Count = 0
    in_all: Count = 0
    share: Annotated[Number, Field(ge=0, le=1)] = 0.0
    left: str = ""


@dataclass(frozen=True)
class Job:
    """A job as it is now.

    Attributes:
        home: Its folder.
        record: What was asked.
        state: How it stands; ``stopped`` where it is written as running but nobody is at it.
        progress: How far it is.
        place: How many are before it in the queue, the running one included; None if it does not wait.
        ending: Whether it was asked to end and has not yet.
    """

    home: Path
    record: JobRecord
    state: JobState
    progress: JobProgress = JobProgress()
    place: int | None = None
    ending: bool = False

    @property
    def id(self) -> str:
        """Its identifier."""
        return self.record.id

    @property
    def open(self) -> bool:
        """Whether it waits or is worked on."""
        return self.state.stands in ("queued", "running")

    @property
    def can_go_on(self) -> bool:
        """Whether it can be put into the queue again: what is done is kept, the rest is tried."""
        whole = bool(self.record.options or self.record.hub_id)
        return whole and (self.state.stands in ("failed", "cancelled", "stopped") or bool(self.state.reason))

    @property
    def words(self) -> str:
        """How it stands and how far it is, in a few words."""
        stands, progress = self.state.stands, self.progress
        if stands == "queued":
            return "waiting, next in the queue" if not self.place else f"waiting, {self.place} before it"
        if stands == "running":
            how = "ending" if self.ending else progress.stage or "starting"
            amount = _amount(self.record.doing, progress) if progress.in_all else ""
            return ", ".join(part for part in (how, amount, progress.left) if part)
        units = ", ".join(
            f"{count} unit{'s' * (count > 1)} {name}" for name, count in self.state.units.items() if count
        )
        return f"{stands}{f', {units}' if units else ''}{f': {self.state.reason}' if self.state.reason else ''}"

    def to_json(self) -> dict[str, Any]:
        """As plain json values."""
        state = {**asdict(self.state), "place": self.place, "ending": self.ending, "can_go_on": self.can_go_on}
        return {**asdict(self.record), **state, "progress": asdict(self.progress)}


def list_jobs(workspace: Path, part: str | None = None) -> tuple[Job, ...]:
    """The jobs of a workspace: the running one, those that wait in their order, then the others, the latest first.

    Args:
        workspace: The workspace; need not exist.
        part: Only those for this part.
    """
    folder = workspace / FOLDER
    homes = sorted((path.parent for path in folder.glob(f"*/{RECORD}")), reverse=True)
    found = [read_job(home) for home in homes]
    if any(job.state.stands == "running" for job in found) and not is_locked(folder, WORKER):
        # Read again: it may have ended between the two looks.
        found = [_as_stopped(read_job(job.home)) if job.state.stands == "running" else job for job in found]
    running = [job for job in found if job.state.stands == "running"]
    waiting = sorted((job for job in found if job.state.stands == "queued"), key=lambda job: job.state.queued)
    placed = [replace(job, place=number + len(running)) for number, job in enumerate(waiting)]
    others = [job for job in found if not job.open]
    return tuple(job for job in (*running, *placed, *others) if part is None or job.record.part == part)


def find_job(workspace: Path, identifier: str) -> Job:
    """The job of an identifier, of which the beginning or the end is enough.

    Raises:
        StoreError: If there is none, or several begin or end so.
    """
    jobs = list_jobs(workspace)
    found = [job for job in jobs if job.id == identifier]
    found = found or [job for job in jobs if job.id.startswith(identifier) or job.id.endswith(identifier)]
    if len(found) != 1:
        what = "several jobs are" if found else "no job is"
        raise StoreError(
            f"In {workspace / FOLDER}, {what} called {identifier!r}.", "See: python -m vlmad_core jobs list."
        )
    return found[0]


def read_job(home: Path) -> Job:
    """A job from its folder, as it is written there; a damaged one has failed and says so."""
    progress, reason = JobProgress(), DAMAGED
    try:
        record = _read(JobRecord, home / RECORD)
        state = _read(JobState, home / STATE)
        if (home / PROGRESS).is_file():
            progress = _read(JobProgress, home / PROGRESS)
    except StoreError as error:
        record = JobRecord(home.name, "compute", home.name, "", "")
        state = JobState("failed", "", reason=f"{reason} {error.problem}")
    ending = state.stands == "running" and (home / CANCEL).exists()
    return Job(home, record, state, progress, None, ending)


def write_state(home: Path, state: JobState) -> None:
    """Write how a job stands.

    Raises:
        OSError: If it can't be written.
    """
    write_atomically(home / STATE, json_bytes(asdict(state)))


def write_progress(home: Path, progress: JobProgress) -> None:
    """Write how far a job is.

    Raises:
        OSError: If it can't be written.
    """
    write_atomically(home / PROGRESS, json_bytes(asdict(progress)), durable=False)


def log_lines(job: Job, most: int = 200) -> tuple[str, ...]:
    """The last lines of what happened, to read, then the last ones its process wrote if it did not end well."""
    lines = []
    for line in tail(job.home / LOG, most):
        try:
            event = parse_json(line.encode(), LOG)
            lines.append(f"{event['at']}  {event['message']}")
        except (StoreError, KeyError):  # cut short by a kill
            continue
    if job.state.stands in ("failed", "stopped"):
        lines += [*job.state.traceback.splitlines(), *tail(job.home / OUTPUT, 20)]
    return tuple(lines)


def _amount(doing: Doing, progress: JobProgress) -> str:
    """How much of what is done."""
    if doing == "download":
        return f"{progress.done / 1e6:.0f} of {progress.in_all / 1e6:.0f} MB"
    return f"{progress.done} of {progress.in_all} images"


def _read(kind: type[T], place: Path) -> T:
    try:
        return read_as(kind, read_json(place, "Remove its folder and start it again."))
    except ValidationError as error:
        raise StoreError(f"{place}: {in_words(error)}.", "Remove its folder and start it again.") from error


def tail(path: Path, most: int) -> list[str]:
    """The last lines of a text file; none if it is not there."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return [line.rstrip("\n") for line in deque(file, most)]
    except OSError:
        return []


def _as_stopped(job: Job) -> Job:
    if job.state.stands != "running":
        return job
    return replace(job, state=stopped(job.state), ending=False)


def stopped(state: JobState) -> JobState:
    """The state of a job whose process was killed."""
    return JobState("stopped", state.queued, state.started, reason=KILLED)
