"""Metrics of detection and segmentation: exact, with ties, and with a reason for whatever is missing."""

from __future__ import annotations

from vlmad_core.metrics.curves import MAX_POINTS, Curve
from vlmad_core.metrics.image import Steps, image_ap, image_auroc, image_f1max, image_metrics, steps
from vlmad_core.metrics.ordering import PixelOrdering, order_pixels
from vlmad_core.metrics.pixel import (
    DEFAULT_LIMITS,
    PixelEvaluation,
    aupro_of_regions,
    evaluate_pixels,
    pixel_metrics,
    pixel_threshold_at_fpr,
)
from vlmad_core.metrics.regions import (
    CONNECTIVITY,
    Region,
    find_regions,
    group_by_area,
    group_by_defect_type,
    label_regions,
)
from vlmad_core.metrics.spec import METRICS, MetricSpec, MetricValue, aupro_name, metric_spec
from vlmad_core.metrics.thresholds import (
    Threshold,
    Verdict,
    f1max_threshold,
    stored_threshold,
    threshold_from_normals,
    user_threshold,
    verdict,
)

__all__ = [
    "CONNECTIVITY",
    "DEFAULT_LIMITS",
    "MAX_POINTS",
    "METRICS",
    "Curve",
    "MetricSpec",
    "MetricValue",
    "PixelEvaluation",
    "PixelOrdering",
    "Region",
    "Steps",
    "Threshold",
    "Verdict",
    "aupro_name",
    "aupro_of_regions",
    "evaluate_pixels",
    "f1max_threshold",
    "find_regions",
    "group_by_area",
    "group_by_defect_type",
    "image_ap",
    "image_auroc",
    "image_f1max",
    "image_metrics",
    "label_regions",
    "metric_spec",
    "order_pixels",
    "pixel_metrics",
    "pixel_threshold_at_fpr",
    "steps",
    "stored_threshold",
    "threshold_from_normals",
    "user_threshold",
    "verdict",
]
