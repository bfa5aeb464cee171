"""Results cut by kind of defect: what share of each defect is found, by its type and by its area."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from vlmad_core.analysis.comparison import Line
from vlmad_core.metrics.image import Reliability, expected_calibration_error, reliability
from vlmad_core.store.reader import Store

AREAS = ((0.0, 0.001), (0.001, 0.005), (0.005, 0.02), (0.02, 0.1), (0.1, 1.0))
"""Bins of defect area, as shares of the image."""

RECALL_LABELS: Mapping[str, str] = {
    "recall_fpr05": "5% of normal pixels flagged",
    "recall_fpr01": "1% of normal pixels flagged",
    "recall_f1max": "best pixel F1 (oracle)",
}
"""Thresholds at which runs store the recall of regions."""


def recalls_known(store: Store, lines: Sequence[Line], category: str) -> tuple[str, ...]:
    """Names of the stored recall columns, in the order of ``RECALL_LABELS``."""
    found: set[str] = set()
    for line in lines:
        run = line.run_with(category)
        if run is not None:
            found |= set(store.regions(run.id, category).columns)
    return tuple(name for name in RECALL_LABELS if name in found)


def region_recall(
    store: Store, lines: Sequence[Line], category: str, recall: str, by: Literal["type", "area"]
) -> pd.DataFrame:
    """Mean share of a defect region found, for groups of regions.

    Args:
        store: The results.
        lines: The competitors.
        category: The category.
        recall: Name of the recall column.
        by: ``type`` (defect type) or ``area`` (share of the image).

    Returns:
        line, method, title, group, order (of the group), value (a fraction), n (regions).
    """
    rows = []
    for line in lines:
        run = line.run_with(category)
        if run is None:
            continue
        regions = store.regions(run.id, category)
        if recall not in regions.columns or regions.empty:
            continue
        groups = regions["defect_type"] if by == "type" else regions["area"].map(area_label)
        for name, part in regions.groupby(groups, sort=True):
            rows.append(
                {
                    "line": line.id,
                    "method": line.method,
                    "title": line.title,
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


@dataclass(frozen=True)
class Calibration:
    """How the scores of one line relate to the share of anomalous images.

    Attributes:
        line: Id of the line.
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


def calibrations(store: Store, lines: Sequence[Line], category: str) -> tuple[Calibration, ...]:
    """Reliability of all lines that have scores of a category's test images.

    Args:
        store: The results.
        lines: The competitors.
        category: The category.
    """
    found = []
    for line in lines:
        run = line.run_with(category)
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
            Calibration(line.id, line.method, line.title, float(scores.min()), float(scores.max()), error, points)
        )
    return tuple(found)


def _area_order(label: str) -> int:
    return [area_label(low) for low, _ in AREAS].index(label)
