"""From what was asked to the runs that answer it, each with its protocol.

Nothing is computed here but what settles a choice that was left to the machine.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any

from torch import Tensor

from vlmad_core.backbones import BackboneInfo
from vlmad_core.backbones.info import hash_tensors
from vlmad_core.backbones.loading import VISION_ONLY_NAMES, BackboneSpec
from vlmad_core.backbones.settling import Settled, settle_batch_size
from vlmad_core.backbones.tower import Backbone
from vlmad_core.datasets import Dataset, load_dataset
from vlmad_core.datasets.splits import planned_images
from vlmad_core.datasets.views import View
from vlmad_core.engine.frozen import Backbones, asked_backbone, frozen, known_batch_size, known_or_settled_form
from vlmad_core.engine.options import SIZES, MethodChoice, PlanError, PlanOptions, own_options
from vlmad_core.engine.protocol import make_record
from vlmad_core.errors import MethodError
from vlmad_core.io import TEMPORARY_PREFIX
from vlmad_core.methods import Method, create_method
from vlmad_core.methods.trained import find_parameters, load_parameters
from vlmad_core.paths import parameter_folders
from vlmad_core.store import layout
from vlmad_core.store.schema import RunRecord


@dataclass(frozen=True)
class PlannedRun:
    """A run to be done.

    Attributes:
        record: As it will stand in the store; its plan is the frozen one if the run was started before.
        method: The method with its settings.
        dataset: The data set.
        backbone: The loaded backbone.
        parameters: Trained tensors, for methods that train.
    """

    record: RunRecord
    method: Method
    dataset: Dataset
    backbone: Backbone
    parameters: Mapping[str, Tensor] | None = None

    @property
    def transductive(self) -> bool:
        """Whether it must be given all test images at once."""
        return self.method.is_transductive(self.record.key.shots)

    @property
    def view(self) -> View:
        """How its photos are looked at."""
        return View.from_json(self.record.protocol.reading.get("view"))

    @property
    def title(self) -> str:
        """The method as it is shown, with its preset and number of references."""
        key = self.record.key
        name = self.record.title if key.preset == "canonical" else f"{self.record.title} ({key.preset})"
        return f"{name}, {key.shots} reference{'s' * (key.shots > 1)}" if key.shots else name

    def under(self, plan: Mapping[str, Any]) -> PlannedRun:
        """The same run with another plan in its record."""
        return dataclasses.replace(self, record=dataclasses.replace(self.record, plan=plan))

    @property
    def keeps_details(self) -> bool:
        """Whether grids, curves, regions and explanations are stored."""
        kept = self.record.plan["grids"]
        return kept == "all" or (kept == "first_seed" and self.record.key.seed == 0)


@dataclass(frozen=True, slots=True)
class NotApplicable:
    """A combination that makes no sense and is skipped.

    Attributes:
        what: The combination.
        reason: Why.
    """

    what: str
    reason: str


@dataclass(frozen=True)
class Plan:
    """All runs of a benchmark, in the order in which they are done.

    Attributes:
        options: What was asked.
        runs: The runs.
        not_applicable: What was left out because it makes no sense.
        notes: What the user should know before it starts.
    """

    options: PlanOptions
    runs: tuple[PlannedRun, ...]
    not_applicable: tuple[NotApplicable, ...]
    notes: tuple[str, ...]

    def groups(self) -> Iterator[tuple[str, tuple[PlannedRun, ...]]]:
        """Categories with the runs that can share passes over their images, in order."""
        shared: dict[tuple[object, ...], list[PlannedRun]] = {}
        for run in self.runs:
            plan = run.record.plan
            key = (run.dataset.name, id(run.backbone), plan["batch_size"], plan["threads"], plan.get("features"))
            shared.setdefault(key, []).append(run)
        for runs in shared.values():
            for category in planned_categories(runs[0].dataset, self.options):
                yield category, tuple(runs)


def build_plan(
    options: PlanOptions,
    *,
    command: str = "",
    backbones: Backbones | None = None,
    folders: Sequence[Path] | None = None,
    reader: Callable[[str], Dataset] = load_dataset,
) -> Plan:
    """Work out the runs of a benchmark.

    Args:
        options: What was asked.
        command: The command line, for the record.
        backbones: Backbones that other plans share; None for its own.
        folders: Where trained parameters are looked for; those of ``options.store`` if None.
        reader: Lists a data set by its name.

    Raises:
        VlmadError: If a data set, method or backbone can't be had; nothing has been written then.
    """
    methods = [(_method(choice), own_options(options, choice)) for choice in options.methods]
    datasets = [reader(source) for source in options.datasets]
    backbones = backbones or Backbones()
    skipped: dict[NotApplicable, None] = {}
    notes: list[str] = []
    runs: dict[str, PlannedRun] = {}
    bases: dict[str, Settled] = {}
    searched = parameter_folders([options.store]) if folders is None else folders
    for source, dataset in zip(options.datasets, datasets, strict=True):
        notes += _dataset_notes(dataset)
        planned_categories(dataset, options)
        for method, own in methods:
            settled = _backbone_for(method, own, dataset, backbones, skipped, notes)
            if settled is None:
                continue
            draws = list(_draws(method, own, skipped))
            try:
                parameters, trained = (
                    trained_parameters(method, settled.backbone.info, dataset, own, searched) if draws else (None, {})
                )
            except MethodError as error:
                if len(methods) == 1 or method.name in own.parameters:
                    raise
                skipped[NotApplicable(f"{method.id} on {dataset.name}", str(error))] = None
                continue
            for shots, seed in draws:
                record = make_record(own, source, dataset, method, settled, shots, seed, command, trained)
                record, note = frozen(own, record)
                notes += [note] if note else []
                backbone = backbones.for_plan(settled, record.plan)
                runs[record.id] = PlannedRun(record, method, dataset, backbone, parameters)
                bases[record.id] = settled
    batched = _batched(options.store, list(runs.values()), notes)
    formed = _formed(options, batched, bases, backbones, notes)
    return Plan(options, tuple(formed), tuple(skipped), tuple(dict.fromkeys(notes)))


def _method(choice: MethodChoice) -> Method:
    method = create_method(choice.id, **choice.settings)
    return method if choice.label is None else type(method)(method.settings, preset=choice.label)


def planned_categories(dataset: Dataset, options: PlanOptions) -> tuple[str, ...]:
    """The categories of a data set that were asked for.

    Raises:
        PlanError: If one is not there.
    """
    if options.categories is None:
        return dataset.categories
    unknown = sorted(set(options.categories) - set(dataset.categories))
    if unknown:
        raise PlanError(f"{dataset.name} has no category {unknown[0]!r}.", f"It has: {', '.join(dataset.categories)}.")
    return tuple(name for name in dataset.categories if name in options.categories)


def trained_parameters(
    method: Method, info: BackboneInfo, dataset: Dataset, options: PlanOptions, folders: Sequence[Path]
) -> tuple[dict[str, Tensor] | None, dict[str, Any]]:
    """The trained tensors a method is to use, and what is known of them; (None, {}) if it trains nothing.

    Raises:
        MethodError: If there are none for this backbone that were not trained on this data set.
    """
    if not method.capabilities.trained:
        return None, {}
    path = options.parameters.get(method.name)
    if path is None:
        path = find_parameters(method.name, info, dataset.official or dataset.name, folders)
    if path is None:
        raise MethodError(
            f"{method.name} has no trained parameters for {info.title} that were not trained on {dataset.name}.",
            f"Train some on another data set (python -m vlmad_core train {method.name} --data NAME --backbone "
            f"{info.id}), or name a file: --parameters {method.name}=FILE.",
        )
    tensors, record = load_parameters(path, method.name, info)
    known = {
        "file": path.name,
        "hash": hash_tensors(tensors),
        "training_data": None if record.training_data is None else list(record.training_data),
    }
    return tensors, known


def _backbone_for(
    method: Method,
    options: PlanOptions,
    dataset: Dataset,
    backbones: Backbones,
    skipped: dict[NotApplicable, None],
    notes: list[str],
) -> Settled | None:
    spec = asked_backbone(options)
    if method.own_backbone is not None:
        reason = method.why_not_here()
        if reason is not None and len(options.methods) > 1:
            skipped[NotApplicable(method.id, reason)] = None
            return None
        size = options.image_size if options.backbone in VISION_ONLY_NAMES else None
        spec = BackboneSpec(method.own_backbone, size, device=options.device)
    elif options.mode == "as_published":
        published = method.published
        if published is None:
            skipped[NotApplicable(method.id, f"{method.name} has no published setup.")] = None
            return None
        spec = dataclasses.replace(
            spec,
            name=options.backbone or published.backbone,
            image_size=published.image_size,
            activation=published.activation_for(options.backbone or published.backbone),
            position_rule=published.position_rule,
        )
    settled = backbones.settled(spec, dataset, options)
    if spec.activation is not None and options.mode == "as_published":
        notes.append(f"{method.id}: {spec.name} runs with {spec.activation}, as in its authors' code.")
    reason = method.why_not_on(settled.backbone.info)
    if reason is not None:
        skipped[NotApplicable(method.id, reason)] = None
        return None
    notes += [f"{settled.backbone.info.title}: {settled.text()}."] if settled.reasons else []
    return settled


def _batched(store: Path, runs: Sequence[PlannedRun], notes: list[str]) -> list[PlannedRun]:
    """The runs with a batch size; those of a backbone that have none yet get the same, so that they share passes."""
    together: dict[int, list[PlannedRun]] = {}
    for run in runs:
        if "batch_size" not in run.record.plan:
            together.setdefault(id(run.backbone), []).append(run)
    plans: dict[str, Mapping[str, Any]] = {}
    for group in together.values():
        backbone = group[0].backbone
        request = reduce(or_, (run.method.needs(backbone.info, run.record.key.shots) for run in group))
        known = known_batch_size(store, backbone, group[0].record.plan)
        size, reason = settle_batch_size(backbone, request, known)
        if reason is not None:
            notes.append(f"{backbone.info.title}: {size} images per pass ({reason}).")
        for run in group:
            said = run.record.plan.get("settled", {}) | ({"batch_size": reason} if reason is not None else {})
            plans[run.record.id] = {"batch_size": size, **run.record.plan, **({"settled": said} if said else {})}
    return [run.under(plans.get(run.record.id, run.record.plan)) for run in runs]


def _formed(
    options: PlanOptions,
    runs: Sequence[PlannedRun],
    bases: Mapping[str, Settled],
    backbones: Backbones,
    notes: list[str],
) -> list[PlannedRun]:
    """The runs; in the plans of those that have not begun stands the form of windows, where it was open."""
    together: dict[int, list[PlannedRun]] = {}
    for run in runs:
        if not (run.record.path / layout.RUN_FILE).is_file():
            together.setdefault(id(run.backbone), []).append(run)
    changed: dict[str, PlannedRun] = {}
    for group in together.values():
        backbone, plan = group[0].backbone, group[0].record.plan
        request = reduce(or_, (run.method.needs(backbone.info, run.record.key.shots) for run in group))
        datasets = {run.dataset.name: run.dataset for run in group}.values()
        images = sum(
            len(planned_images(dataset, category, SIZES[options.size]))
            for dataset in datasets
            for category in planned_categories(dataset, options)
        )
        form, reason = known_or_settled_form(options.store, backbone, plan, request, images)
        if reason is None:
            continue
        notes.append(f"{backbone.info.title}: the form of windows is {form} ({reason}).")
        for run in group:
            said = {**run.record.plan.get("settled", {}), "windows": reason}
            own = run.under({**run.record.plan, "windows": form, "settled": said})
            formed = backbones.for_plan(bases[run.record.id], own.record.plan)
            changed[run.record.id] = dataclasses.replace(own, backbone=formed)
    return [changed.get(run.record.id, run) for run in runs]


def _draws(method: Method, options: PlanOptions, skipped: dict[NotApplicable, None]) -> Iterator[tuple[int, int]]:
    for shots in dict.fromkeys(options.shots):
        reason = method.why_not_applicable(shots)
        if reason is not None:
            skipped[NotApplicable(f"{method.id} with {shots} shots", reason)] = None
            continue
        for seed in range(options.seeds if shots else 1):
            yield shots, seed


def _dataset_notes(dataset: Dataset) -> list[str]:
    notes = [f"{dataset.name}: {note}" for note in dataset.notes]
    shown = 3
    notes += [f"{dataset.name}: {problem.message}" for problem in dataset.problems[:shown]]
    if len(dataset.problems) > shown:
        notes.append(f"{dataset.name}: {len(dataset.problems) - shown} further problems; see 'datasets check'.")
    for category in dataset.categories:
        if not dataset.select(category, "test"):
            notes.append(f"{dataset.name}: {category} has no test images and is left out.")
    return notes


def store_path(path: Path) -> Path:
    """The results folder, made if it isn't there.

    Raises:
        PlanError: If it can't be made or written to.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        # A name of its own: two processes that start at once must not remove each other's probe.
        with tempfile.TemporaryFile(prefix=TEMPORARY_PREFIX, dir=path):
            pass
    except OSError as error:
        raise PlanError(f"{path} can't be written to: {error}.", "Choose another folder with --store.") from error
    return path
