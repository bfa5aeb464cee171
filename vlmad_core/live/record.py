"""What was judged, with what, and what came out: the record behind every download."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from vlmad_core.datasets.images import reading_protocol
from vlmad_core.datasets.sample import NORMAL_TYPE
from vlmad_core.engine.provenance import code_version
from vlmad_core.live.panel import LivePrediction, Panel, shared_stages
from vlmad_core.live.verdicts import RATE, Opinion

FORM = "vlmad-live-1"
"""Names the form of the json, so that a reader can tell it from later ones."""


@dataclass(frozen=True)
class ImageResult:
    """What all methods say of one image.

    Attributes:
        name: The image.
        size: (width, height) in pixels; None if it could not be read.
        content: Hash over its pixels; empty if it could not be read.
        opinions: One per method, in the order in which they were asked for.
        error: Why the image could not be judged, or None.
    """

    name: str
    size: tuple[int, int] | None = None
    content: str = ""
    opinions: tuple[Opinion, ...] = ()
    error: str | None = None

    def __getitem__(self, method: str) -> Opinion:
        """The opinion of a method, by ``name`` or ``name:preset``."""
        for opinion in self.opinions:
            if method in (opinion.prediction.method_id, opinion.prediction.method_id.partition(":")[0]):
                return opinion
        raise KeyError(method)

    def to_json(self) -> dict[str, Any]:
        """As plain json values; maps are left out."""
        size = None if self.size is None else {"width": self.size[0], "height": self.size[1]}
        return {
            "name": self.name,
            "size": size,
            "pixels_sha256": self.content or None,
            "error": self.error,
            "methods": [_opinion(one) for one in self.opinions],
        }


@dataclass(frozen=True)
class Judged:
    """Images judged by a panel, with all that the scores depend on.

    Attributes:
        setup: Settings, as plain json values; see ``setup_of``.
        images: The results, in the order of the images.
        problems: What was given and could not be used.
        left_out: Files that are not images by their name.
    """

    setup: Mapping[str, Any]
    images: tuple[ImageResult, ...]
    problems: tuple[str, ...] = ()
    left_out: int = 0

    @property
    def failed(self) -> int:
        """Images that could not be read, and images on which a method failed."""
        broken = (image.error or any(one.prediction.error for one in image.opinions) for image in self.images)
        return sum(map(bool, broken)) + len(self.problems)

    def table(self) -> pd.DataFrame:
        """One row for each image and method: image, method, score, threshold, verdict, origin, ms, note."""
        return table(self.images)

    def to_json(self) -> dict[str, Any]:
        """Everything but the maps, as plain json values."""
        return {
            "form": FORM,
            "setup": dict(self.setup),
            "images": [image.to_json() for image in self.images],
            "problems": list(self.problems),
            "left_out": self.left_out,
        }


def without_maps(result: ImageResult) -> ImageResult:
    """The result without what is as large as an image, for keeping many of them."""
    opinions = tuple(replace(one, prediction=_light(one.prediction), yardstick=None) for one in result.opinions)
    return replace(result, opinions=opinions)


def setup_of(panel: Panel, rate: float = RATE) -> dict[str, Any]:
    """All settings that the results of a panel depend on, as plain json values."""
    engine = panel.engine
    return {
        "program": f"vlmad_core {code_version()}",
        "category": panel.category,
        "backbone": engine.info.to_json(),
        "preprocessing": engine.backbone.preprocess.to_json(),
        "reading": reading_protocol(),
        "methods": [member.settings() for member in panel.members],
        "references": [{"name": one.name, "pixels_sha256": one.content} for one in panel.references],
        "false_positive_rate_on_references": rate,
        "anomalous_if": "score >= threshold",
        **({"precision_settled": f"{engine.info.precision} ({engine.why})"} if engine.why else {}),
    }


def table(images: Iterable[ImageResult]) -> pd.DataFrame:
    """One row for each image and method; see ``Judged.table``."""
    rows: list[dict[str, Any]] = []
    for image in images:
        if image.error is not None:
            rows.append({"image": image.name, "note": image.error})
        for one in image.opinions:
            known = one.verdict
            rows.append(
                {
                    "image": image.name,
                    "method": one.prediction.method_id,
                    "score": one.prediction.image_score,
                    "threshold": None if known is None else known.threshold.value,
                    "verdict": verdict_word(one),
                    "origin": None if known is None else known.threshold.origin,
                    "ms": own_milliseconds(one),
                    "note": one.reason or None,
                }
            )
    columns = ["image", "method", "score", "threshold", "verdict", "origin", "ms", "note"]
    return pd.DataFrame(rows, columns=columns).astype({"score": float, "threshold": float, "ms": float})


def wide_table(
    images: Sequence[ImageResult], titles: Mapping[str, str], labels: Sequence[str | None] = ()
) -> pd.DataFrame:
    """One row for each image: what is in it, how many methods call it anomalous, and what each method says.

    Args:
        images: The results.
        titles: How methods are shown, by their id; decides the order of the columns.
        labels: What is in each image, in order, where that is known of any.

    Returns:
        Image, Part is (with labels), Flagged by, score, verdict, threshold and ms of each method, Note. Images that
        could not be judged come first, then those that most methods judge wrongly or, without labels, flag. The index
        holds the places of the images.
    """
    rows: list[dict[str, Any]] = []
    order: list[tuple[bool, int, int, int]] = []
    for place, image in enumerate(images):
        label = labels[place] if place < len(labels) else None
        by_id = {one.prediction.method_id: one for one in image.opinions}
        flagged = [one.verdict.anomalous for one in image.opinions if one.verdict is not None]
        row: dict[str, Any] = {"Image": image.name}
        row |= {"Part is": label} if any(labels) else {}
        row["Flagged by"] = sum(flagged) if flagged else None
        for method, title in titles.items():
            one = by_id.get(method)
            known = None if one is None else one.verdict
            row[f"{title}: score"] = math.nan if one is None else one.prediction.image_score
            row[f"{title}: verdict"] = None if one is None else verdict_word(one)
            row[f"{title}: threshold"] = math.nan if known is None else known.threshold.value
            row[f"{title}: ms"] = None if one is None else own_milliseconds(one)
        errors = [one.prediction.error for one in image.opinions if one.prediction.error]
        row["Note"] = image.error or " ".join(errors) or None
        rows.append(row)
        wrong = 0 if label is None else sum(one != (label != NORMAL_TYPE) for one in flagged)
        order.append((image.error is None, -len(errors), -wrong, -sum(flagged)))
    return pd.DataFrame(rows, index=range(len(rows))).iloc[sorted(range(len(rows)), key=order.__getitem__)]


def verdict_word(opinion: Opinion) -> str:
    """``anomalous``, ``normal``, ``no verdict`` or ``failed``."""
    if opinion.prediction.error is not None:
        return "failed"
    if opinion.verdict is None:
        return "no verdict"
    return "anomalous" if opinion.verdict.anomalous else "normal"


def own_milliseconds(opinion: Opinion) -> float | None:
    """Time the method took on top of what is shared by all, in milliseconds."""
    shared = shared_stages()
    seconds = [value for name, value in opinion.prediction.seconds.items() if name not in shared]
    return 1000 * sum(seconds) if seconds else None


def _light(prediction: LivePrediction) -> LivePrediction:
    return replace(prediction, anomaly_map=None, nearest=None, normals=replace(prediction.normals, maps=()))


def _opinion(one: Opinion) -> dict[str, Any]:
    prediction = one.prediction
    return {
        "method": prediction.method_id,
        "title": prediction.title,
        "shots": prediction.shots,
        "score": prediction.image_score,
        "verdict": verdict_word(one),
        "threshold": None if one.verdict is None else _threshold(one.verdict.threshold),
        "other_thresholds": [_threshold(threshold) for threshold in one.thresholds[1:]],
        "reason": one.reason or None,
        "seconds": dict(prediction.seconds),
        "map_maximum": None if prediction.anomaly_map is None else float(prediction.anomaly_map.max()),
        "reference_scores": list(prediction.normals.scores),
        "why": [
            {"kind": r.kind, "towards": r.towards, "text": r.text, "value": r.value, "box": r.box}
            for r in prediction.reasons
        ],
    }


def _threshold(threshold: Any) -> dict[str, Any]:
    return {"value": threshold.value, "origin": threshold.origin, "detail": threshold.detail}
