"""From a run's scores and maps of one category to the rows that the store keeps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from vlmad_core.engine.extraction import CategoryScores, RunScores
from vlmad_core.engine.profiling import Stopwatch
from vlmad_core.engine.protocol import MAP_SIZE
from vlmad_core.engine.reading import LoadedImage
from vlmad_core.libraries import ndimage
from vlmad_core.methods import MapRule, full_maps
from vlmad_core.metrics import (
    METRICS,
    Curve,
    MetricValue,
    PixelOrdering,
    aupro_legacy200,
    evaluate_pixels,
    f1max_threshold,
    image_curves,
    image_metrics,
    image_replicates,
    label_regions,
    order_pixels,
    pixel_replicates,
    pixel_threshold_at_fpr,
    with_intervals,
)
from vlmad_core.store.tables import Drawn

Row = dict[str, Any]

PIXEL_METRICS = tuple(name for name, spec in METRICS.items() if spec.level == "pixel")

REGION_RATES = {"fpr05": 0.05, "fpr01": 0.01}
"""False-positive rates over normal pixels at which the recall of regions is stored, by column."""

MAX_REASONS = 16
"""Explanations kept per image."""


@dataclass
class Evaluation:
    """Rows, thresholds and resampled metrics of a unit."""

    metrics: list[Row] = field(default_factory=list)
    curves: dict[str, list[Any]] = field(
        default_factory=lambda: {"curve": [], "eval_size": [], "x": [], "y": [], "threshold": []}
    )
    regions: list[Row] = field(default_factory=list)
    thresholds: dict[str, dict[str, Any]] = field(default_factory=dict)
    replicates: Drawn = field(default_factory=dict)


def evaluate(
    category: CategoryScores,
    scores: RunScores,
    sizes: Sequence[int],
    watch: Stopwatch,
    device: torch.device | None = None,
) -> Evaluation:
    """All metrics of one run on one category, with intervals, curves, regions and thresholds.

    Args:
        category: The images with their truth.
        scores: The run's scores and grids.
        sizes: Sides of the maps at which pixel metrics are computed; curves and regions are of ``MAP_SIZE``.
        watch: Where the time is noted.
        device: Where full-size maps are made; None for the CPU.
    """
    result = Evaluation()
    by_id = {image.sample.id: image for image in category.images}
    images = [by_id[image_id] for image_id in scores.scores]
    _image_level(result, images, list(scores.scores.values()), watch)
    grids = scores.all_grids()
    if grids is None or scores.rule is None:
        reason = f"{scores.run.record.title} makes no anomaly map."
        _blank(result, sizes, reason, len(images))
        return result
    for size in sizes:
        _pixel_level(result, images, grids, scores.rule, size, device, watch)
    return result


def image_rows(category: CategoryScores, scores: RunScores) -> list[Row]:
    """One row per image of the category, unreadable ones included."""
    return [
        {
            "image_id": image.sample.id,
            "split": image.sample.split,
            "label": image.sample.label,
            "defect_type": image.sample.defect_type,
            "defect_area": image.defect_area,
            "score": scores.scores.get(image.sample.id),
            "latency_ms": scores.latency_ms.get(image.sample.id),
            "error": image.error,
        }
        for image in category.images
    ]


def explain_rows(scores: RunScores) -> list[Row]:
    """One row per explanation, strongest first within each image."""
    rows: list[Row] = []
    for image_id, reasons in scores.reasons.items():
        for rank, reason in enumerate(reasons[:MAX_REASONS], start=1):
            x0, y0, x1, y1 = reason.box or (None, None, None, None)
            place = {"x0": x0, "y0": y0, "x1": x1, "y1": y1}
            rows.append(
                {"image_id": image_id, "kind": reason.kind, "rank": rank, "text": reason.text}
                | {"value": reason.value, "towards": reason.towards, **place}
            )
    return rows


def thumbnail_rows(images: Iterable[LoadedImage]) -> list[Row]:
    """One row per image with its thumbnail and truth, or why there is none."""
    rows = []
    for image in images:
        reason = None
        if image.thumbnail is None:
            reason = image.error
        elif image.mask_picture is None:
            no_mask = image.error or "The data set has no mask of this defect."
            reason = no_mask if image.sample.label else "A normal image has no defect to show."
        pictures = {"thumbnail": image.thumbnail, "mask": image.mask_picture}
        rows.append({"image_id": image.sample.id, **pictures, "reason": reason})
    return rows


def _image_level(result: Evaluation, images: Sequence[LoadedImage], scores: Sequence[float], watch: Stopwatch) -> None:
    labels = np.array([image.sample.label for image in images], dtype=np.int64)
    with watch.measure("metrics"):
        values = image_metrics(labels, scores)
        _add_curves(result, "image", None, image_curves(labels, scores))
        threshold = f1max_threshold(labels, scores)
    with watch.measure("bootstrap"):
        drawn = image_replicates(labels, scores, ids=[image.sample.id for image in images])
        values = with_intervals(values, drawn)
        result.replicates |= {(name, None): one for name, one in drawn.items()}
    _add_values(result, "image", None, values)
    if threshold is not None:
        result.thresholds["image_f1max"] = {
            "value": threshold.value,
            "level": "image",
            "source": threshold.detail,
            "oracle": True,
        }


def _pixel_level(
    result: Evaluation,
    images: Sequence[LoadedImage],
    grids: np.ndarray,
    rule: MapRule,
    size: int,
    device: torch.device | None,
    watch: Stopwatch,
) -> None:
    known = [i for i, image in enumerate(images) if image.masks.get(size) is not None]
    chosen = [images[i] for i in known]
    left_out = len(images) - len(known)
    if not any(image.sample.label for image in chosen):
        anomalous = any(image.sample.label for image in images)
        reason = "No defective image has a mask." if anomalous else "There are no defective images."
        _blank(result, (size,), reason, len(chosen))
        return
    note = f"without {left_out} images whose masks are missing or unusable" if left_out else None
    masks = np.stack([mask for image in chosen if (mask := image.masks[size]) is not None])
    labels = np.array([image.sample.label for image in chosen], dtype=bool)
    with watch.measure("upsampling"):
        maps = full_maps(grids[known], rule, size, device)
    with watch.measure("metrics"):
        ordering = order_pixels(maps, masks)
        evaluation = evaluate_pixels(ordering)
        legacy = aupro_legacy200(ordering)
    with watch.measure("bootstrap"):
        ids = [image.sample.id for image in chosen]
        drawn = pixel_replicates(maps, masks, labels=labels, ids=ids, ordering=ordering)
        values = with_intervals(evaluation.values, drawn)
        result.replicates |= {(name, size): one for name, one in drawn.items()}
    _add_values(result, "pixel", size, {**values, "aupro_legacy200": legacy}, note)
    if size == MAP_SIZE:
        _add_curves(result, "pixel", size, evaluation.curves)
        oracle = evaluation.f1max
        _add_regions(result, chosen, masks, ordering, oracle.value if oracle else None)


def _add_regions(
    result: Evaluation,
    images: Sequence[LoadedImage],
    masks: np.ndarray,
    ordering: PixelOrdering,
    oracle: float | None,
) -> None:
    """Recall of each region at the stored thresholds; the thresholds themselves are noted too."""
    thresholds: dict[str, float] = {}
    if oracle is not None:
        thresholds["f1max"] = oracle
        source = "largest F1 over all pixels of the test set"
        result.thresholds["pixel_f1max"] = _pixel_threshold(oracle, source)
    for name, rate in REGION_RATES.items():
        value = pixel_threshold_at_fpr(ordering, rate)
        if value is not None:
            thresholds[name] = value
            source = f"false-positive rate {rate:g} over the normal pixels of the test set"
            result.thresholds[f"pixel_{name}"] = _pixel_threshold(value, source)
    if not ordering.regions or not thresholds:
        return
    recalls = ordering.recalls(np.array(list(thresholds.values())))
    boxes = {i: _boxes(masks[i]) for i in sorted({region.image for region in ordering.regions})}
    for region, recall in zip(ordering.regions, recalls, strict=True):
        image = images[region.image].sample
        row: Row = {"image_id": image.id, "region": region.index + 1, "defect_type": image.defect_type}
        row |= {"area": region.area_fraction, **boxes[region.image][region.index]}
        row |= {f"recall_{name}": float(value) for name, value in zip(thresholds, recall, strict=True)}
        result.regions.append(row)


def _boxes(mask: np.ndarray) -> list[dict[str, float]]:
    """The box of each region as shares of the image, in the order in which regions are numbered."""
    labels, _ = label_regions(mask)
    height, width = mask.shape
    return [
        {
            "x0": columns.start / width,
            "y0": rows.start / height,
            "x1": columns.stop / width,
            "y1": rows.stop / height,
        }
        for rows, columns in ndimage.find_objects(labels)
    ]


def _pixel_threshold(value: float, source: str) -> dict[str, Any]:
    return {"value": value, "level": "pixel", "source": source, "oracle": True}


def _add_values(
    result: Evaluation,
    level: str,
    size: int | None,
    values: Mapping[str, MetricValue],
    note: str | None = None,
) -> None:
    for name, value in values.items():
        result.metrics.append(
            {"level": level, "metric": name, "eval_size": size, "value": value.value, "low": value.low}
            | {"high": value.high, "n": value.n, "reason": value.reason or note}
        )


def _blank(result: Evaluation, sizes: Iterable[int], reason: str, n: int) -> None:
    for size in sizes:
        _add_values(result, "pixel", size, {name: MetricValue(None, reason, n=n) for name in PIXEL_METRICS})


def _add_curves(result: Evaluation, level: str, size: int | None, curves: Mapping[Any, Curve]) -> None:
    for kind, curve in curves.items():
        count = len(curve.x)
        result.curves["curve"] += [f"{level}_{kind}"] * count
        result.curves["eval_size"] += [size] * count
        result.curves["x"] += curve.x.tolist()
        result.curves["y"] += curve.y.tolist()
        result.curves["threshold"] += curve.thresholds.tolist()
