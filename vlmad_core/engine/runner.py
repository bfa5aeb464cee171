"""Doing a plan: category by category, every finished unit committed at once, no failure stopping the others."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch

from vlmad_core.backbones.arithmetic import using_threads
from vlmad_core.engine.contents import (
    Evaluated,
    evaluate_together,
    evaluated_at_once,
    keep_thumbnails,
    thumbnails_wanted,
    unit_contents,
)
from vlmad_core.engine.estimate import expected_work
from vlmad_core.engine.extraction import CategoryScores, Failure, RunScores, score_category
from vlmad_core.engine.jobs import CategoryJob, UnitState, jobs_of
from vlmad_core.engine.plan import Plan, PlannedRun
from vlmad_core.engine.profiling import COMMAND, SHARED, Ledger, Stopwatch, peak_memory
from vlmad_core.engine.progress import Reporter, Workload
from vlmad_core.engine.protocol import evaluation_sizes
from vlmad_core.engine.provenance import hardware
from vlmad_core.engine.reading import ImageLoader
from vlmad_core.errors import StoreError
from vlmad_core.io import lock
from vlmad_core.store.commands import CommandRecord, SpentSeconds, write_command
from vlmad_core.store.schema import RunRecord
from vlmad_core.store.writer import (
    UnitContents,
    clear_failure,
    now,
    record_failure,
    start_run,
    write_unit,
)

FROZEN = ("batch_size", "threads", "device", "features")
"""What a plan freezes that two processes could have chosen differently."""


@dataclass(frozen=True, slots=True)
class UnitReport:
    """What became of a unit.

    Attributes:
        run_id: The run.
        category: The category.
        outcome: ``kept`` (was done before), ``computed``, ``partial`` or ``failed``.
        reason: What went wrong, where something did.
    """

    run_id: str
    category: str
    outcome: str
    reason: str | None = None


class Cancelled(BaseException):
    """Whoever asked for a plan wants no more of it; no error, so that nobody takes it for a failure of one unit."""


@dataclass
class Summary:
    """What became of a plan.

    Attributes:
        units: Every unit.
        images: Images that were passed through a backbone, references included.
        seconds: Time in all.
        peak_bytes: Largest resident memory.
        ledger: Where the time went.
        cancelled: Whether it was given up before the end.
    """

    units: list[UnitReport] = field(default_factory=list)
    images: int = 0
    seconds: float = 0.0
    peak_bytes: int | None = None
    ledger: Ledger = field(default_factory=Ledger)
    cancelled: bool = False

    @property
    def troubled(self) -> tuple[UnitReport, ...]:
        """Units that failed or lack images."""
        return tuple(unit for unit in self.units if unit.outcome in ("failed", "partial"))

    @property
    def exit_code(self) -> int:
        """0 if all is done, 2 if some units failed or lack images."""
        return 2 if self.troubled else 0

    def count(self, outcome: str) -> int:
        """Number of units with that outcome."""
        return sum(unit.outcome == outcome for unit in self.units)


def run_plan(
    plan: Plan,
    reporter: Reporter,
    ledger: Ledger | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Summary:
    """Do all units of a plan that are not done yet.

    Another process may work on the same store: what it is at is left to it, and looked at again at the end.

    Args:
        plan: The plan.
        reporter: Told how far it is.
        ledger: What was spent before; goes on with it.
        cancelled: Asked before each batch and each unit whether to give up; what is committed by then stays.
    """
    summary = Summary(ledger=ledger or Ledger())
    started = time.perf_counter()
    try:
        with using_threads(None):
            with summary.ledger.measure(COMMAND, "planning"):
                jobs = _unfinished(plan, summary, reporter)
            later = [job for job in jobs if not _do_job(job, summary, reporter, cancelled, wait=False)]
            for job in later:
                reporter.say(f"{job.category}: waiting for another process that is at it")
                _do_job(job, summary, reporter, cancelled, wait=True)
    except Cancelled:
        summary.cancelled = True
    summary.seconds = time.perf_counter() - started
    summary.peak_bytes = peak_memory()
    return summary


def keep_command(plan: Plan, summary: Summary, command: str, started: float) -> None:
    """Keep where the time of a command went, beside the runs of its plan; nothing for a plan without runs.

    Args:
        plan: The plan.
        summary: What became of it.
        command: As it was typed.
        started: When it began, in seconds of ``time.time``.
    """
    if not plan.runs:
        return
    spent = tuple(SpentSeconds(**row) for row in summary.ledger.rows())
    machine = hardware(str(plan.runs[0].backbone.device))
    record = CommandRecord(
        command=command,
        finished_at=now(),
        datasets=tuple(sorted({run.dataset.name for run in plan.runs})),
        hardware=str(machine.get("accelerator") or machine.get("processor") or "unknown"),
        images=summary.images,
        wall_seconds=time.time() - started,
        spent=spent,
    )
    with contextlib.suppress(OSError):  # a full disk must not turn finished work into an error
        write_command(plan.options.store, record)


def _unfinished(plan: Plan, summary: Summary, reporter: Reporter) -> list[CategoryJob]:
    """The jobs of which something is left, of which the reporter is told; the others are noted as kept."""
    expected: dict[str, Workload] = {}
    unfinished = []
    for job in jobs_of(plan, lambda text: reporter.say(text, event="cache")):
        states = job.states()
        pending = [run for run in job.runs if states[run.record.id].pending]
        if pending:
            expected[job.lock_name] = expected_work(job, pending)
            unfinished.append(job)
        else:
            _note_kept(job, states, summary)
    reporter.expect(expected)
    return unfinished


def _do_job(
    job: CategoryJob, summary: Summary, reporter: Reporter, cancelled: Callable[[], bool], *, wait: bool
) -> bool:
    """Do what is left of a job; False if another process is at it."""
    with lock(job.store, job.lock_name, wait=wait) as held:
        if not held:
            return False
        states = job.states()
        _note_kept(job, states, summary)
        pending = [run for run in job.runs if states[run.record.id].pending]
        reporter.begin(job.lock_name)
        if pending:
            _compute(job, pending, states, summary, reporter, cancelled)
        reporter.end(job.lock_name)
    return True


def _note_kept(job: CategoryJob, states: dict[str, UnitState], summary: Summary) -> None:
    for run_id, state in states.items():
        if not state.pending:
            outcome = "kept" if state.state == "done" else "partial"
            summary.units.append(UnitReport(run_id, job.category, outcome, state.reason))


def _compute(
    job: CategoryJob,
    pending: Sequence[PlannedRun],
    states: dict[str, UnitState],
    summary: Summary,
    reporter: Reporter,
    cancelled: Callable[[], bool],
) -> None:
    """Pass the images, then evaluate and commit run by run."""
    records = _start_runs(job, pending, summary, reporter)
    pending = [run for run in pending if run.record.id in records]
    if not pending:
        return

    def stop_if_cancelled() -> None:
        if cancelled():
            raise Cancelled

    def on_images(count: int) -> None:
        reporter.advance(count)
        stop_if_cancelled()

    def on_set(run: PlannedRun, share: float) -> None:
        reporter.part(run.record.id, f"{dataset}/{job.category}: {run.title}, all images", share)
        stop_if_cancelled()

    first = pending[0]
    dataset = first.dataset.name
    reporter.stage(f"{dataset}/{job.category} ({len(pending)} runs)")
    watch = Stopwatch()
    sizes = evaluation_sizes(first.backbone.info)
    loader = ImageLoader(job.backbone, sizes, thumbnails_wanted(job), watch, view=first.view)
    batch_size = int(first.record.plan["batch_size"])
    try:
        torch.set_num_threads(int(first.record.plan["threads"]))
        scored = score_category(
            job.category,
            job.samples,
            pending,
            loader,
            batch_size,
            on_images,
            on_set,
        )
        own = _charge(scored, summary.ledger)
        summary.ledger.charge_all(SHARED, scored.shared_seconds, scored.elapsed - own, "waiting for images")
        with summary.ledger.measure(COMMAND, "writing"):
            thumbnails = keep_thumbnails(job, scored, loader.thumbnails)
    except Exception as error:  # a category that can't be done must not stop the others
        for run in pending:
            _fail(job, run.record.id, Failure.of(error), summary, reporter)
        return
    summary.images += scored.computed + scored.references_passed
    done: list[RunScores] = []
    for run_id, scores in scored.runs.items():
        if scores.failure is None:
            done.append(scores)
        else:
            _fail(job, run_id, scores.failure, summary, reporter)

    def on_group(group: Sequence[RunScores]) -> None:
        stop_if_cancelled()
        titles = ", ".join(dict.fromkeys(scores.run.record.title for scores in group))
        reporter.stage(f"{dataset}/{job.category}: measuring {titles}")

    for scores, evaluated in _evaluated(scored, done, sizes, summary.ledger, on_group):
        stop_if_cancelled()
        run_id = scores.run.record.id
        try:
            contents = unit_contents(job, scored, scores, evaluated, watch, thumbnails, summary.ledger)
            reason = _what_is_missing(scored)
            with summary.ledger.measure(COMMAND, "writing"):
                record = write_unit(job.store, records[run_id], job.category, contents, replace=states[run_id].replaces)
                if reason is None:
                    clear_failure(job.store, run_id, job.category)
                else:
                    record_failure(job.store, run_id, job.category, reason)
        except Exception as error:  # e.g. a full disk
            _fail(job, run_id, Failure.of(error), summary, reporter)
            continue
        if record is not None and reason is not None:
            summary.units.append(UnitReport(run_id, job.category, "partial", reason))
            _say_errors(job, scored, reporter)
        else:
            summary.units.append(UnitReport(run_id, job.category, "computed" if record else "kept"))
        _say_done(job, records[run_id], contents, reporter)
        reporter.measured(len(job.samples))
        scores.grids.clear()


def _evaluated(
    scored: CategoryScores,
    done: Sequence[RunScores],
    sizes: Sequence[int],
    ledger: Ledger,
    on_group: Callable[[Sequence[RunScores]], None],
) -> Iterator[tuple[RunScores, Evaluated]]:
    """Each run with its metrics, as many at a time as the machine allows, so that finished units are soon committed."""
    several = evaluated_at_once(done[0].run.backbone.device) if done else 1
    for first in range(0, len(done), several):
        group = done[first : first + several]
        on_group(group)
        yield from zip(group, evaluate_together(scored, group, sizes, ledger), strict=True)


def _charge(scored: CategoryScores, ledger: Ledger) -> float:
    """Charge each run what it spent for itself while images passed; gives the sum in seconds."""
    own = 0.0
    for scores in scored.runs.values():
        for stage, seconds in scores.seconds.items():
            ledger.charge(scores.run.title, stage, seconds)
            own += seconds
    return own


def _what_is_missing(scored: CategoryScores) -> str | None:
    """How many images could not be used, with what is wrong with the first; None if all could."""
    errors = [image.error for image in scored.images if image.error is not None]
    if not errors:
        return None
    return f"{len(errors)} of {len(scored.images)} images could not be used; the first: {errors[0]}"


def _start_runs(
    job: CategoryJob, pending: Sequence[PlannedRun], summary: Summary, reporter: Reporter
) -> dict[str, RunRecord]:
    """The runs as the store has them; one that can't be started fails and the others go on."""
    records = {}
    for run in pending:
        try:
            record = start_run(job.store, run.record)
            if any(record.plan.get(name) != run.record.plan.get(name) for name in FROZEN):
                raise StoreError(
                    f"Another process started {record.id} with other settings just now.", "Start the command again."
                )
            device = record.plan.get("device", run.backbone.device.type)
            if device != run.backbone.device.type:
                raise StoreError(
                    f"{record.id} was started on {device}, which is not here.",
                    "Go on with it on such a machine, or begin anew in another store (--store).",
                )
            records[record.id] = record
        except Exception as error:  # e.g. a damaged run.json, a full disk
            _fail(job, run.record.id, Failure.of(error), summary, reporter)
    return records


