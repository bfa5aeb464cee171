"""Which lines of a leaderboard are not significantly different: letters, computed from what the store has."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from vlmad_core.analysis.comparison import Line
from vlmad_core.metrics.paired import (
    IMAGE_METRICS,
    RESAMPLES,
    Basis,
    Pair,
    compare_all,
    compare_over_categories,
    letters,
    shared_replicates,
)
from vlmad_core.metrics.uncertainty import Replicates, mean_over_categories
from vlmad_core.store.reader import Store

LineKey = tuple[str, str, int, str]
"""Method, preset, number of references and hash of the protocol: what a line of a leaderboard is of."""


@dataclass(frozen=True)
class Groups:
    """Lines in groups that can't be told apart.

    Attributes:
        letters: For each line with a value, letters; two lines that share one are not significantly different.
        basis: What was resampled or counted: ``images`` or ``categories``.
        note: How it was tested, or why it could not be, in a sentence.
        pairs: All pairs with their differences, by place in ``lines``; empty where nothing could be tested.
        lines: The lines, in the order given.
    """

    letters: Mapping[LineKey, str]
    basis: Basis
    note: str
    pairs: tuple[Pair, ...]
    lines: tuple[LineKey, ...]

    @property
    def tested(self) -> bool:
        """Whether any two lines could be compared."""
        return any(pair.difference.p is not None for pair in self.pairs)

    def together(self, first: LineKey, second: LineKey) -> bool | None:
        """Whether two lines can't be told apart; None if that was not tested."""
        if not self.tested or not self.letters.get(first) or not self.letters.get(second):
            return None
        return bool(set(self.letters[first]) & set(self.letters[second]))


def line_key(line: Line) -> LineKey:
    """What a line is of."""
    return line.method, line.preset, line.shots, line.runs[0].protocol.hash


def groups(
    store: Store,
    lines: Sequence[Line],
    metric: str,
    categories: Sequence[str],
    *,
    eval_size: int = 256,
) -> Groups:
    """Group lines by what the test images can tell apart; lines without a value in every category are left out.

    Image metrics: paired bootstrap over the images of each category. Pixel metrics, whose counts per image are
    not stored: paired t-test over categories. Both corrected by Holm for all pairs, at five percent. Several seeds
    of a line are averaged.

    Args:
        store: The results.
        lines: The competitors, of one comparison.
        metric: Name of the metric.
        categories: The categories the mean is over.
        eval_size: Map size of pixel metrics.
    """
    keys = tuple(line_key(line) for line in lines)
    whole = [line for line in lines if all(_finished(line, category) for category in categories)]
    if metric in IMAGE_METRICS:
        values, pairs, kept = _over_images(store, whole, metric, categories)
        basis: Basis = "images"
    else:
        values, pairs, kept = _over_categories(store, whole, metric, categories, eval_size)
        basis = "categories"
    tested = [pair for pair in pairs if pair.difference.p is not None]
    shown = letters(values, pairs) if tested else [""] * len(kept)
    places = {place: keys.index(line_key(line)) for place, line in enumerate(kept)}
    return Groups(
        letters={line_key(line): text for line, text in zip(kept, shown, strict=True) if text},
        basis=basis,
        note=_note(basis, tested, len(kept), len(categories)),
        pairs=tuple(replace(pair, first=places[pair.first], second=places[pair.second]) for pair in pairs),
        lines=keys,
    )


def _over_images(
    store: Store, lines: Sequence[Line], metric: str, categories: Sequence[str]
) -> tuple[list[float | None], tuple[Pair, ...], list[Line]]:
    per_line: list[list[Replicates]] = [[] for _ in lines]
    for category in categories:
        tables = [[_scores(store, run.id, category) for run in line.runs] for line in lines]
        every = [table for tables_of_line in tables for table in tables_of_line]
        if not every:
            continue
        joined = pd.concat(every, axis=1, join="inner")
        count = len(every)
        labels = joined.iloc[:, 0].to_numpy()
        drawn = shared_replicates(labels, [joined.iloc[:, 2 * k + 1].to_numpy() for k in range(count)], metric)
        place = 0
        for own, tables_of_line in zip(per_line, tables, strict=True):
            own.append(_mean_of_seeds(drawn[place : place + len(tables_of_line)]))
            place += len(tables_of_line)
    kept, means = [], []
    for line, own in zip(lines, per_line, strict=True):
        if own and all(item.value is not None for item in own):
            kept.append(line)
            means.append(mean_over_categories(own))
    return [mean.value for mean in means], compare_all(means), kept


def _over_categories(
    store: Store, lines: Sequence[Line], metric: str, categories: Sequence[str], eval_size: int
) -> tuple[list[float | None], tuple[Pair, ...], list[Line]]:
    frame = store.metrics(run.id for line in lines for run in line.runs)
    frame = frame[(frame["metric"] == metric) & (frame["eval_size"].isna() | (frame["eval_size"] == eval_size))]
    frame = frame[frame["category"].isin(list(categories))]
    kept: list[Line] = []
    values: list[Mapping[str, float | None]] = []
    for line in lines:
        own = frame[frame["run_id"].isin([run.id for run in line.runs])]
        means = own.groupby("category")["value"].apply(lambda v: math.nan if v.isna().any() else float(v.mean()))
        if len(means) == len(categories) and not means.isna().any():
            kept.append(line)
            values.append({str(name): float(value) for name, value in means.items()})
    pairs = compare_over_categories(metric, values)
    return [float(np.mean([v for v in one.values() if v is not None])) for one in values], pairs, kept


def _finished(line: Line, category: str) -> bool:
    return all(category in run.units for run in line.runs)


def _scores(store: Store, run_id: str, category: str) -> pd.DataFrame:
    """Label and score of the test images that have one, by image."""
    images = store.images(run_id, category)
    kept = (images["split"] == "test") & images["score"].notna()
    columns = {name: images.loc[kept, name].to_numpy() for name in ("label", "score")}
    return pd.DataFrame(columns, index=images.loc[kept, "image_id"].to_numpy()).sort_index()


def _mean_of_seeds(drawn: Sequence[Replicates]) -> Replicates:
    first = drawn[0]
    if len(drawn) == 1 or any(item.value is None for item in drawn):
        return next((item for item in drawn if item.value is None), first)
    value = float(np.mean([item.value for item in drawn if item.value is not None]))
    return replace(first, value=value, draws=np.mean([item.draws for item in drawn], axis=0))


def _note(basis: Basis, tested: Sequence[Pair], lines: int, categories: int) -> str:
    if lines < 2:
        return "Fewer than two methods have a value in every category: there is nothing to compare."
    if not tested:
        if basis == "categories":
            return (
                "Differences between these methods were not tested: a pixel metric is compared over categories, "
                f"and {categories} of them {'is' if categories == 1 else 'are'} too few."
            )
        return "Differences were not tested: the methods have no images in common."
    shared = "Methods that share a letter are not significantly different (5%, Holm's correction for "
    pairs = f"{len(tested)} pair{'' if len(tested) == 1 else 's'}): "
    if basis == "images":
        return shared + pairs + f"paired bootstrap over the images of these categories, {RESAMPLES} resamples."
    return shared + pairs + f"paired t-test over {categories} categories."
