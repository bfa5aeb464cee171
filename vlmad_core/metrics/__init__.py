"""Metrics of detection and segmentation: exact, with ties, and with a reason for whatever is missing."""

from __future__ import annotations

from vlmad_core.metrics.curves import Curve
from vlmad_core.metrics.image import image_auroc, image_curves, image_metrics
from vlmad_core.metrics.ordering import PixelOrdering, order_pixels
from vlmad_core.metrics.pixel import aupro_legacy200, evaluate_pixels, pixel_metrics, pixel_threshold_at_fpr
from vlmad_core.metrics.pixel_bootstrap import pixel_replicates
from vlmad_core.metrics.regions import label_regions
from vlmad_core.metrics.resampling import Replicates
from vlmad_core.metrics.spec import METRICS, MetricValue
from vlmad_core.metrics.thresholds import f1max_threshold
from vlmad_core.metrics.uncertainty import image_replicates, with_intervals

__all__ = [
    "METRICS",
    "Curve",
    "MetricValue",
    "PixelOrdering",
    "Replicates",
    "aupro_legacy200",
    "evaluate_pixels",
    "f1max_threshold",
    "image_auroc",
    "image_curves",
    "image_metrics",
    "image_replicates",
    "label_regions",
    "order_pixels",
    "pixel_metrics",
    "pixel_replicates",
    "pixel_threshold_at_fpr",
    "with_intervals",
]
