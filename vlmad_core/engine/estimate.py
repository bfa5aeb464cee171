"""What a plan would do, before it is done: units, and how much time, memory and disk they may take."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Any

import torch

from vlmad_core.backbones.arithmetic import product_speed, using_threads
from vlmad_core.backbones.devices import wait
from vlmad_core.backbones.feature_files import Storage, pack
from vlmad_core.backbones.features import passing_stages
from vlmad_core.engine.extraction import own_needs
from vlmad_core.engine.jobs import CategoryJob, jobs_of
from vlmad_core.engine.plan import Plan, PlannedRun
from vlmad_core.engine.profiling import peak_memory
from vlmad_core.engine.progress import MEASURING_SECONDS, Workload, roughly
from vlmad_core.engine.protocol import evaluation_sizes
from vlmad_core.engine.speed import LARGEST_BATCH, LEAST_BATCH, LEAST_IMAGES, WARM_UP, passes_for
from vlmad_core.store.reader import open_store

BYTES_PER_UNIT = 40_000
"""Tables of a unit, as measured; grids come on top."""

BYTES_PER_THUMBNAIL = 3_000
"""A thumbnail with its mask, as measured."""

PASS_SECONDS = 1.0
"""Passes are timed for so long, at least one, and the quickest counts: the first one warms up, and others may have been
disturbed."""

SET_SHARE = 0.55
"""Share of the speed of a plain matrix product that judging a whole set reaches, at least."""

MAP_COPIES = 4
"""Arrays of the size of all maps of a category that exist at once while metrics are computed."""

BASE_MEMORY = 700 * 2**20
"""Program, torch and the activations of a batch."""


@dataclass(frozen=True)
class Estimate:
    """What a plan would do.

    Attributes:
        units: (run id, category, state, reason) in order.
        not_applicable: (combination, reason).
        notes: What the user should know.
        images: Images to be passed through backbones.
        seconds: Time in all, roughly.
        seconds_from: What it was worked out from: ``earlier units`` with the same backbone, or ``one pass`` just now.
        memory_bytes: Largest resident memory, roughly.
        disk_bytes: What the new units take, roughly.
        cache_bytes: What features take on disk if all are new; 0 without a cache.
    """

    units: tuple[tuple[str, str, str, str | None], ...]
    not_applicable: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    images: int
    seconds: float
    seconds_from: str
    memory_bytes: int
    disk_bytes: int
    cache_bytes: int

    def to_json(self) -> dict[str, Any]:
        """As plain json values."""
        return {
            "units": [dict(zip(("run", "category", "state", "reason"), unit, strict=True)) for unit in self.units],
            "not_applicable": [dict(zip(("what", "reason"), item, strict=True)) for item in self.not_applicable],
            "notes": list(self.notes),
            "images": self.images,
            "seconds": self.seconds,
            "seconds_from": self.seconds_from,
            "memory_bytes": self.memory_bytes,
            "disk_bytes": self.disk_bytes,
            "cache_bytes": self.cache_bytes,
        }

    def text(self) -> str:
        """As lines to read."""
        lines = [f"note: {note}" for note in self.notes]
        lines += [f"not applicable: {what}: {reason}" for what, reason in self.not_applicable]
        lines += [
            f"{state:<9}{run} {category}" + (f": {reason}" if reason else "")
            for run, category, state, reason in self.units
        ]
        return "\n".join([*lines, *self.in_short])

    @property
    def in_short(self) -> tuple[str, str]:
        """What is to be done, and what it takes."""
        counts = Counter(state for _, _, state, _ in self.units)
        states = ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
        memory, disk = self.memory_bytes / 2**30, self.disk_bytes / 2**20
        cache = f", features at most {self.cache_bytes / 2**20:.0f} MB" if self.cache_bytes else ""
        most = "at most " if self.cache_bytes else ""
        return (
            f"units: {states or 'none'}; {most}{self.images} images to pass",
            f"time {most}{roughly(self.seconds)} (from {self.seconds_from}), memory about {memory:.1f} GB, "
            f"disk about {disk:.1f} MB{cache}",
        )


def estimate(plan: Plan) -> Estimate:
    """Look at the store and work out what is left of a plan; writes nothing."""
    units: list[tuple[str, str, str, str | None]] = []
    images, disk, memory = 0, 0, peak_memory()
    seconds, cached, sources = 0.0, 0, set()
    passes: dict[tuple[str, ...], tuple[float, int]] = {}
    timed: set[str] = set()
    for job in jobs_of(plan):
        states = job.states()
        units += [(run_id, job.category, state.state, state.reason) for run_id, state in states.items()]
        pending = [run for run in job.runs if states[run.record.id].pending]
        if not pending:
            continue
        images += len(job.samples)
        info, tiles = pending[0].backbone.info, pending[0].view.count
        sizes = evaluation_sizes(info)
        memory = max(memory, BASE_MEMORY + 4 * info.parameters + len(job.samples) * _map_bytes(sizes))
        for run in pending:
            segments = run.method.capabilities.segments and run.keeps_details
            rows, columns = run.view.lattice(info.grid)
            grid = 4 * rows * columns * len(job.samples) if segments else 0
            disk += BYTES_PER_UNIT + grid
        disk += BYTES_PER_THUMBNAIL * len(job.samples) if job.thumbnails else 0
        key = tuple(run.record.id for run in pending)
        each = _seconds_per_image(plan, job)
        sources.add("earlier units" if each is not None else "one pass")
        storage = pending[0].record.plan.get("features")
        if each is None or storage is not None:
            if key not in passes:
                passes[key] = _one_pass(pending, storage)
            cached += passes[key][1] * tiles * len(job.samples)
            each = passes[key][0] * tiles + MEASURING_SECONDS * len(pending) if each is None else each
        seconds += each * len(job.samples) + sum(expected_work(job, pending).sets.values())
        untimed = [run for run in pending if run.record.id not in timed and run.record.key.seed == 0]
        seconds += _timing_seconds(job, untimed)
        timed |= {run.record.id for run in untimed}
    return Estimate(
        units=tuple(units),
        not_applicable=tuple((item.what, item.reason) for item in plan.not_applicable),
        notes=plan.notes,
        images=images,
        seconds=seconds,
        seconds_from=" and ".join(sorted(sources)) or "nothing to do",
        memory_bytes=memory,
        disk_bytes=disk,
        cache_bytes=cached,
    )


def _one_pass(runs: Sequence[PlannedRun], storage: Storage | None) -> tuple[float, int]:
    """Seconds of the vision tower for one image, the quickest of a second, and the bytes that a cache keeps of it."""
    backbone = runs[0].backbone
    request = reduce(or_, (own_needs(run) for run in runs))
    side = backbone.info.image_size
    with using_threads(int(runs[0].record.plan["threads"])):
        began, seconds = time.perf_counter(), float("inf")
        while seconds == float("inf") or time.perf_counter() - began < PASS_SECONDS:
            start = time.perf_counter()
            features = backbone.encode_images(torch.zeros(1, 3, side, side), request)
            wait(backbone.device)
            seconds = min(seconds, time.perf_counter() - start)
    stored = pack(features, (side, side), storage).tensors if storage is not None else {}
    return seconds, sum(tensor.nbytes for tensor in stored.values())


def _timing_seconds(job: CategoryJob, runs: Sequence[PlannedRun]) -> float:
    """Seconds of measuring what each run's method costs alone, from passes timed now with and without windows."""
    if not job.latency_images or not runs:
        return 0.0
    costly = [run for run in runs if own_needs(run) != own_needs(run).soon()]
    cheap = [run for run in runs if run not in costly]
    batch = min(LARGEST_BATCH, int(runs[0].record.plan["batch_size"]))
    seconds = 0.0
    for group in filter(None, (costly, cheap)):
        each = runs[0].view.count * _one_pass(group, None)[0]
        alone, together = (
            passes_for(each, least, most) for least, most in ((LEAST_IMAGES, job.latency_images), (LEAST_BATCH, batch))
        )
        seconds += len(group) * each * (WARM_UP + alone + together)
    return seconds


