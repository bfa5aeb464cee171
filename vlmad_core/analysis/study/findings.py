"""What the results say to one part of a question: figures with intervals, and the sentence that follows from them.

Every sentence is made from numbers here; none is written by hand. Where the results do not carry an answer, the
sentence says so. Intervals and comparisons are over categories (``vlmad_core.analysis.statistics``). What one part
compares is corrected together, so that the luckiest of many is not taken for better.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from vlmad_core.analysis.statistics import (
    FEWEST_CATEGORIES,
    MeanInterval,
    PairedDifference,
    compare_over_categories,
    mean_interval,
)
from vlmad_core.metrics.spec import METRICS


@dataclass(frozen=True)
class VariantFigures:
    """One variant's figures in a part of a question.

    Attributes:
        name: The variant.
        label: How it is shown.
        estimate: Its value.
        gain: The variant minus the base; None for the base itself.
        run_ids: The runs it comes from.
        note: What must be said of it, e.g. that it is contaminated.
        x: Its place on the horizontal axis, where there is one (references, prompts, milliseconds).
        spread: Standard deviation between draws, where there are any.
    """

    name: str
    label: str
    estimate: MeanInterval
    gain: PairedDifference | None = None
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
        figures: One for each variant, in the plan's order.
        images: Number of test images they rest on.
        kind: ``contrast``, ``spread``, ``ladder`` or ``cost``: how it is drawn.
    """

    name: str
    ask: str
    metric: str
    sentence: str
    answered: bool
    figures: tuple[VariantFigures, ...] = ()
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
    gains = dict(zip([one.name for one in others], _gains(others, reference), strict=True))
    figures = tuple(
        VariantFigures(
            one.name,
            one.label,
            mean_interval(list(one.values.values())),
            gains.get(one.name),
            one.run_ids,
            "contaminated: trained on what it is judged on" if one.name in contaminated else "",
        )
        for one in found
    )
    usable = {key: gain for key, gain in gains.items() if gain.p is not None}
    if not usable:
        return Finding(
            name, ask, metric, f"Not answered: fewer than {FEWEST_CATEGORIES} categories in common.", False, figures
        )
    best = max(usable, key=lambda key: usable[key].value or 0.0)
    sentence = _verdict(metric, by_name[best], reference, usable[best], usable, by_name)
    if best in contaminated:
        sentence += " It was trained on the very images it is judged on, so this is no fair gain."
    return Finding(name, ask, metric, sentence, True, figures, reference.images)


