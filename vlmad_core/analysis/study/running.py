"""Doing the study: its variants as two plans per data set, one for the methods, one for the ablations."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vlmad_core.analysis.study.plan import StudyPlan, Variant, resolve
from vlmad_core.backbones import BackboneInfo
from vlmad_core.datasets import list_datasets, load_dataset
from vlmad_core.datasets.loading import BUNDLED
from vlmad_core.engine.frozen import Backbones, asked_backbone
from vlmad_core.engine.options import KeepGrids, MethodChoice, PlanOptions
from vlmad_core.engine.plan import NotApplicable, Plan, build_plan
from vlmad_core.methods import create_method
from vlmad_core.methods.trained import find_parameters_trained_on
from vlmad_core.paths import data_dir, parameter_folders
from vlmad_core.store.layout import STUDY_FOLDER


@dataclass(frozen=True)
class StudyPart:
    """What is done in one go: the methods or the ablations of one data set.

    Attributes:
        dataset: The data set as it was named.
        ablations: Whether these are the ablations.
        plan: The plan.
        missing: Variants that can't be done, with the reason.
    """

    dataset: str
    ablations: bool
    plan: Plan
    missing: tuple[NotApplicable, ...]


def default_datasets() -> tuple[str, ...]:
    """The bundled data sets, and the real ones found in ``VLMAD_DATA_DIR``."""
    real = [entry.name for entry in list_datasets() if entry.available and not entry.synthetic and not entry.title]
    return (*BUNDLED, *(real if data_dir() else ()))


def study_parts(study: StudyPlan, datasets: Iterable[str], options: PlanOptions, command: str) -> list[StudyPart]:
    """The plans that make up the study.

    Args:
        study: The study's plan.
        datasets: Names or paths of data sets.
        options: Store, backbone, size and how to compute; data sets, methods, shots and seeds come from the study.
        command: The command line, recorded with each run.

    Raises:
        VlmadError: If a data set or the backbone can't be had.
    """
    folders = parameter_folders([options.store])
    backbones = Backbones()  # settled once, so that methods and ablations can be held against each other
    parts = []
    for dataset in datasets:
        info = backbones.settled(asked_backbone(options), load_dataset(dataset), options).backbone.info
        for ablations in (False, True):
            choices, missing = _choices(study, dataset, ablations, info, folders)
            if not choices:
                continue
            own = dataclasses.replace(
                options,
                datasets=(dataset,),
                methods=tuple(choices),
                shots=(0,),
                seeds=study.seeds,
                store=options.store / STUDY_FOLDER if ablations else options.store,
                grids="none",
                replicates=options.replicates if options.replicates is not None else not ablations,
                thumbnails=options.thumbnails and not ablations,
            )
            plan = build_plan(own, command=command, backbones=backbones, folders=folders)
            parts.append(StudyPart(dataset, ablations, plan, tuple(missing)))
    return parts


def _choices(
    study: StudyPlan, dataset: str, ablations: bool, info: BackboneInfo, folders: Sequence[Path]
) -> tuple[list[MethodChoice], list[NotApplicable]]:
    choices: dict[tuple[str, str | None, Path | None], list[MethodChoice]] = {}
    missing = []
    for variant in study.variants.values():
        if variant.is_ablation is not ablations:
            continue
        parameters = None
        if variant.trained == "within":
            loaded = load_dataset(dataset)
            name = loaded.official or loaded.name
            parameters = find_parameters_trained_on([name], variant.method, info.weights_hash, info.activation, folders)
            if parameters is None:
                how = f"python -m vlmad_core train {variant.method} --data {dataset} --backbone {info.id}"
                missing.append(NotApplicable(f"{variant.label} on {dataset}", f"None are there; train some: {how}"))
                continue
        key = (f"{variant.method}:{variant.preset}", variant.stored_preset if ablations else None, parameters)
        if key not in choices:
            own = _ablation(variant, info.depth) if ablations else _method_as_it_comes(variant, study, parameters)
            choices[key] = own
    return [choice for some in choices.values() for choice in some], missing


def _ablation(variant: Variant, depth: int) -> list[MethodChoice]:
    """At its own number of references; other draws of them would change every ablation alike, so one is enough."""
    identifier = f"{variant.method}:{variant.preset}"
    settings = resolve(variant.settings, depth)
    return [MethodChoice(identifier, settings, variant.stored_preset, shots=(variant.shots,), seeds=1)]


def _method_as_it_comes(variant: Variant, study: StudyPlan, parameters: Path | None) -> list[MethodChoice]:
    """At all numbers of references it can use; apart where maps are kept, so that the store stays small."""
    identifier = f"{variant.method}:{variant.preset}"
    method = create_method(identifier)
    wanted = (0, *study.shots) if variant.trained is None else (0,)
    shots = [k for k in wanted if method.why_not_applicable(k) is None]
    shown = study.maps if variant.trained is None else ()
    groups: list[tuple[KeepGrids, list[int]]] = [
        ("first_seed", [k for k in shots if k in shown]),
        ("none", [k for k in shots if k not in shown]),
    ]
    return [
        MethodChoice(identifier, shots=tuple(some), grids=grids, parameters=parameters)
        for grids, some in groups
        if some
    ]
