"""What a report says, worked out from the results: question, answers, evidence, protocol, provenance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from vlmad_core.analysis.answers import ShortAnswer, answers, caveats
from vlmad_core.analysis.claims import KIND_NAMES
from vlmad_core.analysis.comparable import as_texts, comparisons
from vlmad_core.analysis.entries import Comparison, cells, with_means
from vlmad_core.analysis.leaderboard import leaderboard
from vlmad_core.analysis.reported import load_reported, reported_leaderboard
from vlmad_core.analysis.sources import load_sources
from vlmad_core.errors import StoreError
from vlmad_core.metrics.spec import METRICS
from vlmad_core.report.mistakes import Mistake, mistakes
from vlmad_core.store.reader import Store
from vlmad_core.store.writer import now

TASKS: Mapping[str, tuple[str, str]] = {
    "image": ("Is the part defective?", "image_auroc"),
    "pixel": ("Where is the defect?", "aupro_30"),
}
"""Question and leading metric of each level."""

REPORTED_METRICS = ("image_auroc", "pixel_auroc")


@dataclass(frozen=True)
class Task:
    """The evidence for one question.

    Attributes:
        level: ``image`` or ``pixel``.
        question: In words.
        metric: The leading metric.
        board: Leaderboard rows of all its metrics.
        categories: The leading metric by category and line, means first; for one number of references.
        shots: That number.
        blank: Why there is no value at all, or None.
    """

    level: str
    question: str
    metric: str
    board: pd.DataFrame
    categories: pd.DataFrame
    shots: int
    blank: str | None


@dataclass(frozen=True)
class Section:
    """All about one data set under one set of conditions.

    Attributes:
        heading: The data set, and the backbone.
        facts: What was measured with what, as name and value.
        caveats: What a reader must know before believing a number.
        answers: The answers.
        tasks: The evidence by level.
        mistakes: The clearest mistakes of the best method.
        mistakes_note: What is shown there, or why nothing.
        reported: What papers report on this data set; empty if it is none they use.
        protocol: Every choice that moves a number, as name and value.
        provenance: What is equal for all runs, as name and value.
        runs: One row per run, with what is not.
    """

    heading: str
    facts: Sequence[tuple[str, str]]
    caveats: Sequence[str]
    answers: Sequence[ShortAnswer]
    tasks: Sequence[Task]
    mistakes: Sequence[Mistake]
    mistakes_note: str
    reported: pd.DataFrame
    protocol: Sequence[tuple[str, str]]
    provenance: Sequence[tuple[str, str]]
    runs: pd.DataFrame


@dataclass(frozen=True)
class Report:
    """A whole report.

    Attributes:
        title: Its title.
        written_at: When, ISO 8601, UTC.
        version: Versions of this program that measured.
        sections: One per data set and conditions.
        problems: What could not be read in the store.
    """

    title: str
    written_at: str
    version: str
    sections: Sequence[Section]
    problems: Sequence[str]


def collect(store: Store, *, title: str, datasets: Sequence[str] | None = None, failures: int = 4) -> Report:
    """Work out a report.

    Args:
        store: The results.
        title: The report's title.
        datasets: Only these data sets; None for all.
        failures: How many mistakes of each kind to show in each section.

    Raises:
        StoreError: If there are no results, or none of a data set that was asked for.
    """
    found = comparisons(store)
    unknown = sorted(set(datasets or ()) - {one.dataset for one in found})
    if unknown or not found:
        places = ", ".join(str(root) for root in store.roots) or "the given folders"
        what = f"results of {unknown[0]!r}" if unknown else "results"
        raise StoreError(f"There are no {what} in {places}.", "Measure some: python -m vlmad_core precompute.")
    chosen = [one for one in found if datasets is None or one.dataset in datasets]
    versions = sorted({run.provenance.code_version for one in chosen for run in one.runs})
    return Report(
        title=title,
        written_at=now(),
        version=", ".join(versions),
        sections=tuple(_section(store, one, failures) for one in chosen),
        problems=tuple(problem.message for problem in store.problems),
    )


def _section(store: Store, one: Comparison, failures: int) -> Section:
    board = leaderboard(store, dataset=one.dataset)
    board = board[board["conditions"] == one.conditions]
    shown, note = mistakes(store, one, board, failures)
    equal, runs = _runs(one)
    backbone = str(one.backbone.get("title") or one.backbone.get("id") or "unknown backbone")
    images = board["n"].max()
    facts = [
        ("Data set", f"{one.dataset}, {len(one.categories)} categories, {int(images)} test images"),
        ("Categories", ", ".join(one.categories)),
        ("Backbone", backbone),
        ("Input", f"{one.backbone.get('image_size', 'unknown')} pixels, {one.backbone.get('precision', 'unknown')}"),
        ("Comparison", _mode(one.mode)),
    ]
    return Section(
        heading=f"{one.dataset}, measured with {backbone}",
        facts=tuple(facts),
        caveats=caveats(one, board),
        answers=answers(store, one, board),
        tasks=tuple(_task(store, one, board, level) for level in TASKS),
        mistakes=shown,
        mistakes_note=note,
        reported=_reported(one),
        protocol=tuple(as_texts(_shared_protocol(one)).items()),
        provenance=equal,
        runs=runs,
    )


def _task(store: Store, one: Comparison, board: pd.DataFrame, level: str) -> Task:
    question, metric = TASKS[level]
    rows = board[board["level"] == level]
    values = rows[rows["metric"] == metric]
    blank = None
    if values["value"].notna().sum() == 0:
        reasons = [reason for reason in values["reason"] if isinstance(reason, str)]
        blank = reasons[0] if reasons else "It was not measured."
    shots = one.shots[0]
    table = with_means(cells(store, one.entries(shots), metric))
    order = [name for name in METRICS if name in set(rows["metric"])]
    rows = rows.assign(order=rows["metric"].map(order.index)).sort_values(["shots", "order"]).drop(columns="order")
    return Task(level, question, metric, rows, table, shots, blank)


def _reported(one: Comparison) -> pd.DataFrame:
    official = one.runs[0].provenance.data.get("official")
    if official is None:
        return pd.DataFrame()
    board = reported_leaderboard(load_reported(), str(official), metrics=REPORTED_METRICS, sources=load_sources())
    if board.empty:
        return board
    board = board[(board["variant"] == "paper") & board["shots"].isin(one.shots) & (board["method_id"] != "")]
    board = board.assign(whose=board["whose"].map(KIND_NAMES))
    return board.sort_values(["shots", "method", "metric"], ignore_index=True)


def _mode(mode: str) -> str:
    if mode == "as_published":
        return "each method as its authors published it"
    return "one backbone and one input size for all methods"


def _shared_protocol(one: Comparison) -> dict[str, Any]:
    """The protocol without the method, which is equal for all runs of the comparison."""
    protocol = one.runs[0].protocol
    return {
        "mode": protocol.mode,
        "backbone": dict(protocol.backbone),
        "data": dict(protocol.data),
        "reading": dict(protocol.reading),
        "evaluation": dict(protocol.evaluation),
    }


def _runs(one: Comparison) -> tuple[tuple[tuple[str, str], ...], pd.DataFrame]:
    """What all runs have in common, and a row for each run with the rest."""
    rows = []
    for run in one.runs:
        data, packages = run.provenance.data, run.provenance.packages
        imported = data.get("imported")
        rows.append(
            {
                "Run": run.id,
                "Method": run.title,
                "Categories": str(len(run.units)),
                "Started": run.provenance.started_at,
                "Program": run.provenance.code_version,
                "Packages": ", ".join(f"{name} {version}" for name, version in packages.items()),
                "Machine": str(run.provenance.hardware.get("processor", "unknown")),
                "Images from": str(data.get("source") or "unknown"),
                "Licence of the images": str(data.get("licence") or "unknown"),
                "Fingerprint of the data": str(run.fingerprint),
                "Imported from": str(imported.get("origin")) if isinstance(imported, Mapping) else "",
            }
        )
    frame = pd.DataFrame(rows)
    equal = [name for name in frame.columns if name != "Run" and frame[name].nunique() == 1]
    pairs = tuple((name, str(frame[name].iloc[0])) for name in equal if frame[name].iloc[0])
    return pairs, frame.drop(columns=equal)
