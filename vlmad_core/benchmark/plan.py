"""From what was asked to the runs that answer it, each with its protocol; nothing is computed here."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from PIL import Image
from torch import Tensor

from vlmad_core.backbones import BackboneInfo, FeatureRequest, Features, load_backbone
from vlmad_core.backbones.info import PositionRule, Precision
from vlmad_core.backbones.tower import TextTower
from vlmad_core.benchmark.options import SIZES, PlanError, PlanOptions
from vlmad_core.benchmark.provenance import code_version, hardware, package_versions
from vlmad_core.benchmark.published import PUBLISHED
from vlmad_core.datasets import Dataset, Sample, load_dataset
from vlmad_core.datasets.images import reading_protocol
from vlmad_core.errors import DatasetError
from vlmad_core.methods import Method, create_method
from vlmad_core.metrics import METRICS
from vlmad_core.metrics.pixel_bootstrap import PIXEL_RESAMPLES
from vlmad_core.metrics.uncertainty import IMAGE_RESAMPLES, LEVEL
from vlmad_core.results import layout
from vlmad_core.results.schema import Protocol as RunProtocol
from vlmad_core.results.schema import Provenance, RunKey, RunRecord, short_hash
from vlmad_core.results.writer import now

MAP_SIZE = 256
"""Side of the maps on which pixel metrics are compared across methods, in pixels."""

ACTIVATION_BUDGET = 192 * 2**20
"""Bytes of activations of one block that a batch may take; decides the batch size."""

MAX_BATCH = 32


class Backbone(TextTower, Protocol):
    """What the benchmark asks of a backbone; a ``ClipBackbone`` is one."""

    @property
    def preprocess(self) -> Callable[[Image.Image], Tensor]:
        """From a Pillow image to [3, S, S]."""

    def encode_images(self, pixel_values: Tensor, request: FeatureRequest) -> Features:
        """One pass for everything the request names."""


@dataclass(frozen=True)
class BackboneSpec:
    """How a backbone is to be loaded.

    Attributes:
        name: ``bundled``, a folder, or a hub id.
        image_size: Side of the input; None for its own.
        activation: Overrides the checkpoint's; None to keep it.
        position_rule: How the position table is resampled; None for the default.
        precision: Arithmetic of the towers.
        tokenizer: For checkpoints that bring none; None for the default.
    """

    name: str
    image_size: int | None = None
    activation: Literal["gelu", "quick_gelu"] | None = None
    position_rule: PositionRule | None = None
    precision: Precision = "float32"
    tokenizer: str | None = None

    def load(self) -> Backbone:
        """Load it.

        Raises:
            BackboneError: If it can't be found, fetched or read.
        """
        more: dict[str, Any] = {}
        if self.position_rule is not None and self.position_rule != "native":
            more["position_rule"] = self.position_rule
        if self.tokenizer is not None:
            more["tokenizer"] = self.tokenizer
        return load_backbone(
            self.name, image_size=self.image_size, activation=self.activation, precision=self.precision, **more
        )


Loader = Callable[[BackboneSpec], Backbone]


@dataclass(frozen=True)
class PlannedRun:
    """A run to be done.

    Attributes:
        record: As it will stand in the store; its plan is the frozen one if the run was started before.
        method: The method with its settings.
        dataset: The data set.
        backbone: The loaded backbone.
    """

    record: RunRecord
    method: Method
    dataset: Dataset
    backbone: Backbone

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
            key = (run.dataset.name, id(run.backbone), plan["batch_size"], plan["threads"])
            shared.setdefault(key, []).append(run)
        for runs in shared.values():
            for category in planned_categories(runs[0].dataset, self.options):
                yield category, tuple(runs)


def build_plan(options: PlanOptions, *, command: str = "", loader: Loader = BackboneSpec.load) -> Plan:
    """Work out the runs of a benchmark.

    Raises:
        VlmadError: If a data set, method or backbone can't be had; nothing has been written then.
    """
    methods = [create_method(choice.id, **choice.settings) for choice in options.methods]
    datasets = [load_dataset(source) for source in options.datasets]
    loaded: dict[BackboneSpec, Backbone] = {}
    skipped: dict[NotApplicable, None] = {}
    notes: list[str] = []
    runs: dict[str, PlannedRun] = {}
    for source, dataset in zip(options.datasets, datasets, strict=True):
        notes += _dataset_notes(dataset)
        planned_categories(dataset, options)
        for method in methods:
            backbone = _backbone_for(method, options, loaded, loader, skipped)
            if backbone is None:
                continue
            for shots, seed in _draws(method, options, skipped):
                record = _record(options, source, dataset, method, backbone.info, shots, seed, command)
                record, note = _frozen(options, record)
                notes += [note] if note else []
                runs[record.id] = PlannedRun(record, method, dataset, backbone)
    return Plan(options, tuple(runs.values()), tuple(skipped), tuple(dict.fromkeys(notes)))


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


def planned_images(dataset: Dataset, category: str, size: str) -> tuple[Sample, ...]:
    """The test images of a category that a size of benchmark uses, sorted by id.

    Reduced sizes take images evenly over the sorted normal and over the sorted defective ones, so that all
    defect types are met.
    """
    limit = SIZES[size]  # type: ignore[index]
    samples = dataset.select(category, "test")
    if limit is None:
        return samples
    chosen: set[str] = set()
    for label in (0, 1):
        ids = [sample.id for sample in samples if sample.label == label]
        count = min(limit, len(ids))
        chosen |= {ids[i * len(ids) // count] for i in range(count)}
    return tuple(sample for sample in samples if sample.id in chosen)


def evaluation_sizes(info: BackboneInfo) -> tuple[int, ...]:
    """Sides of the maps on which pixel metrics are computed: the common one, and the backbone's own."""
    return tuple(dict.fromkeys((MAP_SIZE, info.image_size)))


