"""The record of a run: every choice that moves a number goes into its protocol, and so into its hash."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch

from vlmad_core.backbones import BackboneInfo
from vlmad_core.backbones.settling import Settled
from vlmad_core.backbones.vision import DEFAULT_TOKEN_BUDGET
from vlmad_core.datasets import Dataset
from vlmad_core.datasets.fingerprint import listing_hash, listing_record
from vlmad_core.datasets.images import reading_protocol
from vlmad_core.datasets.views import WHOLE_PHOTO, View, ViewError
from vlmad_core.engine.options import SIZES, PlanError, PlanOptions
from vlmad_core.engine.provenance import code_version, hardware, package_versions
from vlmad_core.methods import Method
from vlmad_core.metrics import METRICS
from vlmad_core.metrics.resampling import IMAGE_RESAMPLES, PIXEL_RESAMPLES
from vlmad_core.metrics.uncertainty import INTERVAL_FORM, LEVEL
from vlmad_core.store import layout
from vlmad_core.store.schema import Protocol, Provenance, RunKey, RunRecord, short_hash
from vlmad_core.store.writer import now

MAP_SIZE = 256
"""Side of the maps on which pixel metrics are compared across methods, in pixels."""

MASK_RULE = "defective where any stored value is above zero; then bilinear to the map's size, above one half"
"""How masks are read, as the protocol says it."""


def moving_choices(options: PlanOptions) -> dict[str, str]:
    """What moves numbers between backbone and methods, where it is not as usual: a cache, quicker similarities."""
    stored = {"feature_storage": "half"} if options.cache and options.cache_storage == "half" else {}
    return stored if options.similarities == "float32" else {**stored, "similarities": options.similarities}


def planned_view(options: PlanOptions) -> View:
    """How photos are to be looked at.

    Raises:
        ViewError: If that is not possible.
    """
    region, tiles = options.region or WHOLE_PHOTO, options.tiles or (1, 1)
    if len(region) != 4 or len(tiles) != 2:
        raise ViewError(
            f"A region of {len(region)} and tiles of {len(tiles)} numbers were asked for.",
            "Write e.g. --region 0.1 0.1 0.9 0.9 and --tiles 3 2: left, top, right, bottom; columns, rows.",
        )
    left, top, right, bottom = region
    columns, rows = tiles
    return View((left, top, right, bottom), (columns, rows), options.tile_overlap)


def evaluation_sizes(info: BackboneInfo) -> tuple[int, ...]:
    """Sides of the maps on which pixel metrics are computed: the common one, and the backbone's own."""
    return tuple(dict.fromkeys((MAP_SIZE, info.image_size)))


def make_record(
    options: PlanOptions,
    source: str,
    dataset: Dataset,
    method: Method,
    settled: Settled,
    shots: int,
    seed: int,
    command: str,
    trained: Mapping[str, Any],
) -> RunRecord:
    """A run with every choice that moves one of its numbers, and where it comes from.

    Its plan has no batch size where that is left to the machine.

    Args:
        options: What was asked.
        source: The data set as it was named.
        dataset: The data set.
        method: The method with its settings.
        settled: The loaded backbone, with what was left to the machine.
        shots: Number of references.
        seed: Seed of their draw.
        command: The command that asked for it.
        trained: What is known of trained parameters; empty without any.

    Raises:
        StoreError: If the store can't hold a data set of that name.
    """
    info, device = settled.backbone.info, settled.backbone.device
    key = RunKey(dataset.name, method.name, method.preset, shots, seed, info.id)
    protocol = Protocol(
        mode=options.mode,
        backbone={**backbone_record(info), **moving_choices(options)},
        method=method_record(method, shots, trained.get("hash")),
        data={
            "dataset": dataset.name,
            "listing": listing_hash(dataset.samples),
            "size": options.size,
            "per_label": SIZES[options.size],
        },
        reading=reading_record(planned_view(options)),
        evaluation=evaluation_record(info.image_size),
    )
    provenance = Provenance(
        code_version=code_version(),
        packages=package_versions(),
        hardware=hardware(str(device)),
        parameters=info.parameters,
        data=data_record(source, dataset, trained) | {"category_kinds": dict(dataset.category_kinds)},
        command=command,
        started_at=now(),
    )
    plan = {
        **({"batch_size": options.batch_size} if options.batch_size else {}),
        "threads": options.threads or torch.get_num_threads(),
        "precision": info.precision,
        "device": device.type,
        **({"settled": dict(settled.reasons)} if settled.reasons else {}),
        "grids": options.grids,
        "replicates": options.replicates is not False,
        "window_tokens": options.window_tokens or DEFAULT_TOKEN_BUDGET,
        **({"features": options.cache_storage} if options.cache else {}),
        **({"similarities": options.similarities} if options.similarities != "float32" else {}),
    }
    identifier = layout.run_id(key, protocol.hash)
    path = layout.run_folder(options.store, identifier)
    return RunRecord(identifier, key, method.title(shots), protocol, provenance, plan, path)


