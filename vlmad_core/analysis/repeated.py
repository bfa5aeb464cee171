"""A run held against the same run computed again: which numbers differ, by how much, and whether rounding explains it.

What may differ without anything being wrong is the order in which a machine adds up. So three things are asked:

- **Scores and maps**: each within the tolerance of ``engine.again``, what other processors, batches and threads move in
  float32 (a coarser precision has a coarser tolerance).
- **Image metrics** are steps: two images that change places move an AUROC at once. So each may lie where moves of the
  scores as large as the largest that was seen can take it: between its value with every defective image that much lower
  and every good one higher, and the reverse. These metrics never fall when a defective image rises past a good one, so
  no other move of that size leads further.
- **Pixel metrics** are over tens of thousands of pixels and move smoothly: a share of the tolerance (``PIXEL_SHARE``).

Ends of intervals, and the AUPRO in 200 steps (``UNSTABLE``), are told and not judged where something moved. Where no
score and no map moved, no number may.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import pandas as pd

from vlmad_core.metrics.image import image_metrics
from vlmad_core.store.reader import Missing, Store
from vlmad_core.store.schema import RunRecord

PIXEL_SHARE = 0.1
"""How far a pixel metric, a fraction, may move, as a share of the tolerance of scores and maps."""

USUAL_SHARE = 0.1
"""A move above this share of the tolerance is more than rounding was ever seen to do: kernels of other processors, one
thread instead of two, and images one by one moved scores of the bundled backbone by up to 2e-6, maps by up to 4e-5 and
pixel metrics by up to 5e-6, over all methods, where the tolerance is 1e-3 (docs/results.md)."""

UNSTABLE = frozenset({"aupro_legacy200"})
"""Metrics that rounding may take anywhere: of 200 steps from the smallest to the largest value, one more or less that
is kept makes or unmakes the value. It repeats other people's code, to be held against their numbers."""

LAST_DIGITS = 1e-9
"""How far a metric may be from another that was computed of equal scores, by another version of numpy."""

COMPUTING = ("processor", "features", "accelerator", "system", "machine")
"""What of the hardware decides in which order sums are made."""

Verdict = Literal["identical", "within tolerance", "different"]
VERDICTS: tuple[Verdict, ...] = ("identical", "within tolerance", "different")
"""From best to worst."""


@dataclass(frozen=True)
class Moved:
    """A number that differs.

    Attributes:
        name: The metric, with its map size and the interval's end where it is one: ``image_auroc``, ``aupro_30@256``,
            ``image_auroc.low``.
        stored: As the run has it; None where it has none.
        here: As it came out here.
        judged: Whether it counts where scores or maps moved.
        allowed: From where to where rounding may take it; None where it is not judged, or the run has no such number.
    """

    name: str
    stored: float | None
    here: float | None
    judged: bool
    allowed: tuple[float, float] | None

    @property
    def within(self) -> bool:
        """Whether rounding explains it, or it is not judged."""
        if self.allowed is None or self.here is None:
            return not self.judged
        return self.allowed[0] <= self.here <= self.allowed[1]


@dataclass(frozen=True)
class RepeatedUnit:
    """A category held against itself.

    Attributes:
        category: The category.
        images: Images with a score.
        scores_moved: Scores that are not bit for bit the same.
        largest_score: Largest difference between two scores of an image.
        largest_map: Largest difference between two values of a map; None where no maps were kept.
        beyond: Images whose score or map differs by more than the tolerance, or is missing on one side.
        metrics: How many numbers were compared: values and ends of intervals.
        moved: Those that differ.
    """

    category: str
    images: int
    scores_moved: int
    largest_score: float
    largest_map: float | None
    beyond: tuple[str, ...]
    metrics: int
    moved: tuple[Moved, ...]

    @property
    def verdict(self) -> Verdict:
        """Whether it is the same to the last bit, within the tolerance, or another."""
        if self.beyond or not all(one.within for one in self.moved):
            return "different"
        same = not self.scores_moved and not self.moved and not self.largest_map
        return "identical" if same else "within tolerance"


@dataclass(frozen=True)
class Condition:
    """Something of machine, libraries or program that was otherwise.

    Attributes:
        name: What.
        stored: When the run was made.
        here: Now.
    """

    name: str
    stored: Any
    here: Any


