"""What is written of a finished unit: rows, maps, thumbnails, and what it cost."""

from __future__ import annotations

import contextlib
import glob
import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch

from vlmad_core.backbones.features import passing_stages
from vlmad_core.datasets.catalogue import category_noun
from vlmad_core.engine.evaluation import Evaluation, evaluate, explain_rows, image_rows, thumbnail_rows
from vlmad_core.engine.extraction import OWN_STAGES, CategoryScores, RunScores
from vlmad_core.engine.jobs import CategoryJob
from vlmad_core.engine.plan import PlannedRun
from vlmad_core.engine.profiling import Ledger, Stopwatch, peak_memory, percentile
from vlmad_core.engine.reading import contents_hash, samples_hash
from vlmad_core.engine.session import Entrant
from vlmad_core.engine.speed import LARGEST_BATCH, Subject, measure_speed
from vlmad_core.errors import StoreError
from vlmad_core.store.layout import UNIT_FILE, folder_name, read_unit, thumbnail_file
from vlmad_core.store.schema import short_hash
from vlmad_core.store.writer import UnitContents, write_thumbnails

MOST_EVALUATED = 8
"""Runs evaluated side by side at most, each in a thread and with its maps in memory."""


@dataclass(frozen=True)
class Evaluated:
    """What evaluating a run gave.

    Attributes:
        evaluation: Its metrics, or the error they ended in.
        seconds: Time by stage.
        elapsed: Time in all.
    """

    evaluation: Evaluation | Exception
    seconds: Mapping[str, float]
    elapsed: float


def evaluated_at_once(device: torch.device) -> int:
    """How many runs are evaluated side by side: one where the cores compute features, too."""
    return 1 if device.type == "cpu" else max(1, min(MOST_EVALUATED, os.cpu_count() or 1))


def evaluate_together(
    scored: CategoryScores, group: Sequence[RunScores], sizes: Sequence[int], ledger: Ledger
) -> list[Evaluated]:
    """Evaluate some runs of a category side by side; one that fails does not stop the others.

    Args:
        scored: All runs' scores of the category.
        group: Those of the runs.
        sizes: Sides of the maps at which pixel metrics are computed.
        ledger: Where the time that passes is charged, to each run its share.
    """

    def work(scores: RunScores) -> Evaluated:
        own, began = Stopwatch(), time.perf_counter()
        try:
            made: Evaluation | Exception = evaluate(scored, scores, sizes, own, scores.run.backbone.device)
        except Exception as error:
            made = error
        return Evaluated(made, own.seconds(), time.perf_counter() - began)

    began = time.perf_counter()
    if len(group) == 1:
        found = [work(group[0])]
    else:
        with ThreadPoolExecutor(len(group), thread_name_prefix="vlmad-evaluate") as pool:
            found = list(pool.map(work, group))
    share = (time.perf_counter() - began) / sum(one.elapsed for one in found)
    for scores, one in zip(group, found, strict=True):
        stages = {stage: share * seconds for stage, seconds in one.seconds.items()}
        ledger.charge_all(scores.run.title, stages, share * one.elapsed, "tables")
    return found


