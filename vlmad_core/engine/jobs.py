"""The work of a plan, category by category."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlmad_core.backbones.feature_cache import FeatureCache
from vlmad_core.datasets import Sample
from vlmad_core.engine.options import PlanOptions
from vlmad_core.engine.plan import Plan, PlannedRun, planned_images
from vlmad_core.engine.units import UnitState, unit_state


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
