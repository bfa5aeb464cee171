"""What the results store holds, as data: records of runs and units, and the columns of each table.

The schema has a version. A reader refuses what a newer version wrote, run by run, and reads the rest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from vlmad_core.datasets.fingerprint import Fingerprint
from vlmad_core.errors import StoreError

SCHEMA_VERSION = 1

DESCRIPTIVE = frozenset({"id", "title", "source", "parameters", "training_data", "demonstration"})
"""What is recorded of a backbone for the reader's sake and moves no number."""

UnitStatus = Literal["complete", "partial"]


def canonical_json(value: object) -> str:
    """Json text that is the same for equal values: sorted keys, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def short_hash(value: object, digits: int = 8) -> str:
    """The first hex digits of the SHA-256 of a json value."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:digits]


@dataclass(frozen=True, slots=True)
class RunKey:
    """What a run is of.

    Attributes:
        dataset: Name of the data set.
        method: Name of the method, e.g. ``winclip``.
        preset: Name of its preset, e.g. ``canonical``.
        shots: Number of normal reference images per category.
        seed: Seed of their draw; 0 where nothing is drawn.
        backbone: Identifier of the backbone, e.g. ``bundled``.
    """

    dataset: str
    method: str
    preset: str
    shots: int
    seed: int
    backbone: str


@dataclass(frozen=True)
class Protocol:
    """Every choice that moves a number, as plain json values.

    Attributes:
        mode: ``matched`` or ``as_published``.
        backbone: Weights hash, activation, input size, position rule, precision, shape.
        method: Name, preset, settings, hashes of prompts and trained parameters.
        data: Data set, the list of its samples as a hash, and how much of it is used.
        reading: How images and masks become arrays.
        evaluation: Map sizes, metrics and their definitions, bootstrap.
    """

    mode: str
    backbone: Mapping[str, Any]
    method: Mapping[str, Any]
    data: Mapping[str, Any]
    reading: Mapping[str, Any]
    evaluation: Mapping[str, Any]

    @cached_property
    def hash(self) -> str:
        """Eight hex digits over all that moves a number; part of the run's folder name."""
        return short_hash(self._choices())

    @cached_property
    def conditions(self) -> str:
        """Eight hex digits over all but the method; only runs where they are equal may be ranked together."""
        return short_hash({key: value for key, value in self._choices().items() if key != "method"})

    def _choices(self) -> dict[str, Any]:
        backbone = {key: value for key, value in self.backbone.items() if key not in DESCRIPTIVE}
        return {**asdict(self), "backbone": backbone}


@dataclass(frozen=True)
class Provenance:
    """Where a run came from: what explains a number but is not meant to change it.

    Attributes:
        code_version: Version of this program, with the git commit where it is known.
        packages: Versions of the packages that compute.
        hardware: Processor, cores, memory, and a short hash that identifies the kind of machine.
        parameters: Number of weights of the backbone.
        data: Name, root, licence and origin of the images.
        command: The command that started the run.
        started_at: When it was first started, ISO 8601, UTC.
    """

    code_version: str
    packages: Mapping[str, str]
    hardware: Mapping[str, Any]
    parameters: int | None
    data: Mapping[str, Any]
    command: str
    started_at: str


@dataclass(frozen=True)
class UnitRecord:
    """One finished unit: a run's category. Its file ``unit.json`` is the mark that it was committed whole.

    Attributes:
        run_id: The run it belongs to.
        category: The category, as the data set writes it.
        status: ``complete``, or ``partial`` where some images or masks could not be read.
        images: Number of test images scored.
        errors: Number of images whose image or mask file could not be used.
        data_hash: Sixteen hex digits over the files of the unit's images and masks: the unit's part of the run's
            fingerprint (``datasets.fingerprint``).
        profile: Seconds per stage, latency, throughput, peak memory.
        thresholds: By name: value, level, source and whether it looked at the labels it is judged on.
        files: By name: bytes and SHA-256 of each other file in the unit's folder.
        thumbnails: Name of the data set's thumbnail file, or None.
        thumbnails_reason: Why there are no thumbnails, or None.
        finished_at: When it was committed, ISO 8601, UTC.
    """

    run_id: str
    category: str
    status: UnitStatus
    images: int
    errors: int
    data_hash: str
    profile: Mapping[str, Any]
    thresholds: Mapping[str, Mapping[str, Any]]
    files: Mapping[str, Mapping[str, Any]]
    thumbnails: str | None
    thumbnails_reason: str | None
    finished_at: str

    def to_json(self) -> dict[str, Any]:
        """As plain json values, with the schema version."""
        return {"schema_version": SCHEMA_VERSION, **asdict(self)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any], place: Path) -> UnitRecord:
        """Read what ``to_json`` wrote.

        Raises:
            StoreError: If the version is newer, or something is missing; names ``place``.
        """
        return cls(**_checked(value, place, set(cls.__dataclass_fields__)))


