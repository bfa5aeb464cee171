"""The reproduce command: a stored run computed again on this machine, and what came out otherwise."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vlmad_core.methods.plugins import add_plugin_argument
from vlmad_core.paths import store_root

DIFFERENT, INCOMPLETE = 1, 2
"""Exit codes of a run that came out otherwise, and of one that could not be computed whole."""

MOST_NAMED = 5
"""Images and numbers that are named for each category; json has all."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("run", help="id of a run, or the part of it that tells it from the others")
    parser.add_argument(
        "--store",
        type=Path,
        default=store_root(),
        metavar="DIR",
        help="where it lies; default: VLMAD_STORE, or results",
    )
    parser.add_argument("--categories", nargs="+", metavar="NAME", help="only these (default: all it has finished)")
    parser.add_argument("--data", metavar="NAME|PATH", help="its data set, where that has moved since")
    parser.add_argument("--out", type=Path, metavar="DIR", help="keep what is computed in this results folder")
    add_plugin_argument(parser)
    parser.add_argument("--json", action="store_true", help="print json")


def run(args: argparse.Namespace) -> int:
    """Do it.

    Returns:
        0 if it came out the same, or within the tolerance of its arithmetic; 1 if otherwise; 2 if some of it could not
        be computed or compared.

    Raises:
        VlmadError: If anything that moves the run's numbers is missing or another one here; nothing is computed then.
    """
    from vlmad_core.methods.plugins import use_plugins

    use_plugins(args.plugin)
    if args.out is not None:
        found = reproduce(args, args.out)
    else:
        with tempfile.TemporaryDirectory(prefix="vlmad-reproduce-") as folder:
            found = reproduce(args, Path(folder))
    print(json.dumps(found, indent=1) if args.json else "\n".join(_lines(found)))
    code: int = found["exit_code"]
    return code


def reproduce(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Compute the run again into a results folder, and hold both against each other; gives json values."""
    from vlmad_core.analysis.repeated import PIXEL_SHARE, compare_unit, conditions, explanation, overall
    from vlmad_core.engine.again import tolerance_of
    from vlmad_core.engine.progress import Reporter
    from vlmad_core.engine.repeating import plan_repetition
    from vlmad_core.engine.runner import run_plan
    from vlmad_core.paths import parameter_folders
    from vlmad_core.store.layout import folder_name
    from vlmad_core.store.reader import find_run, open_store

    stored = open_store(args.store)
    record = find_run(stored, args.run)
    command = f"python -m vlmad_core reproduce {shlex.join(args.command_line)}"
    plan = plan_repetition(
        record,
        folder,
        categories=args.categories,
        source=args.data,
        folders=parameter_folders([args.store]),
        command=command,
    )
    with Reporter(sys.stderr) as reporter:
        summary = run_plan(plan, reporter)
    here = open_store(folder)
    again = next((one for one in here.runs if one.id == record.id), None)
    failed = {unit.category: unit.reason for unit in summary.units if unit.outcome == "failed"}
    tolerance = tolerance_of(record)
    finished = again.units if again is not None else ()
    units = [compare_unit(stored, here, record, category, tolerance) for category in finished]
    otherwise = conditions(record, again) if again is not None else ()
    verdict = overall(units) if units else None
    wanted = [record.path] if args.categories is None else [record.path / folder_name(one) for one in args.categories]
    unreadable = [p.message for p in stored.problems if any(place in (p.path, *p.path.parents) for place in wanted)]
    code = INCOMPLETE if failed or unreadable or not units else DIFFERENT if verdict == "different" else 0
    return {
        "run": record.id,
        "verdict": verdict,
        "explanation": explanation(units, otherwise, tolerance) if units else None,
        "tolerance": {"scores_and_maps": tolerance, "pixel_metrics": PIXEL_SHARE * tolerance},
        "conditions": [asdict(one) for one in otherwise],
        "units": [
            {**asdict(unit), "verdict": unit.verdict, "moved": [{**asdict(m), "within": m.within} for m in unit.moved]}
            for unit in units
        ],
        "failed": failed,
        "unreadable": unreadable,
        "seconds": round(summary.seconds, 3),
        "store": None if args.out is None else str(args.out),
        "exit_code": code,
    }


def _lines(found: Mapping[str, Any]) -> list[str]:
    """What came out, in words."""
    lines = [f"{found['run']}: {len(found['units'])} categories computed again in {found['seconds']:.1f} s"]
    lines += [f"can't be compared: {text}" for text in found["unreadable"]]
    for unit in found["units"]:
        lines += _unit_lines(unit)
    lines += [f"{category}: FAILED: {reason}" for category, reason in found["failed"].items()]
    lines += [f"otherwise: {one['name']} was {one['stored']}, is {one['here']}" for one in found["conditions"]]
    if found["verdict"] is not None:
        lines.append(f"{found['verdict']}: {found['explanation']}")
    if found["store"] is not None:
        lines.append(f"What was computed lies in {found['store']}.")
    return lines


def _unit_lines(unit: Mapping[str, Any]) -> list[str]:
    maps = "" if unit["largest_map"] is None else f", maps by at most {unit['largest_map']:.2g}"
    scores = (
        f"{unit['scores_moved']} of {unit['images']} scores moved by at most {unit['largest_score']:.2g}{maps}; "
        f"{len(unit['moved'])} of {unit['metrics']} numbers differ"
    )
    lines = [f"{unit['category']}: {unit['verdict']}: {scores}"]
    # What rounding does not explain is named first, then the largest.
    ordered = sorted(unit["moved"], key=lambda one: (one["within"], -abs((one["here"] or 0) - (one["stored"] or 0))))
    for one in ordered[:MOST_NAMED]:
        before, after = one["stored"], one["here"]
        pair = " -> ".join("none" if value is None else f"{value:.4f}" for value in (before, after))
        by = "" if before is None or after is None else f" by {after - before:+.2g}"
        low, high = one["allowed"] or (None, None)
        judged = "not judged" if low is None else f"rounding may take it from {low:.4f} to {high:.4f}"
        judged = "the run has none" if before is None and one["judged"] else judged
        lines.append(f"  {one['name']} {pair}{by} ({'' if one['within'] else 'NOT EXPLAINED: '}{judged})")
    if len(ordered) > MOST_NAMED:
        lines.append(f"  and {len(ordered) - MOST_NAMED} more; --json has all")
    beyond = unit["beyond"]
    if beyond:
        more = f" and {len(beyond) - MOST_NAMED} more" if len(beyond) > MOST_NAMED else ""
        lines.append(f"  beyond the tolerance: {', '.join(beyond[:MOST_NAMED])}{more}")
    return lines