def default_batch_size(info: BackboneInfo) -> int:
    """Images per pass whose activations stay within bounds; depends on nothing but the backbone."""
    tokens = 1 + info.grid[0] * info.grid[1]
    per_image = tokens * info.width * 4 * 8  # residual stream, attention and the four times wider hidden layer
    return max(1, min(MAX_BATCH, ACTIVATION_BUDGET // per_image))


def _backbone_for(
    method: Method,
    options: PlanOptions,
    loaded: dict[BackboneSpec, Backbone],
    loader: Loader,
    skipped: dict[NotApplicable, None],
) -> Backbone | None:
    common = {"precision": options.precision, "tokenizer": options.tokenizer}
    spec = BackboneSpec(options.backbone, options.image_size, options.activation, None, **common)  # type: ignore[arg-type]
    published = PUBLISHED.get(method.name) if options.mode == "as_published" else None
    if options.mode == "as_published":
        if published is None:
            skipped[NotApplicable(method.id, f"no published backbone is known for {method.name}.")] = None
            return None
        size, rule = published.image_size, published.position_rule
        spec = BackboneSpec(options.backbone, size, published.activation, rule, **common)  # type: ignore[arg-type]
    if spec not in loaded:
        if published is not None:
            plain = dataclasses.replace(spec, image_size=None, activation=None, position_rule=None)
            loaded[plain] = loaded.get(plain) or loader(plain)
            wrong = published.mismatch(loaded[plain].info)
            if wrong is not None:
                skipped[NotApplicable(f"{method.id} as published", f"{wrong}.")] = None
                return None
        loaded[spec] = loader(spec)
    return loaded[spec]


def _draws(method: Method, options: PlanOptions, skipped: dict[NotApplicable, None]) -> Iterator[tuple[int, int]]:
    for shots in dict.fromkeys(options.shots):
        reason = method.why_not_applicable(shots)
        if reason is not None:
            skipped[NotApplicable(f"{method.id} with {shots} shots", reason)] = None
            continue
        for seed in range(options.seeds if shots else 1):
            yield shots, seed


def _record(
    options: PlanOptions,
    source: str,
    dataset: Dataset,
    method: Method,
    info: BackboneInfo,
    shots: int,
    seed: int,
    command: str,
) -> RunRecord:
    key = RunKey(dataset.name, method.name, method.preset, shots, seed, info.id)
    protocol = RunProtocol(
        mode=options.mode,
        backbone=_plain(info.to_json()),
        method=_plain(
            {
                "name": method.name,
                "preset": method.preset,
                "settings": method.settings.to_json(),
                "prompts": dict(method.prompt_record()),
                "transductive": method.capabilities.transductive,
            }
        ),
        data={
            "dataset": dataset.name,
            "listing": listing_hash(dataset.samples),
            "size": options.size,
            "per_label": SIZES[options.size],
        },
        reading={
            "image": _plain(reading_protocol()),
            "input": "square, Pillow bicubic on 8-bit RGB, aspect ratio not kept, no crop",
            "mask": "defective where any stored value is above zero; then bilinear to the map's size, above one half",
        },
        evaluation={
            "map_size": MAP_SIZE,
            "native_size": info.image_size,
            "metrics": {name: short_hash(spec.definition) for name, spec in METRICS.items()},
            "bootstrap": {
                "over": "images, stratified by label",
                "image_resamples": IMAGE_RESAMPLES,
                "pixel_resamples": PIXEL_RESAMPLES,
                "level": LEVEL,
                "seed": 0,
            },
        },
    )
    provenance = Provenance(
        code_version=code_version(),
        packages=package_versions(),
        hardware=hardware(),
        parameters=info.parameters,
        data={
            "source": source,
            "layout": dataset.layout,
            "official": dataset.official,
            "licence": dataset.licence,
            "redistributable": dataset.redistributable,
            "synthetic": dataset.synthetic,
            "reserved": sorted(dataset.reserved),
            "notes": list(dataset.notes),
            "problems": len(dataset.problems),
        },
        command=command,
        started_at=now(),
    )
    plan = {
        "batch_size": options.batch_size or default_batch_size(info),
        "threads": options.threads or torch.get_num_threads(),
        "precision": options.precision,
        "grids": options.grids,
    }
    identifier = layout.run_id(key, protocol.hash)
    path = layout.run_folder(options.store, identifier)
    return RunRecord(identifier, key, method.title(shots), protocol, provenance, plan, path)


def listing_hash(samples: Sequence[Sample]) -> str:
    """Sixteen hex digits over which images there are and what is said of them, not over their content."""
    lines = [f"{s.id}\0{s.category}\0{s.split}\0{s.label}\0{s.mask_path is not None}" for s in samples]
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()[:16]


def _frozen(options: PlanOptions, record: RunRecord) -> tuple[RunRecord, str | None]:
    """The record with the plan under which the run was first started, and what to say if it is another."""
    file = record.path / layout.RUN_FILE
    if not file.is_file():
        return record, None
    try:
        plan = RunRecord.from_json(json.loads(file.read_text(encoding="utf-8")), record.path).plan
    except ValueError:
        return record, None  # start_run says what is wrong with it, at that run
    asked = {"batch_size": options.batch_size, "threads": options.threads}
    other = {name: plan[name] for name, value in asked.items() if value is not None and value != plan[name]}
    note = None
    if other:
        kept = ", ".join(f"{name} {value}" for name, value in other.items())
        note = f"{record.id} goes on as it was started: {kept}."
    return dataclasses.replace(record, plan=plan), note


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


def _plain(value: Mapping[str, Any]) -> dict[str, Any]:
    """The same in json's own types (tuples become lists), so that what is hashed is what is stored."""
    plain: dict[str, Any] = json.loads(json.dumps(value, default=_listed))
    return plain


def _listed(value: object) -> list[Any]:
    if isinstance(value, set | frozenset):
        return sorted(value)
    raise DatasetError(f"{value!r} can't be recorded in a protocol.", "Use plain values in settings.")


def store_path(path: Path) -> Path:
    """The results folder, made if it isn't there.

    Raises:
        PlanError: If it can't be made or written to.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / f"{layout.TEMPORARY_PREFIX}probe"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise PlanError(f"{path} can't be written to: {error}.", "Choose another folder with --store.") from error
    return path
