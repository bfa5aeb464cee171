"""What a run freezes before its first unit, and the backbones that follow from it.

Batch size, threads, device and precision stand in a run's plan as they were when it was first started, those that were
left to the machine with their reasons. Whoever goes on with the run, or starts others beside it, uses the same,
whatever would be measured now: so a resumed run equals an undisturbed one bit for bit.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from vlmad_core.backbones import BackboneInfo, ClipBackbone, FeatureRequest
from vlmad_core.backbones.arithmetic import using_threads
from vlmad_core.backbones.devices import wait
from vlmad_core.backbones.info import PRECISIONS, Precision
from vlmad_core.backbones.loading import BackboneSpec, Loader
from vlmad_core.backbones.settling import CALIBRATION_IMAGES, Settled, made_up_images, settle
from vlmad_core.backbones.tower import Backbone
from vlmad_core.backbones.vision import DEFAULT_TOKEN_BUDGET, WindowForm
from vlmad_core.backbones.windows import always_plain, settle_form
from vlmad_core.datasets import Dataset
from vlmad_core.datasets.images import read_image
from vlmad_core.engine.options import PlanOptions
from vlmad_core.engine.protocol import backbone_record
from vlmad_core.errors import BackboneError, StoreError, VlmadError
from vlmad_core.libraries import torch
from vlmad_core.store import layout
from vlmad_core.store.schema import DESCRIPTIVE, RunRecord


def asked_backbone(options: PlanOptions) -> BackboneSpec:
    """The backbone that all methods of a plan share, as it was asked for."""
    return BackboneSpec(
        options.backbone or "bundled",
        options.image_size,
        options.activation,
        precision=options.precision,
        tokenizer=options.tokenizer,
        device=options.device,
    )


class Backbones:
    """Backbones of one or several plans: each is loaded once, and what is left to the machine is settled once."""

    def __init__(self, load: Loader = BackboneSpec.load) -> None:
        """Begin; nothing is loaded yet.

        Args:
            load: Loads a backbone.
        """
        self._load = load
        self._settled: dict[BackboneSpec, Settled] = {}
        self._placed: dict[BackboneSpec, Backbone] = {}
        self._bounded: dict[tuple[int, int, str], Backbone] = {}

    def settled(self, asked: BackboneSpec, dataset: Dataset, options: PlanOptions) -> Settled:
        """A backbone with what was left to the machine settled: as the store's runs have it, else by measurement.

        Args:
            asked: The backbone.
            dataset: Where images to calibrate with come from.
            options: The plan; its store is looked at, and its number of threads is used.

        Raises:
            BackboneError: If it can't be had, or the device is not there.
        """

        def before(info: BackboneInfo, device: str) -> tuple[Precision, str] | None:
            for plan in earlier_plans(options.store, info, device):
                reason = plan.get("settled", {}).get("precision")
                if reason is not None and plan.get("precision") in PRECISIONS:
                    return plan["precision"], reason
            return None

        if asked not in self._settled:
            with using_threads(options.threads):
                self._settled[asked] = settle(asked, self._load, lambda: calibration_images(dataset), before)
        return self._settled[asked]

    def for_plan(self, settled: Settled, plan: Mapping[str, Any]) -> Backbone:
        """The backbone on the device, with the bound on memory and the form of windows that a run's plan names.

        It is the same object for the same plan, so that runs share passes. Where the device is not here, it is the
        backbone as it was settled, with which the run can be shown, but not go on.
        """
        backbone, device = settled.backbone, plan.get("device")
        if device not in (None, backbone.device.type):
            spec = dataclasses.replace(settled.spec, device=device)
            with contextlib.suppress(BackboneError):
                if spec not in self._placed:
                    self._placed[spec] = self._load(spec)
                backbone = self._placed[spec]
        tokens, form = int(plan.get("window_tokens", DEFAULT_TOKEN_BUDGET)), plan.get("windows", "plain")
        if not isinstance(backbone, ClipBackbone) or (backbone.token_budget, backbone.window_form) == (tokens, form):
            return backbone
        key = id(backbone), tokens, form
        if key not in self._bounded:
            self._bounded[key] = dataclasses.replace(backbone, token_budget=tokens, window_form=form)
        return self._bounded[key]


def calibration_images(dataset: Dataset) -> Sequence[Image.Image]:
    """Some test images of a data set's first category, evenly; made-up ones where none can be read."""
    samples = dataset.select(dataset.categories[0], "test") if dataset.categories else ()
    images = []
    for sample in samples[:: max(1, len(samples) // CALIBRATION_IMAGES)][:CALIBRATION_IMAGES]:
        with contextlib.suppress(VlmadError):
            images.append(read_image(sample.image_path))
    return images or made_up_images()


def earlier_plans(store: Path, info: BackboneInfo, device: str) -> list[Mapping[str, Any]]:
    """Plans of the runs that a store has of a backbone on a type of device, in whatever precision, oldest first."""
    here = {name: fact for name, fact in backbone_record(info).items() if name not in {*DESCRIPTIVE, "precision"}}
    found: list[RunRecord] = []
    for file in store.glob(f"*/*/{layout.RUN_FILE}"):
        with contextlib.suppress(StoreError):  # what is damaged is said when the store is read
            record = layout.read_run(file.parent)
            there = {name: record.protocol.backbone.get(name) for name in here}
            if record.plan.get("device") == device and there == here:
                found.append(record)
    return [record.plan for record in sorted(found, key=lambda record: (record.provenance.started_at, record.id))]


def known_batch_size(store: Path, backbone: Backbone, plan: Mapping[str, Any]) -> tuple[int, str] | None:
    """The batch size that was settled for a store's runs of a backbone under a plan's conditions, and why, if any."""
    alike = ("precision", "window_tokens")
    for earlier in earlier_plans(store, backbone.info, backbone.device.type):
        if "batch_size" in earlier.get("settled", {}) and all(earlier.get(name) == plan.get(name) for name in alike):
            return int(earlier["batch_size"]), earlier["settled"]["batch_size"]
    return None


def known_or_settled_form(
    store: Path, backbone: Backbone, plan: Mapping[str, Any], request: FeatureRequest, images: int
) -> tuple[WindowForm, str | None]:
    """The form in which windows are computed and why: as the store's runs have it, else by measurement.

    Args:
        store: The store.
        backbone: The backbone.
        plan: Of a run that has not begun; its batch size is settled.
        request: What all methods read.
        images: How many are ahead.
    """
    windows = FeatureRequest(windows=request.windows)
    if not isinstance(backbone, ClipBackbone) or not windows.names():
        return "plain", None
    info, device = backbone.info, backbone.device
    if always_plain(device, info.precision):
        return "plain", None
    for earlier in earlier_plans(store, info, device.type):
        if "windows" in earlier and earlier.get("precision") == plan["precision"]:
            return earlier["windows"], earlier["settled"]["windows"]
    pixels = torch.zeros(plan["batch_size"], 3, info.image_size, info.image_size)

    def encode(form: WindowForm) -> None:
        dataclasses.replace(backbone, window_form=form).encode_images(pixels, windows)
        wait(device)

    with using_threads(plan["threads"]):
        return settle_form(encode, device, info.precision, images / plan["batch_size"])


def frozen(options: PlanOptions, record: RunRecord) -> tuple[RunRecord, str | None]:
    """The record with the plan under which the run was first started, and what to say if it is another."""
    file = record.path / layout.RUN_FILE
    if not file.is_file():
        return record, None
    try:
        plan = layout.read_run(record.path).plan
    except StoreError:
        return record, None  # start_run says what is wrong with it, at that run
    asked: dict[str, Any] = {name: getattr(options, name) for name in ("batch_size", "threads", "window_tokens")}
    kept = {"window_tokens": DEFAULT_TOKEN_BUDGET, **plan}
    other = {name: kept[name] for name, value in asked.items() if value is not None and value != kept[name]}
    if plan.get("device", record.plan["device"]) != record.plan["device"]:
        other["device"] = plan["device"]
    if record.plan.get("features") != plan.get("features"):
        other["features"] = plan.get("features") or "passed in batches, without a cache"
    note = None
    if other:
        before = ", ".join(f"{name} {value}" for name, value in other.items())
        note = f"{record.id} goes on as it was started: {before}."
    return dataclasses.replace(record, plan=plan), note
