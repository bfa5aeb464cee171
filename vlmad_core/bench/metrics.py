"""`bench metrics`: the pixel metrics timed side by side with what is used elsewhere, in one run."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from importlib import metadata

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_auc_score

from vlmad_core.metrics.ordering import order_pixels
from vlmad_core.metrics.pixel import LEGACY_LIMIT, LEGACY_STEPS, aupro_legacy200, evaluate_pixels
from vlmad_core.metrics.regions import label_regions

Maps = NDArray[np.float32]
Masks = NDArray[np.bool_]

SIZES: dict[str, tuple[tuple[str, int, int], ...]] = {
    "smoke": (("large", 12, 128), ("small", 12, 64)),
    "full": (("large", 83, 900), ("small", 83, 240)),
}
"""By size of the benchmark: name, number of maps, side in pixels."""

LOOP = "200-step loop as published: AUPRO"
"""Name of the timing that our speed is held against."""

_ENVIRONMENT_PACKAGES = ("numpy", "scipy", "scikit-learn")


@dataclass(frozen=True)
class Timing:
    """One measured computation.

    Attributes:
        case: Which maps.
        what: What was computed, and by whom.
        seconds: Wall time of one run.
        values: The figures it gave, by name.
        peak_memory_ratio: Peak of additionally allocated memory over the size of the scores in float32, or
            None where not measured.
    """

    case: str
    what: str
    seconds: float
    values: dict[str, float | None]
    peak_memory_ratio: float | None = None


@dataclass(frozen=True)
class Target:
    """One target and whether this run met it.

    Attributes:
        what: The ratio measured.
        measured: Its value.
        bound: The bound.
        ok: Whether it was met.
    """

    what: str
    measured: float
    bound: float
    ok: bool


def made_up_case(count: int, side: int, seed: int = 0) -> tuple[Maps, Masks]:
    """Make smooth maps with blob-shaped defects on three quarters of the images.

    Args:
        count: Number of maps.
        side: Height and width in pixels.
        seed: Seed.

    Returns:
        Maps float32 [count, side, side] and masks bool of the same shape.
    """
    rng = np.random.default_rng(seed)
    maps = np.empty((count, side, side), np.float32)
    masks = np.zeros((count, side, side), np.bool_)
    rows, columns = np.mgrid[:side, :side].astype(np.float32) / side
    for i in range(count):
        coarse = rng.standard_normal((24, 24), dtype=np.float32)
        maps[i] = ndimage.zoom(coarse, side / 24, order=1)[:side, :side]
        maps[i] += 0.1 * rng.standard_normal((side, side), dtype=np.float32)
        if i % 4 == 3:
            continue
        for _ in range(int(rng.integers(1, 4))):
            y, x = rng.uniform(0.1, 0.9, 2)
            height, width = rng.uniform(0.03, 0.12, 2)
            masks[i] |= ((rows - y) / height) ** 2 + ((columns - x) / width) ** 2 < 1
        maps[i][masks[i]] += np.float32(rng.uniform(0.5, 2.0))
    return maps, masks


def stepwise_aupro(maps: Maps, masks: Masks, *, label_once: bool) -> float:
    """AUPRO by 200 passes over all maps, the way it is usually computed; the comparison, not the metric.

    Args:
        maps: float32 [N, H, W].
        masks: Boolean [N, H, W].
        label_once: Find the regions once before the loop. The public code finds them again at every threshold
            (False), which costs most of its time; with True the loop is as fast as it can be made while it
            stays a loop.

    Returns:
        The value of `aupro_legacy200`, or NaN where too few steps are kept.
    """
    normal = ~masks
    n_normal = normal.sum()
    lowest, highest = maps.min(), maps.max()
    regions = _pixels_of_regions(masks)
    rates: list[float] = []
    overlaps: list[float] = []
    for threshold in np.arange(lowest, highest, (highest - lowest) / LEGACY_STEPS):
        found = maps > threshold
        if not label_once:
            regions = _pixels_of_regions(masks)
        overlaps.append(float(np.mean([found[i, y, x].mean() for i, y, x in regions])))
        rates.append(float(np.logical_and(normal, found).sum() / n_normal))
    x, y = np.array(rates), np.array(overlaps)
    x, y = x[x < LEGACY_LIMIT], y[x < LEGACY_LIMIT]
    if x.size < 2 or x.max() == x.min():
        return float("nan")
    return float(auc((x - x.min()) / (x.max() - x.min()), y))


def _pixels_of_regions(masks: Masks) -> list[tuple[int, NDArray[np.int64], NDArray[np.int64]]]:
    regions: list[tuple[int, NDArray[np.int64], NDArray[np.int64]]] = []
    for i, mask in enumerate(masks):
        labels, areas = label_regions(mask)
        for k, (rows, columns) in enumerate(ndimage.find_objects(labels, max_label=areas.size)):
            y, x = np.nonzero(labels[rows, columns] == k + 1)
            regions.append((i, y + rows.start, x + columns.start))
    return regions


def anomalib_aupro() -> Callable[[Maps, Masks], float] | None:
    """Anomalib's AUPRO as a function of maps and masks, if anomalib is installed.

    Returns:
        The function, or None.
    """
    try:
        torch = importlib.import_module("torch")
        metric = importlib.import_module("anomalib.metrics.aupro")._AUPRO
    except (ImportError, AttributeError):
        return None

    def compute(maps: Maps, masks: Masks) -> float:
        aupro = metric(fpr_limit=LEGACY_LIMIT)
        aupro.update(torch.from_numpy(maps), torch.from_numpy(masks.astype(np.int64)))
        return float(aupro.compute())

    return compute


def measure(case: str, what: str, work: Callable[[], dict[str, float | None]]) -> Timing:
    """Time one computation.

    Args:
        case: Which maps.
        what: What is computed.
        work: Does it and returns its figures.

    Returns:
        The timing, without memory.
    """
    start = time.perf_counter()
    values = work()
    return Timing(case, what, time.perf_counter() - start, values)


def peak_ratio(work: Callable[[], object], scores: Maps) -> float:
    """Peak memory allocated by a computation over the size of the scores.

    Measured in a run of its own, since tracing slows it down.

    Args:
        work: The computation.
        scores: float32 scores, already there before.

    Returns:
        Bytes over bytes.
    """
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    work()
    peak = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    return peak / (4 * scores.size)


def bench_case(case: str, count: int, side: int, report: Callable[[Timing], None]) -> list[Timing]:
    """Time everything on one set of maps.

    Args:
        case: Name of the case.
        count: Number of maps.
        side: Height and width in pixels.
        report: Called with each timing as soon as it is there.

    Returns:
        The timings, ours first.
    """
    maps, masks = made_up_case(count, side)
    truth, scores = masks.ravel(), maps.ravel()

    def ours(curves: bool) -> dict[str, float | None]:
        evaluation = evaluate_pixels(order_pixels(maps, masks), curves=curves)
        return {name: value.value for name, value in evaluation.values.items()}

    def sklearn_f1() -> dict[str, float | None]:
        precision, recall, _ = precision_recall_curve(truth, scores)
        both = precision + recall
        return {"pixel_f1max": float(np.max(2 * precision * recall / np.where(both > 0, both, 1)))}

    timings: list[Timing] = []

    def add(what: str, work: Callable[[], dict[str, float | None]], ratio: float | None = None) -> None:
        timing = measure(case, what, work)
        timings.append(Timing(timing.case, timing.what, timing.seconds, timing.values, ratio))
        report(timings[-1])

    add("ours: all pixel metrics", lambda: ours(False), peak_ratio(lambda: ours(False), maps))
    add("ours: all pixel metrics and curves", lambda: ours(True), peak_ratio(lambda: ours(True), maps))
    add("ours: 200-step AUPRO", lambda: {"aupro_legacy200": aupro_legacy200(order_pixels(maps, masks)).value})
    add("scikit-learn: AUROC", lambda: {"pixel_auroc": float(roc_auc_score(truth, scores))})
    add("scikit-learn: AP", lambda: {"pixel_ap": float(average_precision_score(truth, scores))})
    add("scikit-learn: F1-max", sklearn_f1)
    if case == "small":
        for once, what in ((False, LOOP), (True, "200-step loop, regions found once: AUPRO")):
            add(what, partial(_loop, maps, masks, once))
    anomalib = anomalib_aupro()
    if anomalib is not None:
        add("anomalib: AUPRO", lambda: {"aupro_30": anomalib(maps, masks)})
    return timings


def _loop(maps: Maps, masks: Masks, label_once: bool) -> dict[str, float | None]:
    return {"aupro_legacy200": stepwise_aupro(maps, masks, label_once=label_once)}


def targets(timings: list[Timing]) -> tuple[Target, ...]:
    """Hold the timings against the targets.

    Args:
        timings: Those of the cases `large` and `small`.

    Returns:
        The targets with what was measured.
    """
    seconds = {(t.case, t.what): t.seconds for t in timings}
    ours = {case: seconds[case, "ours: all pixel metrics"] for case in ("large", "small")}
    sklearn = seconds["large", "scikit-learn: AUROC"] + seconds["large", "scikit-learn: AP"]
    share = ours["large"] / sklearn
    speed_up = seconds["small", LOOP] / ours["small"]
    memory = max(t.peak_memory_ratio for t in timings if t.peak_memory_ratio is not None)
    return (
        Target("large: all our pixel metrics / scikit-learn's AUROC and AP (time)", share, 0.5, share < 0.5),
        Target("small: 200-step loop / all our pixel metrics (time)", speed_up, 20.0, speed_up >= 20.0),
        Target("peak extra memory / scores in float32", memory, 3.0, memory < 3.0),
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `bench metrics`.

    Args:
        parser: The command's parser.
    """
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument(
        "--size",
        choices=tuple(SIZES),
        default="full",
        help="full: 83 maps of 900x900 and of 240x240 (a few minutes); smoke: seconds, targets not judged",
    )


