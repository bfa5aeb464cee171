"""Metrics of detection and segmentation: exact, with ties, and with a reason for whatever is missing."""

from __future__ import annotations

from vlmad_core.metrics.comparison import (
    MethodComparison,
    PairedDifference,
    SeedSummary,
    WilcoxonResult,
    compare,
    compare_methods,
    holm,
    over_seeds,
    wilcoxon_over_categories,
)
from vlmad_core.metrics.curves import (
    MAX_POINTS,
    Curve,
)
from vlmad_core.metrics.image import (
    Steps,
    image_ap,
    image_auroc,
    image_curves,
    image_f1max,
    image_metrics,
    steps,
)
from vlmad_core.metrics.legacy import (
    aupro_legacy200,
)
from vlmad_core.metrics.ordering import (
    PixelOrdering,
    order_pixels,
)
from vlmad_core.metrics.pixel import (
    DEFAULT_LIMITS,
    PixelEvaluation,
    aupro_of_regions,
    evaluate_pixels,
    pixel_metrics,
    pixel_threshold_at_fpr,
)
from vlmad_core.metrics.pixel_bootstrap import (
    pixel_replicates,
)
from vlmad_core.metrics.regions import (
    CONNECTIVITY,
    Region,
    find_regions,
    group_by_area,
    group_by_defect_type,
    label_regions,
)
from vlmad_core.metrics.slices import (
    RegionSlice,
    recall_at_fpr,
    region_slices,
)
from vlmad_core.metrics.spec import (
    METRICS,
    MetricSpec,
    MetricValue,
    aupro_name,
    metric_spec,
)
from vlmad_core.metrics.thresholds import (
    Threshold,
    Verdict,
    f1max_threshold,
    stored_threshold,
    threshold_from_normals,
    user_threshold,
    verdict,
)
from vlmad_core.metrics.uncertainty import (
    Replicates,
    image_replicates,
    interval,
    mean_over_categories,
    with_intervals,
)

__all__ = [
    "CONNECTIVITY",
    "DEFAULT_LIMITS",
    "MAX_POINTS",
    "METRICS",
    "Curve",
    "MethodComparison",
    "MetricSpec",
    "MetricValue",
    "PairedDifference",
    "PixelEvaluation",
    "PixelOrdering",
    "Region",
    "RegionSlice",
    "Replicates",
    "SeedSummary",
    "Steps",
    "Threshold",
    "Verdict",
    "WilcoxonResult",
    "aupro_legacy200",
    "aupro_name",
    "aupro_of_regions",
    "compare",
    "compare_methods",
    "evaluate_pixels",
    "f1max_threshold",
    "find_regions",
    "group_by_area",
    "group_by_defect_type",
    "holm",
    "image_ap",
    "image_auroc",
    "image_curves",
    "image_f1max",
    "image_metrics",
    "image_replicates",
    "interval",
    "label_regions",
    "mean_over_categories",
    "metric_spec",
    "order_pixels",
    "over_seeds",
    "pixel_metrics",
    "pixel_replicates",
    "pixel_threshold_at_fpr",
    "recall_at_fpr",
    "region_slices",
    "steps",
    "stored_threshold",
    "threshold_from_normals",
    "user_threshold",
    "verdict",
    "wilcoxon_over_categories",
    "with_intervals",
]
