"""Results cut by kind: what share of each defect is found, by its type and by its area; what kind of part it is on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import pandas as pd

from vlmad_core.analysis.entries import Entry
from vlmad_core.datasets import mvtec
from vlmad_core.datasets.catalogue import official_key, official_sets
from vlmad_core.datasets.loading import BUNDLED, bundled_root
from vlmad_core.metrics.image import Reliability, expected_calibration_error, image_curves, reliability
from vlmad_core.store.reader import Store
from vlmad_core.store.schema import RunRecord

AREAS = ((0.0, 0.001), (0.001, 0.005), (0.005, 0.02), (0.02, 0.1), (0.1, 1.0))
"""Bins of defect area, as shares of the image."""

RECALL_LABELS: Mapping[str, str] = {
    "recall_fpr05": "5% of normal pixels flagged",
    "recall_fpr01": "1% of normal pixels flagged",
    "recall_f1max": "best pixel F1 (oracle)",
}
"""Thresholds at which runs store the recall of regions."""

KINDS: Mapping[str, str] = {"object": "Objects", "texture": "Textures"}
"""The kinds, as they are shown."""


def recalls_known(store: Store, entries: Sequence[Entry], category: str) -> tuple[str, ...]:
    """Names of the stored recall columns, in the order of ``RECALL_LABELS``."""
    found: set[str] = set()
    for entry in entries:
        run = entry.run_with(category)
        if run is not None:
            found |= set(store.regions(run.id, category).columns)
    return tuple(name for name in RECALL_LABELS if name in found)


def region_recall(
    store: Store, entries: Sequence[Entry], category: str, recall: str, by: Literal["type", "area"]
) -> pd.DataFrame:
    """Mean share of a defect region found, for groups of regions.

    Args:
        store: The results.
        entries: The competitors.
        category: The category.
        recall: Name of the recall column.
        by: ``type`` (defect type) or ``area`` (share of the image).

    Returns:
        line, method, title, group, order (of the group), value (a fraction), n (regions).
    """
    rows = []
    for entry in entries:
        run = entry.run_with(category)
        if run is None:
            continue
        regions = store.regions(run.id, category)
        if recall not in regions.columns or regions.empty:
            continue
        groups = regions["defect_type"] if by == "type" else regions["area"].map(area_label)
        for name, part in regions.groupby(groups, sort=True):
            rows.append(
                {
                    "line": entry.id,
                    "method": entry.method,
                    "title": entry.title,
                    "group": str(name).replace("_", " "),
                    "order": 0 if by == "type" else _area_order(str(name)),
                    "value": float(part[recall].mean()),
                    "n": len(part),
                }
            )
    frame = pd.DataFrame(rows, columns=["line", "method", "title", "group", "order", "value", "n"])
    return frame.sort_values(["order", "group"], kind="stable", ignore_index=True)


def area_label(area: float) -> str:
    """The bin of an area, in words.

    >>> area_label(0.01)
    '0.5–2%'
    """
    for low, high in AREAS:
        if area < high or high == 1.0:
            return f"{100 * low:g}–{100 * high:g}%"
    raise AssertionError("the last bin is open")


def points_of_curve(store: Store, run_id: str, category: str, curve: str) -> pd.DataFrame:
    """Points of a curve: as they were kept, or of an image curve that was not, from the scores, which always are.

    Args:
        store: The results.
        run_id: The run.
        category: The category.
        curve: Its name, such as ``image_roc``.

    Returns:
        The columns of ``Store.curves``; no rows where it was not kept and does not follow from the scores.
    """
    kept = store.curves(run_id, category)
    kept = kept[kept["curve"] == curve]
    level, _, kind = curve.partition("_")
    if len(kept) or level != "image":
        return kept
    images = store.images(run_id, category)
    images = images[(images["split"] == "test") & images["score"].notna()]
    if images.empty:
        return kept
    found = image_curves(images["label"].to_numpy(float), images["score"].to_numpy(float))
    made = [
        pd.DataFrame({"curve": curve, "eval_size": None, "x": one.x, "y": one.y, "threshold": one.thresholds})
        for name, one in found.items()
        if name == kind
    ]
    return made[0] if made else kept


@dataclass(frozen=True)
class Calibration:
    """How the scores of one entry relate to the share of anomalous images.

    Attributes:
        line: Id of the entry.
        method: Its method.
        title: How it is shown.
        low: Its lowest score.
        high: Its highest.
        error: Expected calibration error in [0, 1]; None where the scores are not all in [0, 1].
        points: Share of anomalous images over the score.
    """

    line: str
    method: str
    title: str
    low: float
    high: float
    error: float | None
    points: Reliability


def calibrations(store: Store, entries: Sequence[Entry], category: str) -> tuple[Calibration, ...]:
    """Reliability of all entries that have scores of a category's test images.

    Args:
        store: The results.
        entries: The competitors.
        category: The category.
    """
    found = []
    for entry in entries:
        run = entry.run_with(category)
        if run is None:
            continue
        images = store.images(run.id, category)
        images = images[(images["split"] == "test") & images["score"].notna()]
        if images.empty:
            continue
        labels, scores = images["label"].to_numpy(float), images["score"].to_numpy(float)
        error = expected_calibration_error(labels, scores)
        points = reliability(labels, scores)
        found.append(
            Calibration(entry.id, entry.method, entry.title, float(scores.min()), float(scores.max()), error, points)
        )
    return tuple(found)


def category_kinds(runs: Iterable[RunRecord]) -> dict[str, str]:
    """``object`` or ``texture`` for each category of some runs whose kind is known.

    What a run recorded comes first, then what is known of a published data set or of one that comes with the
    program.

    Args:
        runs: Runs of one data set.
    """
    found: dict[str, str] = {}
    for run in runs:
        stated = run.provenance.data.get("category_kinds")
        known = {**_known(run.key.dataset, str(run.provenance.data.get("official") or ""), run.categories)}
        known |= stated if isinstance(stated, Mapping) else {}
        found |= {name: kind for name, kind in known.items() if name in run.units and kind in KINDS}
    return found


def of_kind(categories: Iterable[str], kinds: Mapping[str, str], kind: str) -> tuple[str, ...]:
    """Those categories that are of a kind; none of unknown kind."""
    return tuple(name for name in categories if kinds.get(name) == kind)


def _area_order(label: str) -> int:
    return [area_label(low) for low, _ in AREAS].index(label)


@cache
def _known(dataset: str, official: str, categories: tuple[str, ...]) -> Mapping[str, str]:
    key = official_key(official or dataset, categories)
    if key is not None:
        return official_sets()[key].kinds
    if dataset not in BUNDLED:
        return {}
    listed = mvtec.metadata(bundled_root(dataset)).get("categories")
    entries = listed.items() if isinstance(listed, Mapping) else ()
    return {str(name): str(entry.get("kind")) for name, entry in entries if isinstance(entry, Mapping)}
