"""What the results say to one part of a question: figures with intervals, and the sentences that follow from them.

Every sentence is made from numbers here; none is written by hand. Each part is answered under both designs
(``vlmad_core.analysis.study.comparing``); where the results do not carry an answer, the sentence says so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from vlmad_core.analysis.statistics import (
    DESIGNS,
    OVER_CATEGORIES,
    OVER_IMAGES,
    Design,
    MeanInterval,
    PairedDifference,
    mean_interval,
)
from vlmad_core.analysis.study.comparing import (
    ON,
    Gains,
    Measured,
    against,
    average,
    between_draws,
    first_upper,
    held,
    leader,
    needed,
    percent,
    points,
    reason_of,
    tested,
    verdicts,
    wholly_tested,
    why_not,
)
from vlmad_core.metrics.spec import METRICS

NEARLY = 0.01
"""How far below the best still counts as nearly as good, a fraction."""

Places = Sequence[tuple[float, Measured]]
"""Milliseconds per image, with what was measured."""


@dataclass(frozen=True)
class VariantFigures:
    """One variant's figures in a part of a question.

    Attributes:
        name: The variant.
        label: How it is shown.
        estimate: Its value.
        gain: The variant minus the base over categories; None for the base itself.
        gain_here: The same over images.
        run_ids: The runs it comes from.
        note: What must be said of it, e.g. that it is contaminated.
        x: Its place on the horizontal axis, where there is one (references, prompts, milliseconds).
        spread: Standard deviation between draws, where there are any.
    """

    name: str
    label: str
    estimate: MeanInterval
    gain: PairedDifference | None = None
    gain_here: PairedDifference | None = None
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
        on_these: The answer for other images of these parts; what is missing where there is no answer at all.
        on_others: The answer for other parts; empty where there is no answer at all.
        answered: Whether the results carry an answer.
        lead: What must be read first; often empty.
        more: What else is to be known; often empty.
        whole: Whether all that it holds against one another could be compared under both designs.
        figures: One for each variant, in the plan's order.
        images: Number of test images they rest on.
        kind: ``contrast``, ``spread``, ``ladder`` or ``cost``: how it is drawn.
    """

    name: str
    ask: str
    metric: str
    on_these: str
    on_others: str
    answered: bool
    figures: tuple[VariantFigures, ...] = ()
    images: int = 0
    kind: str = "contrast"
    lead: str = ""
    more: str = ""
    whole: bool = False

    @property
    def short(self) -> tuple[str, ...]:
        """The answer in a few sentences, over images first."""
        return tuple(text for text in (self.lead, self.on_these, self.on_others) if text)

    @property
    def sentences(self) -> tuple[str, ...]:
        """All of them."""
        return (*self.short, *([self.more] if self.more else []))

    @property
    def sentence(self) -> str:
        """All of them in one text."""
        return " ".join(self.sentences)


def unanswered(
    name: str, ask: str, metric: str, missing: str, figures: tuple[VariantFigures, ...] = (), kind: str = "contrast"
) -> Finding:
    """A part without an answer, with what is missing."""
    return Finding(name, ask, metric, f"Not answered: {missing}.", "", False, figures, kind=kind)


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
        return unanswered(name, ask, metric, f"the results lack {missing}")
    reference = by_name[base]
    gains = against(reference, others)
    here, there = (dict(zip([one.name for one in others], gains[design], strict=True)) for design in DESIGNS)
    figures = tuple(
        VariantFigures(
            one.name,
            one.label,
            mean_interval(list(one.values.values())),
            there.get(one.name),
            here.get(one.name),
            one.run_ids,
            "contaminated: trained on what it is judged on" if one.name in contaminated else "",
        )
        for one in found
    )
    if not tested(gains):
        return unanswered(name, ask, metric, reason_of(gains[OVER_CATEGORIES]), figures)
    on_these, on_others = verdicts(metric, reference, others, gains)
    usable = [{key: gap for key, gap in some.items() if gap.p is not None} for some in (here, there)]
    seen = [by_name[key].label for key in {leader(some): None for some in usable if some} if key in contaminated]
    lead = f"No fair gain: {seen[0]} means trained on the very images it is judged on." if seen else ""
    return Finding(
        name, ask, metric, on_these, on_others, True, figures, reference.images, lead=lead, whole=wholly_tested(gains)
    )