def backbone_record(info: BackboneInfo) -> dict[str, Any]:
    """What a protocol says of the backbone, where its features are used as they come."""
    return _plain(info.to_json())


def method_record(method: Method, shots: int, parameters: str | None) -> dict[str, Any]:
    """What a protocol says of the method.

    Args:
        method: The method with its settings.
        shots: Number of references.
        parameters: Hash of its trained parameters; None without any.
    """
    return _plain(
        {
            "name": method.name,
            "preset": method.preset,
            "settings": method.settings.to_json(),
            "prompts": dict(method.prompt_record()),
            "transductive": method.is_transductive(shots),
            "parameters": parameters,
        }
    )


def reading_record(view: View) -> dict[str, Any]:
    """What a protocol says of how images and masks become arrays; of the view only where it is not the plain one."""
    return {
        "image": _plain(reading_protocol()),
        "input": "square, Pillow bicubic on 8-bit RGB, aspect ratio not kept, no crop",
        "mask": MASK_RULE,
        **({} if view.plain else {"view": view.to_json()}),
    }


def evaluation_record(native_size: int) -> dict[str, Any]:
    """What a protocol says of the evaluation: sizes of maps, the metrics' definitions, the bootstrap.

    Args:
        native_size: Side of the maps at their own size, in pixels.
    """
    return {
        "map_size": MAP_SIZE,
        "native_size": native_size,
        "metrics": {name: short_hash(spec.definition) for name, spec in METRICS.items()},
        "bootstrap": {
            "over": "images, stratified by label",
            "image_resamples": IMAGE_RESAMPLES,
            "pixel_resamples": PIXEL_RESAMPLES,
            "interval": INTERVAL_FORM,
            "level": LEVEL,
            "seed": 0,
        },
    }


def data_record(source: str, dataset: Dataset, trained: Mapping[str, Any]) -> dict[str, Any]:
    """What provenance says of the data.

    Args:
        source: The data set as it was named.
        dataset: The data set.
        trained: What is known of trained parameters and what they were trained on; empty without any.
    """
    return {
        "source": source,
        "fingerprint": listing_record(dataset.samples),
        "layout": dataset.layout,
        "official": dataset.official,
        "licence": dataset.licence,
        "redistributable": dataset.redistributable,
        "synthetic": dataset.synthetic,
        "reserved": sorted(dataset.reserved),
        "notes": list(dataset.notes),
        "problems": len(dataset.problems),
        "trained": dict(trained),
    }


def _plain(value: Mapping[str, Any]) -> dict[str, Any]:
    """The same in json's own types (tuples become lists), so that what is hashed is what is stored."""
    plain: dict[str, Any] = json.loads(json.dumps(value, default=_listed))
    return plain


def _listed(value: object) -> list[Any]:
    if isinstance(value, set | frozenset):
        return sorted(value)
    raise PlanError(f"{value!r} can't be recorded in a protocol.", "Use plain values in settings.")
