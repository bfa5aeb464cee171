"""The six questions answered from a store: what was measured of each variant, and the finding of each part."""

from __future__ import annotations

import math
import shlex
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from vlmad_core.analysis.claims import KIND_NAMES
from vlmad_core.analysis.comparable import comparisons
from vlmad_core.analysis.contamination import training_data
from vlmad_core.analysis.draws import drawn_means, why_not_drawn
from vlmad_core.analysis.entries import Comparison, Entry
from vlmad_core.analysis.reported import load_reported, reported_leaderboard
from vlmad_core.analysis.speed import cost_table
from vlmad_core.analysis.study.comparing import Measured
from vlmad_core.analysis.study.findings import (
    Finding,
    contrast,
    costs,
    fastest,
    ladder,
    nearly_best,
    spread,
    unanswered,
)
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
from vlmad_core.metrics.resampling import Replicates
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
    def answered(self) -> tuple[Finding, ...]:
        """The parts that the results answer, the most telling first."""
        return tuple(finding for finding in self.findings if finding.answered)

    @property
    def unanswered(self) -> tuple[Finding, ...]:
        """The other parts."""
        return tuple(finding for finding in self.findings if not finding.answered)

    @property
    def first(self) -> Finding:
        """The part that speaks for the question: the first that is wholly answered under both designs, else in any."""
        return max(self.answered or self.findings, key=lambda finding: finding.whole)

    @property
    def short(self) -> tuple[str, ...]:
        """The answer in a sentence for each design: that of the part that speaks for the question."""
        return self.first.short

    @property
    def headline(self) -> str:
        """The same in one text."""
        return " ".join(self.short)


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
        self.store, self.plan = store, plan
        self.entries = {
            (entry.method, entry.preset, entry.shots, one.dataset in training_data(entry.runs[0])): entry
            for entry in reversed(one.entries())
        }
        frame = store.metrics(run.id for entry in self.entries.values() for run in entry.runs)
        kept = frame[(frame["eval_size"].isna() | (frame["eval_size"] == EVAL_SIZE)) & frame["value"].notna()]
        self.cells: dict[tuple[str, str], list[tuple[str, float, int]]] = {}
        names = ("run_id", "metric", "category", "value", "n")
        for run_id, metric, category, value, n in zip(*(kept[name] for name in names), strict=True):
            self.cells.setdefault((run_id, metric), []).append((str(category), float(value), int(n)))

    def entry(self, variant: Variant) -> Entry | None:
        """The runs of a variant, or None."""
        return self.entries.get((variant.method, variant.stored_preset, variant.shots, variant.trained == "within"))

    def has(self, entry: Entry, metric: str) -> bool:
        """Whether an entry has a value of a metric."""
        return any((run.id, metric) in self.cells for run in entry.runs)

    def measured(self, metric: str, variants: Sequence[Variant], *, resampled: bool = True) -> list[Measured]:
        """What was measured of those variants that have the metric, resampled together.

        Args:
            metric: Name of the metric.
            variants: The variants.
            resampled: Whether they are to be held against the first over images, too.
        """
        known = [(variant, self.entry(variant)) for variant in variants]
        found = [
            (entry, self._values(variant, entry, metric))
            for variant, entry in known
            if entry is not None and self.has(entry, metric)
        ]
        return self._resampled(found, metric) if resampled and len(found) > 1 else [one for _, one in found]

    def _values(self, variant: Variant, entry: Entry, metric: str) -> Measured:
        draws: dict[str, list[float]] = defaultdict(list)
        images: dict[str, int] = {}
        for run in entry.runs:
            for category, value, n in self.cells.get((run.id, metric), []):
                draws[category].append(value)
                images[category] = n
        values = {category: float(np.mean(found)) for category, found in sorted(draws.items())}
        runs = tuple(run.id for run in entry.runs)
        return Measured(variant.name, variant.label, values, dict(draws), runs, sum(images.values()))

    def _resampled(self, found: Sequence[tuple[Entry, Measured]], metric: str) -> list[Measured]:
        """The same with their replicates, on the categories of the first; nothing is computed where it has none."""
        first = found[0][1]
        categories = [name for name, values in first.draws.items() if len(values) == len(first.run_ids)]
        whole = {
            place: entry
            for place, (entry, one) in enumerate(found)
            if categories and all(len(one.draws.get(name, ())) == len(entry.runs) for name in categories)
        }
        without = dict.fromkeys(set(range(len(found))) - set(whole), "It has not finished all categories.")
        without |= why_not_drawn(self.store, whole, metric, categories, EVAL_SIZE)
        able = {place: entry for place, entry in whole.items() if place not in without}
        drawn: dict[int, Replicates] = {}
        if 0 in able and len(able) > 1:
            drawn, more = drawn_means(self.store, able, metric, categories, EVAL_SIZE)
            without |= more
        return [
            replace(one, replicates=drawn.get(place), not_replicated=_clause(without.get(place, "")))
            for place, (_, one) in enumerate(found)
        ]