def ladder(name: str, ask: str, metric: str, steps: Sequence[tuple[int, Measured]]) -> Finding:
    """A method with more and more references: what the first bring, what more bring, what their choice does.

    Args:
        name: The part.
        ask: Its question.
        metric: Name of the metric.
        steps: (references, what was measured), by number of references.
    """
    steps = sorted(steps, key=lambda step: step[0])
    gains = against(steps[0][1], [one for _, one in steps[1:]]) if len(steps) > 1 else {}
    figures = tuple(
        VariantFigures(
            one.name,
            one.label,
            mean_interval(list(one.values.values())),
            gains[OVER_CATEGORIES][place - 1] if place else None,
            gains[OVER_IMAGES][place - 1] if place else None,
            one.run_ids,
            x=float(shots),
            spread=between_draws(one),
        )
        for place, (shots, one) in enumerate(steps)
    )
    if len(steps) < 2:
        return unanswered(name, ask, metric, "fewer than two numbers of references", figures, "ladder")
    (first, start), (last, end) = steps[0], steps[-1]
    before, middle = steps[-2]
    # Two things are said below; they are corrected together.
    said = held([end, start, middle], [(0, 1), (0, 2)] if len(steps) > 2 else [(0, 1)])
    if not tested(said):
        return unanswered(name, ask, metric, reason_of(said[OVER_CATEGORIES]), figures, "ladder")
    values = f"{percent(start.mean)} to {percent(end.mean)} {METRICS[metric].label}, "
    sentences, late = [], []
    for design in DESIGNS:
        gain, *step = said[design]
        if gain.p is None:
            sentences.append(f"{ON[design]}: {why_not(said[design])}.")
            continue
        word = "bring accuracy" if gain.ahead else "cost accuracy" if gain.behind else "make no clear difference"
        sentences.append(
            f"{ON[design]}: from {first} to {last} references, they {word} ({values}{points(gain)}){needed(gain)}."
        )
        values = ""
        late += [
            f"{'clear' if one.clear else 'not clear'} {ON[design].lower()} ({points(one)})" for one in step if one.p
        ]
    more = [f"The step from {before} to {last} is {' and '.join(late)}."] if late else []
    spreads = [(one.x, one.spread) for one in figures if not math.isnan(one.spread)]
    if spreads:
        few, sd = spreads[0]
        drawn = "Which reference is drawn" if few == 1 else f"Which {few:.0f} references are drawn"
        more.append(f"{drawn} moves the mean by {100 * sd:.1f} points (sd).")
    on_these, on_others = sentences
    return Finding(
        name,
        ask,
        metric,
        on_these,
        on_others,
        True,
        figures,
        end.images,
        "ladder",
        more=" ".join(more),
        whole=wholly_tested(said),
    )


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
        return unanswered(name, ask, metric, "the results lack random sub-ensembles", kind="spread")
    figures = [_drawn(size, draws) for size, draws in groups]
    figures.append(
        VariantFigures(full.name, full.label, mean_interval(list(full.values.values())), run_ids=full.run_ids)
    )
    smallest, largest = figures[0], figures[-2]
    size = groups[0][0]
    means = [one.mean for one in groups[0][1]]
    lead = (
        f"With {size} {'prompt' if size == 1 else 'prompts'} per class, the choice of words moves {label} by "
        f"{100 * smallest.spread:.1f} points (sd over {len(means)} draws, {percent(min(means))} to "
        f"{percent(max(means))}); with {groups[-1][0]} by {100 * largest.spread:.1f}."
    )
    gains = against(average(groups[0][1]), [full])
    sentences = []
    for design in DESIGNS:
        (gain,) = gains[design]
        side = "clearly above" if gain.ahead else "clearly below" if gain.behind else "not clearly different from"
        what = f"the full ensemble is {side} the average draw of {size} ({points(gain)}){needed(gain)}"
        sentences.append(f"{ON[design]}: {what if gain.p is not None else why_not(gains[design])}.")
    on_these, on_others = sentences
    return Finding(
        name,
        ask,
        metric,
        on_these,
        on_others,
        True,
        tuple(figures),
        full.images,
        "spread",
        lead,
        whole=wholly_tested(gains),
    )


