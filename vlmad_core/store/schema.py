"""What the results store holds, as data: records of runs, of their units, and of what failed.

The schema has a version. A reader refuses what a newer version wrote, run by run, and reads the rest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import ConfigDict, Field, ValidationError, with_config

from vlmad_core.datasets.fingerprint import Fingerprint
from vlmad_core.errors import StoreError
from vlmad_core.io import RECOMPUTE, json_bytes
from vlmad_core.reading import printable
from vlmad_core.records import Count, Holds, Whole, in_words, read_as
from vlmad_core.store.shapes import (
    BackboneEntries,
    EvaluationEntries,
    FileName,
    NotedFile,
    NotedThreshold,
    Origin,
    PlanEntries,
    Profile,
    ReadingEntries,
)

SCHEMA_VERSION = 1

DESCRIPTIVE = frozenset({"id", "title", "source", "parameters", "training_data", "demonstration"})
"""What is recorded of a backbone for the reader's sake and moves no number."""

SEAL, SEAL_DIGITS = "seal", 16
"""Name of the entry of ``run.json`` and ``unit.json`` that holds the hash of the others, and its hex digits."""

UnitStatus = Literal["complete", "partial"]

Small = Annotated[Whole, Field(ge=0, le=2**31 - 1)]
"""A number of shots or a seed, as the tables hold it."""

Name = Annotated[str, Field(min_length=1)]

T = TypeVar("T")

_known_only = with_config(ConfigDict(extra="forbid"))
"""For what moves numbers: an unknown entry could be a choice that this version would pass over."""


def canonical_json(value: object) -> str:
    """Json text that is the same for equal values: sorted keys, no spaces."""
    return printable(json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False))


def short_hash(value: object, digits: int = 8) -> str:
    """The first hex digits of the SHA-256 of a json value."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:digits]


@_known_only
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

    dataset: Name
    method: Name
    preset: Name
    shots: Small
    seed: Small
    backbone: Name


@_known_only
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
    backbone: Annotated[Mapping[str, Any], Holds(BackboneEntries)]
    method: Mapping[str, Any]
    data: Mapping[str, Any]
    reading: Annotated[Mapping[str, Any], Holds(ReadingEntries)]
    evaluation: Annotated[Mapping[str, Any], Holds(EvaluationEntries)]

    @cached_property
    def hash(self) -> str:
        """Eight hex digits over all that moves a number; part of the run's folder name."""
        return short_hash(self._choices())

    @cached_property
    def conditions(self) -> str:
        """Eight hex digits over what moves a value, but for the method; runs may be ranked together if it is equal."""
        return short_hash({key: value for key, value in self.moving_values().items() if key != "method"})

    @cached_property
    def competitor(self) -> str:
        """Eight hex digits over what moves a value: runs of different hash that agree in it compete as one."""
        return short_hash(self.moving_values())

    def moving_values(self) -> dict[str, Any]:
        """The choices that move a value; how its interval is made moves none."""
        choices = self._choices()
        evaluation = {key: value for key, value in choices["evaluation"].items() if key != "bootstrap"}
        return {**choices, "evaluation": evaluation}

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
    parameters: Count | None
    data: Annotated[Mapping[str, Any], Holds(Origin)]
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
    category: Name
    status: UnitStatus
    images: Count
    errors: Count
    data_hash: str
    profile: Annotated[Mapping[str, Any], Holds(Profile)]
    thresholds: Annotated[Mapping[str, Mapping[str, Any]], Holds(dict[str, NotedThreshold])]
    files: Annotated[Mapping[str, Mapping[str, Any]], Holds(dict[FileName, NotedFile])]
    thumbnails: FileName | None
    thumbnails_reason: str | None
    finished_at: str

    @property
    def seconds(self) -> dict[str, float]:
        """Time by stage, the stages of its shared pass among them; these must not be added up over runs."""
        shared = self.profile.get("shared") or {}
        return {**(shared.get("seconds") or {}), **(self.profile.get("seconds") or {})}

    def to_json(self) -> dict[str, Any]:
        """As plain json values, with the schema version."""
        return {"schema_version": SCHEMA_VERSION, **asdict(self)}


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
    plan: Annotated[Mapping[str, Any], Holds(PlanEntries)]
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
    attempts: Count

    def to_json(self) -> dict[str, Any]:
        """What ``failed.json`` says under the category."""
        return {"reason": self.reason, "traceback": self.traceback, "at": self.at, "attempts": self.attempts}


@dataclass(frozen=True, slots=True)
class FailedUnits:
    """What ``failed.json`` holds.

    Attributes:
        units: By category.
    """

    units: Mapping[str, FailedUnit]


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


def check_version(value: Mapping[str, Any], place: Path, fix: str = RECOMPUTE) -> None:
    """See that a json object was written by this version of the program or an older one.

    Raises:
        StoreError: If its version is newer (then a ``NewerSchemaError``) or is none.
    """
    version = value.get("schema_version")
    if isinstance(version, bool) or not isinstance(version, int):
        raise StoreError(f"{place} is damaged: its json has no 'schema_version'.", fix)
    if version > SCHEMA_VERSION:
        raise NewerSchemaError(
            f"{place} was written by a newer version of this program (schema {version}; "
            f"this one reads up to {SCHEMA_VERSION}).",
            "Update the program to read it.",
        )


def read_record(kind: type[T], value: Mapping[str, Any], place: Path, fix: str = RECOMPUTE) -> T:
    """A record from a json object, all of it checked; what the record does not know is passed over.

    Args:
        kind: The record.
        value: The object, with its schema version.
        place: Where it comes from; named in errors.
        fix: What to do about a damaged one.

    Raises:
        StoreError: If the version is newer, or anything is missing or of the wrong kind.
    """
    check_version(value, place, fix)
    try:
        return read_as(kind, value)
    except ValidationError as error:
        raise StoreError(f"{place} is damaged: {in_words(error)}.", fix) from error


def sealed(value: Mapping[str, Any]) -> bytes:
    """A record as its file holds it, with a hash over all the rest of it, by which a reader tells a changed one."""
    plain: dict[str, Any] = json.loads(json_bytes({name: value[name] for name in value if name != SEAL}))
    return json_bytes({**plain, SEAL: short_hash(plain, SEAL_DIGITS)})


def check_seal(value: Mapping[str, Any], place: Path, fix: str = RECOMPUTE) -> None:
    """See that a record is as it was written; those written before there were seals have none.

    Raises:
        StoreError: If it is not.
    """
    rest = {name: entry for name, entry in value.items() if name != SEAL}
    if SEAL in value and value[SEAL] != short_hash(rest, SEAL_DIGITS):
        raise StoreError(f"{place} is not as it was written.", fix)


class NewerSchemaError(StoreError):
    """A run or unit was written by a newer version of this program."""