def _fail(job: CategoryJob, run_id: str, failure: Failure, summary: Summary, reporter: Reporter) -> None:
    summary.units.append(UnitReport(run_id, job.category, "failed", failure.reason))
    reporter.say(f"FAILED {run_id} {job.category}: {failure.reason}", event="failed", run=run_id)
    with contextlib.suppress(OSError):  # a full disk may refuse this too; the next start tries the unit anyway
        record_failure(job.store, run_id, job.category, failure.reason, failure.traceback)


def _say_errors(job: CategoryJob, scored: CategoryScores, reporter: Reporter) -> None:
    for image in scored.images:
        if image.error is not None:
            reporter.say(f"  {job.category}: {image.error}", event="image_error", image=image.sample.id)


def _say_done(job: CategoryJob, record: RunRecord, contents: UnitContents, reporter: Reporter) -> None:
    shown = []
    for row in contents.metrics:
        if row["metric"] in ("image_auroc", "pixel_auroc", "aupro_30") and row["eval_size"] in (None, 256):
            value = "–" if row["value"] is None else f"{100 * row['value']:.1f}"
            shown.append(f"{row['metric']} {value}")
    key = record.key
    line = f"{key.dataset}/{job.category}  {record.title}, {key.shots} shots, seed {key.seed}: {', '.join(shown)}"
    reporter.say(line, event="unit", run=record.id, category=job.category)
