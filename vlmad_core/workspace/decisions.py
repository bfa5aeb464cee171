"""Decisions of a part kept in the workspace: which method, at which threshold, what that promises, on which photos.

Each is a file of its own that is never changed: ``<workspace>/<slug>/decisions/<time>-<8 hex>.json``.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from vlmad_core import paths
from vlmad_core.analysis.decision import Card
from vlmad_core.analysis.entries import Entry
from vlmad_core.datasets.parts import Part
from vlmad_core.errors import StoreError
from vlmad_core.io import json_bytes, read_json, write_atomically
from vlmad_core.metrics.rules import Bounded, Costs, Rule
from vlmad_core.records import Count, Number
from vlmad_core.store.schema import SCHEMA_VERSION, StoreProblem, canonical_json, read_record
from vlmad_core.store.writer import now

FOLDER = "decisions"
"""Folder of a part with what was decided about it."""


@dataclass(frozen=True)
class Decision:
    """What was decided about a part.

    Attributes:
        part: Slug of the part.
        category: Its category in the run.
        run: Id of the run whose scores decided.
        protocol: Hash of its protocol.
        method: Name of the method.
        preset: Name of its preset.
        shots: Number of references.
        title: How the method is shown.
        backbone: Identifier of the backbone.
        threshold: A part is anomalous if its score is at least this.
        rule: What set it: a promise to good parts, or costs.
        rate: Share of false alarms asked for; None where costs set it.
        miss: Cost of a miss in false alarms; None where a promise set it.
        defective: Share of defective parts expected; None likewise.
        detail: What the threshold keeps, in words.
        found: Defects found, with the bound, as numbers; None without defects.
        alarms: Good parts flagged, likewise; None with fewer than two.
        sentence: The recommendation that stood there.
        listing: Hash over the list of the part's photos.
        photos: Hash over the photos that were scored.
        decided_at: When, ISO 8601, UTC.
    """

    part: str
    category: str
    run: str
    protocol: str
    method: str
    preset: str
    shots: Count
    title: str
    backbone: str
    threshold: Number
    rule: Literal["promise", "costs"]
    rate: Number | None
    miss: Number | None
    defective: Number | None
    detail: str
    found: Mapping[str, Any] | None
    alarms: Mapping[str, Any] | None
    sentence: str
    listing: str
    photos: str
    decided_at: str


def decided(part: Part, entry: Entry, category: str, card: Card, rule: Rule, sentence: str) -> Decision:
    """A decision for one method, with all that it rests on.

    Args:
        part: The part.
        entry: The method, with a run that has finished the category.
        category: The category.
        card: What the method does at its threshold.
        rule: What set the threshold.
        sentence: The recommendation, which may have been for another method.

    Raises:
        StoreError: If no run has finished the category.
    """
    run = entry.run_with(category)
    if run is None:
        raise StoreError(f"{entry.name} has not finished {category}.", "Wait for its job, or start it again.")
    costs = rule if isinstance(rule, Costs) else None
    return Decision(
        part=part.slug,
        category=category,
        run=run.id,
        protocol=run.protocol.hash,
        method=entry.method,
        preset=entry.preset,
        shots=entry.shots,
        title=entry.title,
        backbone=run.key.backbone,
        threshold=card.threshold.value,
        rule="costs" if costs else "promise",
        rate=None if isinstance(rule, Costs) else rule.rate,
        miss=costs.miss if costs else None,
        defective=costs.defective if costs else None,
        detail=card.threshold.detail,
        found=_numbers(card.found),
        alarms=_numbers(card.alarms),
        sentence=sentence,
        listing=str(run.protocol.data.get("listing") or ""),
        photos=run.units[category].data_hash,
        decided_at=now(),
    )


def keep_decision(decision: Decision) -> None:
    """Write a decision beside the earlier ones.

    Raises:
        StoreError: If the workspace can't be written to.
    """
    content = {"schema_version": SCHEMA_VERSION, **dataclasses.asdict(decision)}
    digest = hashlib.sha256(canonical_json(content).encode()).hexdigest()[:8]
    time = "".join(letter for letter in decision.decided_at[:19] if letter.isalnum())
    path = paths.workspace() / decision.part / FOLDER / f"{time}-{digest}.json"
    try:
        write_atomically(path, json_bytes(content))
    except OSError as error:
        raise StoreError(
            f"The decision was not kept: {path.parent} can't be written to ({error.strerror or error}).",
            f"Name another folder in {paths.WORKSPACE}.",
        ) from error


def read_decisions(part: Part) -> tuple[tuple[Decision, ...], tuple[StoreProblem, ...]]:
    """Decisions of a part, newest first; a damaged one costs itself only.

    Args:
        part: The part.

    Returns:
        The decisions, and what could not be read.
    """
    found, problems = [], []
    folder = part.home / FOLDER
    for path in sorted(folder.glob("*.json"), reverse=True) if folder.is_dir() else ():
        try:
            found.append(read_record(Decision, read_json(path, "Remove the file."), path, "Remove the file."))
        except StoreError as error:
            problems.append(StoreProblem("damaged_file", path, str(error)))
    return tuple(sorted(found, key=lambda one: one.decided_at, reverse=True)), tuple(problems)


def _numbers(share: Bounded | None) -> dict[str, Any] | None:
    return None if share is None else {"count": share.count, "of": share.of, "bound": share.bound}