def unit_contents(
    job: CategoryJob,
    scored: CategoryScores,
    scores: RunScores,
    evaluated: Evaluated,
    shared: Stopwatch,
    thumbnails: str | None,
    ledger: Ledger,
) -> UnitContents:
    """All that is stored of one run's unit.

    Args:
        job: The category.
        scored: All runs' scores of it.
        scores: This run's.
        evaluated: Its metrics.
        shared: Where the time of shared stages was noted.
        thumbnails: Name of the thumbnail file, if there is one.
        ledger: Where the time of measuring its speed is charged.

    Raises:
        Exception: What its evaluation ended in.
    """
    evaluation, details = evaluated.evaluation, scores.run.keeps_details
    if isinstance(evaluation, Exception):
        raise evaluation
    with ledger.measure(scores.run.title, "measuring speed"):
        speed = _speed(job, scored, scores)
    times = list(scores.latency_ms.values())
    seconds = {stage: value for stage, value in shared.seconds().items() if stage not in OWN_STAGES}
    profile: dict[str, Any] = {
        "seconds": {**{stage: round(value, 6) for stage, value in scores.seconds.items()}, **evaluated.seconds},
        "shared": {"pass": _pass_name(scored), "runs": len(scored.runs), "seconds": seconds},
        "images": len(scores.scores),
        "images_per_second_vision": _rate(scored.computed, sum(seconds.get(name, 0.0) for name in passing_stages())),
        "latency_ms": {"median": percentile(times, 0.5), "p95": percentile(times, 0.95)},
        "latency_alone_ms": _alone(speed),
        "peak_rss_bytes": peak_memory(),
    }
    if speed is not None:
        profile["speed"] = speed
    if "features" in scores.run.record.plan:
        known = len(scored.scored) - scored.computed
        profile["cache"] = {"storage": scores.run.record.plan["features"], "hits": known, "computed": scored.computed}
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
        replicates=evaluation.replicates if scores.run.record.plan.get("replicates") else {},
        thresholds=evaluation.thresholds,
        profile=profile,
        thumbnails=thumbnails,
        thumbnails_reason=None if thumbnails else _why_no_thumbnails(scores.run),
    )


def _pass_name(scored: CategoryScores) -> str:
    """What tells a shared pass from others: the same in the units of all runs that took part."""
    return short_hash([sorted(scored.runs), contents_hash(scored.images), scored.elapsed])


def _speed(job: CategoryJob, scored: CategoryScores, scores: RunScores) -> dict[str, Any] | None:
    """What the run's method alone costs; in one unit of a run, for the first draw of references."""
    run = scores.run
    if not job.latency_images or run.record.key.seed or _was_timed(run):
        return None
    noun = category_noun(job.category, run.method.settings.name_table)
    tiles = run.view.count
    entrant = Entrant(run.record.id, run.method, noun, run.record.key.shots, run.parameters, tiles=tiles)
    subject = Subject(entrant, run.backbone, scored.references.get(run.record.id), run.view)
    files = [sample.image_path for sample in job.samples if sample.id in scores.scores]
    try:
        batch = min(LARGEST_BATCH, int(run.record.plan["batch_size"]))
        return job.speeds.speed_of(
            run.record.id,
            subject,
            lambda: measure_speed(subject, files, images=job.latency_images, batch=batch, book=job.speeds),
        )
    except Exception as error:  # what can't be timed must not cost the scores
        return {"reason": f"It could not be measured: {error}"}


def _was_timed(run: PlannedRun) -> bool:
    """Whether a finished unit of the run holds its speed already."""
    for file in run.record.path.glob(f"*/{UNIT_FILE}"):
        with contextlib.suppress(StoreError):  # a damaged unit says nothing
            if read_unit(file.parent).profile.get("speed"):
                return True
    return False


def _alone(speed: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The latency alone under the names that profiles had before ``speed``."""
    if not speed or not speed.get("batch_1"):
        return None
    one = speed["batch_1"]
    return {"median": one["median_ms"], "p95": one["p95_ms"], "images": one["images"]}


def thumbnails_wanted(job: CategoryJob) -> bool:
    """Whether thumbnails must be made; where there are some of the category, the files say whether they are these."""
    if not job.thumbnails:
        return False
    dataset = job.runs[0].dataset.name
    folder = thumbnail_file(job.store, dataset, "").parent
    if not any(folder.glob(f"{glob.escape(folder_name(job.category))}-*.parquet")):
        return True
    return not thumbnail_file(job.store, dataset, _thumbnail_name(job, samples_hash(job.samples))).exists()


def _thumbnail_name(job: CategoryJob, content: str) -> str:
    view = job.runs[0].view
    mark = content if view.plain else short_hash([content, view.to_json()])
    return f"{folder_name(job.category)}-{mark[:8]}.parquet"


def keep_thumbnails(job: CategoryJob, scored: CategoryScores, made: bool) -> str | None:
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


def _rate(count: int, seconds: float | None) -> float | None:
    return round(count / seconds, 3) if seconds else None
