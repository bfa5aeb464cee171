"""The six questions answered from a store: what was measured of each variant, and the finding of each part."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from vlmad_core.analysis.comparable import comparisons
from vlmad_core.analysis.contamination import training_data
from vlmad_core.analysis.entries import Comparison, Entry
from vlmad_core.analysis.reported import load_reported, reported_leaderboard
from vlmad_core.analysis.speed import cost_table
from vlmad_core.analysis.study.findings import Finding, Measured, contrast, costs, ladder, spread
from vlmad_core.analysis.study.plan import (
    Contrast,
    CostQuestion,
    Ladder,
    Part,
    Question,
    Spread,
    StudyPlan,
    Variant,
    study_plan,
)
from vlmad_core.store.layout import STUDY_FOLDER
from vlmad_core.store.reader import Store, open_stores

EVAL_SIZE = 256
PUBLISHED = ("mvtec_ad", "visa")
MEANT_FOR = ("image_auroc", "pixel_auroc")


@dataclass(frozen=True)
class StudyAnswer:
    """A question with what the results say.

    Attributes:
        question: The question.
        findings: One for each of its parts, in order.
        papers: What papers report on MVTec AD and VisA: dataset, method, variant, shots, metric, value, citation,
            location, origin; never averaged with anything here.
    """

    question: Question
    findings: tuple[Finding, ...]
    papers: pd.DataFrame

    @property
    def headline(self) -> str:
        """The answer in one sentence or two: that of the first part that the results answer."""
        answered = [finding for finding in self.findings if finding.answered]
        return answered[0].sentence if answered else self.findings[0].sentence


def study_roots(roots: Sequence[Path]) -> tuple[Path, ...]:
    """Results folders with the study's own folder inside each, where the ablations stand."""
    return tuple(path for root in roots for path in (root, root / STUDY_FOLDER))


def study_comparisons(roots: Sequence[Path], known: Store | None = None) -> tuple[Store, tuple[Comparison, ...]]:
    """The stores read as one, and what may be compared in them, methods and ablations together.

    Args:
        roots: Results folders; those that don't exist are skipped.
        known: The same folders opened without the ablations; what it has read is not read again.
    """
    store = open_stores(study_roots(roots), known)
    return store, comparisons(store)


def answers(store: Store, one: Comparison, plan: StudyPlan | None = None) -> tuple[StudyAnswer, ...]:
    """All six questions for one data set and backbone.

    Args:
        store: Methods and ablations, as ``study_comparisons`` opens them.
        one: The runs that may be compared.
        plan: The plan; the shipped one if None.
    """
    plan = plan or study_plan()
    source = _Source(store, one, plan)
    reported = load_reported()
    claims = pd.concat(
        [reported_leaderboard(reported, dataset, metrics=MEANT_FOR) for dataset in PUBLISHED], ignore_index=True
    )
    return tuple(
        StudyAnswer(question, tuple(_finding(part, source) for part in question.parts), _papers(question, claims))
        for question in plan.questions
    )


class _Source:
    """What was measured, looked up by variant."""

    def __init__(self, store: Store, one: Comparison, plan: StudyPlan) -> None:
        self.plan, self.dataset = plan, one.dataset
        self.entries = {
            (entry.method, entry.preset, entry.shots, one.dataset in training_data(entry.runs[0])): entry
            for entry in reversed(one.entries())
        }
        frame = store.metrics(run.id for entry in self.entries.values() for run in entry.runs)
        kept = frame[(frame["eval_size"].isna() | (frame["eval_size"] == EVAL_SIZE)) & frame["value"].notna()]
        self.cells: dict[tuple[str, str], list[tuple[str, float, int]]] = defaultdict(list)
        names = ("run_id", "metric", "category", "value", "n")
        for run_id, metric, category, value, n in zip(*(kept[name] for name in names), strict=True):
            self.cells[run_id, metric].append((str(category), float(value), int(n)))

    def entry(self, variant: Variant, shots: int | None = None) -> Entry | None:
        """The runs of a variant, or None."""
        within = variant.trained == "within"
        wanted = variant.shots if shots is None else shots
        return self.entries.get((variant.method, variant.stored_preset, wanted, within))

    def measured(self, variant: Variant, metric: str, shots: int | None = None) -> Measured | None:
        """What was measured of a variant in a metric; None if nothing was."""
        entry = self.entry(variant, shots)
        if entry is None:
            return None
        draws: dict[str, list[float]] = defaultdict(list)
        images: dict[str, int] = {}
        for run in entry.runs:
            for category, value, n in self.cells[run.id, metric]:
                draws[category].append(value)
                images[category] = n
        if not draws:
            return None
        values = {category: float(np.mean(found)) for category, found in sorted(draws.items())}
        return Measured(
            variant.name, variant.label, values, dict(draws), tuple(run.id for run in entry.runs), sum(images.values())
        )


