"""Which method for this part, at which threshold, and how sure is that: one category's images, several methods.

Each method gets a card: its image AUROC, and what it finds and flags at the threshold that a rule sets
(``vlmad_core.metrics.rules``). Who picks the best of many methods on a few photos picks luck too; so the figures of
the one that is recommended come from draws of the images that repeat the choice: it is made on the images of a draw
and looked at on those outside it (Tsamardinos, Greasidou and Borboudakis, Bootstrapping the out-of-sample predictions
for efficient and accurate cross-validation, Machine Learning 2018). How that was checked: ``docs/decisions.md``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vlmad_core.analysis.entries import Entry
from vlmad_core.analysis.statistics import PairedDifference, compare_over_images
from vlmad_core.errors import MetricError
from vlmad_core.metrics import MetricValue, image_auroc
from vlmad_core.metrics.resampling import Floats, Replicates, design_of, fewest_of, resample_weights
from vlmad_core.metrics.rules import (
    Bounded,
    Costs,
    Flags,
    Rule,
    at_least,
    at_most,
    flagged_by_the_rest,
    threshold_of,
)
from vlmad_core.metrics.thresholds import Threshold
from vlmad_core.metrics.uncertainty import interval, roc_area, weighted_counts
from vlmad_core.store.reader import Store

RESAMPLES = 1000
"""Draws in which the choice is repeated."""
TYPICAL = 0.1
"""Where the score scale shows a typical good part."""


@dataclass(frozen=True, eq=False)
class SharedScores:
    """Several methods' scores of the same test images; references are not among these.

    Attributes:
        names: How the methods are shown, [J].
        ids: The images, [N].
        labels: Boolean [N]; True is defective.
        scores: float64 [J, N]; higher is more anomalous.
        alone: Whether each method can judge a single part, [J]; one that needs all images at once is not recommended.
        masks: Whether any image has a mask.
    """

    names: tuple[str, ...]
    ids: tuple[str, ...]
    labels: Flags
    scores: Floats
    alone: tuple[bool, ...]
    masks: bool = False

    @property
    def good(self) -> int:
        """Number of good parts."""
        return int((~self.labels).sum())

    @property
    def defects(self) -> int:
        """Number of defective parts."""
        return int(self.labels.sum())


@dataclass(frozen=True)
class Card:
    """What one method does at the threshold of a rule.

    Attributes:
        name: How it is shown.
        auroc: Image AUROC with its interval over images; None with the reason where a class is missing.
        threshold: The threshold, set on all images.
        found: Defects found; None without any. A promise is set on good parts alone; costs are set on defects too, so
            that each is then judged at the threshold of the rest.
        alarms: Good parts flagged, each at the threshold of the rest; None with fewer than two.
        cost: Expected cost of a part in false alarms, counted like that; None for a promise.
        hit: Image that stands for those found: the one with the middle score; None if none is.
        miss: Image of a defect with the lowest score; None without defects.
        missed: Whether that one is missed; else it is the one found most narrowly.
    """

    name: str
    auroc: MetricValue
    threshold: Threshold
    found: Bounded | None
    alarms: Bounded | None
    cost: float | None
    hit: str | None
    miss: str | None
    missed: bool


@dataclass(frozen=True)
class Recommended:
    """The method to use, with figures that do not flatter it.

    Attributes:
        place: Its place among the methods.
        name: How it is shown.
        by: What it is best in: ``image AUROC`` or ``expected cost``.
        methods: Of how many methods.
        auroc: Image AUROC to expect of a method chosen like this, with an interval.
        found: Defects found, the choice repeated without each.
        alarms: Good parts flagged, likewise.
        cost: Expected cost of a part in false alarms, likewise; None for a promise.
        steady: In which share of the draws it is chosen.
        tied: Names of those that are not clearly behind it, best first.
        runner_up: It minus the next best, in what it is best in, on the same images; None if it is the only one.
    """

    place: int
    name: str
    by: str
    methods: int
    auroc: MetricValue
    found: Bounded
    alarms: Bounded
    cost: float | None
    steady: float
    tied: tuple[str, ...]
    runner_up: PairedDifference | None

    @property
    def sure(self) -> bool:
        """Whether it is better than chance, by the interval of its image AUROC; else none is to be recommended."""
        return self.auroc.low is not None and self.auroc.low > 0.5


def scored_by(
    store: Store, entries: Sequence[Entry], category: str
) -> tuple[SharedScores | None, tuple[Entry, ...], dict[str, str]]:
    """What entries say of the images that all of them have scored, each by its run of the lowest seed.

    Args:
        store: The results.
        entries: The competitors, with runs.
        category: The category.

    Returns:
        The scores, None if there are none in common; the entries they are of, in order; and why others are left out,
        by name.
    """
    tables: list[pd.DataFrame] = []
    kept: list[Entry] = []
    without: dict[str, str] = {}
    for entry in entries:
        run = entry.run_with(category)
        images = None if run is None else store.images(run.id, category)
        if images is not None:
            images = images[(images["split"] == "test") & images["score"].notna()].set_index("image_id")
        if images is None or images.empty:
            without[entry.name] = "It has not finished this part."
            continue
        tables.append(images)
        kept.append(entry)
    if not kept:
        return None, (), without
    common = sorted(set.intersection(*(set(table.index) for table in tables)))
    if not common:
        return None, (), without | dict.fromkeys((one.name for one in kept), "No image was scored by all.")
    first = tables[0].loc[common]
    scored = SharedScores(
        names=tuple(entry.name for entry in kept),
        ids=tuple(common),
        labels=first["label"].to_numpy(int) == 1,
        scores=np.stack([table.loc[common, "score"].to_numpy(float) for table in tables]),
        alone=tuple(not entry.transductive for entry in kept),
        masks=bool((first["defect_area"].fillna(0.0) > 0).any()),
    )
    return scored, tuple(kept), without


def cards(scored: SharedScores, rule: Rule, resamples: int = RESAMPLES) -> tuple[Card, ...]:
    """One card for each method, in order.

    Args:
        scored: The scores.
        rule: What sets each method's threshold.
        resamples: Draws that intervals are made of.

    Raises:
        MetricError: If there is no good part, or a rule of costs lacks defects.
    """
    drawn = _draws(scored, resamples) if scored.good and scored.defects else None
    found = []
    for place, name in enumerate(scored.names):
        auroc = image_auroc(scored.labels, scored.scores[place]) if drawn is None else interval(drawn.auroc(place))
        found.append(_card(scored, place, name, rule, auroc))
    return tuple(found)


def choose(scored: SharedScores, rule: Rule, resamples: int = RESAMPLES) -> Recommended | None:
    """The method to use: of the best image AUROC, or where costs are the rule, of the least expected cost.

    Of equal ones the first is taken.

    Args:
        scored: The scores.
        rule: What sets thresholds.
        resamples: Draws in which the choice is repeated; about a third of the images stands outside each.

    Returns:
        The choice; None where no method judges single parts, or there are fewer than two good or two defective parts.
    """
    able = [place for place, alone in enumerate(scored.alone) if alone]
    if not able or min(scored.good, scored.defects) < 2:
        return None
    drawn = _draws(scored, resamples, able)
    flags = np.stack([flagged_by_the_rest(rule, scored.labels, scored.scores[place]) for place in able])
    by_cost = isinstance(rule, Costs)
    rated = drawn.saved(flags, rule) if isinstance(rule, Costs) else [drawn.auroc(k) for k in range(len(able))]
    values = np.array([one.value for one in rated], float)
    order = [int(k) for k in np.argsort(-values, kind="stable")]
    best = order[0]
    chosen = np.argmax([one.draws for one in rated], axis=0)
    auroc = replace(drawn.auroc(best), value=_outside(drawn, chosen))
    share = _flagged_outside(drawn, chosen, flags)
    hits, alarms = float(share[scored.labels].sum()), float(share[~scored.labels].sum())
    differences = compare_over_images(rated, [(best, k) for k in order[1:]])
    cost = None
    if isinstance(rule, Costs):
        wrong = np.where(scored.labels, 1 - share, share)
        cost = float(wrong @ rule.weights(scored.labels))
    return Recommended(
        place=able[best],
        name=scored.names[able[best]],
        by="expected cost" if by_cost else "image AUROC",
        methods=len(able),
        auroc=interval(auroc),
        found=at_least(round(hits), scored.defects),
        alarms=at_most(round(alarms), scored.good),
        cost=cost,
        steady=float((chosen == best).mean()),
        tied=tuple(scored.names[able[one.second]] for one in differences if not one.clear),
        runner_up=differences[0] if differences else None,
    )


def scale_table(scored: SharedScores, found: Sequence[Card], first: int = 0) -> pd.DataFrame:
    """Each image's score on the scale of ``on_scale``, by method; the clearest mistakes of one method come first.

    Args:
        scored: The scores.
        found: The cards, as ``cards`` gives them.
        first: Place of the method whose mistakes come first.

    Returns:
        image, part (``good`` or ``defective``), and a column for each method under its name.
    """
    columns: dict[str, object] = {"image": scored.ids, "part": np.where(scored.labels, "defective", "good")}
    for card, scores in zip(found, scored.scores, strict=True):
        columns[card.name] = on_scale(scores, card.threshold.value, scores[~scored.labels])
    wrong = (scored.scores[first] - found[first].threshold.value) * np.where(scored.labels, -1, 1)
    return pd.DataFrame(columns).iloc[np.argsort(-wrong, kind="stable")].reset_index(drop=True)


def on_scale(scores: Floats, threshold: float, good: Floats) -> Floats:
    """Scores on a scale where 0.5 is the threshold and a typical good part lies at ``TYPICAL``: no probability.

    A logistic curve: rising everywhere, so that no two images change places.

    Args:
        scores: Any shape.
        threshold: The threshold.
        good: Scores of good parts, [n], at least one.

    Returns:
        float64 in [0, 1], of the same shape.

    Examples:
        >>> on_scale(np.array([1.0, 2.0, 3.0]), 2.0, np.array([0.9, 1.0, 1.1])).round(3).tolist()
        [0.1, 0.5, 0.9]
    """
    reach = threshold - float(np.median(good))
    if reach <= 0:  # a threshold among the good parts: their spread says how far is far
        reach = float(np.ptp(good)) or abs(threshold) or 1.0
    steep = math.log(1 / TYPICAL - 1) / reach
    return np.asarray(1 / (1 + np.exp(-np.clip(steep * (np.asarray(scores, float) - threshold), -500, 500))))


@dataclass(frozen=True, eq=False)
class _Draws:
    """Some methods on resampled images: weights [B, N], and each one's AUROC on each draw [J, B]."""

    scored: SharedScores
    places: Sequence[int]
    weights: NDArray[np.int64]
    inside: Floats
    design: str

    def auroc(self, k: int) -> Replicates:
        value = image_auroc(self.scored.labels, self.scored.scores[self.places[k]]).value
        return self._replicates("image_auroc", value, self.inside[k])

    def saved(self, flags: Flags, costs: Costs) -> list[Replicates]:
        """One minus the expected cost, as a share of that of being wrong always; larger is better."""
        labels = self.scored.labels
        each = costs.weights(labels) / costs.weights(labels).sum()
        wrong = (flags != labels) * each
        draws, values = 1 - wrong @ self.weights.T, 1 - wrong.sum(axis=1)
        return [self._replicates("saved", float(value), draw) for value, draw in zip(values, draws, strict=True)]

    def _replicates(self, metric: str, value: float | None, draws: Floats) -> Replicates:
        return Replicates(metric, value, draws, self.scored.labels.size, fewest_of(self.scored.labels), self.design)


