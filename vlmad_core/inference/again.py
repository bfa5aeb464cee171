"""Stored runs asked again in the process that computes: what they did not keep of an image, while a visitor waits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vlmad_core.datasets import Dataset, load_dataset
from vlmad_core.errors import VlmadError
from vlmad_core.inference.process import Holdings, Tell
from vlmad_core.store.reader import Missing
from vlmad_core.store.schema import RunRecord, canonical_json

if TYPE_CHECKING:
    from vlmad_core.engine.again import Again, Recall

MOST_RECALLS = 2
"""Backbones of runs that are held at a time."""

MOST_LISTED = 3
"""Data sets whose listing is held."""


@dataclass(frozen=True)
class AskedRun:
    """A run and what it said.

    Attributes:
        record: The run.
        stored: Its stored scores of the images that are asked about, by image.
    """

    record: RunRecord
    stored: Mapping[str, float]


def listed(held: Holdings, name: str) -> Dataset:
    """A data set's listing, made once.

    Raises:
        VlmadError: If it can't be read.
    """
    dataset: Dataset = held.kept("data sets", MOST_LISTED).get(name, lambda: load_dataset(name))
    return dataset


def ask_runs(
    held: Holdings, tell: Tell, runs: Sequence[AskedRun], category: str
) -> tuple[dict[str, Again | Missing], float]:
    """In the process: ask runs about the same images of a category.

    Runs of one backbone and view share a pass; one whose backbone, data or parameters are not at hand says so.

    Returns:
        By run id, what it says; the seconds that took, all together.
    """
    from vlmad_core.engine.again import ask_again, load_again, plan_again

    found: dict[str, Again | Missing] = {}
    groups: dict[tuple[str, Any], list[Any]] = {}
    recalls: dict[str, Recall] = {}
    known = held.kept("recalls", MOST_RECALLS)
    for run in (asked.record for asked in runs):
        stated = run.protocol.backbone
        key = canonical_json(dict(stated))
        try:
            recalls[key] = known.get(key, lambda stated=stated: load_again(stated))  # type: ignore[misc]
            planned_run = plan_again(run, listed(held, str(run.provenance.data.get("source", ""))), recalls[key])
            groups.setdefault((key, planned_run.view), []).append(planned_run)
        except VlmadError as error:
            found[run.id] = Missing(f"Not kept with the run. {error}")
    spent, stored = 0.0, {asked.record.id: asked.stored for asked in runs}
    for (key, _), planned in groups.items():
        with held.turns.take():
            answers, seconds = ask_again(
                planned, recalls[key], category, {run.record.id: stored[run.record.id] for run in planned}
            )
        found |= answers
        spent += seconds
    return found, spent
