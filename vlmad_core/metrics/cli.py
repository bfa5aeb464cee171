"""`check-metrics`: hold the metrics against expected values in a folder, number by number."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vlmad_core.arrays import parse_npz
from vlmad_core.errors import MetricError, VlmadError
from vlmad_core.io import LARGEST_JSON
from vlmad_core.metrics.image import image_metrics
from vlmad_core.metrics.ordering import order_pixels
from vlmad_core.metrics.pixel import aupro_legacy200, evaluate_pixels
from vlmad_core.metrics.regions import CONNECTIVITY
from vlmad_core.metrics.spec import MetricValue, aupro_name
from vlmad_core.reading import read_file

TOLERANCE = 1e-6
LEGACY_TOLERANCE = 1e-4
CASES_FILE = "cases.npz"
EXPECTED_FILE = "expected.json"
LARGEST_CASES = 2**28
"""Bytes of the file with the cases, and values in it."""

_NEEDED = f"The folder needs {CASES_FILE} and {EXPECTED_FILE}."
_IMAGE_SCORE = "maximum of the map"
_LEGACY_KEY = "aupro_200_steps_authors"
_EXACT_KEYS = ("aupro_exact", "aupro_anomalib")


@dataclass(frozen=True)
class Check:
    """One expected value against ours.

    Attributes:
        case: Name of the case.
        metric: Key of the expected value.
        value: Ours, or None.
        expected: Expected, or None where the reference has no value.
        difference: Absolute difference, or None where either is missing.
        tolerance: Largest difference accepted.
        ok: Whether they agree; a missing value agrees with a missing value only.
        reason: Why ours is missing, or None.
    """

    case: str
    metric: str
    value: float | None
    expected: float | None
    difference: float | None
    tolerance: float
    ok: bool
    reason: str | None


def check_folder(folder: Path) -> tuple[Check, ...]:
    """Compute every metric of every case in a folder and compare it with the expected value.

    Args:
        folder: Holds `cases.npz` (`<case>_maps` float32 [N, H, W], `<case>_masks` [N, H, W] of 0 and 1) and
            `expected.json` (settings, and `cases`: metric values by case). The score of an image is the
            maximum of its map.

    Returns:
        One check per expected value.

    Raises:
        MetricError: If a file is missing or malformed, a setting is another than ours, or a case or metric is
            unknown.
    """
    expected = _read_expected(folder / EXPECTED_FILE)
    limit = _settings(expected, folder / EXPECTED_FILE)
    cases = expected.get("cases")
    if not isinstance(cases, dict) or not cases:
        raise MetricError(f"{folder / EXPECTED_FILE} has no cases.", "It needs an object `cases`.")
    arrays = _read_arrays(folder / CASES_FILE)
    checks: list[Check] = []
    for case, wanted in cases.items():
        if not isinstance(wanted, dict):
            raise MetricError(f"{folder / EXPECTED_FILE}: case {case!r} is not an object.", "Map metrics to values.")
        maps, masks = _case_arrays(arrays, case, folder / CASES_FILE)
        ours = _compute(maps, masks, limit)
        for metric, value in wanted.items():
            if metric not in ours:
                raise MetricError(
                    f"{folder / EXPECTED_FILE}: case {case!r} expects unknown {metric!r}.",
                    f"Known are: {', '.join(ours)}.",
                )
            if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
                raise MetricError(f"{folder / EXPECTED_FILE}: {case}/{metric} is {value!r}.", "Give a number or null.")
            checks.append(_compare(case, metric, ours[metric], value))
    return tuple(checks)


def _compute(maps: NDArray[np.floating], masks: NDArray[np.bool_], limit: float) -> dict[str, MetricValue]:
    ordering = order_pixels(maps, masks)
    values = dict(evaluate_pixels(ordering, (limit,), curves=False).values)
    exact = values.pop(aupro_name(limit))
    values |= image_metrics(masks.any(axis=(1, 2)), maps.max(axis=(1, 2)))
    values |= dict.fromkeys(_EXACT_KEYS, exact)
    values[_LEGACY_KEY] = aupro_legacy200(ordering)
    return values


def _compare(case: str, metric: str, ours: MetricValue, expected: float | None) -> Check:
    tolerance = LEGACY_TOLERANCE if metric == _LEGACY_KEY else TOLERANCE
    if ours.value is None or expected is None:
        ok = ours.value is None and expected is None
        return Check(case, metric, ours.value, expected, None, tolerance, ok, ours.reason)
    difference = abs(ours.value - expected)
    # Written so that a NaN among the expected values fails.
    return Check(case, metric, ours.value, expected, difference, tolerance, difference <= tolerance, None)


def _read_expected(path: Path) -> dict[str, object]:
    try:
        content = json.loads(read_file(path, LARGEST_JSON, MetricError, _NEEDED))
    except (ValueError, RecursionError) as error:
        raise MetricError(f"{path} can't be read: {error}.", "It must be JSON in UTF-8.") from error
    if not isinstance(content, dict):
        raise MetricError(f"{path} is not a JSON object.", "It needs settings and `cases`.")
    return content


def _settings(expected: Mapping[str, object], path: Path) -> float:
    connectivity = expected.get("connectivity", CONNECTIVITY)
    if connectivity != CONNECTIVITY:
        raise MetricError(f"{path}: connectivity {connectivity!r}.", f"Regions here are {CONNECTIVITY}-connected.")
    image_score = expected.get("image_score", _IMAGE_SCORE)
    if image_score != _IMAGE_SCORE:
        raise MetricError(f"{path}: image score {image_score!r}.", f"Only {_IMAGE_SCORE!r} is supported.")
    limit = expected.get("fpr_limit", 0.3)
    if isinstance(limit, bool) or not isinstance(limit, int | float):
        raise MetricError(f"{path}: fpr_limit {limit!r} is not a number.", "Give a rate in (0, 1].")
    aupro_name(float(limit))
    return float(limit)


def _read_arrays(path: Path) -> dict[str, NDArray[np.generic]]:
    try:
        return parse_npz(read_file(path, LARGEST_CASES, MetricError, _NEEDED), LARGEST_CASES)
    except ValueError as error:
        raise MetricError(f"{path} can't be read: {error}.", "It must be a .npz archive of arrays.") from error


def _case_arrays(
    arrays: Mapping[str, NDArray[np.generic]], case: str, path: Path
) -> tuple[NDArray[np.floating], NDArray[np.bool_]]:
    names = (f"{case}_maps", f"{case}_masks")
    for name in names:
        if name not in arrays:
            raise MetricError(f"{path} has no array {name!r} for case {case!r}.", f"It has: {', '.join(arrays)}.")
    maps, masks = arrays[names[0]], arrays[names[1]]
    if maps.ndim != 3 or maps.shape != masks.shape or maps.size == 0:
        raise MetricError(f"{path}: {names[0]} is {maps.shape}, {names[1]} {masks.shape}.", "Both must be [N, H, W].")
    if not np.issubdtype(maps.dtype, np.floating):
        raise MetricError(f"{path}: {names[0]} holds {maps.dtype}.", "Maps must be floating point.")
    if not np.isin(masks, (0, 1)).all():
        raise MetricError(f"{path}: {names[1]} holds other values than 0 and 1.", "Binarise the masks.")
    return maps.astype(np.result_type(maps.dtype, np.float32)), masks.astype(np.bool_)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `check-metrics`.

    Args:
        parser: The command's parser.
    """
    parser.add_argument("folder", type=Path, metavar="DIR", help=f"holds {CASES_FILE} and {EXPECTED_FILE}")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")


