"""Whether what a unit's tables say can be true: values within their bounds, of this unit, and of one another's images.

A file that agrees with its hash can still be another unit's, or have been written by somebody else. Nothing that is
impossible may be averaged, ranked or drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict

import numpy as np
import pandas as pd

from vlmad_core.store.schema import RunRecord, UnitRecord

SLACK = 1e-6
"""By how much a share may leave [0, 1]: what float32 rounds."""

_BOX = ("x0", "y0", "x1", "y1")


def check_table(name: str, frame: pd.DataFrame, run: RunRecord, unit: UnitRecord, images: Collection[str]) -> None:
    """See that a table of a unit can be true.

    Args:
        name: Name of its file.
        frame: The table as it was read.
        run: The run it lies in.
        unit: The unit it lies in.
        images: The unit's images, against which others of its tables are held; empty if they are not known.

    Raises:
        ValueError: If it can't; the message says why.
    """
    if name == "metrics.parquet":
        _check_metrics(frame, run, unit)
    elif name == "images.parquet":
        _check_images(frame, unit)
    elif name in _OTHERS:
        _OTHERS[name](frame)
        if "image_id" in frame:
            check_grids(frame["image_id"].dropna().unique(), images)


def check_grids(ids: Collection[str], images: Collection[str]) -> None:
    """See that what was kept of single images is of a unit's own.

    Args:
        ids: Their images.
        images: The unit's images; empty if they are not known.

    Raises:
        ValueError: If one is not among them.
    """
    if images and (strange := set(ids).difference(images)):
        raise ValueError(f"{min(strange)[:80]!r} is no image of the unit")


def _check_metrics(frame: pd.DataFrame, run: RunRecord, unit: UnitRecord) -> None:
    own: Mapping[str, str | int] = {**asdict(run.key), "mode": run.mode, "category": unit.category}
    for name, value in own.items():
        _need(frame[name].eq(value), f"its {name} is not {str(value)[:80]!r}")
    _need(frame["metric"].notna() & frame["level"].isin(("image", "pixel")), "a metric has no name or level")
    _need(~frame.duplicated(["metric", "eval_size"]), "a metric is there twice")
    _need(frame["n"].ge(0), "a number of images is missing or negative")
    _need(frame["eval_size"].isna() | frame["eval_size"].gt(0), "a map size is not positive")
    for name in ("value", "low", "high"):
        _shares(frame[name])
    _need(~frame["low"].gt(frame["high"] + SLACK), "an interval ends before it begins")


def _check_images(frame: pd.DataFrame, unit: UnitRecord) -> None:
    ids = frame["image_id"]
    _need(ids.notna() & ids.ne("") & ~ids.duplicated(), "an image has no name, or is there twice")
    _need(frame["label"].isin((0, 1)), "a label is neither 0 nor 1")
    _need(~np.isinf(frame["score"]), "a score is infinite")
    _need(frame["latency_ms"].isna() | frame["latency_ms"].between(0, np.inf, inclusive="left"), "a latency is no time")
    _shares(frame["defect_area"])
    counted = int(frame["score"].notna().sum()), int(frame["error"].notna().sum())
    if counted != (unit.images, unit.errors):
        raise ValueError(
            f"it has {counted[0]} scores and {counted[1]} errors, its unit says {unit.images} and {unit.errors}"
        )


def _check_curves(frame: pd.DataFrame) -> None:
    _need(frame["curve"].notna() & frame["x"].notna() & frame["y"].notna(), "a point of a curve is blank")
    _shares(frame["x"])
    _shares(frame["y"])


def _check_regions(frame: pd.DataFrame) -> None:
    _need(frame["image_id"].notna() & frame["region"].ge(0) & frame["area"].notna(), "a region is blank")
    for name in frame.columns:
        if name in ("area", *_BOX) or name.startswith("recall_"):
            _shares(frame[name])


def _check_explain(frame: pd.DataFrame) -> None:
    _need(frame["kind"].notna() & frame["rank"].notna(), "an explanation has no kind or rank")
    for name in ("value", *_BOX):
        _need(~np.isinf(frame[name]), "a value is infinite")


_OTHERS: Mapping[str, Callable[[pd.DataFrame], None]] = {
    "curves.parquet": _check_curves,
    "regions.parquet": _check_regions,
    "explain.parquet": _check_explain,
}


def _shares(values: pd.Series) -> None:
    """See that all values are shares, or blank."""
    _need(values.isna() | values.between(-SLACK, 1 + SLACK), f"a {values.name} is outside [0, 1]")


def _need(holds: pd.Series, otherwise: str) -> None:
    """See that something holds in every row; a blank does not."""
    if not bool(holds.fillna(False).all()):
        raise ValueError(otherwise)
