"""Doing a plan: category by category, every finished unit committed at once, no failure stopping the others."""

from __future__ import annotations

import contextlib
import glob
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from vlmad_core.backbones.feature_cache import FeatureCache
from vlmad_core.benchmark.evaluation import evaluate, explain_rows, image_rows, thumbnail_rows
from vlmad_core.benchmark.extraction import CategoryScores, Failure, RunScores, measure_latency, score_category
from vlmad_core.benchmark.options import PlanOptions
from vlmad_core.benchmark.plan import Plan, PlannedRun, planned_images
from vlmad_core.benchmark.profiling import Stopwatch, peak_memory, percentile
from vlmad_core.benchmark.progress import Reporter
from vlmad_core.benchmark.protocol import evaluation_sizes
from vlmad_core.benchmark.reading import ImageLoader, contents_hash, samples_hash
from vlmad_core.benchmark.units import UnitState, unit_state
from vlmad_core.datasets import Sample
from vlmad_core.errors import StoreError
from vlmad_core.results.atomic import lock
from vlmad_core.results.layout import folder_name, thumbnail_file
from vlmad_core.results.schema import RunRecord
from vlmad_core.results.writer import (
    UnitContents,
    clear_failure,
    record_failure,
    start_run,
    write_thumbnails,
    write_unit,
)


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


@dataclass
class Summary:
    """What became of a plan.

    Attributes:
        units: Every unit.
        images: Images that were passed through a backbone, references included.
        seconds: Time in all.
        peak_bytes: Largest resident memory.
    """

    units: list[UnitReport] = field(default_factory=list)
    images: int = 0
    seconds: float = 0.0
    peak_bytes: int | None = None

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


@dataclass(frozen=True)
class CategoryJob:
    """Runs to be done on one category in shared passes."""

    store: Path
    category: str
    samples: tuple[Sample, ...]
    runs: tuple[PlannedRun, ...]
    thumbnails: bool
    latency_images: int
    cache: FeatureCache | None = None

    @property
    def lock_name(self) -> str:
        """What keeps two processes from doing the same."""
        return f"{self.runs[0].dataset.name}\n{self.category}\n{self.runs[0].backbone.info.weights_hash}"

    def states(self) -> dict[str, UnitState]:
        """Where each run's unit stands, by run id."""
        return {run.record.id: unit_state(run, self.category, self.samples) for run in self.runs}


def run_plan(plan: Plan, reporter: Reporter) -> Summary:
    """Do all units of a plan that are not done yet.

    Another process may work on the same store: what it is at is left to it, and looked at again at the end.
    """
    summary = Summary()
    started, threads = time.perf_counter(), torch.get_num_threads()
    try:
        jobs = jobs_of(plan, lambda text: reporter.say(text, event="cache"))
        later = [job for job in jobs if not _do_job(job, summary, reporter, wait=False)]
        for job in later:
            reporter.say(f"{job.category}: waiting for another process that is at it")
            _do_job(job, summary, reporter, wait=True)
    finally:
        torch.set_num_threads(threads)
    summary.seconds = time.perf_counter() - started
    summary.peak_bytes = peak_memory()
    return summary


def jobs_of(plan: Plan, say: Callable[[str], None] | None = None) -> list[CategoryJob]:
    """The work of a plan in order; categories without test images have none.

    Args:
        plan: The plan.
        say: Told by feature caches what is wrong with them.
    """
    jobs = []
    caches: dict[str, FeatureCache] = {}
    for category, runs in plan.groups():
        samples = planned_images(runs[0].dataset, category, plan.options.size)
        if samples:
            thumbnails = plan.options.thumbnails and runs[0].dataset.redistributable
            job = CategoryJob(
                plan.options.store,
                category,
                samples,
                runs,
                thumbnails,
                plan.options.latency_images,
                _cache_for(runs[0].record.plan.get("features"), plan.options, caches, say),
            )
            jobs.append(job)
    return jobs


def _cache_for(
    storage: Any, options: PlanOptions, caches: dict[str, FeatureCache], say: Callable[[str], None] | None
) -> FeatureCache | None:
    """The cache for runs that keep features in a form; without room, where none is wanted now.

    Runs that were started with a cache go on with the numbers it gives, though nothing is kept.
    """
    if storage is None:
        return None
    if storage not in caches:
        limit = int(options.cache_gb * 2**30) if options.cache else 0
        caches[storage] = FeatureCache(options.cache_dir, limit, storage, say)
    return caches[storage]