def costs(name: str, ask: str, metric: str, places: Places) -> Finding:
    """Accuracy against latency.

    Args:
        name: The part.
        ask: Its question.
        metric: Name of the metric.
        places: Milliseconds per image and what was measured, all on one machine.
    """
    figures = tuple(
        VariantFigures(one.name, one.label, mean_interval(list(one.values.values())), run_ids=one.run_ids, x=ms)
        for ms, one in places
    )
    if len(places) < 2:
        return unanswered(name, ask, metric, "fewer than two latencies were measured", figures, "cost")
    label, within = METRICS[metric].label, f"within {100 * NEARLY:.0f} point"
    best_ms, best = max(places, key=lambda pair: pair[1].mean)
    cheap_ms, cheap = nearly_best(places)
    fast_ms, fast = fastest(places)
    if cheap.name == best.name:
        lead = f"{first_upper(best.label)} is best ({percent(best.mean)} {label}) at {best_ms:.0f} ms per image, and "
        lead += f"nothing cheaper comes {within}."
    else:
        lead = f"{first_upper(cheap.label)} reaches {percent(cheap.mean)} {label} in {cheap_ms:.0f} ms per image, "
        lead += f"{within} of the best, {best.label} ({best_ms:.0f} ms)."
    if fast.name == cheap.name:
        return Finding(
            name, ask, metric, "It is the fastest, too.", "", True, figures, best.images, "cost", lead, whole=True
        )
    gains = against(fast, [cheap])
    on_these, on_others = (_given_up(design, fast, fast_ms, gains) for design in DESIGNS)
    return Finding(
        name, ask, metric, on_these, on_others, True, figures, best.images, "cost", lead, whole=wholly_tested(gains)
    )


def nearly_best(places: Places) -> tuple[float, Measured]:
    """The quickest of those that are nearly as good as the best."""
    best = max(one.mean for _, one in places)
    return min([pair for pair in places if pair[1].mean >= best - NEARLY], key=lambda pair: pair[0])


def fastest(places: Places) -> tuple[float, Measured]:
    """The quickest of all."""
    return min(places, key=lambda pair: pair[0])


def _given_up(design: Design, fast: Measured, milliseconds: float, gains: Gains) -> str:
    """What the quickest of the nearly best, which was named before, has over the fastest of all."""
    (gain,) = gains[design]
    if gain.p is None:
        return f"{ON[design]}: {why_not(gains[design])}."
    side = "clearly ahead of" if gain.ahead else "clearly behind" if gain.behind else "not clearly different from"
    which = f"the fastest, {fast.label} at {milliseconds:.0f} ms"
    return f"{ON[design]}: it is {side} {which} ({points(gain)}){needed(gain)}."


def _drawn(size: int, draws: Sequence[Measured]) -> VariantFigures:
    sd = float(np.std([one.mean for one in draws], ddof=1))
    runs = tuple(run for one in draws for run in one.run_ids)
    label = f"{size} prompts per class" if size != 1 else "1 prompt per class"
    estimate = mean_interval(list(average(draws).values.values()))
    return VariantFigures(f"size_{size}", label, estimate, run_ids=runs, x=float(size), spread=sd)


def findings_table(findings: Sequence[Finding]) -> pd.DataFrame:
    """The figures of several parts, one row for each variant.

    Args:
        findings: The parts.

    Returns:
        part, variant, metric (its label), value, low, high, gain, spread (fractions, NaN where missing), p_images and
        p_categories (corrected p-values of the gain under each design), categories, note, runs, x (its place on the
        horizontal axis).
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
            "p_images": None if one.gain_here is None else one.gain_here.p_corrected,
            "p_categories": None if one.gain is None else one.gain.p_corrected,
            "categories": one.estimate.categories,
            "note": one.note,
            "runs": ", ".join(one.run_ids),
            "x": one.x,
        }
        for finding in findings
        for one in finding.figures
    ]
    numbers = ("value", "low", "high", "gain", "spread", "p_images", "p_categories", "x")
    columns = ["part", "variant", "metric", *numbers[:-1], "categories", "note", "runs", "x"]
    return pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(numbers, float))