def _finding(part: Part, source: _Source) -> Finding:
    variants = source.plan.variants
    if isinstance(part, Contrast):
        found = [source.measured(variants[name], part.metric) for name in part.variants]
        known = [one for one in found if one is not None]
        return contrast(part.name, part.ask, part.metric, part.base, known, part.contaminated)
    if isinstance(part, Ladder):
        return _ladder(part, source)
    if isinstance(part, Spread):
        return _spread(part, source)
    return _costs(part, source)


def _ladder(part: Ladder, source: _Source) -> Finding:
    steps = []
    for shots in (0, *source.plan.shots):
        variant = Variant(f"{part.method}_{shots}", part.method, part.method, shots=shots)
        one = source.measured(variant, part.metric)
        if one is not None:
            steps.append((shots, one))
    return ladder(part.name, part.ask, part.metric, steps)


def _spread(part: Spread, source: _Source) -> Finding:
    groups: dict[int, list[Measured]] = defaultdict(list)
    for variant in source.plan.variants.values():
        if variant.draw is not None:
            one = source.measured(variant, part.metric)
            if one is not None:
                groups[variant.draw[0] * variant.draw[1]].append(one)
    full = source.measured(source.plan.variants[part.full], part.metric)
    return spread(part.name, part.ask, part.metric, list(groups.items()), full)


def _costs(part: CostQuestion, source: _Source) -> Finding:
    places = []
    machines = set()
    seen: set[tuple[str, str, int]] = set()
    for variant in source.plan.variants.values():
        entry = source.entry(variant)
        one = source.measured(variant, part.metric)
        key = (variant.method, variant.stored_preset, variant.shots)
        if entry is None or one is None or variant.draw is not None or variant.trained or key in seen:
            continue
        seen.add(key)
        costs_of = cost_table([entry])
        if costs_of.empty or bool(costs_of["shared"].iloc[0]):
            continue
        machines.add(str(costs_of["hardware_id"].iloc[0]))
        places.append((float(costs_of["latency_ms"].iloc[0]), one))
    if len(machines) > 1:
        missing = "Not answered: latencies come from several machines, which can't be compared."
        return Finding(part.name, part.ask, part.metric, missing, False, kind="cost")
    return costs(part.name, part.ask, part.metric, [(ms, one) for ms, one in places if not math.isnan(ms)])


def _papers(question: Question, claims: pd.DataFrame) -> pd.DataFrame:
    columns = ["dataset", "method", "variant", "shots", "metric", "value", "citation", "location", "origin"]
    asked = [pair in question.papers for pair in zip(claims["method_id"], claims["shots"], strict=True)]
    return claims.loc[asked, columns].reset_index(drop=True)


def as_json(found: Mapping[str, Sequence[StudyAnswer]]) -> dict[str, object]:
    """Answers by data set as plain values."""
    return {
        dataset: [
            {
                "question": answer.question.name,
                "ask": answer.question.ask,
                "headline": answer.headline,
                "findings": [_finding_json(finding) for finding in answer.findings],
            }
            for answer in some
        ]
        for dataset, some in found.items()
    }


def _finding_json(finding: Finding) -> dict[str, object]:
    rows = [
        {
            "variant": figures.name,
            "label": figures.label,
            "value": _plain(figures.estimate.value),
            "low": _plain(figures.estimate.low),
            "high": _plain(figures.estimate.high),
            "gain": None if figures.gain is None else figures.gain.value,
            "spread": _plain(figures.spread),
            "x": _plain(figures.x),
            "note": figures.note,
            "runs": list(figures.run_ids),
        }
        for figures in finding.figures
    ]
    return {
        "name": finding.name,
        "ask": finding.ask,
        "metric": finding.metric,
        "answered": finding.answered,
        "sentence": finding.sentence,
        "images": finding.images,
        "entries": rows,
    }


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else value