def run(args: argparse.Namespace) -> int:
    """Run `bench metrics`.

    Args:
        args: Parsed arguments (`json`, `size`).

    Returns:
        0, or 1 if a target is missed at full size (small sizes measure overhead, not speed).
    """
    timings: list[Timing] = []
    for case, count, side in SIZES[args.size]:
        if not args.json:
            print(f"\n{case}: {count} maps of {side}x{side}")
        timings += bench_case(case, count, side, _quiet if args.json else _print)
    found = targets(timings)
    judged = args.size == "full"
    environment = {
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in _ENVIRONMENT_PACKAGES},
        "anomalib": "not installed" if anomalib_aupro() is None else metadata.version("anomalib"),
    }
    if args.json:
        record = {
            "size": args.size,
            "environment": environment,
            "timings": [asdict(timing) for timing in timings],
            "targets": [asdict(target) for target in found],
            "judged": judged,
        }
        print(json.dumps(record, indent=1))
    else:
        print("\n" + ", ".join(f"{name} {value}" for name, value in environment.items()))
        for target in found:
            verdict = ("met" if target.ok else "MISSED") if judged else "not judged at this size"
            print(f"{target.what}: {target.measured:.3g} (bound {target.bound:g}; {verdict})")
    return 1 if judged and not all(target.ok for target in found) else 0


def _quiet(timing: Timing) -> None:
    """Report nothing."""


def _print(timing: Timing) -> None:
    values = ", ".join(f"{name} {'none' if v is None else format(v, '.6f')}" for name, v in timing.values.items())
    memory = "" if timing.peak_memory_ratio is None else f"  [peak {timing.peak_memory_ratio:.2f}x]"
    print(f"  {timing.seconds:9.3f} s  {timing.what:<44}{values}{memory}", flush=True)
