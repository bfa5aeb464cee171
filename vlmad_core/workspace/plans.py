"""What a part is judged by: the choices that are offered first, the plan they make, and what it would take."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from vlmad_core.datasets import Dataset
from vlmad_core.datasets.views import View

if TYPE_CHECKING:
    from vlmad_core.engine.estimate import Estimate
    from vlmad_core.engine.options import PlanOptions
    from vlmad_core.inference.process import Holdings, Tell

REFERENCES = (2, 4, 8)
"""Numbers of good photos that may be drawn as references."""


def reference_choices(dataset: Dataset) -> tuple[int, ...]:
    """The numbers of references that every category of a data set has good photos for."""
    fewest = min((len(dataset.select(category, "train")) for category in dataset.categories), default=0)
    return tuple(count for count in REFERENCES if count <= fewest)


def backbone_input(backbone: str) -> tuple[int, int]:
    """Side of a backbone's input and of its patches, in pixels.

    Raises:
        BackboneError: If it can't be loaded.
    """
    from vlmad_core.backbones import load_backbone

    info = load_backbone(backbone).info
    return info.image_size, info.patch_size


def part_options(
    dataset: str, methods: Sequence[str], references: int, backbone: str, view: View | None = None
) -> PlanOptions:
    """The plan: each method without references, where it can do without, and with them.

    Args:
        dataset: The part's slug.
        methods: Names of methods.
        references: How many good photos are drawn as references; 0 for none.
        backbone: ``bundled``, a folder or a hub id.
        view: How photos are looked at; None for whole photos in one piece.

    Raises:
        PlanError: If no method is named.
    """
    from vlmad_core.engine.options import make_options

    shots = [0, references] if references else [0]
    asked = {"datasets": [dataset], "methods": list(methods), "shots": shots, "backbone": backbone}
    if view is not None and not view.plain:
        asked |= {"region": list(view.region), "tiles": list(view.tiles), "tile_overlap": view.overlap}
    return make_options(asked)


def estimate_part(dataset: Dataset, options: PlanOptions) -> Estimate:
    """What a plan would take for a part, whether its photos are written or still in memory; from a pass timed now.

    Raises:
        VlmadError: If the backbone can't be loaded, or the plan can't be made.
    """
    from vlmad_core.engine.estimate import estimate
    from vlmad_core.engine.plan import build_plan

    return estimate(build_plan(options, reader=lambda source: dataset))


def estimate_beside(held: Holdings, tell: Tell, dataset: Dataset, options: PlanOptions) -> Estimate:
    """In the process that computes for the dashboard: see ``estimate_part``; alone, so that what it times is true."""
    with held.turns.take():
        return estimate_part(dataset, options)


def left_out(found: Estimate) -> tuple[tuple[str, str], ...]:
    """What is asked for and can't be done at all, with the reason.

    That a method without references gains nothing from some, or one with references can't do without, is no news: of
    such methods the rest is done.
    """
    done = {run.partition("/")[2].partition("-")[0] for run, *_ in found.units}
    return tuple(item for item in found.not_applicable if item[0].partition(":")[0] not in done)


def shortage(found: Estimate, store: Path) -> str:
    """What this machine lacks for a plan now, in a sentence; empty if nothing.

    Args:
        found: What the plan takes.
        store: The results folder; need not exist.
    """
    memory = psutil.virtual_memory().available
    if found.memory_bytes > memory:
        return (
            f"This machine has {memory / 2**30:.1f} GB of free memory, and the plan takes about "
            f"{found.memory_bytes / 2**30:.1f} GB: end other programs, or choose a smaller backbone."
        )
    place = next(folder for folder in (store.resolve(), *store.resolve().parents) if folder.exists())
    disk, wanted = shutil.disk_usage(place).free, found.disk_bytes + found.cache_bytes
    if wanted > disk:
        return f"The disk has {disk / 2**20:.0f} MB left, and it takes about {wanted / 2**20:.0f} MB: make room first."
    return ""
