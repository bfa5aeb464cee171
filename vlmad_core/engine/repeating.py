"""A stored run computed again as a whole, under its own protocol and plan, into another store.

The work is that of ``precompute``. What moves numbers (weights, settings, prompts, trained parameters, images, rules of
reading, metrics) is held against the run before anything is computed; where it differs, nothing is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from vlmad_core.backbones.devices import resolve_device
from vlmad_core.backbones.feature_cache import CachingBackbone
from vlmad_core.datasets import Dataset, load_dataset
from vlmad_core.datasets.splits import planned_images
from vlmad_core.engine.again import Recall, hold_against, plan_again, settle_again
from vlmad_core.engine.frozen import Backbones
from vlmad_core.engine.options import SIZES, MethodChoice, PlanError, PlanOptions, Size
from vlmad_core.engine.plan import Plan, store_path
from vlmad_core.engine.protocol import backbone_record, evaluation_record
from vlmad_core.engine.provenance import code_version, hardware, package_versions
from vlmad_core.engine.reading import samples_hash
from vlmad_core.errors import BackboneError, DatasetError
from vlmad_core.store import layout
from vlmad_core.store.schema import DESCRIPTIVE, Provenance, RunRecord
from vlmad_core.store.writer import now

BESIDE = frozenset({"feature_storage", "similarities"})
"""What a protocol says under the backbone, and the run's plan again, of what becomes of its features."""


def plan_repetition(
    run: RunRecord,
    store: Path,
    *,
    categories: Sequence[str] | None = None,
    source: str | None = None,
    folders: Sequence[Path] | None = None,
    command: str = "",
) -> Plan:
    """Plan to compute a stored run again, with its own batch size, threads and precision, on its own kind of device.

    Where that device is not here, the quickest that is here takes its place.

    Args:
        run: The run.
        store: Where to; must not hold the run.
        categories: Only these; None for all that the run has finished.
        source: Its data set by name or folder; None for where the run had it from.
        folders: Where trained parameters are looked for; ``paths.parameter_folders()`` if None.
        command: The command that asks for it, for the record.

    Returns:
        A plan of one run; nothing is written yet but the folder.

    Raises:
        VlmadError: If anything that moves its numbers is missing or another one here; says what.
    """
    if run.protocol.method.get("imported"):
        raise PlanError(f"Another program made the scores of {run.id}.", "Make them there, and import them.")
    path = layout.run_folder(store, run.id)
    if path.exists():
        raise PlanError(f"{path} is there already.", "Name an empty folder.")
    chosen = _categories(run, categories)
    settled = settle_again(run.protocol.backbone, _device(run))
    backbone = settled.backbone
    hold_against("backbone", backbone_record(backbone.info), run.protocol.backbone, DESCRIPTIVE | BESIDE)
    hold_against("evaluation", evaluation_record(backbone.info.image_size), run.protocol.evaluation)
    source = source or str(run.provenance.data.get("source") or run.key.dataset)
    dataset = load_dataset(source)
    taken = {name: run.protocol.data.get(name) for name in ("size", "per_label")}
    size = next((name for name, limit in SIZES.items() if taken == {"size": name, "per_label": limit}), None)
    if size is None:
        raise PlanError(f"{run.id} took another choice of images: {taken}.", "Use the program's version that made it.")
    planned = plan_again(run, dataset, Recall(CachingBackbone(backbone)), folders)
    _check_files(run, dataset, chosen, size)
    plan = {**run.plan, "device": backbone.device.type}
    provenance = Provenance(
        code_version=code_version(),
        packages=package_versions(),
        hardware=hardware(str(backbone.device)),
        parameters=backbone.info.parameters,
        data={**run.provenance.data, "source": source},
        command=command,
        started_at=now(),
    )
    record = dataclasses.replace(run, provenance=provenance, plan=plan, path=path, units={})
    again = dataclasses.replace(planned, record=record, backbone=Backbones().for_plan(settled, plan))
    options = PlanOptions(
        datasets=(source,),
        methods=(MethodChoice(f"{run.key.method}:{run.key.preset}"),),
        categories=chosen,
        size=size,
        store=store_path(store),
        thumbnails=False,
        latency_images=0,
    )
    return Plan(options, (again,), (), ())


def _categories(run: RunRecord, asked: Sequence[str] | None) -> tuple[str, ...]:
    if not run.units:
        raise PlanError(f"{run.id} has finished no category.", "Finish it first: start its command again.")
    unknown = sorted(set(asked or ()) - run.units.keys())
    if unknown:
        raise PlanError(f"{run.id} has not finished {unknown[0]!r}.", f"It has: {', '.join(run.units)}.")
    return tuple(name for name in run.units if asked is None or name in asked)


def _device(run: RunRecord) -> str:
    """The kind of device a run was on, or ``auto`` where that is not here."""
    device = str(run.plan.get("device") or "cpu")
    try:
        resolve_device(device)
    except BackboneError:
        return "auto"
    return device


def _check_files(run: RunRecord, dataset: Dataset, categories: Sequence[str], size: Size) -> None:
    """See that images and masks are byte for byte those of the run; of references only the list is known."""
    for category in categories:
        if samples_hash(planned_images(dataset, category, SIZES[size])) != run.units[category].data_hash:
            raise DatasetError(
                f"The images or masks of {category} in {dataset.name} are not those that {run.id} judged.",
                "Restore the files, or name the folder that has them: --data PATH.",
            )