def _do_job(job: CategoryJob, summary: Summary, reporter: Reporter, *, wait: bool) -> bool:
    """Do what is left of a job; False if another process is at it."""
    states = job.states()
    if not any(state.pending for state in states.values()):
        _note_kept(job, states, summary)
        reporter.advance(len(job.samples))
        return True
    with lock(job.store, job.lock_name, wait=wait) as held:
        if not held:
            return False
        states = job.states()
        _note_kept(job, states, summary)
        pending = [run for run in job.runs if states[run.record.id].pending]
        if pending:
            _compute(job, pending, states, summary, reporter)
        else:
            reporter.advance(len(job.samples))
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
) -> None:
    """Pass the images, then evaluate and commit run by run."""
    records = _start_runs(job, pending, summary, reporter)
    pending = [run for run in pending if run.record.id in records]
    if not pending:
        reporter.advance(len(job.samples))
        return
    first = pending[0]
    dataset = first.dataset.name
    reporter.stage(f"{dataset}/{job.category} ({len(pending)} runs)")
    watch = Stopwatch()
    sizes = evaluation_sizes(first.backbone.info)
    loader = ImageLoader(first.backbone.preprocess, sizes, _thumbnails_wanted(job), watch)
    batch_size = int(first.record.plan["batch_size"])
    try:
        torch.set_num_threads(int(first.record.plan["threads"]))
        scored = score_category(job.category, job.samples, pending, loader, batch_size, reporter.advance, job.cache)
        thumbnails = _thumbnails(job, scored, loader.thumbnails)
    except Exception as error:  # a category that can't be done must not stop the others
        for run in pending:
            _fail(job, run.record.id, Failure.of(error), summary, reporter)
        return
    summary.images += scored.passes
    for run_id, scores in scored.runs.items():
        if scores.failure is not None:
            _fail(job, run_id, scores.failure, summary, reporter)
            continue
        reporter.stage(f"{dataset}/{job.category}: measuring {scores.run.record.title}")
        try:
            contents = _contents(job, scored, scores, sizes, watch, loader, thumbnails)
            record = write_unit(job.store, records[run_id], job.category, contents, replace=states[run_id].replaces)
            clear_failure(job.store, run_id, job.category)
        except Exception as error:  # e.g. a full disk
            _fail(job, run_id, Failure.of(error), summary, reporter)
            continue
        if record is not None and record.errors:
            reason = f"{record.errors} of {len(job.samples)} images could not be used"
            summary.units.append(UnitReport(run_id, job.category, "partial", reason))
            _say_errors(job, scored, reporter)
        else:
            summary.units.append(UnitReport(run_id, job.category, "computed" if record else "kept"))
        _say_done(job, records[run_id], contents, reporter)
        scores.grids.clear()


def _start_runs(
    job: CategoryJob, pending: Sequence[PlannedRun], summary: Summary, reporter: Reporter
) -> dict[str, RunRecord]:
    """The runs as the store has them; one that can't be started fails and the others go on."""
    records = {}
    for run in pending:
        try:
            record = start_run(job.store, run.record)
            if any(
                record.plan.get(name) != run.record.plan.get(name) for name in ("batch_size", "threads", "features")
            ):
                raise StoreError(
                    f"Another process started {record.id} with other settings just now.", "Start the command again."
                )
            records[record.id] = record
        except Exception as error:  # e.g. a damaged run.json, a full disk
            _fail(job, run.record.id, Failure.of(error), summary, reporter)
    return records


def _contents(
    job: CategoryJob,
    scored: CategoryScores,
    scores: RunScores,
    sizes: Sequence[int],
    shared: Stopwatch,
    loader: ImageLoader,
    thumbnails: str | None,
) -> UnitContents:
    own = Stopwatch()
    evaluation = evaluate(scored, scores, sizes, own)
    details = scores.run.keeps_details
    alone = None
    if job.latency_images:
        chosen = [sample for sample in job.samples if sample.id in scores.scores][: job.latency_images]
        alone = measure_latency(scores.run, scored.scorers[scores.run.record.id], chosen, loader)
    times = list(scores.latency_ms.values())
    seconds = shared.seconds()
    profile: dict[str, Any] = {
        "seconds": {**seconds, "scoring": round(scores.scoring_seconds, 6), **own.seconds()},
        "shared_by": len(scored.runs),
        "images": len(scores.scores),
        "images_per_second_vision": _rate(scored.computed, seconds.get("vision")),
        "latency_ms": {"median": percentile(times, 0.5), "p95": percentile(times, 0.95)},
        "latency_alone_ms": alone,
        "peak_rss_bytes": peak_memory(),
    }
    if job.cache is not None:
        known = len(scored.scored) - scored.computed
        profile["cache"] = {"storage": job.cache.storage, "hits": known, "computed": scored.computed}
    return UnitContents(
        images=image_rows(scored, scores),
        metrics=evaluation.metrics,
        data_hash=contents_hash(scored.images),
        grid_ids=list(scores.scores) if details else (),
        grids=scores.all_grids() if details else None,
        rule=scores.rule if details else None,
        curves=evaluation.curves if details else None,
        regions=evaluation.regions if details else (),
        explain=explain_rows(scores) if details else (),
        thresholds=evaluation.thresholds,
        profile=profile,
        thumbnails=thumbnails,
        thumbnails_reason=None if thumbnails else _why_no_thumbnails(scores.run),
    )


def _thumbnails_wanted(job: CategoryJob) -> bool:
    """Whether thumbnails must be made; where there are some of the category, the files say whether they are these."""
    if not job.thumbnails:
        return False
    dataset = job.runs[0].dataset.name
    folder = thumbnail_file(job.store, dataset, "").parent
    if not any(folder.glob(f"{glob.escape(folder_name(job.category))}-*.parquet")):
        return True
    return not thumbnail_file(job.store, dataset, _thumbnail_name(job, samples_hash(job.samples))).exists()


def _thumbnail_name(job: CategoryJob, content: str) -> str:
    return f"{folder_name(job.category)}-{content[:8]}.parquet"


def _thumbnails(job: CategoryJob, scored: CategoryScores, made: bool) -> str | None:
    """Write the category's thumbnails where that is allowed and they were made, and give the file's name."""
    if not job.thumbnails or not scored.images:
        return None
    name = _thumbnail_name(job, contents_hash(scored.images))
    if made:
        write_thumbnails(job.store, job.runs[0].dataset.name, name, thumbnail_rows(scored.images))
    return name if thumbnail_file(job.store, job.runs[0].dataset.name, name).exists() else None


def _why_no_thumbnails(run: PlannedRun) -> str:
    dataset = run.dataset
    if not dataset.redistributable:
        return f"The licence of {dataset.name} ({dataset.licence or 'unknown'}) does not allow copies of its images."
    return "No thumbnails were asked for."


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


def _rate(count: int, seconds: float | None) -> float | None:
    return round(count / seconds, 3) if seconds else None
