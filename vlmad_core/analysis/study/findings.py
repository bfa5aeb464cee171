"""What the results say to one part of a question: figures with intervals, and the sentence that follows from them.

Every sentence is made from numbers here; none is written by hand. Where the results do not carry an answer, the
sentence says so. Intervals are Student's t over categories, paired where two variants are compared: with six or
eight categories the bootstrap's are too narrow. A best one of several is held against the base at a level corrected
for their number (Bonferroni), so that the luckiest of many is not taken for better.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from vlmad_core.metrics.spec import METRICS

LEVEL = 0.95

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A mean over categories with its interval.

    Attributes:
        value: The mean, a fraction.
        low: Lower end of the 95 % interval; NaN with fewer than two categories.
        high: Upper end.
        categories: Number of categories.
    """

    value: float
    low: float
    high: float
    categories: int

    @property
    def clear(self) -> bool:
        """Whether the interval leaves zero out."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Entry:
    """One variant's figures in a part of a question.

    Attributes:
        name: The variant.
        label: How it is shown.
        estimate: Its value.
        gain: Against the base, paired by category; None for the base itself.
        run_ids: The runs it comes from.
        note: What must be said of it, e.g. that it is contaminated.
        x: Its place on the horizontal axis, where there is one (references, prompts, milliseconds).
        spread: Standard deviation between draws, where there are any.
    """

    name: str
    label: str
    estimate: Estimate
    gain: Estimate | None = None
    run_ids: tuple[str, ...] = ()
    note: str = ""
    x: float = math.nan
    spread: float = math.nan


@dataclass(frozen=True)
class Finding:
    """The answer to one part.

    Attributes:
        name: The part.
        ask: Its question.
        metric: Name of the metric.
        sentence: The answer; what is missing where there is none.
        answered: Whether the results carry an answer.
        entries: The figures, in the plan's order.
        images: Number of test images they rest on.
        kind: ``contrast``, ``spread``, ``ladder`` or ``cost``: how it is drawn.
    """

    name: str
    ask: str
    metric: str
    sentence: str
    answered: bool
    entries: tuple[Entry, ...] = ()
    images: int = 0
    kind: str = "contrast"


@dataclass(frozen=True)
class Measured:
    """What was measured of one variant.

    Attributes:
        name: The variant.
        label: How it is shown.
        values: By category, each the mean over draws of references.
        draws: By category, one value per draw.
        run_ids: The runs.
        images: Test images.
    """

    name: str
    label: str
    values: Mapping[str, float]
    draws: Mapping[str, Sequence[float]] = field(default_factory=dict)
    run_ids: tuple[str, ...] = ()
    images: int = 0


def mean_interval(values: Sequence[float], level: float = LEVEL) -> Estimate:
    """Mean with Student's t interval.

    >>> estimate = mean_interval([0.6, 0.7, 0.8])
    >>> round(estimate.value, 3), round(estimate.low, 3), round(estimate.high, 3)
    (0.7, 0.452, 0.948)
    """
    numbers = np.asarray(values, dtype=float)
    if len(numbers) < 2:
        return Estimate(float(numbers.mean()) if len(numbers) else math.nan, math.nan, math.nan, len(numbers))
    half = stats.t.ppf(0.5 + level / 2, len(numbers) - 1) * numbers.std(ddof=1) / math.sqrt(len(numbers))
    return Estimate(float(numbers.mean()), float(numbers.mean() - half), float(numbers.mean() + half), len(numbers))


def gain_over(one: Measured, base: Measured, level: float = LEVEL) -> Estimate:
    """Mean difference over the categories both have, paired."""
    shared = sorted(set(one.values) & set(base.values))
    return mean_interval([one.values[name] - base.values[name] for name in shared], level)


def contrast(
    name: str, ask: str, metric: str, base: str, found: Sequence[Measured], contaminated: Sequence[str] = ()
) -> Finding:
    """Hold variants against one of them.

    Args:
        name: The part.
        ask: Its question.
        metric: Name of the metric.
        base: The variant the others are held against.
        found: What was measured, the base included where it was.
        contaminated: Variants trained on what they are judged on; they may lead, but are said to be.
    """
    by_name = {one.name: one for one in found}
    others = [one for one in found if one.name != base]
    if base not in by_name or not others:
        missing = "the one they are held against" if base not in by_name else "anything to hold against it"
        return Finding(name, ask, metric, f"Not answered: the results lack {missing}.", False)
    reference = by_name[base]
    # One test per rival: the level of each makes that of all together 95 %.
    level = 1 - (1 - LEVEL) / len(others)
    gains = {one.name: gain_over(one, reference, level) for one in others}
    entries = tuple(
        Entry(
            one.name,
            one.label,
            mean_interval(list(one.values.values())),
            gains.get(one.name),
            one.run_ids,
            "contaminated: trained on what it is judged on" if one.name in contaminated else "",
        )
        for one in found
    )
    usable = {key: gain for key, gain in gains.items() if gain.categories >= 2}
    if not usable:
        return Finding(name, ask, metric, "Not answered: fewer than two categories in common.", False, entries)
    best = max(usable, key=lambda key: usable[key].value)
    sentence = _verdict(metric, by_name[best], reference, usable[best], usable, by_name)
    if best in contaminated:
        sentence += " It was trained on the very images it is judged on, so this is no fair gain."
    return Finding(name, ask, metric, sentence, True, entries, reference.images)


def _verdict(
    metric: str,
    best: Measured,
    base: Measured,
    gain: Estimate,
    gains: Mapping[str, Estimate],
    by_name: Mapping[str, Measured],
) -> str:
    label = METRICS[metric].label
    shared = sorted(set(best.values) & set(base.values))
    value, reference = (float(np.mean([one.values[c] for c in shared])) for one in (best, base))
    figures = f"{percent(value)} against {percent(reference)} {label}, {points(gain)}"
    if gain.low > 0:
        worse = [by_name[key].label for key, other in gains.items() if other.high < 0]
        tail = f" Below {base.label}: {_listed(worse)}." if worse else ""
        return f"{_first(best.label)} beats {base.label}: {figures}.{tail}"
    if all(other.high < 0 for other in gains.values()):
        what = "All others fall" if len(gains) > 1 else f"{_first(best.label)} falls"
        nearest = f"; nearest is {best.label}" if len(gains) > 1 else ""
        return f"{what} behind {base.label}{nearest}: {figures}."
    if gain.high < 0:  # the nearest falls behind, but one farther off varies too much to say
        unclear = _listed([by_name[key].label for key, other in gains.items() if other.high >= 0])
        return f"{_first(base.label)} is highest, clearly ahead of {best.label} ({figures}), but not of {unclear}."
    lead = f"{_first(best.label)} is highest" if gain.value > 0 else f"{_first(base.label)} is highest"
    rival = base.label if gain.value > 0 else best.label
    return f"No clear difference: {lead}, but not clearly ahead of {rival} ({figures})."


def ladder(name: str, ask: str, metric: str, steps: Sequence[tuple[int, Measured]]) -> Finding:
    """A method with more and more references: what the first bring, what more bring, what their choice does.

    Args:
        name: The part.
        ask: Its question.
        metric: Name of the metric.
        steps: (references, what was measured), by number of references.
    """
    label = METRICS[metric].label
    steps = sorted(steps, key=lambda step: step[0])
    entries = tuple(
        Entry(
            one.name,
            f"{shots} references" if shots != 1 else "1 reference",
            mean_interval(list(one.values.values())),
            gain_over(one, steps[0][1]) if shots != steps[0][0] else None,
            one.run_ids,
            x=float(shots),
            spread=_between_draws(one),
        )
        for shots, one in steps
    )
    if len(steps) < 2:
        return Finding(name, ask, metric, "Not answered: fewer than two numbers of references.", False, entries)
    (first, start), (last, end) = steps[0], steps[-1]
    gain = gain_over(end, start)
    if gain.categories < 2:
        return Finding(name, ask, metric, "Not answered: fewer than two categories in common.", False, entries)
    word = "bring" if gain.low > 0 else "cost" if gain.high < 0 else "make no clear difference"
    change = "" if word == "make no clear difference" else f" {abs(100 * gain.value):.1f} points of {label}"
    sentence = (
        f"From {first} to {last} references: they {word}{change} "
        f"({percent(_mean(start))} to {percent(_mean(end))}, {points(gain)})."
    )
    if len(steps) > 2:
        before, middle = steps[-2]
        late = gain_over(end, middle)
        sentence += f" The step from {before} to {last} is {'clear' if late.clear else 'not clear'} ({points(late)})."
    spreads = [(entry.x, entry.spread) for entry in entries if not math.isnan(entry.spread)]
    if spreads:
        few, sd = spreads[0]
        drawn = "Which reference is drawn" if few == 1 else f"Which {few:.0f} references are drawn"
        sentence += f" {drawn} moves the mean by {100 * sd:.1f} points (sd)."
    return Finding(name, ask, metric, sentence, True, entries, end.images, "ladder")


def spread(
    name: str, ask: str, metric: str, groups: Sequence[tuple[int, Sequence[Measured]]], full: Measured | None
) -> Finding:
    """Random sub-ensembles of growing size.

    Args:
        name: The part.
        ask: Its question.
        metric: Name of the metric.
        groups: (prompts per class, the draws of that size), by size.
        full: The full ensemble.
    """
    label = METRICS[metric].label
    groups = sorted((size, list(draws)) for size, draws in groups if len(draws) >= 2)
    if full is None or not groups:
        return Finding(name, ask, metric, "Not answered: the results lack random sub-ensembles.", False)
    entries = [_drawn(size, draws) for size, draws in groups]
    entries.append(Entry(full.name, full.label, mean_interval(list(full.values.values())), None, full.run_ids))
    smallest, largest = entries[0], entries[-2]
    size = groups[0][0]
    means = [_mean(one) for one in groups[0][1]]
    sentence = (
        f"With {size} {'prompt' if size == 1 else 'prompts'} per class, the choice of words moves {label} by "
        f"{100 * smallest.spread:.1f} points (sd over {len(means)} draws, {percent(min(means))} to "
        f"{percent(max(means))}); with {groups[-1][0]} by {100 * largest.spread:.1f}."
    )
    gain = gain_over(full, _average(groups[0][1]))
    side = "clearly above" if gain.low > 0 else "clearly below" if gain.high < 0 else "not clearly different from"
    sentence += f" The full ensemble is {side} the average draw of {size} ({points(gain)})."
    return Finding(name, ask, metric, sentence, True, tuple(entries), full.images, "spread")


def costs(name: str, ask: str, metric: str, points_: Sequence[tuple[float, Measured]], within: float = 0.01) -> Finding:
    """Accuracy against latency.

    Args:
        name: The part.
        ask: Its question.
        metric: Name of the metric.
        points_: (milliseconds per image, what was measured), all on one machine.
        within: How far below the best still counts as nearly as good, a fraction.
    """
    known = [(ms, one) for ms, one in points_ if not math.isnan(ms) and one.values]
    entries = tuple(
        Entry(one.name, one.label, mean_interval(list(one.values.values())), None, one.run_ids, x=ms)
        for ms, one in known
    )
    if len(known) < 2:
        return Finding(name, ask, metric, "Not answered: fewer than two latencies were measured.", False, entries)
    label = METRICS[metric].label
    best_ms, best = max(known, key=lambda pair: _mean(pair[1]))
    near = [(ms, one) for ms, one in known if _mean(one) >= _mean(best) - within]
    cheap_ms, cheap = min(near, key=lambda pair: pair[0])
    fast_ms, fast = min(known, key=lambda pair: pair[0])
    if cheap.name == best.name:
        sentence = f"{_first(best.label)} is best ({percent(_mean(best))} {label}) at {best_ms:.0f} ms per image, and "
        sentence += f"nothing cheaper comes within {100 * within:.0f} point."
    else:
        sentence = f"{_first(cheap.label)} reaches {percent(_mean(cheap))} {label} in {cheap_ms:.0f} ms per image, "
        sentence += f"within {100 * within:.0f} point of the best, {best.label} ({best_ms:.0f} ms)."
    if fast.name != cheap.name:
        gain = gain_over(cheap, fast)
        sentence += f" The fastest, {fast.label} ({fast_ms:.0f} ms), gives up {100 * gain.value:.1f} points."
    return Finding(name, ask, metric, sentence, True, entries, best.images, "cost")


def percent(value: float) -> str:
    """A fraction in percent, with one decimal."""
    return f"{100 * value:.1f} %"


def points(gain: Estimate) -> str:
    """A difference in points, with its interval and the number of categories."""
    return (
        f"{100 * gain.value:+.1f} points [{100 * gain.low:+.1f}, {100 * gain.high:+.1f}] over "
        f"{gain.categories} categories"
    )


def _mean(one: Measured) -> float:
    return float(np.mean(list(one.values.values())))


def _between_draws(one: Measured) -> float:
    """Standard deviation, between draws, of the mean over categories."""
    counts = {len(values) for values in one.draws.values()}
    if len(counts) != 1 or min(counts) < 2:
        return math.nan
    return float(np.std(np.array(list(one.draws.values())).mean(axis=0), ddof=1))


def _average(draws: Sequence[Measured]) -> Measured:
    shared = set.intersection(*(set(one.values) for one in draws))
    values = {name: float(np.mean([one.values[name] for one in draws])) for name in sorted(shared)}
    return Measured("average", "the average draw", values)


def _drawn(size: int, draws: Sequence[Measured]) -> Entry:
    sd = float(np.std([_mean(one) for one in draws], ddof=1))
    runs = tuple(run for one in draws for run in one.run_ids)
    label = f"{size} prompts per class" if size != 1 else "1 prompt per class"
    estimate = mean_interval(list(_average(draws).values.values()))
    return Entry(f"size_{size}", label, estimate, None, runs, x=float(size), spread=sd)


def _first(label: str) -> str:
    return label[:1].upper() + label[1:]


def _listed(labels: Sequence[str]) -> str:
    return labels[0] if len(labels) == 1 else f"{', '.join(labels[:-1])} and {labels[-1]}"


def findings_table(findings: Sequence[Finding]) -> pd.DataFrame:
    """The figures of several parts, one row for each variant.

    Args:
        findings: The parts.

    Returns:
        part, variant, metric (its label), value, low, high, gain, spread (fractions, NaN where missing), categories,
        note, runs, x (its place on the horizontal axis).
    """
    rows = [
        {
            "part": finding.ask,
            "variant": entry.label,
            "metric": METRICS[finding.metric].label,
            "value": entry.estimate.value,
            "low": entry.estimate.low,
            "high": entry.estimate.high,
            "gain": math.nan if entry.gain is None else entry.gain.value,
            "spread": entry.spread,
            "categories": entry.estimate.categories,
            "note": entry.note,
            "runs": ", ".join(entry.run_ids),
            "x": entry.x,
        }
        for finding in findings
        for entry in finding.entries
    ]
    columns = ["part", "variant", "metric", "value", "low", "high", "gain", "spread", "categories", "note", "runs", "x"]
    return pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(("value", "low", "high", "gain", "x"), float))
