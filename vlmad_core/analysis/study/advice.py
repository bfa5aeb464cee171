"""Which method for whom: the methods that fit a user's constraints, those worth taking, and why the others are not.

All of it follows from stored results: accuracy over the categories of the user's kind of part, and latency measured
on one machine.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from vlmad_core.analysis.comparison import Comparison, Line, cells
from vlmad_core.analysis.contamination import run_contamination
from vlmad_core.analysis.kinds import KINDS, category_kinds, of_kind
from vlmad_core.analysis.speed import cost_table, pareto
from vlmad_core.methods.registry import create_method, list_methods
from vlmad_core.metrics.spec import METRICS
from vlmad_core.store.reader import Store


@dataclass(frozen=True)
class Constraints:
    """What a user can and can't do.

    Attributes:
        metric: What counts.
        latency_ms: Most milliseconds per image; None for any.
        shots: Normal images at hand.
        may_train: Whether parameters trained on other data may be used.
        all_at_once: Whether all images are there before the first must be judged.
        kind: ``object`` or ``texture``; None for both.
    """

    metric: str = "image_auroc"
    latency_ms: float | None = None
    shots: int = 0
    may_train: bool = True
    all_at_once: bool = False
    kind: str | None = None


@dataclass(frozen=True)
class Candidate:
    """A method with what is known of it and what follows.

    Attributes:
        title: How it is shown.
        method: Its name.
        shots: References it was measured with.
        value: Mean over the categories that count, a fraction; NaN if it has none.
        latency_ms: Milliseconds per image; NaN if not measured.
        recommended: Whether it fits the constraints and nothing that fits is better at no more cost.
        reason: Why not, or what speaks for it.
    """

    title: str
    method: str
    shots: int
    value: float
    latency_ms: float
    recommended: bool
    reason: str


def advise(store: Store, one: Comparison, wanted: Constraints) -> tuple[Candidate, ...]:
    """All methods measured, those to take first.

    Args:
        store: The results.
        one: The runs that may be compared; ablations are not among them.
        wanted: The constraints.
    """
    lines = [line for line in one.lines() if not line.variant]
    categories = of_kind(one.categories, category_kinds(one.runs), wanted.kind) if wanted.kind else one.categories
    places = cost_table(lines)
    machines = places["hardware_id"].nunique()
    rows: list[dict[str, Any]] = []
    for line in lines:
        frame = cells(store, [line], wanted.metric)
        values = frame.loc[frame["category"].isin(categories), "value"].to_numpy(float)
        value = float(values.mean()) if len(values) and not np.isnan(values).any() else math.nan
        cost = places[(places["line"] == line.id) & (places["shots"] == line.shots)]
        known = machines == 1 and not cost.empty and not bool(cost["shared"].iloc[0])
        latency = float(cost["latency_ms"].iloc[0]) if known else math.nan
        rows.append({"line": line, "value": value, "latency": latency, "why": _why_not(line, value, latency, wanted)})
    table = pd.DataFrame(rows, columns=["line", "value", "latency", "why"])
    fits = table["why"] == ""
    # Without latencies nothing trades against accuracy: then all cost the same.
    costs = table["latency"].fillna(0.0) if table.loc[fits, "latency"].isna().all() else table["latency"]
    front = pareto(costs.where(fits), table["value"].where(fits))
    order = (fits & front, fits, table["value"].fillna(-1.0))
    candidates = [_candidate(row, bool(front[i]), table[fits & front]) for i, row in enumerate(rows)]
    ranks = list(zip(*(list(part) for part in order), strict=True))
    return tuple(candidate for _, candidate in sorted(zip(ranks, candidates, strict=True), key=_by_rank, reverse=True))


def summary(found: Sequence[Candidate], wanted: Constraints) -> str:
    """The advice in a sentence."""
    best = [one for one in found if one.recommended]
    if not best:
        return "Nothing that was measured fits these constraints."
    label = METRICS[wanted.metric].label
    kind = f" on {KINDS[wanted.kind].lower()}" if wanted.kind else ""
    first = max(best, key=lambda one: one.value)
    text = f"Take {named(first)}: {100 * first.value:.1f} % {label}{kind}"
    text += "" if math.isnan(first.latency_ms) else f" at {first.latency_ms:.0f} ms per image"
    quicker = [one for one in best if one.latency_ms < first.latency_ms]
    if quicker:
        least = min(quicker, key=lambda one: one.latency_ms)
        text += f"; where time is short, {named(least)} ({100 * least.value:.1f} %, {least.latency_ms:.0f} ms)"
    return text + "."


def named(one: Candidate) -> str:
    """Its title with the references it uses."""
    if not one.shots:
        return one.title
    return f"{one.title} with {one.shots} {'reference' if one.shots == 1 else 'references'}"


def _why_not(line: Line, value: float, latency: float, wanted: Constraints) -> str:
    """Why a method does not fit; empty if it does."""
    capabilities = create_method(line.method).capabilities if line.method in list_methods() else None
    if line.shots > wanted.shots:
        return f"needs {line.shots} normal {'image' if line.shots == 1 else 'images'}, {wanted.shots} are at hand"
    if capabilities is not None and capabilities.trained and not wanted.may_train:
        return "uses parameters trained on other data with masks"
    if capabilities is not None and capabilities.transductive and not wanted.all_at_once:
        return "must see all images before it judges the first"
    if any(run_contamination(run).verdict == "contaminated" for run in line.runs):
        return "was trained on the images it is judged on"
    if math.isnan(value):
        return f"has no {METRICS[wanted.metric].label} here"
    if wanted.latency_ms is not None and math.isnan(latency):
        return "its latency was not measured"
    if wanted.latency_ms is not None and latency > wanted.latency_ms:
        return f"takes {latency:.0f} ms per image"
    return ""


def _candidate(row: Mapping[str, Any], on_front: bool, best: pd.DataFrame) -> Candidate:
    line, why = row["line"], str(row["why"])
    recommended = on_front and not why
    if recommended:
        reason = "nothing that fits is better at no more cost"
    elif why:
        reason = why
    else:
        no_slower = best["latency"].isna() | (best["latency"] <= row["latency"])
        better = best[(best["value"] >= row["value"]) & no_slower].sort_values("value", ascending=False)
        rival = better.iloc[0]["line"] if len(better) else None
        reason = f"{rival.title} is as good or better and no slower" if rival is not None else "has no latency"
    return Candidate(line.title, line.method, line.shots, row["value"], row["latency"], recommended, reason)


def _by_rank(pair: tuple[tuple[Any, ...], Candidate]) -> tuple[Any, ...]:
    return pair[0]
