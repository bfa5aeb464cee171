"""Verdicts on images: thresholds with their origin, what each image is judged to be, and the clearest mistakes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

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
        origin = f"at most {rate:.0%} of the {len(normal)} normal test images flagged; chosen on the test labels"
        found[name] = StoredThreshold(name, f"{rate:.0%} false alarms (oracle)", value, origin, True)
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
