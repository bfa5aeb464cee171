"""Curves (ROC, PR, PRO) thinned to a few hundred points that still draw the full curve."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

MAX_POINTS = 512
"""No stored curve has more points than this."""

LEVELS = (MAX_POINTS - 4) // 2
"""Steps of progress along a curve; both points around each step are kept."""

CurveKind = Literal["roc", "pr", "pro"]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """Points of one curve, in the order of falling thresholds.

    Between neighbouring points ROC and PRO curves are straight. A complete PR curve is a staircase (precision
    holds for the step in recall that leads to its point); of a thinned one so many points are left that
    straight lines draw it.

    Attributes:
        kind: `roc` (x false-positive rate, y true-positive rate), `pr` (x recall, y precision) or `pro` (x
            false-positive rate over normal pixels, y mean share of a region found).
        x: float64 [K], never falling, in [0, 1].
        y: float64 [K], in [0, 1].
        thresholds: float64 [K], falling; a point holds for score >= threshold.
        complete: Whether these are all points of the exact curve, or a selection of at most 512 of them.
    """

    kind: CurveKind
    x: Floats
    y: Floats
    thresholds: Floats
    complete: bool


class CurveThinner:
    """Collects the points of a curve block by block and keeps those that matter for drawing it.

    Progress along the curve is cut into equal steps; the last point before and the first point after each
    step are kept. Jumps therefore survive exactly, and between two kept points progress differs by less than
    a step. A curve that is short as it is keeps all its points.

    Args:
        kind: Which curve.
        levels: Number of steps; the result has at most 2 * levels + 3 points.
    """

    def __init__(self, kind: CurveKind, levels: int = LEVELS) -> None:
        self._kind: CurveKind = kind
        self._levels = levels
        self._seen = 0
        self._all: list[NDArray[np.float64]] = []
        self._kept: list[NDArray[np.float64]] = []
        self._pending: NDArray[np.float64] | None = None

    def add(self, x: Floats, y: Floats, thresholds: Floats, progress: Floats) -> None:
        """Add the next points.

        Args:
            x: Abscissae [K].
            y: Ordinates [K].
            thresholds: Falling thresholds [K].
            progress: How far along the curve each point is, [K], in [0, 1], never falling.
        """
        if x.size == 0:
            return
        block = np.stack([x, y, thresholds, np.floor(progress * self._levels)])
        self._seen += x.size
        if self._seen <= MAX_POINTS:
            self._all.append(block)
        if self._pending is not None:
            block = np.concatenate([self._pending, block], axis=1)
        else:
            self._kept.append(block[:, :1])
        step = np.flatnonzero(block[3, 1:] != block[3, :-1])
        self._kept.append(block[:, np.union1d(step, step + 1)])
        self._pending = block[:, -1:]

    def curve(self) -> Curve:
        """Finish the curve.

        Returns:
            All points if there were at most 512 of them, otherwise the selection.
        """
        complete = self._seen <= MAX_POINTS
        parts = self._all if complete else [*self._kept, *([] if self._pending is None else [self._pending])]
        points = np.concatenate(parts, axis=1) if parts else np.zeros((4, 0))
        if points.shape[1]:
            # A point on the edge of two blocks is kept by both; two corners may fall together.
            same = np.all(points[:3, 1:] == points[:3, :-1], axis=0)
            points = points[:, np.append(True, ~same)]
        return Curve(self._kind, points[0], points[1], points[2], complete)
