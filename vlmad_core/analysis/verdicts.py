"""Verdicts on images: thresholds and their origin, what each image is judged to be, and who else is wrong there."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vlmad_core.analysis.entries import Entry
from vlmad_core.metrics.thresholds import threshold_from_normals
from vlmad_core.store.reader import Missing, Store
from vlmad_core.store.schema import RunRecord

SCALE_SIZE = (64, 64)
"""Size at which maps are read for a colour scale."""

VERDICT_LABELS: Mapping[str, str] = {
    "missed": "missed defect",
    "false_alarm": "false alarm",
    "found": "defect found",
    "passed": "passed as normal",
}


@dataclass(frozen=True)
class StoredThreshold:
    """A threshold on image scores that can be chosen by name.

    Attributes:
        name: Identifier, as in links.
        label: How it is shown.
        value: On the scale of the scores; anomalous if score >= value.
        origin: Where it comes from, in a sentence.
        oracle: Whether it was chosen with the labels of the images it judges.
    """

    name: str
    label: str
    value: float
    origin: str
    oracle: bool


THRESHOLD_LABELS: Mapping[str, str] = {"image_f1max": "Best F1 (oracle)"}
NORMAL_RATES: Mapping[str, float] = {"normal_05": 0.05, "normal_10": 0.10}
"""False-positive rates on the normal test images that thresholds are offered for."""


ANY, ALL, NONE = "any", "all", "only"
COMPANY_LABELS: Mapping[str, str] = {
    ANY: "Whatever other methods say",
    ALL: "Wrong for every method",
    NONE: "Wrong for this one only",
}
"""Whom a mistake is shared with. Besides these, the id of another entry: wrong here, right there."""

WRONG = ("missed", "false_alarm")


def image_thresholds(run: RunRecord, category: str, images: pd.DataFrame) -> dict[str, StoredThreshold]:
    """Thresholds on image scores by name: those the run stored, and some that its normal test images give.

    Args:
        run: The run.
        category: The category.
        images: Its images, as ``Store.images`` gives them.
    """
    unit = run.units.get(category)
    found = {}
    for name, entry in ({} if unit is None else unit.thresholds).items():
        if entry.get("level", "image") == "image" and _finite(entry.get("value")):
            oracle = bool(entry.get("oracle", True))
            label = THRESHOLD_LABELS.get(name, name.replace("_", " "))
            origin = f"{entry.get('source', 'stored with the run')}{'; chosen on the test labels' if oracle else ''}"
            found[name] = StoredThreshold(name, label, float(entry["value"]), origin, oracle)
    normal = images[(images["split"] == "test") & (images["label"] == 0) & images["score"].notna()]["score"]
    for name, rate in NORMAL_RATES.items() if len(normal) else ():
        value = threshold_from_normals(normal.to_numpy(float), rate).value
        origin = f"at most {rate:.0%} of the {len(normal)} normal test images flagged; no defect was looked at"
        found[name] = StoredThreshold(name, f"{rate:.0%} false alarms", value, origin, True)
    return found


def judge(images: pd.DataFrame, threshold: float) -> pd.DataFrame:
    """Judge every test image at a threshold (anomalous if score >= threshold).

    Args:
        images: As ``Store.images`` gives them.
        threshold: On the scale of the scores.

    Returns:
        The test images that have a score, with ``verdict`` and ``margin`` (score minus threshold).
    """
    judged = images[(images["split"] == "test") & images["score"].notna()].copy()
    judged["margin"] = judged["score"] - threshold
    flagged = judged["score"].to_numpy(float) >= threshold
    defective = judged["label"].to_numpy(dtype=float) == 1
    verdict = np.select(
        [defective & ~flagged, ~defective & flagged, defective & flagged],
        ["missed", "false_alarm", "found"],
        default="passed",
    )
    return judged.assign(verdict=verdict)


def judge_entry(
    store: Store,
    entry: Entry,
    categories: Sequence[str],
    name: str | None,
    value: float | None = None,
    *,
    or_first: bool = True,
) -> pd.DataFrame:
    """Judge the test images of several categories, each at its own threshold.

    Scores of different categories have no common scale. So ``distance`` counts how far a score lies from its
    category's threshold in standard deviations of that category's scores; within a category it orders images as
    the margin does.

    Args:
        store: The results.
        entry: The competitor.
        categories: Those it has not finished are left out.
        name: Name of the threshold; a category without it is judged at its first one, and left out without any.
        value: A threshold for all of them instead.
        or_first: Whether to take a category's first threshold where it lacks the named one; else it is left out.

    Returns:
        What ``judge`` gives, with category, threshold and distance.
    """
    frames = []
    for category in categories:
        run = entry.run_with(category)
        if run is None:
            continue
        images = store.images(run.id, category)
        at = value
        if at is None:
            stored = image_thresholds(run, category, images)
            chosen = stored.get(name or "", next(iter(stored.values()), None) if or_first else None)
            if chosen is None:
                continue
            at = chosen.value
        judged = judge(images, at)
        spread = float(judged["score"].std(ddof=0)) or 1.0
        frames.append(judged.assign(category=category, threshold=at, distance=judged["margin"].abs() / spread))
    kept = [frame for frame in frames if len(frame)]
    if kept:
        return pd.concat(kept, ignore_index=True)
    columns = ["image_id", "split", "label", "defect_type", "defect_area", "score", "latency_ms", "error"]
    return pd.DataFrame(columns=[*columns, "category", "margin", "verdict", "threshold", "distance"])


def ranked(judged: pd.DataFrame, verdicts: Iterable[str]) -> pd.DataFrame:
    """Images with one of the verdicts, the clearest (farthest from the threshold) first.

    Args:
        judged: As ``judge`` gives them; a column ``distance`` orders them where there is one, else the margin.
        verdicts: Which to keep.

    Returns:
        The rows with ``rank`` from 1; ties in the order of image ids.
    """
    kept = judged[judged["verdict"].isin(list(verdicts))]
    far = kept["distance"] if "distance" in kept.columns else kept["margin"].abs()
    order = kept.assign(_far=far).sort_values(["_far", "image_id"], ascending=[False, True], ignore_index=True)
    return order.drop(columns="_far").assign(rank=range(1, len(order) + 1))


def counts(judged: pd.DataFrame) -> dict[str, int]:
    """How many images have each verdict, zero where none has."""
    found = judged["verdict"].value_counts()
    return {name: int(found.get(name, 0)) for name in VERDICT_LABELS}


def confusion(number: Mapping[str, int]) -> pd.DataFrame:
    """The confusion matrix of what ``counts`` gives: what an image is by what it was called."""
    return pd.DataFrame(
        {
            "Called normal": [number["passed"], number["missed"]],
            "Called anomalous": [number["false_alarm"], number["found"]],
        },
        index=["Normal", "Defective"],
    )


def judge_others(
    store: Store, entries: Sequence[Entry], chosen: Entry, categories: Sequence[str], threshold: str | None
) -> dict[str, pd.DataFrame]:
    """What the other entries say of the images, each at its own thresholds of the same name.

    Args:
        store: The results.
        entries: The competitors; those without scores or thresholds are left out.
        chosen: The entry that is left out.
        categories: The categories.
        threshold: Name of the threshold; an entry without it is judged at its first one.

    Returns:
        By entry, what ``judge_entry`` gives.
    """
    found = {}
    for entry in entries:
        if not entry.same_as(chosen):
            judged = judge_entry(store, entry, categories, threshold)
            if len(judged):
                found[entry.id] = judged
    return found


def wrong_images(judged: pd.DataFrame) -> frozenset[str]:
    """Ids of the images that are judged wrongly.

    Args:
        judged: As ``judge_entry`` gives it.
    """
    return frozenset(judged.loc[judged["verdict"].isin(WRONG), "image_id"])


def wrong_elsewhere(judged: pd.DataFrame, others: Mapping[str, pd.DataFrame]) -> pd.Series:
    """In how many of the other entries is each image judged wrongly too?

    Args:
        judged: What ``judge_entry`` gives for the chosen entry.
        others: What it gives for the others, by entry.

    Returns:
        Counts, with the index of ``judged``.
    """
    total = pd.Series(0, index=judged.index)
    for frame in others.values():
        total += judged["image_id"].isin(wrong_images(frame)).astype(int)
    return total


def keep_company(judged: pd.DataFrame, others: Mapping[str, pd.DataFrame], company: str) -> pd.DataFrame:
    """The images whose mistakes are shared as asked for.

    Args:
        judged: What ``judge_entry`` gives for the chosen entry.
        others: What it gives for the others, by entry.
        company: ``any``: every image; ``all``: those wrong here and for every other entry; ``only``: those wrong
            here and for no other entry; the id of an entry: those on which it is of the other opinion, right
            where this one is wrong and wrong where this one is right.
    """
    if company == ANY or not others:
        return judged
    if company in others:
        theirs = others[company].set_index("image_id")["verdict"]
        verdict = judged["image_id"].map(theirs)
        return judged[verdict.notna() & (judged["verdict"].isin(WRONG) != verdict.isin(WRONG))]
    judged = judged[judged["verdict"].isin(WRONG)]
    shared = wrong_elsewhere(judged, others)
    return judged[shared == (len(others) if company == ALL else 0)]


def pairs(judged: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """How often is one entry wrong where another is right?

    Args:
        judged: By entry, what ``judge_entry`` gives.

    Returns:
        wrong, right (ids of entries), n (images that both have judged, wrong for the one and right for the other),
        of (images that both have judged); the diagonal holds all images that an entry gets wrong.
    """
    wrong = {line: wrong_images(frame) for line, frame in judged.items()}
    seen = {line: frozenset(frame["image_id"]) for line, frame in judged.items()}
    rows = []
    for first in judged:
        for second in judged:
            both = seen[first] & seen[second]
            n = len(wrong[first]) if first == second else len((wrong[first] - wrong[second]) & both)
            rows.append({"wrong": first, "right": second, "n": n, "of": len(both)})
    return pd.DataFrame(rows, columns=["wrong", "right", "n", "of"])


def shared_by(judged: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """How many images are judged wrongly by none, one, two ... of the entries?

    Args:
        judged: By entry, what ``judge_entry`` gives; images that an entry lacks count as right for it.

    Returns:
        lines (how many are wrong), n (images); a row for each number from 0 to all entries.
    """
    ids = sorted(set().union(*(frame["image_id"] for frame in judged.values()))) if judged else []
    total = pd.Series(0, index=ids)
    for frame in judged.values():
        total += pd.Series(1, index=sorted(wrong_images(frame))).reindex(ids, fill_value=0)
    found = total.value_counts()
    return pd.DataFrame([{"lines": k, "n": int(found.get(k, 0))} for k in range(len(judged) + 1)])


def _finite(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def normal_maps(store: Store, run_id: str, category: str) -> list[NDArray[np.float32]]:
    """Maps of a category's normal test images, small: what a value on another map is held against.

    Args:
        store: The results.
        run_id: The run.
        category: The category.

    Returns:
        [64, 64] each; empty where the run kept no maps.
    """
    images = store.images(run_id, category)
    normal = images[(images["label"] == 0) & (images["split"] == "test")]["image_id"]
    found = [store.anomaly_map(run_id, category, image_id, SCALE_SIZE) for image_id in normal]
    return [one for one in found if not isinstance(one, Missing)]


def some_maps(store: Store, run_ids: Iterable[str], category: str, most: int = 40) -> list[NDArray[np.float32]]:
    """Maps of a category from several runs, small, evenly picked: what one scale in raw units for them is made of.

    Args:
        store: The results.
        run_ids: The runs.
        category: The category.
        most: About how many of each run.

    Returns:
        [64, 64] each; empty where no run kept maps.
    """
    found = []
    for run_id in run_ids:
        grids = store.grids(run_id, category)
        if not isinstance(grids, Missing):
            picked = grids.image_ids[:: max(1, len(grids.image_ids) // most)]
            found += [store.anomaly_map(run_id, category, image_id, SCALE_SIZE) for image_id in picked]
    return [one for one in found if not isinstance(one, Missing)]
