"""Variants held against one another under both designs, and what follows in words.

Over images comes first: would other images of these parts change it? Then over categories: would other parts? Each is
one sentence. What one sentence compares is corrected together, so that the luckiest of many is not taken for better.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from vlmad_core.analysis.statistics import (
    DESIGNS,
    MOST_CATEGORIES,
    OVER_CATEGORIES,
    OVER_IMAGES,
    Design,
    PairedDifference,
    Pairs,
    categories_needed,
    compare_over_categories,
    compare_over_images,
)
from vlmad_core.libraries import stats
from vlmad_core.metrics.resampling import Replicates, mean_over_seeds
from vlmad_core.metrics.spec import METRICS

ON: Mapping[Design, str] = {OVER_IMAGES: "On these parts", OVER_CATEGORIES: "On other parts"}
"""What a sentence of each design begins with."""

ABOUT_ZERO = 0.001
"""Differences below this, a tenth of a point, are not worth more categories."""

Gains = Mapping[Design, tuple[PairedDifference, ...]]
"""The same pairs under each design."""


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
        replicates: Its mean over categories on resampled images; None if it can't be compared over images.
        not_replicated: Why there are none; empty where that lies with what it was to be compared with.
    """

    name: str
    label: str
    values: Mapping[str, float]
    draws: Mapping[str, Sequence[float]] = field(default_factory=dict)
    run_ids: tuple[str, ...] = ()
    images: int = 0
    replicates: Replicates | None = None
    not_replicated: str = ""

    @property
    def mean(self) -> float:
        """Its mean over categories, a fraction."""
        return float(np.mean(list(self.values.values())))


def held(some: Sequence[Measured], pairs: Pairs) -> dict[Design, tuple[PairedDifference, ...]]:
    """Compare variants under both designs; under each, all pairs are corrected together.

    Args:
        some: The variants.
        pairs: Which to compare, by their places.

    Returns:
        For each design the differences in the order of the pairs; without a p-value, but with a reason, where two
        can't be compared.
    """
    return {
        OVER_IMAGES: _over_images(some, pairs),
        OVER_CATEGORIES: compare_over_categories([one.values for one in some], pairs),
    }


def against(base: Measured, others: Sequence[Measured]) -> dict[Design, tuple[PairedDifference, ...]]:
    """Each of some variants minus the base, under both designs."""
    return held([base, *others], [(place, 0) for place in range(1, len(others) + 1)])


def tested(gains: Gains) -> bool:
    """Whether any pair could be compared under either design."""
    return any(one.p is not None for some in gains.values() for one in some)


def wholly_tested(gains: Gains) -> bool:
    """Whether every pair could be compared under both designs."""
    return all(one.p is not None for some in gains.values() for one in some)


def average(draws: Sequence[Measured]) -> Measured:
    """The average of several variants, category by category and resample by resample."""
    shared = set.intersection(*(set(one.values) for one in draws))
    values = {name: float(np.mean([one.values[name] for one in draws])) for name in sorted(shared)}
    replicates = [one.replicates for one in draws if one.replicates is not None]
    whole = len(replicates) == len(draws) and len({one.design for one in replicates}) == 1
    why = next((one.not_replicated for one in draws if one.not_replicated), "")
    return Measured(
        "average", "the average draw", values,
        replicates=mean_over_seeds(replicates) if whole else None, not_replicated=why,
    )  # fmt: skip


def verdicts(metric: str, base: Measured, others: Sequence[Measured], gains: Gains) -> tuple[str, str]:
    """Whether any of some variants beats the base, in one sentence for each design.

    Args:
        metric: Name of the metric.
        base: What they are held against.
        others: The variants.
        gains: As ``against`` gives them.
    """
    by_name = {one.name: one for one in others}
    sentences: list[str] = []
    said: tuple[str, str] | None = None
    for design in DESIGNS:
        pairs = zip(others, gains[design], strict=True)
        usable = {one.name: gap for one, gap in pairs if gap.p is not None}
        if not usable:
            sentences.append(f"{ON[design]}: {why_not(gains[design])}.")
            continue
        best = by_name[leader(usable)]
        higher, lower, gain = best, base, usable[best.name]
        if (gain.value or 0.0) <= 0 and not gain.clear:
            higher, lower, gain = base, best, gain.reversed()
        # The first sentence has both values; the second says less where it speaks of the same two.
        again = said == (higher.name, lower.name)
        said = higher.name, lower.name
        figures = points(gain) if again else f"{_both(metric, higher, lower)}, {points(gain)}"
        if gain.clear:
            text = _clear(best, base, usable, by_name, figures)
        else:
            which = f"{higher.label} is highest, but not clearly ahead of {lower.label}"
            text = f"{'no clear difference' if again else which} ({figures}){needed(gain)}"
        left_out = [name for name in by_name if name not in usable]
        if left_out:
            what = "" if len(left_out) == 1 else f"{len(left_out)} others, "
            text += f"; not compared: {what}{reason_of(gains[design])}"
        sentences.append(f"{ON[design]}: {text}.")
    return sentences[0], sentences[1]