def expected_work(job: CategoryJob, pending: Sequence[PlannedRun]) -> Workload:
    """What the pending runs of a job take; what is judged as a whole, from a matrix product timed now."""
    images, tiles = len(job.samples), job.runs[0].view.count
    sets = {run.record.id: run.method.set_operations(tiles * images, run.backbone.info) for run in pending}
    device = pending[0].backbone.device
    speed = SET_SHARE * product_speed("float32", device=device) if any(sets.values()) else 1.0
    timed = {run: operations / speed for run, operations in sets.items() if operations}
    return Workload(images, timed, images * len(pending))


def _map_bytes(sizes: tuple[int, ...]) -> int:
    """Memory per image for maps and masks while a category is evaluated."""
    return MAP_COPIES * 4 * max(sizes) ** 2 + sum(size**2 for size in sizes)


def _seconds_per_image(plan: Plan, job: CategoryJob) -> float | None:
    """From earlier units of the same backbone and methods in this store: shared passes once, own work per run."""
    if not plan.options.store.is_dir():
        return None
    wanted = {run.record.protocol.backbone["weights_hash"] for run in job.runs}
    view = job.runs[0].record.protocol.reading.get("view")
    shared: list[float] = []
    own: dict[str, list[float]] = {}
    for run in open_store(plan.options.store).runs:
        if run.protocol.backbone.get("weights_hash") not in wanted or run.protocol.reading.get("view") != view:
            continue
        for unit in run.units.values():
            spent = unit.seconds
            if unit.images and "vision" in spent and not unit.profile.get("cache"):
                passing = sum(spent.get(name, 0.0) for name in (*passing_stages(), "references"))
                shared.append(passing / unit.images)
                # What judges a whole set grows faster than the set: it is not taken from sets of other sizes.
                scoring = () if run.protocol.method.get("transductive") else ("scoring",)
                mine = sum(spent.get(name, 0.0) for name in (*scoring, "upsampling", "metrics", "bootstrap"))
                own.setdefault(run.key.method, []).append(mine / unit.images)
    if not shared:
        return None
    every = [value for values in own.values() for value in values]
    per_run = [own.get(run.record.key.method, every) for run in job.runs]
    return max(shared) + sum(sum(values) / len(values) for values in per_run)