def run(args: argparse.Namespace) -> int:
    """Run `check-metrics` and print each difference.

    Args:
        args: Parsed arguments (`folder`, `json`).

    Returns:
        0 if every value agrees, 1 if one is beyond its tolerance or the folder can't be read.
    """
    try:
        checks = check_folder(args.folder)
    except VlmadError as error:
        if args.json:
            print(json.dumps({"error": str(error), "ok": False}))
        print(f"check-metrics: {error}", file=sys.stderr)
        return 1
    failed = sum(not check.ok for check in checks)
    if args.json:
        by_case: dict[str, dict[str, object]] = {}
        for check in checks:
            record = asdict(check)
            by_case.setdefault(record.pop("case"), {})[record.pop("metric")] = record
        print(json.dumps({"cases": by_case, "ok": failed == 0}, indent=1))
    else:
        print(f"{'case':<12}{'metric':<26}{'ours':>12}{'expected':>12}{'difference':>12}{'tolerance':>11}")
        for check in checks:
            print(_line(check))
        print(f"{len(checks)} values, {failed} beyond tolerance." if failed else f"All {len(checks)} values agree.")
    return 1 if failed else 0


def _line(check: Check) -> str:
    ours, expected = (f"{v:.8f}" if v is not None else "none" for v in (check.value, check.expected))
    difference = f"{check.difference:.1e}" if check.difference is not None else "-"
    note = "" if check.ok else "  FAILED"
    if check.reason is not None:
        note += f"  ({check.reason})"
    return f"{check.case:<12}{check.metric:<26}{ours:>12}{expected:>12}{difference:>12}{check.tolerance:>11.0e}{note}"