@dataclass(frozen=True)
class RunRecord:
    """A run as the store has it.

    Attributes:
        id: ``<dataset folder>/<run folder>``; unique in a store.
        key: What it is of.
        title: How the method is shown.
        protocol: Every choice that moves a number.
        provenance: Where it came from.
        plan: Batch size, threads and what is kept; frozen when the run first starts.
        path: The run's folder.
        units: Finished units by category, sorted.
    """

    id: str
    key: RunKey
    title: str
    protocol: Protocol
    provenance: Provenance
    plan: Mapping[str, Any]
    path: Path
    units: Mapping[str, UnitRecord] = field(default_factory=dict)

    @property
    def mode(self) -> str:
        """``matched`` or ``as_published``."""
        return self.protocol.mode

    @property
    def categories(self) -> tuple[str, ...]:
        """Categories whose units are finished."""
        return tuple(self.units)

    @property
    def fingerprint(self) -> Fingerprint:
        """Which data the run rests on."""
        files = {category: unit.data_hash for category, unit in self.units.items()}
        return Fingerprint(str(self.protocol.data.get("listing") or ""), files)

    def to_json(self) -> dict[str, Any]:
        """What ``run.json`` holds: all but the place and the units."""
        return {
            "schema_version": SCHEMA_VERSION,
            "id": self.id,
            "key": asdict(self.key),
            "title": self.title,
            "protocol": asdict(self.protocol),
            "provenance": asdict(self.provenance),
            "plan": dict(self.plan),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any], place: Path) -> RunRecord:
        """Read what ``to_json`` wrote.

        Args:
            value: The parsed json.
            place: The run's folder; named in errors.

        Raises:
            StoreError: If the version is newer, or something is missing or of the wrong kind.
        """
        raw = _checked(value, place, {"id", "key", "title", "protocol", "provenance", "plan"})
        try:
            return cls(
                id=raw["id"],
                key=RunKey(**raw["key"]),
                title=raw["title"],
                protocol=Protocol(**raw["protocol"]),
                provenance=Provenance(**raw["provenance"]),
                plan=raw["plan"],
                path=place,
            )
        except TypeError as error:
            raise StoreError(f"The run at {place} is damaged: {error}.", "Compute it again.") from error


@dataclass(frozen=True, slots=True)
class FailedUnit:
    """A unit that could not be finished; the next start tries it again.

    Attributes:
        run_id: The run.
        category: The category.
        reason: What went wrong, in a sentence.
        traceback: The last lines of the traceback; empty for errors that speak for themselves.
        at: When, ISO 8601, UTC.
        attempts: How often it was tried.
    """

    run_id: str
    category: str
    reason: str
    traceback: str
    at: str
    attempts: int


@dataclass(frozen=True, slots=True)
class StoreProblem:
    """Something in the store that could not be read and was left out; the rest is there.

    Attributes:
        kind: ``newer_schema``, ``damaged_run``, ``damaged_unit``, ``damaged_file`` or ``foreign``.
        path: The file or folder.
        message: What is wrong and what to do about it.
    """

    kind: str
    path: Path
    message: str


def _checked(value: Mapping[str, Any], place: Path, names: set[str]) -> dict[str, Any]:
    """The named entries of a json object, after a look at its version."""
    version = value.get("schema_version")
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise NewerSchemaError(
            f"{place} was written by a newer version of this program (schema {version}; "
            f"this one reads up to {SCHEMA_VERSION}).",
            "Update the program to read it.",
        )
    missing = sorted(names - value.keys())
    if version is None or missing:
        what = "schema_version" if version is None else missing[0]
        raise StoreError(f"{place} is damaged: its json has no {what!r}.", "Compute it again.")
    return {name: value[name] for name in names}


class NewerSchemaError(StoreError):
    """A run or unit was written by a newer version of this program."""


IMAGES = pa.schema(
    [
        ("image_id", pa.string()),
        ("split", pa.string()),
        ("label", pa.int8()),
        ("defect_type", pa.string()),
        ("defect_area", pa.float64()),
        ("score", pa.float64()),
        ("latency_ms", pa.float64()),
        ("error", pa.string()),
    ]
)
"""One row per image; ``defect_area`` is the share of the image, null where there is no mask."""

METRICS = pa.schema(
    [
        ("dataset", pa.string()),
        ("category", pa.string()),
        ("method", pa.string()),
        ("preset", pa.string()),
        ("backbone", pa.string()),
        ("mode", pa.string()),
        ("shots", pa.int32()),
        ("seed", pa.int32()),
        ("level", pa.string()),
        ("metric", pa.string()),
        ("eval_size", pa.int32()),
        ("value", pa.float64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("n", pa.int32()),
        ("reason", pa.string()),
    ]
)
"""One row per metric; values are fractions; ``n`` counts images; a null value has a reason."""

CURVES = pa.schema(
    [
        ("curve", pa.string()),
        ("eval_size", pa.int32()),
        ("x", pa.float32()),
        ("y", pa.float32()),
        ("threshold", pa.float32()),
    ]
)
"""Points of the curves ``image_roc``, ``image_pr``, ``pixel_roc``, ``pixel_pr`` and ``pixel_pro``."""

REGIONS = pa.schema(
    [
        ("image_id", pa.string()),
        ("region", pa.int32()),
        ("defect_type", pa.string()),
        ("area", pa.float64()),
        ("x0", pa.float32()),
        ("y0", pa.float32()),
        ("x1", pa.float32()),
        ("y1", pa.float32()),
    ]
)
"""One row per defect region (box and area as shares of the image); ``recall_<threshold>`` columns follow."""

EXPLAIN = pa.schema(
    [
        ("image_id", pa.string()),
        ("kind", pa.string()),
        ("rank", pa.int32()),
        ("text", pa.string()),
        ("value", pa.float64()),
        ("towards", pa.string()),
        ("x0", pa.float32()),
        ("y0", pa.float32()),
        ("x1", pa.float32()),
        ("y1", pa.float32()),
    ]
)
"""What a method says about why, strongest first; the box, where there is one, as shares of the image."""

THUMBNAILS = pa.schema(
    [("image_id", pa.string()), ("thumbnail", pa.binary()), ("mask", pa.binary()), ("reason", pa.string())]
)
"""WebP and PNG bytes, shared by all runs of a data set; ``reason`` says why one is missing."""