def _verdict(
    metric: str,
    best: Measured,
    base: Measured,
    gain: PairedDifference,
    gains: Mapping[str, PairedDifference],
    by_name: Mapping[str, Measured],
) -> str:
    label = METRICS[metric].label
    shared = sorted(set(best.values) & set(base.values))
    value, reference = (float(np.mean([one.values[c] for c in shared])) for one in (best, base))
    figures = f"{percent(value)} against {percent(reference)} {label}, {points(gain)}"
    if gain.ahead:
        worse = [by_name[key].label for key, other in gains.items() if other.behind]
        tail = f" Below {base.label}: {_listed(worse)}." if worse else ""
        return f"{_first(best.label)} beats {base.label}: {figures}.{tail}"
    if all(other.behind for other in gains.values()):
        what = "All others fall" if len(gains) > 1 else f"{_first(best.label)} falls"
        nearest = f"; nearest is {best.label}" if len(gains) > 1 else ""
        return f"{what} behind {base.label}{nearest}: {figures}."
    if gain.behind:  # the nearest falls behind, but one farther off varies too much to say
        unclear = _listed([by_name[key].label for key, other in gains.items() if not other.behind])
        return f"{_first(base.label)} is highest, clearly ahead of {best.label} ({figures}), but not of {unclear}."
    higher = gain.value is not None and gain.value > 0
    lead = f"{_first(best.label if higher else base.label)} is highest"
    rival = base.label if higher else best.label
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
    gains = _gains([one for _, one in steps[1:]], steps[0][1]) if steps else ()
    figures = tuple(
        VariantFigures(
            one.name,
            f"{shots} references" if shots != 1 else "1 reference",
            mean_interval(list(one.values.values())),
            gain,
            one.run_ids,
            x=float(shots),
            spread=_between_draws(one),
        )
        for (shots, one), gain in zip(steps, (None, *gains), strict=False)
    )
    if len(steps) < 2:
        return Finding(name, ask, metric, "Not answered: fewer than two numbers of references.", False, figures)
    (first, start), (last, end) = steps[0], steps[-1]
    before, middle = steps[-2]
    # Two things are said below; they are corrected together.
    pairs = [(0, 1), (0, 2)] if len(steps) > 2 else [(0, 1)]
    gain, *late = compare_over_categories([end.values, start.values, middle.values], pairs)
    if gain.p is None:
        return Finding(
            name, ask, metric, f"Not answered: fewer than {FEWEST_CATEGORIES} categories in common.", False, figures
        )
    word = "bring" if gain.ahead else "cost" if gain.behind else "make no clear difference"
    change = "" if word == "make no clear difference" else f" {abs(100 * (gain.value or 0.0)):.1f} points of {label}"
    sentence = (
        f"From {first} to {last} references: they {word}{change} "
        f"({percent(_mean(start))} to {percent(_mean(end))}, {points(gain)})."
    )
    for step in late:
        sentence += f" The step from {before} to {last} is {'clear' if step.clear else 'not clear'} ({points(step)})."
    spreads = [(one.x, one.spread) for one in figures if not math.isnan(one.spread)]
    if spreads:
        few, sd = spreads[0]
        drawn = "Which reference is drawn" if few == 1 else f"Which {few:.0f} references are drawn"
        sentence += f" {drawn} moves the mean by {100 * sd:.1f} points (sd)."
    return Finding(name, ask, metric, sentence, True, figures, end.images, "ladder")


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
    figures = [_drawn(size, draws) for size, draws in groups]
    figures.append(VariantFigures(full.name, full.label, mean_interval(list(full.values.values())), None, full.run_ids))
    smallest, largest = figures[0], figures[-2]
    size = groups[0][0]
    means = [_mean(one) for one in groups[0][1]]
    sentence = (
        f"With {size} {'prompt' if size == 1 else 'prompts'} per class, the choice of words moves {label} by "
        f"{100 * smallest.spread:.1f} points (sd over {len(means)} draws, {percent(min(means))} to "
        f"{percent(max(means))}); with {groups[-1][0]} by {100 * largest.spread:.1f}."
    )
    (gain,) = _gains([full], _average(groups[0][1]))
    side = "clearly above" if gain.ahead else "clearly below" if gain.behind else "not clearly different from"
    sentence += f" The full ensemble is {side} the average draw of {size} ({points(gain)})."
    return Finding(name, ask, metric, sentence, True, tuple(figures), full.images, "spread")


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
    figures = tuple(
        VariantFigures(one.name, one.label, mean_interval(list(one.values.values())), None, one.run_ids, x=ms)
        for ms, one in known
    )
    if len(known) < 2:
        return Finding(name, ask, metric, "Not answered: fewer than two latencies were measured.", False, figures)
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
        (gain,) = _gains([cheap], fast)
        sentence += f" The fastest, {fast.label} ({fast_ms:.0f} ms), gives up {100 * (gain.value or 0.0):.1f} points."
    return Finding(name, ask, metric, sentence, True, figures, best.images, "cost")


def percent(value: float) -> str:
    """A fraction in percent, with one decimal."""
    return f"{100 * value:.1f} %"


def points(gain: PairedDifference) -> str:
    """A difference in points, with its interval and what it rests on; the corrected p-value where many were made."""
    text = f"{100 * (gain.value or 0.0):+.1f} points"
    if gain.low is not None and gain.high is not None:
        text += f" [{100 * gain.low:+.1f}, {100 * gain.high:+.1f}]"
    text += f" over {gain.n} categories"
    if gain.pairs > 1 and gain.p_corrected is not None:
        text += f", p = {gain.p_corrected:.2g} corrected for {gain.pairs} pairs"
    return text


def _gains(some: Sequence[Measured], base: Measured) -> tuple[PairedDifference, ...]:
    """Each of some variants minus the base, corrected together."""
    return compare_over_categories(
        [base.values, *(one.values for one in some)], [(k, 0) for k in range(1, len(some) + 1)]
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


def _drawn(size: int, draws: Sequence[Measured]) -> VariantFigures:
    sd = float(np.std([_mean(one) for one in draws], ddof=1))
    runs = tuple(run for one in draws for run in one.run_ids)
    label = f"{size} prompts per class" if size != 1 else "1 prompt per class"
    estimate = mean_interval(list(_average(draws).values.values()))
    return VariantFigures(f"size_{size}", label, estimate, None, runs, x=float(size), spread=sd)


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
            "variant": one.label,
            "metric": METRICS[finding.metric].label,
            "value": one.estimate.value,
            "low": one.estimate.low,
            "high": one.estimate.high,
            "gain": math.nan if one.gain is None else one.gain.value,
            "spread": one.spread,
            "categories": one.estimate.categories,
            "note": one.note,
            "runs": ", ".join(one.run_ids),
            "x": one.x,
        }
        for finding in findings
        for one in finding.figures
    ]
    columns = ["part", "variant", "metric", "value", "low", "high", "gain", "spread", "categories", "note", "runs", "x"]
    return pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(("value", "low", "high", "gain", "x"), float))
