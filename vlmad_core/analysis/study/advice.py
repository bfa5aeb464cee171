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

from vlmad_core.analysis.best import best_first, differences_between
from vlmad_core.analysis.entries import Comparison, Entry, EntryKey, cells, in_the_running
from vlmad_core.analysis.slices import KINDS, category_kinds, of_kind
from vlmad_core.analysis.speed import cost_table, pareto
from vlmad_core.analysis.statistics import OVER_CATEGORIES
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
    """An entry with what is known of it and what follows.

    Attributes:
        entry: The entry.
        value: Mean over the categories that count, a fraction; NaN if it has none.
        latency_ms: Milliseconds per image; NaN if not measured.
        recommended: Whether it fits the constraints and nothing that fits is better at no more cost.
        reason: Why not, or what speaks for it.
        tied: Of the best that fits, names of the others that fit and are not clearly behind it.
    """

    entry: Entry
    value: float
    latency_ms: float
    recommended: bool
    reason: str
    tied: tuple[str, ...] = ()


MOST_AT_HAND = 4
"""References that advice begins with where the results have them: more are seldom at hand."""


def references_at_hand(one: Comparison) -> int:
    """The number of references that advice begins with: the most that was measured, up to ``MOST_AT_HAND``.

    Args:
        one: The runs that may be compared; the fewest references they have if all have more.
    """
    return max((shots for shots in one.shots if shots <= MOST_AT_HAND), default=one.shots[0])


def advise(store: Store, one: Comparison, wanted: Constraints) -> tuple[Candidate, ...]:
    """All methods measured, those to take first.

    Args:
        store: The results.
        one: The runs that may be compared; ablations are not among them.
        wanted: The constraints.
    """
    entries = [entry for entry in in_the_running(one.entries()) if not entry.variant]
    categories = of_kind(one.categories, category_kinds(one.runs), wanted.kind) if wanted.kind else one.categories
    places = cost_table(entries)
    machines = places["hardware_id"].nunique()
    rows: list[dict[str, Any]] = []
    for entry in entries:
        frame = cells(store, [entry], wanted.metric)
        values = frame.loc[frame["category"].isin(categories), "value"].to_numpy(float)
        value = float(values.mean()) if len(values) and not np.isnan(values).any() else math.nan
        cost = places[(places["line"] == entry.id) & (places["shots"] == entry.shots)]
        known = machines == 1 and not cost.empty and not bool(cost["shared"].iloc[0])
        latency = float(cost["latency_ms"].iloc[0]) if known else math.nan
        why = _why_not(entry, value, latency, wanted)
        rows.append({"entry": entry, "value": value, "latency": latency, "why": why})
    table = pd.DataFrame(rows, columns=["entry", "value", "latency", "why"])
    fits = table["why"] == ""
    # Without latencies nothing trades against accuracy: then all cost the same.
    costs = table["latency"].fillna(0.0) if table.loc[fits, "latency"].isna().all() else table["latency"]
    front = pareto(costs.where(fits), table["value"].where(fits))
    order = (fits & front, fits, table["value"].fillna(-1.0))
    ties = _tied_with_best(store, rows, wanted.metric, categories)
    candidates = [_candidate(row, bool(front[i]), table[fits & front], ties) for i, row in enumerate(rows)]
    ranks = list(zip(*(list(part) for part in order), strict=True))
    return tuple(candidate for _, candidate in sorted(zip(ranks, candidates, strict=True), key=_by_rank, reverse=True))


def summary(found: Sequence[Candidate], wanted: Constraints) -> str:
    """The advice in a sentence."""
    taken = {one.entry.key: one for one in found if one.recommended}
    if not taken:
        return "Nothing that was measured fits these constraints."
    label = METRICS[wanted.metric].label
    kind = f" on {KINDS[wanted.kind].lower()}" if wanted.kind else ""
    first = taken[best_first((one.entry, one.value) for one in taken.values())[0].key]
    text = f"Take {named(first)}: {100 * first.value:.1f} % {label}{kind}"
    text += "" if math.isnan(first.latency_ms) else f" at {first.latency_ms:.0f} ms per image"
    quicker = [one for one in taken.values() if one.latency_ms < first.latency_ms]
    if quicker:
        least = min(quicker, key=lambda one: one.latency_ms)
        text += f"; where time is short, {named(least)} ({100 * least.value:.1f} %, {least.latency_ms:.0f} ms)"
    if first.tied:
        some = ", ".join(first.tied[:2]) + (f" and {len(first.tied) - 2} more" if len(first.tied) > 2 else "")
        text += f". Not clearly better than {some} ({OVER_CATEGORIES})"
    return text + "."


def named(one: Candidate) -> str:
    """Its title with the references it uses."""
    entry = one.entry
    if not entry.shots:
        return entry.title
    return f"{entry.title} with {entry.shots} {'reference' if entry.shots == 1 else 'references'}"


def _why_not(entry: Entry, value: float, latency: float, wanted: Constraints) -> str:
    """Why a method does not fit; empty if it does."""
    capabilities = create_method(entry.method).capabilities if entry.method in list_methods() else None
    if entry.shots > wanted.shots:
        return f"needs {entry.shots} normal {'image' if entry.shots == 1 else 'images'}, {wanted.shots} are at hand"
    if capabilities is not None and capabilities.trained and not wanted.may_train:
        return "uses parameters trained on other data with masks"
    if capabilities is not None and capabilities.transductive and not wanted.all_at_once:
        return "must see all images before it judges the first"
    if entry.seen == "yes":
        return "was trained on the images it is judged on"
    if math.isnan(value):
        return f"has no {METRICS[wanted.metric].label} here"
    if wanted.latency_ms is not None and math.isnan(latency):
        return "its latency was not measured"
    if wanted.latency_ms is not None and latency > wanted.latency_ms:
        return f"takes {latency:.0f} ms per image"
    return ""


def _candidate(
    row: Mapping[str, Any], on_front: bool, front: pd.DataFrame, ties: Mapping[EntryKey, tuple[str, ...]]
) -> Candidate:
    entry, why = row["entry"], str(row["why"])
    recommended = on_front and not why
    if recommended:
        reason = "nothing that fits is better at no more cost"
    elif why:
        reason = why
    else:
        no_slower = front["latency"].isna() | (front["latency"] <= row["latency"])
        better = front[(front["value"] >= row["value"]) & no_slower].sort_values("value", ascending=False)
        rival = better.iloc[0]["entry"] if len(better) else None
        reason = f"{rival.title} is as good or better and no slower" if rival is not None else "has no latency"
    return Candidate(entry, row["value"], row["latency"], recommended, reason, ties.get(entry.key, ()))


def _tied_with_best(
    store: Store, rows: Sequence[Mapping[str, Any]], metric: str, categories: Sequence[str]
) -> dict[EntryKey, tuple[str, ...]]:
    """For the best of what fits, the names of those that fit and are not clearly behind it."""
    fitting = best_first((row["entry"], row["value"]) for row in rows if not row["why"])
    if len(fitting) < 2:
        return {}
    pairs = [(0, place) for place in range(1, len(fitting))]
    gaps = differences_between(store, fitting, metric, categories, design=OVER_CATEGORIES, pairs=pairs)
    first, *others = fitting
    return {first.key: tuple(other.name for other in others if gaps.together(first.key, other.key))}


def _by_rank(pair: tuple[tuple[Any, ...], Candidate]) -> tuple[Any, ...]:
    return pair[0]