def _clause(reason: str) -> str:
    """A sentence to stand within another."""
    return f"{reason[:1].lower()}{reason[1:]}".removesuffix(".")


def _finding(part: Part, source: _Source) -> Finding:
    variants = source.plan.variants
    if isinstance(part, Contrast):
        names = sorted(part.variants, key=lambda name: name != part.base)
        by_name = {one.name: one for one in source.measured(part.metric, [variants[name] for name in names])}
        known = [by_name[name] for name in part.variants if name in by_name]
        return contrast(part.name, part.ask, part.metric, part.base, known, part.contaminated)
    if isinstance(part, Ladder):
        return _ladder(part, source)
    if isinstance(part, Spread):
        return _spread(part, source)
    return _costs(part, source)


def _ladder(part: Ladder, source: _Source) -> Finding:
    steps = [
        Variant(str(shots), part.method, f"{shots} reference{'' if shots == 1 else 's'}", shots=shots)
        for shots in (0, *source.plan.shots)
    ]
    found = source.measured(part.metric, steps)
    return ladder(part.name, part.ask, part.metric, [(int(one.name), one) for one in found])


def _spread(part: Spread, source: _Source) -> Finding:
    sizes = {v.name: v.draw[0] * v.draw[1] for v in source.plan.variants.values() if v.draw is not None}
    full, *drawn = (source.plan.variants[name] for name in (part.full, *sizes))
    groups: dict[int, list[Measured]] = defaultdict(list)
    found = {one.name: one for one in source.measured(part.metric, [full, *drawn])}
    for name, size in sizes.items():
        if name in found:
            groups[size].append(found[name])
    return spread(part.name, part.ask, part.metric, list(groups.items()), found.get(part.full))


def _costs(part: CostQuestion, source: _Source) -> Finding:
    chosen: dict[tuple[str, str, int], tuple[Variant, float]] = {}
    machines = set()
    for variant in source.plan.variants.values():
        entry = source.entry(variant)
        key = (variant.method, variant.stored_preset, variant.shots)
        if entry is None or variant.draw is not None or variant.trained or key in chosen:
            continue
        costs_of = cost_table([entry])
        if not source.has(entry, part.metric) or costs_of.empty or bool(costs_of["shared"].iloc[0]):
            continue
        machines.add(str(costs_of["hardware_id"].iloc[0]))
        chosen[key] = variant, float(costs_of["latency_ms"].iloc[0])
    if len(machines) > 1:
        missing = "latencies come from several machines, which can't be compared"
        return unanswered(part.name, part.ask, part.metric, missing, kind="cost")
    latency = {variant.name: ms for variant, ms in chosen.values() if not math.isnan(ms)}
    variants = source.plan.variants
    found = source.measured(part.metric, [variants[name] for name in latency], resampled=False)
    places = [(latency[one.name], one) for one in found]
    if len(places) > 1:
        (_, cheap), (_, fast) = nearly_best(places), fastest(places)
        pair = {one.name: one for one in source.measured(part.metric, [variants[fast.name], variants[cheap.name]])}
        places = [(ms, pair.get(one.name, one)) for ms, one in places]
    return costs(part.name, part.ask, part.metric, places)


def commands_for(one: Comparison, found: Sequence[StudyAnswer], plan: StudyPlan | None = None) -> tuple[str, ...]:
    """The commands that run what is missing, in order; what is done already is kept.

    Args:
        one: The runs that were asked.
        found: The answers.
        plan: The plan; the shipped one if None.

    Returns:
        Training comes first where parameters trained on the data set itself are missing; empty if nothing is.
    """
    missing = {part.name for answer in found for part in answer.unanswered}
    if not missing:
        return ()
    variants = (plan or study_plan()).variants
    source = str(one.runs[0].provenance.data.get("source") or one.dataset)
    backbone = str(one.backbone["id"])
    parts = [part for answer in found for part in answer.question.comparisons if part.name in missing]
    trained = {variants[name].method for part in parts for name in part.variants if variants[name].trained}
    train = [["train", method, "--data", source, "--backbone", backbone] for method in sorted(trained)]
    study = ["study", "--dataset", source, "--backbone", backbone]
    return tuple(f"python -m vlmad_core {shlex.join(words)}" for words in (*train, study))


def _papers(question: Question, claims: pd.DataFrame) -> pd.DataFrame:
    columns = ["dataset", "method", "variant", "shots", "metric", "value", "citation", "location", "whose", "source"]
    asked = [pair in question.papers for pair in zip(claims["method_id"], claims["shots"], strict=True)]
    return claims.loc[asked, columns].assign(whose=claims["whose"].map(KIND_NAMES)).reset_index(drop=True)


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
            "p_images": None if figures.gain_here is None else figures.gain_here.p_corrected,
            "p_categories": None if figures.gain is None else figures.gain.p_corrected,
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
        "on_these": finding.on_these,
        "on_others": finding.on_others,
        "images": finding.images,
        "entries": rows,
    }


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else value
