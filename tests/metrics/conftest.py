"""Slow, plain versions of the metrics to hold the fast ones against, and small made-up cases."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
from numpy.typing import NDArray

GOLDEN = Path(__file__).parents[1] / "golden" / "metrics"


def brute_regions(mask: NDArray[np.bool_]) -> list[set[tuple[int, int]]]:
    """8-connected regions by flood fill, in reading order."""
    left = {(int(r), int(c)) for r, c in np.argwhere(mask)}
    regions = []
    for start in sorted(left):
        if start not in left:
            continue
        region, todo = set(), [start]
        left.discard(start)
        while todo:
            r, c = todo.pop()
            region.add((r, c))
            near = {(r + i, c + j) for i in (-1, 0, 1) for j in (-1, 0, 1)} & left
            left -= near
            todo.extend(near)
        regions.append(region)
    return regions


def brute_curve(
    maps: Sequence[NDArray[np.floating]], masks: Sequence[NDArray[np.bool_]]
) -> list[tuple[float, int, int, float]]:
    """(threshold, TP, FP, mean share of a region found) at every distinct score, one after the other."""
    thresholds = sorted({float(v) for m in maps for v in m.ravel()}, reverse=True)
    regions = [(i, region) for i, mask in enumerate(masks) for region in brute_regions(mask)]
    points = []
    for t in thresholds:
        tp = sum(int(((m >= t) & k).sum()) for m, k in zip(maps, masks, strict=True))
        fp = sum(int(((m >= t) & ~k).sum()) for m, k in zip(maps, masks, strict=True))
        shares = [sum(float(maps[i][p]) >= t for p in region) / len(region) for i, region in regions]
        points.append((t, tp, fp, sum(shares) / len(shares)))
    return points


def brute_metrics(
    maps: Sequence[NDArray[np.floating]],
    masks: Sequence[NDArray[np.bool_]],
    limits: Sequence[float] = (0.3, 0.05),
) -> dict[str, float]:
    """AUROC, AP, F1-max and AUPRO by their definitions; needs defective and normal pixels."""
    points = brute_curve(maps, masks)
    p, n = points[-1][1], points[-1][2]
    auroc = ap = f1max = 0.0
    before = (0, 0)
    for _, tp, fp, _ in points:
        auroc += (fp - before[1]) / n * (tp + before[0]) / 2 / p
        ap += (tp - before[0]) / p * tp / (tp + fp)
        f1max = max(f1max, 2 * tp / (2 * tp + fp + p - tp))
        before = (tp, fp)
    result = {"pixel_auroc": auroc, "pixel_ap": ap, "pixel_f1max": f1max}
    for limit in limits:
        area, x0, y0 = 0.0, 0.0, 0.0
        for _, _, fp, pro in points:
            x1 = fp / n
            if x1 > limit:
                y_end = y0 + (pro - y0) * (limit - x0) / (x1 - x0)
                area += (limit - x0) * (y0 + y_end) / 2
                break
            area += (x1 - x0) * (y0 + pro) / 2
            x0, y0 = x1, pro
        result[f"aupro_{round(100 * limit):02d}"] = area / limit
    return result


def smooth_case(images: int = 10, side: int = 32, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Noisy maps with one to three rectangular defects on two thirds of the images."""
    rng = np.random.default_rng(seed)
    maps = rng.standard_normal((images, side, side)).astype(np.float32)
    masks = np.zeros(maps.shape, np.bool_)
    for i in range(images):
        if i % 3 == 2:
            continue
        for _ in range(int(rng.integers(1, 4))):
            (r, c), (h, w) = rng.integers(0, side - 6, 2), rng.integers(2, 7, 2)
            masks[i, r : r + h, c : c + w] = True
        maps[i][masks[i]] += np.float32(rng.uniform(0.5, 2.0))
    return maps, masks


@pytest.fixture(scope="session")
def brute() -> SimpleNamespace:
    """The plain versions: `metrics`, `curve`, `regions`."""
    return SimpleNamespace(metrics=brute_metrics, curve=brute_curve, regions=brute_regions)


@pytest.fixture(scope="session")
def make_case() -> Callable[..., tuple[NDArray[np.float32], NDArray[np.bool_]]]:
    """Function that makes maps and masks."""
    return smooth_case


@pytest.fixture(scope="session")
def golden_folder() -> Path:
    """Folder with the cases and the expected values."""
    return GOLDEN