def _both(metric: str, one: Measured, other: Measured) -> str:
    """Two variants' means over the categories that they share."""
    shared = sorted(set(one.values) & set(other.values))
    first, second = (float(np.mean([some.values[name] for name in shared])) for some in (one, other))
    return f"{percent(first)} against {percent(second)} {METRICS[metric].label}"


def leader(gains: Mapping[str, PairedDifference]) -> str:
    """The name of the one that is farthest ahead."""
    return max(gains, key=lambda name: gains[name].value or 0.0)


def _clear(
    best: Measured,
    base: Measured,
    gains: Mapping[str, PairedDifference],
    by_name: Mapping[str, Measured],
    figures: str,
) -> str:
    """What follows where the farthest ahead is clearly ahead of the base, or clearly behind it."""
    if gains[best.name].ahead:
        worse = [by_name[name].label for name, other in gains.items() if other.behind]
        return f"{best.label} beats {base.label} ({figures})" + (f"; {listed(worse)} clearly below" if worse else "")
    if len(gains) == 1:
        return f"{best.label} falls behind {base.label} ({figures})"
    if all(other.behind for other in gains.values()):
        return f"all others fall behind {base.label}; nearest is {best.label} ({figures})"
    # The nearest falls behind, but one farther off varies too much to say.
    unclear = listed([by_name[name].label for name, other in gains.items() if not other.behind])
    return f"{base.label} is highest, clearly ahead of {best.label} ({figures}), but not of {unclear}"


def why_not(gaps: Sequence[PairedDifference]) -> str:
    """That nothing could be compared, and why."""
    return f"not tested ({reason_of(gaps)})"


def reason_of(gaps: Sequence[PairedDifference]) -> str:
    """What the first pair that was not compared lacks."""
    return next((one.reason for one in gaps if one.p is None and one.reason), "nothing is there to compare")


def percent(value: float) -> str:
    """A fraction in percent, with one decimal."""
    return f"{100 * value:.1f} %"


def points(gain: PairedDifference) -> str:
    """A difference in points with its 95 % interval and what it rests on.

    The interval is that of this pair alone: where it leaves zero out and the difference is not clear all the same,
    the corrected p-value says why.
    """
    text = f"{100 * (gain.value or 0.0):+.1f} points"
    if gain.low is not None and gain.high is not None:
        text += f" [{100 * gain.low:+.1f}, {100 * gain.high:+.1f}]"
    text += f" over {gain.n} {'images' if gain.design == OVER_IMAGES else 'categories'}"
    one_sided = gain.low is not None and gain.high is not None and gain.low * gain.high > 0
    if one_sided and not gain.clear and gain.p_corrected is not None:
        text += f", p = {gain.p_corrected:.2g} corrected for {gain.pairs} pairs"
    return text


def needed(gain: PairedDifference) -> str:
    """How many categories would tell a difference that is not clear, to be put behind it; empty where none would."""
    if gain.design != OVER_CATEGORIES or gain.p is None or gain.clear or abs(gain.value or 0.0) < ABOUT_ZERO:
        return ""
    count = categories_needed(float(stats.t.isf(gain.p / 2, gain.n - 1)) / math.sqrt(gain.n), gain.pairs)
    return f"; {f'more than {MOST_CATEGORIES}' if count is None else f'about {count}'} categories needed to tell"


def listed(labels: Sequence[str]) -> str:
    """Labels in a sentence."""
    return labels[0] if len(labels) == 1 else f"{', '.join(labels[:-1])} and {labels[-1]}"


def first_upper(label: str) -> str:
    """A label that begins a sentence."""
    return label[:1].upper() + label[1:]


def between_draws(one: Measured) -> float:
    """Standard deviation, between draws, of the mean over categories; NaN without several draws of each."""
    counts = {len(values) for values in one.draws.values()}
    if len(counts) != 1 or min(counts) < 2:
        return math.nan
    return float(np.std(np.array(list(one.draws.values())).mean(axis=0), ddof=1))


def _over_images(some: Sequence[Measured], pairs: Pairs) -> tuple[PairedDifference, ...]:
    """The pairs of which both were resampled, corrected together; the others with their reason."""
    whole = [(place, one.replicates) for place, one in enumerate(some) if one.replicates is not None]
    places = [place for place, _ in whole]
    able = [(i, j) for i, j in pairs if i in places and j in places]
    chosen = [(places.index(i), places.index(j)) for i, j in able]
    found = dict(zip(able, compare_over_images([drawn for _, drawn in whole], chosen), strict=True))
    return tuple(found[pair] if pair in found else _not_compared(some, *pair) for pair in pairs)


def _not_compared(some: Sequence[Measured], first: int, second: int) -> PairedDifference:
    # What all are held against comes second: if it can't be resampled, that is the reason for every pair.
    reasons = [f"{some[k].label}: {some[k].not_replicated}" for k in (second, first) if some[k].not_replicated]
    reason = reasons[0] if reasons else f"{some[first].label} and {some[second].label} were not resampled alike"
    return PairedDifference(first, second, None, None, None, None, 0, OVER_IMAGES, reason)
