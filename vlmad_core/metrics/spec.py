"""What each metric is: its name, bounds, exact definition and source, as data that views and tables read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from vlmad_core.errors import MetricError

Level = Literal["image", "pixel"]


@dataclass(frozen=True)
class MetricSpec:
    """The specification of one metric.

    Attributes:
        name: Identifier, as stored.
        label: Short name for tables and axes; says the limit and the connectivity where there is one.
        level: What one score belongs to: an image or a pixel.
        higher_is_better: Direction in which methods are ranked.
        bounds: Smallest and largest possible value, as fractions.
        definition: One paragraph that settles every choice which moves the number.
        source: Where the definition comes from.
    """

    name: str
    label: str
    level: Level
    higher_is_better: bool
    bounds: tuple[float, float]
    definition: str
    source: str


@dataclass(frozen=True)
class MetricValue:
    """One measured value, or the reason why there is none.

    Attributes:
        value: The metric as a fraction, or None.
        reason: Why `value` (or its interval) is missing; None where nothing is.
        low: Lower end of the interval, or None where none was computed.
        high: Upper end of the interval, or None where none was computed.
        n: Number of images the value was computed from.
    """

    value: float | None
    reason: str | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0


_EXACT = "Every distinct score is a threshold (anomalous if score >= threshold); equal scores form one step. "
_F1 = (
    "Largest F1 = 2TP / (2TP + FP + FN) over all thresholds. The threshold is chosen on the test labels "
    "themselves (an oracle): an upper bound, not what a deployed system reaches."
)
_REGIONS = "Regions are the 8-connected components of the masks of all images of the category, each counted once. "


def _aupro(name: str, limit: float) -> MetricSpec:
    percent = f"{limit:.0%}"
    return MetricSpec(
        name=name,
        label=f"AUPRO@{percent} (8-conn., exact)",
        level="pixel",
        higher_is_better=True,
        bounds=(0.0, 1.0),
        definition=_EXACT
        + _REGIONS
        + "The mean share of a region's pixels found is drawn over the false-positive rate among all normal "
        f"pixels of the category; area by trapezoids from (0, 0) to a rate of {limit:.2f} (linear "
        f"interpolation of the last point), divided by {limit:.2f}.",
        source="Bergmann et al., Uninformed Students, CVPR 2020, and The MVTec Anomaly Detection Dataset, "
        "IJCV 2021 (PRO curve); thresholds taken exactly instead of in steps",
    )


MEAN = "mean"
"""What the mean over categories is called among the categories."""

_SPECS = (
    MetricSpec(
        "image_auroc",
        "Image AUROC",
        "image",
        True,
        (0.0, 1.0),
        _EXACT + "Area under true-positive over false-positive rate by trapezoids: the probability that a defective "
        "image scores above a normal one, ties counted half.",
        "Fawcett, An introduction to ROC analysis, Pattern Recognition Letters 2006; equals scikit-learn's "
        "roc_auc_score",
    ),
    MetricSpec(
        "image_ap",
        "Image AP",
        "image",
        True,
        (0.0, 1.0),
        _EXACT + "Average precision: sum of precision times the step in recall, without interpolation (not the "
        "trapezoid under the precision-recall curve).",
        "Equals scikit-learn's average_precision_score",
    ),
    MetricSpec(
        "image_f1max",
        "Image F1-max (oracle)",
        "image",
        True,
        (0.0, 1.0),
        _EXACT + _F1,
        "Jeong et al., WinCLIP, CVPR 2023 (F1-max)",
    ),
    MetricSpec(
        "pixel_auroc",
        "Pixel AUROC",
        "pixel",
        True,
        (0.0, 1.0),
        _EXACT + "As image AUROC, over all pixels of all test images of the category together, normal images included.",
        "Bergmann et al., The MVTec Anomaly Detection Dataset, IJCV 2021; equals scikit-learn's roc_auc_score",
    ),
    MetricSpec(
        "pixel_ap",
        "Pixel AP",
        "pixel",
        True,
        (0.0, 1.0),
        _EXACT + "Average precision (step-wise) over all pixels of all test images of the category together, normal "
        "images included.",
        "Zou et al., SPot-the-Difference (VisA), ECCV 2022; equals scikit-learn's average_precision_score",
    ),
    MetricSpec(
        "pixel_f1max",
        "Pixel F1-max (oracle)",
        "pixel",
        True,
        (0.0, 1.0),
        _EXACT + _F1 + " Over all pixels of all test images of the category together, normal images included.",
        "Jeong et al., WinCLIP, CVPR 2023 (F1-max)",
    ),
    _aupro("aupro_30", 0.30),
    _aupro("aupro_05", 0.05),
    MetricSpec(
        "aupro_legacy200",
        "AUPRO, 200 steps (8-conn., legacy)",
        "pixel",
        True,
        (0.0, 1.0),
        "200 thresholds equally spaced from the category's smallest to its largest score (anomalous if score "
        "> threshold); " + _REGIONS + "Points with a false-positive rate below 0.3 are kept, their rates stretched "
        "to [0, 1] by their own smallest and largest, area by trapezoids. It changes when a map is merely "
        "rescaled and does not exist where fewer than two points are kept: for comparison with published "
        "numbers only, never with the exact AUPRO.",
        "The public evaluation code of APRIL-GAN and AnomalyCLIP",
    ),
)

METRICS: Mapping[str, MetricSpec] = MappingProxyType({spec.name: spec for spec in _SPECS})
"""All metrics by name, in the order in which tables show them (read-only)."""


def aupro_name(limit: float) -> str:
    """Name of the exact AUPRO at a false-positive-rate limit.

    Args:
        limit: Limit in (0, 1].

    Returns:
        For example `aupro_30` for 0.30; a limit that is no whole percentage keeps its digits.

    Raises:
        MetricError: If the limit is outside (0, 1].

    Examples:
        >>> aupro_name(0.30), aupro_name(0.05), aupro_name(0.125)
        ('aupro_30', 'aupro_05', 'aupro_12p5')
    """
    if not 0.0 < limit <= 1.0:
        raise MetricError(f"AUPRO limit {limit!r} is outside (0, 1].", "Give a false-positive rate, such as 0.3.")
    percent = round(limit * 100, 6)
    whole, _, rest = f"{percent:.6f}".partition(".")
    rest = rest.rstrip("0")
    return f"aupro_{int(whole):02d}" + (f"p{rest}" if rest else "")