def _draws(scored: SharedScores, resamples: int, places: Sequence[int] | None = None) -> _Draws:
    places = range(len(scored.names)) if places is None else places
    weights = np.concatenate(list(resample_weights(scored.labels, resamples, 0, scored.ids)))
    inside = np.stack([roc_area(*weighted_counts(scored.labels, scored.scores[k], weights)) for k in places])
    return _Draws(scored, places, weights, inside, design_of(scored.labels, 0, scored.ids))


def _outside(drawn: _Draws, chosen: NDArray[np.int_]) -> float | None:
    """Mean image AUROC of the method chosen in a draw, on the images outside it."""
    out = (drawn.weights == 0).astype(np.int64)
    labels = drawn.scored.labels
    usable = (out[:, labels].sum(axis=1) > 0) & (out[:, ~labels].sum(axis=1) > 0)
    values = []
    for k, place in enumerate(drawn.places):
        rows = usable & (chosen == k)
        if rows.any():
            values.append(roc_area(*weighted_counts(labels, drawn.scored.scores[place], out[rows])))
    return float(np.concatenate(values).mean()) if values else None


def _flagged_outside(drawn: _Draws, chosen: NDArray[np.int_], flags: Flags) -> Floats:
    """How often each image is flagged by the method chosen in a draw that it stands outside of, [N]."""
    out = (drawn.weights == 0).astype(float)
    picked = np.stack([out[chosen == k].sum(axis=0) for k in range(len(drawn.places))])
    # An image that stands in every draw, of very few draws: all methods as often as they were chosen.
    picked = np.where(picked.sum(axis=0) > 0, picked, np.bincount(chosen, minlength=len(flags))[:, None])
    return np.asarray((picked * flags).sum(axis=0) / picked.sum(axis=0))


def _card(scored: SharedScores, place: int, name: str, rule: Rule, auroc: MetricValue) -> Card:
    labels, scores = scored.labels, scored.scores[place]
    threshold = threshold_of(rule, labels, scores)
    found = alarms = cost = None
    try:
        flags = flagged_by_the_rest(rule, labels, scores)
    except MetricError:
        flags = None
    if flags is not None:
        found = at_least(int(flags[labels].sum()), scored.defects) if scored.defects else None
        alarms = at_most(int(flags[~labels].sum()), scored.good)
        cost = float((flags != labels) @ rule.weights(labels)) if isinstance(rule, Costs) else None
    hits = np.flatnonzero(labels & (scores >= threshold.value))
    hits = hits[np.argsort(scores[hits], kind="stable")]
    defects = np.flatnonzero(labels)
    lowest = int(defects[np.argmin(scores[defects])]) if defects.size else None
    return Card(
        name=name,
        auroc=auroc,
        threshold=threshold,
        found=found,
        alarms=alarms,
        cost=cost,
        hit=scored.ids[hits[(hits.size - 1) // 2]] if hits.size else None,
        miss=None if lowest is None else scored.ids[lowest],
        missed=lowest is not None and bool(scores[lowest] < threshold.value),
    )