def compare_unit(
    stored: Store, here: Store, run: RunRecord, category: str, tolerance: float, *, maps: bool = True
) -> RepeatedUnit:
    """Hold one category of a run against the same computed again.

    Args:
        stored: Where the run lies.
        here: Where it was computed again, under the same id.
        run: The run.
        category: A category that both have finished.
        tolerance: How far a score or a value of a map may be, absolutely or as a share of it.
        maps: Whether maps are compared, where both kept them.
    """
    frames = [store.images(run.id, category).set_index("image_id") for store in (stored, here)]
    scores = pd.concat([frame["score"].rename(name) for frame, name in zip(frames, "ab", strict=True)], axis=1)
    scores = scores[scores.notna().any(axis=1)].astype(float)
    apart = (scores["a"] - scores["b"]).abs()
    far = ~np.isclose(scores["a"], scores["b"], rtol=tolerance, atol=tolerance)
    beyond = set(scores.index[far])
    largest_map, far_maps = _compare_maps(stored, here, run, category, tolerance) if maps else (None, set())
    largest = float(apart.max()) if apart.notna().any() else 0.0
    compared, moved = _compare_metrics(
        stored, here, run, category, frames[0], largest, bool(largest or largest_map), tolerance
    )
    return RepeatedUnit(
        category=category,
        images=len(scores),
        scores_moved=int((apart != 0).sum()),
        largest_score=largest,
        largest_map=largest_map,
        beyond=tuple(sorted(beyond | far_maps)),
        metrics=compared,
        moved=moved,
    )


def conditions(stored: RunRecord, here: RunRecord) -> tuple[Condition, ...]:
    """What was otherwise when a run was made: processor, libraries, threads, program; nothing that names a person."""
    named = [
        {
            **{name: run.provenance.hardware.get(name) for name in COMPUTING},
            **{f"version of {name}": value for name, value in run.provenance.packages.items()},
            "version of this program": run.provenance.code_version,
            "threads": run.plan.get("threads"),
            "device": run.plan.get("device", "cpu"),
        }
        for run in (stored, here)
    ]
    keys = [key for key in {**named[0], **named[1]} if named[0].get(key) != named[1].get(key)]
    return tuple(Condition(key, named[0].get(key), named[1].get(key)) for key in keys)


def overall(units: Sequence[RepeatedUnit]) -> Verdict:
    """The worst verdict of some categories."""
    return max((unit.verdict for unit in units), key=VERDICTS.index)


def explanation(units: Sequence[RepeatedUnit], otherwise: Sequence[Condition], tolerance: float) -> str:
    """Whether hardware explains what differs, in a sentence or two."""
    verdict = overall(units)
    computing = [one for one in otherwise if one.name != "version of this program"]
    names = ", ".join(one.name for one in computing)
    largest = max(max(unit.largest_score, unit.largest_map or 0.0) for unit in units)
    if verdict == "identical":
        also = f", although {names} differ" if names else ""
        return f"Every number is the same to the last bit{also}."
    if verdict == "within tolerance":
        why = (
            f"Hardware and libraries explain it: {names} differ, and with them the order of sums."
            if computing
            else "Machine and libraries go by the same names: another version of the program, or what was not recorded "
            "(builds of libraries, kernels picked while running), can do this much."
        )
        more = " That is more than rounding was seen to do: look twice." if largest > USUAL_SHARE * tolerance else ""
        return f"The largest move is {largest:.2g}, within the tolerance of {tolerance:g}. {why}{more}"
    if any(unit.beyond for unit in units):
        return (
            f"Hardware does not explain it: a score or map moved by {largest:.2g}, and rounding moves them by at most "
            f"{tolerance:g}, absolutely or as a share. Another version of the program, changed references or a defect "
            "do."
        )
    return (
        "Hardware does not explain it: scores and maps are within the tolerance, and metrics moved further than that "
        "allows. What measures has changed, or a stored table."
    )


def _compare_maps(
    stored: Store, here: Store, run: RunRecord, category: str, tolerance: float
) -> tuple[float | None, set[str]]:
    """The largest difference of two native grids, and the images that are beyond the tolerance."""
    before, after = stored.grids(run.id, category), here.grids(run.id, category)
    if isinstance(before, Missing) or isinstance(after, Missing):
        return None, set()
    far = set(before.image_ids) ^ set(after.image_ids)
    largest = 0.0
    places = {name: i for i, name in enumerate(after.image_ids)}
    for grid, name in zip(before.grids, before.image_ids, strict=True):
        if name in places:
            other = after.grids[places[name]]
            if grid.shape != other.shape or not np.allclose(other, grid, rtol=tolerance, atol=tolerance):
                far.add(name)
            if grid.shape == other.shape:
                largest = max(largest, float(np.abs(grid.astype(np.float64) - other).max()))
    return largest, far


