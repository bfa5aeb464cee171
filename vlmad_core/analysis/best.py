"""Which is best, and ahead of which others is that clear: entries of one comparison held against one another."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from vlmad_core.analysis.draws import drawn_means, why_not_drawn
from vlmad_core.analysis.entries import Comparison, Entry, EntryKey, in_the_running, key_of
from vlmad_core.analysis.statistics import (
    OVER_CATEGORIES,
    OVER_IMAGES,
    TEST_NAMES,
    Design,
    MeanRanks,
    PairedDifference,
    Pairs,
    compare_over_categories,
    compare_over_images,
    compare_ranks,
    letters,
)
from vlmad_core.metrics.resampling import STORED_RESAMPLES, Replicates
from vlmad_core.store.reader import Store


@dataclass(frozen=True)
class Differences:
    """Entries of a comparison held against one another in one metric, all together.

    Attributes:
        design: What was resampled or counted.
        note: How they were compared, or why they could not be, in a sentence.
        found: The differences, by place in ``keys``; empty where nothing could be compared.
        keys: The entries, in the order given.
        letters: For each entry with a value, letters; two entries that share one are not significantly different. Empty
            where not every two were compared.
    """

    design: Design
    note: str
    found: tuple[PairedDifference, ...]
    keys: tuple[EntryKey, ...]
    letters: Mapping[EntryKey, str]

    @property
    def tested(self) -> bool:
        """Whether any two entries could be compared."""
        return any(one.p is not None for one in self.found)

    def between(self, first: EntryKey, second: EntryKey) -> PairedDifference | None:
        """The first minus the second; None where they were not compared."""
        for one in self.found:
            pair = self.keys[one.first], self.keys[one.second]
            if first != second and {*pair} == {first, second}:
                return one if pair[0] == first else one.reversed()
        return None

    def together(self, first: EntryKey, second: EntryKey) -> bool | None:
        """Whether two entries are not clearly different; None if that was not tested."""
        one = self.between(first, second)
        return None if one is None or one.p is None else not one.clear


@dataclass(frozen=True)
class Best:
    """The best entry in a metric.

    Attributes:
        entry: The entry.
        value: Its value, a fraction.
        low: Lower end of its interval; NaN where there is none.
        high: Upper end.
        categories: Number of categories the value is the mean of.
        images: Number of test images.
        tied: Names of the entries that are not clearly behind it, best first; empty where nothing was compared.
        runner_up: The entry with the next highest value, or None.
        single: The best entry that judges one image at a time, with its name and value; None if it is this one.
        language: The best entry on a vision-language backbone, with its name and value; None if it is this one.
    """

    entry: Entry
    value: float
    low: float
    high: float
    categories: int
    images: int
    tied: tuple[str, ...]
    runner_up: Entry | None
    single: tuple[str, float] | None
    language: tuple[str, float] | None

    @property
    def name(self) -> str:
        """How it is shown."""
        return self.entry.name


def best(
    one: Comparison,
    board: pd.DataFrame,
    metric: str,
    *,
    shots: int | None = None,
    differences: Differences | None = None,
) -> Best | None:
    """The best entry in a metric; None where no entry has a value.

    An imported entry is named only where nothing was measured, one that has seen the data in training only if all have.
    Of equal values the fewer references win.

    Args:
        one: The comparison.
        board: Its leaderboard, as ``vlmad_core.analysis.leaderboard.leaderboard`` gives it.
        metric: Name of the metric.
        shots: Only entries with this number of references; None for all.
        differences: Its entries held against one another in that metric; None where it is not asked who is tied.
    """
    order = in_order(one, board, metric, shots)
    if not order:
        return None
    first, top = order[0]
    values = [(entry, (entry.name, float(row["value"]))) for entry, row in order]
    tied = [e.name for e, _ in order[1:] if differences is not None and differences.together(first.key, e.key)]
    return Best(
        entry=first,
        value=float(top["value"]),
        low=float(top["low"]),
        high=float(top["high"]),
        categories=int(top["n_categories"]),
        images=int(top["n"]),
        tied=tuple(tied),
        runner_up=order[1][0] if len(order) > 1 else None,
        single=next((v for e, v in values if not e.transductive), None) if first.transductive else None,
        language=None if first.vision_language else next((v for e, v in values if e.vision_language), None),
    )


def in_order(
    one: Comparison, board: pd.DataFrame, metric: str, shots: int | None = None
) -> list[tuple[Entry, Mapping[Any, Any]]]:
    """The entries that may be called best, the best first, each with its row of the leaderboard.

    Args:
        one: The comparison.
        board: Its leaderboard.
        metric: Name of the metric.
        shots: Only entries with this number of references; None for all.
    """
    entries = {entry.key: entry for entry in one.entries(shots)}
    rows = {key_of(row): row for row in board[board["metric"] == metric].to_dict("records")}
    known = [(entries[key], float(row["value"])) for key, row in rows.items() if key in entries]
    return [(entry, rows[entry.key]) for entry in best_first(known)]


def best_first(values: Iterable[tuple[Entry, float]]) -> list[Entry]:
    """Entries that may be called best, the best first; of equal values the fewer references win.

    Args:
        values: Entries of one comparison with their values in one metric; those without (NaN) are left out.
    """
    known = [(entry, value) for entry, value in values if not math.isnan(value)]
    running = in_the_running(entry for entry, _ in known)
    known = [(entry, value) for entry, value in known if entry in running]
    fair = _fair([entry.seen for entry, _ in known])
    kept = [pair for pair, named in zip(known, fair, strict=True) if named]
    return [entry for entry, _ in sorted(kept, key=lambda pair: (-pair[1], pair[0].shots, pair[0].name))]


def best_values(board: pd.DataFrame) -> dict[str, float]:
    """The best value of each metric that has one, by the same rule: what a table prints in bold.

    Args:
        board: A leaderboard of one data set under equal conditions.
    """
    known = board[board["value"].notna()]
    if not (own := known[known["evidence"] != "imported"]).empty:
        known = own
    return {
        str(metric): float(rows.loc[_fair(list(rows["seen"])), "value"].max())
        for metric, rows in known.groupby("metric", sort=False)
    }


def _fair(seen: Sequence[str]) -> list[bool]:
    """Which of some entries may be called best: those that have not seen the data in training, unless all have."""
    unseen = [one != "yes" for one in seen]
    return unseen if any(unseen) else [True] * len(unseen)


def differences_between(
    store: Store,
    entries: Sequence[Entry],
    metric: str,
    categories: Sequence[str],
    *,
    design: Design | None = None,
    pairs: Pairs | None = None,
    eval_size: int = 256,
) -> Differences:
    """Hold entries against one another; those without a value in every category are left out.

    Several seeds of an entry are averaged. They are compared over images unless that can't be done for one of them,
    which the note then says.

    Args:
        store: The results.
        entries: The competitors, of one comparison.
        metric: Name of the metric.
        categories: The categories the mean is over.
        design: What to resample or count; over images, entries that can't be are left out.
        pairs: Which to compare, by their places; every two if None.
        eval_size: Map size of pixel metrics.
    """
    keys = tuple(entry.key for entry in entries)
    whole = {
        place: entry
        for place, entry in enumerate(entries)
        if all(category in run.units for run in entry.runs for category in categories)
    }
    values = _by_category(store, whole, metric, categories, eval_size)
    means = {place: float(np.mean([v for v in one.values() if v is not None])) for place, one in values.items()}
    drawn: dict[int, Replicates] = {}
    without: dict[int, str] = {}
    if design != OVER_CATEGORIES:
        known = {place: whole[place] for place in values}
        without = why_not_drawn(store, known, metric, categories, eval_size)
        if design == OVER_IMAGES or not without:
            able = {place: entry for place, entry in known.items() if place not in without}
            drawn, more = drawn_means(store, able, metric, categories, eval_size)
            without |= more
    design = design or (OVER_CATEGORIES if without else OVER_IMAGES)
    if design == OVER_IMAGES:
        means = {place: one.value for place, one in drawn.items() if one.value is not None}
    kept = sorted(means)
    wanted = pairs if pairs is not None else [(i, j) for i in kept for j in kept if i < j]
    chosen = [(kept.index(i), kept.index(j)) for i, j in wanted if i in means and j in means]
    if design == OVER_IMAGES:
        found = compare_over_images([drawn[place] for place in kept], chosen)
    else:
        found = compare_over_categories([values[place] for place in kept], chosen)
    tested = any(one.p is not None for one in found)
    shown = letters([means[place] for place in kept], found) if tested and pairs is None else [""] * len(kept)
    return Differences(
        design=design,
        note=_note(design, found, len(kept), len(categories), [(entries[k].name, why) for k, why in without.items()]),
        found=tuple(replace(one, first=kept[one.first], second=kept[one.second]) for one in found),
        keys=keys,
        letters={keys[place]: text for place, text in zip(kept, shown, strict=True) if text},
    )


def ranks_of(
    store: Store, entries: Sequence[Entry], metric: str, categories: Sequence[str], *, eval_size: int = 256
) -> tuple[tuple[Entry, ...], MeanRanks]:
    """Entries by their mean rank over categories; those without a value in every category are left out.

    Args:
        store: The results.
        entries: The competitors, of one comparison.
        metric: Name of the metric.
        categories: The categories.
        eval_size: Map size of pixel metrics.

    Returns:
        The entries that have a rank, in the order given, and their ranks by place among these.
    """
    values = _by_category(store, dict(enumerate(entries)), metric, categories, eval_size)
    return tuple(entries[place] for place in values), compare_ranks(list(values.values()))


def _by_category(
    store: Store, entries: Mapping[int, Entry], metric: str, categories: Sequence[str], eval_size: int
) -> dict[int, Mapping[str, float | None]]:
    """Each entry's mean over seeds by category, of the entries that have all of them."""
    frame = store.metrics(run.id for entry in entries.values() for run in entry.runs)
    frame = frame[(frame["metric"] == metric) & (frame["eval_size"].isna() | (frame["eval_size"] == eval_size))]
    frame = frame[frame["category"].isin(list(categories))]
    found: dict[int, Mapping[str, float | None]] = {}
    for place, entry in entries.items():
        own = frame[frame["run_id"].isin([run.id for run in entry.runs])]
        means = own.groupby("category")["value"].apply(lambda v: math.nan if v.isna().any() else float(v.mean()))
        if len(means) == len(categories) and not means.isna().any():
            found[place] = {str(name): float(value) for name, value in means.items()}
    return found


def _note(
    design: Design,
    found: Sequence[PairedDifference],
    lines: int,
    categories: int,
    without: Sequence[tuple[str, str]],
) -> str:
    tested = sum(one.p is not None for one in found)
    missing = ""
    if without:
        name, why = without[0]
        others = f" (and {len(without) - 1} more)" if len(without) > 1 else ""
        missing = f" Over images {name}{others} can't be compared. {why}"
    if lines < 2:
        return f"Fewer than two methods have a value in every category: there is nothing to compare.{missing}"
    if not tested:
        few = f"{categories} {'category is' if categories == 1 else 'categories are'} too few to compare over them."
        why_not = few if design == OVER_CATEGORIES else "the methods have no images in common."
        return f"Differences between these methods were not tested: {why_not}{missing}"
    said = (
        "Methods that share a letter are not significantly different (5%, Holm's correction for "
        f"{tested} pair{'' if tested == 1 else 's'}): {TEST_NAMES[design]} "
    )
    if design == OVER_IMAGES:
        return f"{said}over images of these categories, {STORED_RESAMPLES} resamples.{missing}"
    return f"{said}over categories, {categories} of them.{missing}"
