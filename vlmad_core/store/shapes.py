"""What the parts of records hold that are kept as plain json: only what is read of them is declared and checked.

Everything else in them is let through, so that a run may say more than this version reads.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field, with_config
from typing_extensions import TypedDict

from vlmad_core.datasets.views import View, ViewError
from vlmad_core.records import Count, Flag, Number, Whole, read_as

FileName = Annotated[str, Field(pattern=r"^[^/\\\x00.][^/\\\x00]*$")]
"""The name of a file in the folder of its record, and nowhere else."""

_others_too = with_config(ConfigDict(extra="ignore"))


@_others_too
class BackboneEntries(TypedDict, total=False):
    """What is read of ``Protocol.backbone``."""

    title: str | None
    weights_hash: str
    precision: str
    text_depth: Whole | None
    training_data: list[str] | None


def _view(value: Any) -> Any:
    """A view as ``datasets.views.View`` reads it; kept as it stands."""
    if value is not None:
        try:
            View.from_json(read_as(ViewEntries, value))
        except ViewError as error:
            raise ValueError(str(error)) from error
    return value


class ViewEntries(TypedDict):
    """What ``View.to_json`` writes."""

    region: Annotated[list[Number], Field(min_length=4, max_length=4)]
    tiles: Annotated[list[Count], Field(min_length=2, max_length=2)]
    overlap: Number


@_others_too
class ReadingEntries(TypedDict, total=False):
    """What is read of ``Protocol.reading``."""

    view: Annotated[Any, AfterValidator(_view)]


@_others_too
class EvaluationEntries(TypedDict, total=False):
    """What is read of ``Protocol.evaluation``."""

    native_size: Count
    metrics: dict[str, str]


class Trained(TypedDict, total=False):
    """What is known of trained parameters."""

    file: str
    hash: str
    training_data: list[str] | None


class Origin(TypedDict, total=False):
    """Where the images of a run came from, and the run itself if it was imported: ``Provenance.data``."""

    source: str | None
    official: str | None
    licence: str | None
    redistributable: Flag
    synthetic: Flag
    notes: list[str]
    category_kinds: dict[str, str]
    trained: Trained | None
    imported: dict[str, Any] | None


class PlanEntries(TypedDict, total=False):
    """What is read of ``RunRecord.plan``."""

    batch_size: Count
    threads: Count
    window_tokens: Count
    windows: str
    precision: str
    device: str
    settled: dict[str, str]
    grids: str
    features: str
    replicates: Flag


class Latency(TypedDict, total=False):
    """Milliseconds of one image."""

    median: Number | None
    p95: Number | None


class Speed(TypedDict, total=False):
    """What the method alone costs; entries are numbers where they could be measured."""

    batch_1: dict[str, Any] | None
    batch_n: dict[str, Any] | None
    stages_ms: dict[str, Any] | None


class SharedPass(TypedDict, total=False):
    """What a unit's run spent together with others."""

    runs: Count
    seconds: dict[str, Number] | None


class Profile(TypedDict, total=False):
    """What is read of ``UnitRecord.profile``."""

    seconds: dict[str, Number] | None
    shared: SharedPass | None
    latency_ms: Latency | None
    latency_alone_ms: Latency | None
    peak_rss_bytes: Count | None
    speed: Speed | None


class NotedThreshold(TypedDict, total=False):
    """A stored threshold."""

    value: Number | None
    level: str
    source: str
    oracle: Flag


class NotedFile(TypedDict):
    """A file as it was written."""

    bytes: Count
    sha256: str