def _compare_metrics(
    stored: Store,
    here: Store,
    run: RunRecord,
    category: str,
    images: pd.DataFrame,
    largest: float,
    moves: bool,
    tolerance: float,
) -> tuple[int, tuple[Moved, ...]]:
    """How many numbers there are, and those that differ.

    Args:
        stored: Where the run lies.
        here: Where it was computed again.
        run: The run.
        category: The category.
        images: Stored labels and scores.
        largest: Largest move of a score.
        moves: Whether a score or a map moved.
        tolerance: How far they may.
    """
    keys = ["metric", "eval_size", "level"]
    tables = []
    for store in (stored, here):
        frame = store.metrics([run.id])
        own = frame[frame["category"] == category].set_index(keys)
        tables.append({key: own.loc[[key]].iloc[0] for key in own.index.unique()})
    reach = _reach(images, largest)
    moved, count = [], 0
    for key in {**tables[0], **tables[1]}:
        metric, size, level = key
        name = metric if pd.isna(size) else f"{metric}@{int(size)}"
        for part in ("value", "low", "high"):
            before, after = (_number(table.get(key), part) for table in tables)
            if before is None and after is None:
                continue
            count += 1
            if before == after:
                continue
            judged = not moves or (part == "value" and metric not in UNSTABLE)
            steps = reach.get(metric) if level == "image" else None
            allowed = _allowed(before, moves, steps, PIXEL_SHARE * tolerance) if judged and before is not None else None
            moved.append(Moved(name if part == "value" else f"{name}.{part}", before, after, judged, allowed))
    return count, tuple(moved)


def _allowed(before: float, moves: bool, steps: tuple[float, float] | None, smooth: float) -> tuple[float, float]:
    """From where to where rounding may take a number.

    Args:
        before: The number as it is stored.
        moves: Whether a score or a map moved.
        steps: For a metric of images: as far as moves of the scores take it.
        smooth: How far another may move.
    """
    if not moves:
        return before - LAST_DIGITS, before + LAST_DIGITS
    low, high = steps or (before - smooth, before + smooth)
    return min(low, before) - LAST_DIGITS, max(high, before) + LAST_DIGITS


def _reach(images: pd.DataFrame, largest: float) -> Mapping[str, tuple[float, float]]:
    """Between what values moves of the scores can take each image metric.

    Where equal scores form one step, an average precision also changes when equal defective images come apart (it
    falls) or near ones become equal (it rises): so they are parted in the worst case and joined in the best.

    Args:
        images: Labels and scores.
        largest: How far a score may move.
    """
    known = images[images["score"].notna()]
    labels, scores = known["label"].to_numpy(dtype=int), known["score"].to_numpy(dtype=float)
    if not len(scores):
        return {}
    # Rounding of the moved scores themselves must not make or break a tie.
    step = largest * (1 + 1e-6) + 4 * float(np.spacing(np.abs(scores).max()))
    defective = labels == 1
    lowered = np.where(defective, scores - step, scores + step)
    order = np.lexsort((~defective, lowered))
    worst = np.empty(len(scores))
    worst[order] = np.arange(len(scores))
    best = np.where(defective, _joined(scores, defective, 2 * step) + step, scores - step)
    ends = image_metrics(labels, worst), image_metrics(labels, best)
    found = {}
    for name in ends[0]:
        low, high = (values[name].value for values in ends)
        if low is not None and high is not None:
            found[name] = (low, high)
    return found


def _joined(scores: np.ndarray, chosen: np.ndarray, gap: float) -> np.ndarray:
    """Scores in which chosen ones that follow one another within a gap all have the highest of theirs."""
    joined = scores.copy()
    order = np.flatnonzero(chosen)[np.argsort(scores[chosen])[::-1]]
    for higher, lower in pairwise(order):
        if scores[higher] - scores[lower] <= gap:
            joined[lower] = joined[higher]
    return joined


def _number(row: Any, part: str) -> float | None:
    value = None if row is None else row[part]
    return None if value is None or pd.isna(value) else float(value)
