"""The short answers an overview gives: the best line, the fastest, where it fails first, what its number rests on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from vlmad_core.analysis.comparison import Comparison, Line, cells
from vlmad_core.analysis.groups import Groups, LineKey, line_key
from vlmad_core.analysis.notes import LineNotes
from vlmad_core.analysis.protocols import hardware_text
from vlmad_core.analysis.verdicts import image_thresholds, judge, ranked
from vlmad_core.store.reader import Store


@dataclass(frozen=True)
class Best:
    """The best line in a metric.

    Attributes:
        line: The line.
        name: How it is shown.
        value: Its value, a fraction.
        low: Lower end of its interval; NaN where there is none.
        high: Upper end.
        tied: Names of the lines that can't be told apart from it, best first.
        single: The best line that judges one image at a time, with its name and value; None if it is this one.
        language: The best line on a vision-language backbone, with its name and value; None if it is this one.
    """

    line: Line
    name: str
    value: float
    low: float
    high: float
    tied: tuple[str, ...]
    single: tuple[str, float] | None
    language: tuple[str, float] | None


@dataclass(frozen=True)
class Trust:
    """What a line's number rests on.

    Attributes:
        images: Test images.
        categories: Categories.
        draws: Draws of references it is averaged over; 0 where none are drawn.
        seen: Whether the data set was seen in training: ``no``, ``yes`` or ``not recorded``.
        reason: What that rests on.
        code: Version of the program that measured it.
        machine: Where.
        finished: When the last category was finished, as a date; empty if not known.
        run_id: The run to look into.
    """

    images: int
    categories: int
    draws: int
    seen: str
    reason: str
    code: str
    machine: str
    finished: str
    run_id: str


def best_line(
    one: Comparison, board: pd.DataFrame, metric: str, groups: Groups, notes: Mapping[LineKey, LineNotes]
) -> Best | None:
    """The best line in a metric; None where no line has a value.

    A line that has seen the data in training is named only if all have.

    Args:
        one: The comparison.
        board: As ``vlmad_core.analysis.ranks.named`` gives it.
        metric: Name of the metric.
        groups: Groups in that metric.
        notes: Notes by line.
    """
    lines = {line_key(line): line for line in one.lines()}
    rows = board[(board["metric"] == metric) & board["value"].notna()].sort_values(
        ["value", "shots", "name"], ascending=[False, True, True]
    )
    order = [(_key(row), row) for row in rows.to_dict("records")]
    order = [(key, row) for key, row in order if notes[key].seen != "yes"] or order
    if not order:
        return None
    key, top = order[0]
    tied = tuple(str(row["name"]) for other, row in order[1:] if groups.together(key, other))
    shown = [(notes[k], str(row["name"]), float(row["value"])) for k, row in order]
    alone = next(((name, value) for note, name, value in shown if not note.transductive), None)
    language = next(((name, value) for note, name, value in shown if note.vision_language), None)
    return Best(
        line=lines[key],
        name=str(top["name"]),
        value=float(top["value"]),
        low=float(top["low"]),
        high=float(top["high"]),
        tied=tied,
        single=alone if notes[key].transductive else None,
        language=None if notes[key].vision_language else language,
    )


def fastest_of(costs: pd.DataFrame, names: Sequence[str]) -> pd.Series | None:
    """The line with the lowest latency measured one image at a time, among some; None if none was timed.

    Args:
        costs: As ``cost_table`` gives it.
        names: Names of the lines that count; all if empty.
    """
    known = costs[costs["latency_ms"].notna() & ~costs["shared"].astype(bool)]
    kept = known[known["name"].isin(list(names))] if names else known
    return None if kept.empty else kept.sort_values("latency_ms").iloc[0]


def weakest_category(store: Store, line: Line, metric: str, categories: Sequence[str]) -> tuple[str, float] | None:
    """The category in which a line is worst, with its value; None where it has no value.

    Args:
        store: The results.
        line: The line.
        metric: Name of the metric.
        categories: Those to look at.
    """
    frame = cells(store, [line], metric)
    frame = frame[frame["category"].isin(list(categories)) & frame["value"].notna()]
    if frame.empty:
        return None
    row = frame.sort_values(["value", "category"]).iloc[0]
    return str(row["category"]), float(row["value"])


def clearest_misses(store: Store, line: Line, category: str, most: int = 3) -> tuple[tuple[str, str], ...]:
    """The defects a line misses most clearly: image id and defect type, at its first threshold.

    Args:
        store: The results.
        line: The line.
        category: The category.
        most: How many at most.
    """
    run = line.run_with(category)
    if run is None:
        return ()
    images = store.images(run.id, category)
    threshold = next(iter(image_thresholds(run, category, images).values()), None)
    if threshold is None:
        return ()
    missed = ranked(judge(images, threshold.value), ["missed"]).head(most)
    return tuple((str(row["image_id"]), str(row["defect_type"])) for row in missed.to_dict("records"))


def line_to_look_at(store: Store, one: Comparison, line: Line, category: str) -> Line:
    """Where a line's anomaly maps can be looked at: itself, or where none were kept the nearest number of references.

    Args:
        store: The results.
        one: The comparison the line is of.
        line: The line.
        category: The category.

    Returns:
        The line itself too where no maps of the method were kept at all.
    """

    def kept(other: Line) -> bool:
        run = other.run_with(category)
        return run is not None and store.keeps_maps(run.id, category)

    shown = [other for other in one.lines() if other.id == line.id and kept(other)]
    return min(shown, key=lambda other: abs(other.shots - line.shots), default=line)


def trust(line: Line, notes: LineNotes) -> Trust:
    """What a line's number rests on, from the records of its runs."""
    run = line.runs[0]
    finished = max((unit.finished_at for unit in run.units.values()), default="")
    return Trust(
        images=sum(unit.images for unit in run.units.values()),
        categories=len(run.units),
        draws=len(line.runs) if line.shots else 0,
        seen=notes.seen,
        reason=notes.contamination.reason,
        code=run.provenance.code_version,
        machine=hardware_text(run),
        finished=finished[:10],
        run_id=run.id,
    )


def in_words(low: float, high: float) -> str:
    """An interval of fractions in percent, in words; empty where there is none.

    >>> in_words(0.61, 0.734)
    '61.0 to 73.4'
    """
    return "" if math.isnan(low) or math.isnan(high) else f"{100 * low:.1f} to {100 * high:.1f}"


def _key(row: Mapping[object, object]) -> LineKey:
    shots = row["shots"]
    return str(row["method"]), str(row["preset"]), int(str(shots)), str(row["protocol"])
