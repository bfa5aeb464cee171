"""What moved the score of one image, as runs keep it: prompts, windows, and the nearest reference patch."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

Box = tuple[float, float, float, float]

_REFERENCE = re.compile(r"nearest: reference (\d+), row (\d+), column (\d+)")


@dataclass(frozen=True)
class NearestPatch:
    """The patch of the normal references that is most like a patch of the image.

    Attributes:
        patch: The image's patch, which of all is least like any reference: (left, top, right, bottom), as shares
            of the image's sides.
        reference: Number of the reference, from 0, in the order they were drawn.
        place: Its patch, as ``patch``.
        similarity: Cosine of the two.
    """

    patch: Box
    reference: int
    place: Box
    similarity: float


@dataclass(frozen=True)
class Explanation:
    """What a run says about why an image has its score; each part may be empty.

    Attributes:
        prompts: text, towards (``normal`` or ``abnormal``), value (cosine similarity), strongest first.
        windows: text, value and the box x0, y0, x1, y1 as shares of the image, strongest first.
        nearest: The nearest reference patch of the least familiar patch, or None.
    """

    prompts: pd.DataFrame
    windows: pd.DataFrame
    nearest: NearestPatch | None

    def __bool__(self) -> bool:
        """Whether it says anything."""
        return bool(len(self.prompts) or len(self.windows) or self.nearest)

    @property
    def boxes(self) -> tuple[Box, ...]:
        """The windows' boxes, strongest first."""
        return tuple(_box(row) for row in self.windows.to_dict("records"))


def explanation(reasons: pd.DataFrame, image_id: str) -> Explanation:
    """Sort what a unit keeps about one image.

    Args:
        reasons: As ``Store.explain`` gives it.
        image_id: The image.
    """
    own = reasons[reasons["image_id"] == image_id].sort_values("rank", kind="stable")
    prompts = own[own["kind"] == "prompt"].sort_values("value", ascending=False, kind="stable")
    windows = own[(own["kind"] == "window") & own[["x0", "y0", "x1", "y1"]].notna().all(axis=1)]
    found = [_nearest(row) for row in own[own["kind"] == "reference"].to_dict("records")]
    return Explanation(
        prompts[["text", "towards", "value"]].reset_index(drop=True),
        windows[["text", "value", "x0", "y0", "x1", "y1"]].reset_index(drop=True),
        next((one for one in found if one is not None), None),
    )


def prompt_lead(prompts: pd.DataFrame) -> float | None:
    """By how much the nearest abnormal prompt is more like the image than the nearest normal one.

    Args:
        prompts: As in ``Explanation``.

    Returns:
        A difference of cosine similarities; None unless there are prompts of both kinds.
    """
    best: dict[Any, float] = prompts.groupby("towards")["value"].max().to_dict()
    return best["abnormal"] - best["normal"] if {"abnormal", "normal"} <= set(best) else None


def corners(box: Box, shape: Sequence[int]) -> tuple[int, int, int, int]:
    """A box in pixels: (left, top, right, bottom), inside the image and at least one pixel large.

    Args:
        box: Shares of the sides.
        shape: (height, width) of the image.

    >>> corners((0.25, 0.5, 0.5, 1.0), (100, 200))
    (50, 50, 100, 100)
    """
    height, width = shape[:2]
    left, top = min(width - 1, max(0, round(box[0] * width))), min(height - 1, max(0, round(box[1] * height)))
    return (
        left,
        top,
        min(width, max(left + 1, round(box[2] * width))),
        min(height, max(top + 1, round(box[3] * height))),
    )


def _nearest(row: dict[Any, Any]) -> NearestPatch | None:
    match = _REFERENCE.fullmatch(str(row["text"]))
    patch = _box(row)
    if match is None or not np.isfinite(patch).all():
        return None
    reference, line, column = (int(number) - 1 for number in match.groups())
    wide, high = patch[2] - patch[0], patch[3] - patch[1]
    place = (column * wide, line * high, (column + 1) * wide, (line + 1) * high)
    return NearestPatch(patch, reference, place, float(row["value"]))


def _box(row: dict[Any, Any]) -> Box:
    left, top, right, bottom = (float(row[name]) for name in ("x0", "y0", "x1", "y1"))
    return left, top, right, bottom
