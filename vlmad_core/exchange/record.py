"""What is recorded of an imported run."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from vlmad_core.datasets.fingerprint import file_hash, listing_hash
from vlmad_core.datasets.images import reading_protocol
from vlmad_core.datasets.sample import Dataset
from vlmad_core.engine.protocol import MASK_RULE, data_record, evaluation_record
from vlmad_core.engine.provenance import code_version, package_versions
from vlmad_core.errors import StoreError
from vlmad_core.store import layout
from vlmad_core.store.schema import Protocol, Provenance, RunKey, RunRecord, canonical_json
from vlmad_core.store.writer import now

ScoreRule = Literal["max", "mean_top_1_percent"]


@dataclass(frozen=True)
class Imported:
    """What was found to import, and what it is to be called.

    Attributes:
        source: Where it was found, as the user wrote it.
        origin: The program it comes from, in the user's words.
        method: Identifier of the method.
        title: How it is shown, without the mark that it was imported.
        preset: Name of the preset; tells several imports of one method apart.
        shots: Normal reference images.
        seed: Seed of their draw.
        backbone: Name of the backbone, in the user's words.
        scores: Image scores by image id; empty where they follow from the maps.
        maps: Map files by image id; empty where only scores are there.
        categories: The categories imported.
        score_rule: How an image score follows from a map where none is given.
        like: A run whose conditions were declared to hold for this import too; None if they are unknown.
        files: The files that were read, for the record of their content.
    """

    source: str
    origin: str
    method: str
    title: str
    preset: str
    shots: int
    seed: int
    backbone: str
    scores: Mapping[str, float]
    maps: Mapping[str, Path]
    categories: Sequence[str]
    score_rule: ScoreRule = "max"
    like: RunRecord | None = None
    files: Sequence[Path] = field(default_factory=tuple)


def imported_record(store: Path, dataset: Dataset, found: Imported, sizes: Sequence[int], command: str) -> RunRecord:
    """The record of an imported run: what is known of its protocol, and that it was imported from where.

    Args:
        store: Root of the store it will stand in.
        dataset: The data set.
        found: What is imported.
        sizes: Sides of the maps at which pixel metrics are computed, the last the maps' own.
        command: The command line.

    Raises:
        StoreError: If conditions were declared that can't hold.
    """
    key = RunKey(dataset.name, found.method, found.preset, found.shots, found.seed, found.backbone)
    given = "given" if found.scores else found.score_rule
    method: dict[str, Any] = {
        "name": found.method,
        "preset": found.preset,
        "settings": {"image_score": given},
        "imported": {"origin": found.origin, "content": _content_hash(found)},
    }
    listing = listing_hash(dataset.samples)
    if found.like is not None:
        protocol = _like(found.like, method, listing)
    else:
        protocol = Protocol(
            mode="as_published",
            backbone={
                "id": found.backbone,
                "title": f"{found.backbone} ({found.origin})",
                "imported_from": found.origin,
                "named": found.backbone,
            },
            method=method,
            data={"dataset": dataset.name, "listing": listing, "size": "full", "per_label": None},
            reading={
                "image": reading_protocol(),
                "input": f"by {found.origin}; not known here",
                "mask": MASK_RULE,
            },
            evaluation=evaluation_record(sizes[-1]),
        )
    provenance = Provenance(
        code_version=code_version(),
        packages=package_versions(),
        hardware={"processor": "unknown (imported)", "machine": platform.machine(), "id": "imported"},
        parameters=None,
        data=data_record(str(dataset.root), dataset, {})
        | {
            "imported": {
                "origin": found.origin,
                "from": found.source,
                "at": now(),
                "conditions_declared_as": found.like.id if found.like else None,
            },
        },
        command=command,
        started_at=now(),
    )
    identifier = layout.run_id(key, protocol.hash)
    plan = {"grids": "all" if found.maps else "none", "replicates": True, "imported": True}
    path = layout.run_folder(store, identifier)
    return RunRecord(identifier, key, f"{found.title} (imported)", protocol, provenance, plan, path)


def _like(run: RunRecord, method: Mapping[str, Any], listing: str) -> Protocol:
    """The conditions of another run, with this method."""
    if run.protocol.data.get("listing") != listing:
        raise StoreError(
            f"{run.id} was measured on other images than these; its conditions can't hold here.",
            "Leave --conditions-of out, or give the data set it was measured on.",
        )
    if run.protocol.data.get("size") != "full":
        raise StoreError(
            f"{run.id} was measured on a sample of the images ({run.protocol.data.get('size')}).",
            "Leave --conditions-of out.",
        )
    own = run.protocol
    made_here = evaluation_record(int(own.evaluation["native_size"]))
    evaluation = {**own.evaluation, "bootstrap": made_here["bootstrap"]}
    return Protocol(own.mode, own.backbone, method, own.data, own.reading, evaluation)


def _content_hash(found: Imported) -> str:
    """Sixteen hex digits over what is imported, so that two imports are two runs."""
    known = {path.name: file_hash(path) for path in found.files}
    maps = {image_id: file_hash(path) for image_id, path in found.maps.items()}
    text = canonical_json({"files": known, "maps": maps, "categories": sorted(found.categories)})
    return hashlib.sha256(text.encode()).hexdigest()[:16]
