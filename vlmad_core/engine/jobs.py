"""The work of a plan, category by category: what is done, what is left, and what went wrong before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vlmad_core.backbones.feature_cache import CachingBackbone, FeatureFolder
from vlmad_core.backbones.text import TextCache
from vlmad_core.backbones.tower import Backbone
from vlmad_core.datasets import Sample
from vlmad_core.datasets.images import read_image
from vlmad_core.datasets.masks import sample_mask
from vlmad_core.datasets.splits import planned_images
from vlmad_core.engine.options import SIZES, PlanOptions
from vlmad_core.engine.plan import Plan, PlannedRun
from vlmad_core.engine.speed import SpeedBook
from vlmad_core.errors import StoreError, VlmadError
from vlmad_core.store import layout, tables
from vlmad_core.store.schema import UnitRecord

MOST_STRINGS = 8_000
"""Prompts that are remembered while a category is done; an ensemble of one has a few hundred."""

State = Literal["done", "partial", "repaired", "failed", "damaged", "missing"]


@dataclass(frozen=True)
class UnitState:
    """Where a unit stands.

    Attributes:
        state: ``done``; ``partial``: finished without some images that still can't be read; ``repaired``: some of
            them can be read now; ``failed``: tried before without success; ``damaged``: there, but not whole;
            ``missing``: not tried yet.
        reason: What is wrong, where something is.
        record: The finished unit, if there is one.
    """

    state: State
    reason: str | None = None
    record: UnitRecord | None = None

    @property
    def pending(self) -> bool:
        """Whether the next start computes it."""
        return self.state not in ("done", "partial")

    @property
    def replaces(self) -> bool:
        """Whether something stands in its place."""
        return self.state in ("damaged", "repaired")


def unit_state(run: PlannedRun, category: str, samples: Sequence[Sample]) -> UnitState:
    """Look at what the store has of a unit.

    A unit without some unreadable images is pending again as soon as one of them can be read.

    Args:
        run: The run.
        category: The category.
        samples: The unit's test images.
    """
    folder = run.record.path / layout.folder_name(category)
    if not folder.exists():
        try:
            failure = layout.read_failures(run.record.path, run.record.id).get(category)
        except StoreError:
            failure = None  # a damaged note says nothing
        return UnitState("failed", failure.reason) if failure else UnitState("missing")
    try:
        record = layout.read_unit(folder)
        if changed := layout.damaged_files(folder, record):
            return UnitState("damaged", f"{changed[0]} is not as it was written")
        if record.status == "complete":
            return UnitState("done", record=record)
        images = tables.read_table(layout.read_unit_file(folder, record, "images.parquet"), tables.IMAGES)
    except tables.READ_ERRORS as error:
        return UnitState("damaged", str(error))
    broken = set(images.loc[images["error"].notna(), "image_id"])
    if any(_readable(sample) for sample in samples if sample.id in broken):
        return UnitState("repaired", "images that could not be read before can be read now", record)
    return UnitState("partial", f"{record.errors} images could not be read", record)


def _readable(sample: Sample) -> bool:
    try:
        image = read_image(sample.image_path)
        sample_mask(sample, (image.height, image.width))
    except (VlmadError, OSError):
        return False
    return True


@dataclass(frozen=True)
class CategoryJob:
    """Runs to be done on one category in shared passes.

    Attributes:
        store: The results folder.
        category: The category.
        samples: Its test images.
        runs: The runs.
        thumbnails: Whether they may be stored.
        latency_images: See ``PlanOptions``.
        speeds: What was measured in the jobs before.
        backbone: The runs' backbone, with what it remembers.
    """

    store: Path
    category: str
    samples: tuple[Sample, ...]
    runs: tuple[PlannedRun, ...]
    thumbnails: bool
    latency_images: int
    speeds: SpeedBook
    backbone: Backbone

    @property
    def lock_name(self) -> str:
        """What keeps two processes from doing the same."""
        return f"{self.runs[0].dataset.name}\n{self.category}\n{self.runs[0].backbone.info.weights_hash}"

    def states(self) -> dict[str, UnitState]:
        """Where each run's unit stands, by run id."""
        return {run.record.id: unit_state(run, self.category, self.samples) for run in self.runs}


def jobs_of(plan: Plan, say: Callable[[str], None] | None = None) -> list[CategoryJob]:
    """The work of a plan in order; categories without test images have none.

    Args:
        plan: The plan.
        say: Told by feature caches what is wrong with them.
    """
    jobs = []
    speeds = SpeedBook()
    folders: dict[str, FeatureFolder] = {}
    for category, runs in plan.groups():
        samples = planned_images(runs[0].dataset, category, SIZES[plan.options.size])
        if samples:
            thumbnails = plan.options.thumbnails and runs[0].dataset.redistributable
            job = CategoryJob(
                plan.options.store,
                category,
                samples,
                runs,
                thumbnails,
                plan.options.latency_images,
                speeds,
                _remembering(runs[0], plan.options, folders, say),
            )
            jobs.append(job)
    return jobs


def _remembering(
    run: PlannedRun, options: PlanOptions, folders: dict[str, FeatureFolder], say: Callable[[str], None] | None
) -> Backbone:
    """A run's backbone, with memory for prompts and, if the run keeps features, for those.

    Runs that were started with a cache go on with the numbers it gives, though nothing is kept where none is wanted
    now.
    """
    storage = run.record.plan.get("features")
    if storage is not None and storage not in folders:
        limit = int(options.cache_gb * 2**30) if options.cache else 0
        folders[storage] = FeatureFolder(options.cache_dir, limit, storage, say)
    folder = None if storage is None else folders[storage]
    return CachingBackbone(run.backbone, folder, TextCache(MOST_STRINGS))
