"""The precompute command: from data sets and methods to a results store."""

from __future__ import annotations

import argparse
import dataclasses
import json
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlmad_core.engine.options import (
    WHAT,
    PlanError,
    PlanOptions,
    add_options,
    given_options,
    make_options,
    read_plan,
)
from vlmad_core.errors import VlmadError
from vlmad_core.io import parse_yaml
from vlmad_core.methods.plugins import add_plugin_argument
from vlmad_core.records import shown

if TYPE_CHECKING:
    import pandas as pd

SHOWN = ("image_auroc", "image_ap", "pixel_auroc", "pixel_ap", "aupro_30")
"""Metrics of the closing table."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    plan = add_options(parser)[WHAT]
    plan.add_argument(
        "--prompts",
        metavar="NAME|FILE",
        help="prompt ensemble of clip_cpe and winclip: a saved one's name, or a yaml file (default: each method's own)",
    )
    plan.add_argument(
        "--set",
        dest="changes",
        nargs="+",
        metavar="METHOD.SETTING=VALUE",
        help="change settings, e.g. winclip.temperature=0.01 winclip.scales=[2,3,4]; see 'methods NAME'",
    )
    plan.add_argument("--plan", type=Path, metavar="FILE", help="a yaml plan; arguments override it")
    add_plugin_argument(parser)
    out = parser.add_argument_group("what to say")
    out.add_argument("--dry-run", action="store_true", help="only show what would be done")
    out.add_argument("--json", action="store_true", help="print the outcome as json")
    out.add_argument("--log", type=Path, metavar="FILE", help="append one json line per event")


def run(args: argparse.Namespace) -> int:
    """Do it.

    Returns:
        0 if every unit is done, 2 if some failed or lack images.

    Raises:
        VlmadError: If the plan can't be made; nothing has been written then.
    """
    from vlmad_core.methods.plugins import use_plugins

    use_plugins(args.plugin)
    options = options_of(args)
    from vlmad_core.engine.plan import build_plan, store_path
    from vlmad_core.engine.profiling import COMMAND, Ledger

    ledger, started = Ledger(), getattr(args, "started", None) or time.time()
    ledger.charge(COMMAND, "starting up", time.time() - started)
    command = f"python -m vlmad_core precompute {shlex.join(getattr(args, 'command_line', []))}".strip()
    with ledger.measure(COMMAND, "planning"):
        plan = build_plan(options, command=command)
    if args.dry_run:
        from vlmad_core.engine.estimate import estimate

        report = estimate(plan)
        print(json.dumps(report.to_json(), indent=1) if args.json else report.text())
        return 0
    with ledger.measure(COMMAND, "starting up"):
        from vlmad_core.engine.progress import Reporter
        from vlmad_core.engine.runner import keep_command, run_plan

    store_path(options.store)
    with Reporter(sys.stderr, args.log) as reporter:
        for note in plan.notes:
            reporter.say(f"note: {note}")
        for skipped in plan.not_applicable:
            reporter.say(f"not applicable: {skipped.what}: {skipped.reason}", event="not_applicable")
        summary = run_plan(plan, reporter, ledger)
    with ledger.measure(COMMAND, "closing table"):
        means = _means(plan)
    keep_command(plan, summary, command, started)
    outcome = _outcome(plan, summary, means)
    print(json.dumps(outcome, indent=1) if args.json else _closing_text(outcome))
    return summary.exit_code


def options_of(args: argparse.Namespace) -> PlanOptions:
    """The plan's options from the command line, on top of a yaml file if one is named."""
    given = given_options(args)
    options = read_plan(args.plan, given) if args.plan else make_options(given, "The command line")
    if getattr(args, "changes", None):
        options = with_settings(options, args.changes)
    return with_prompts(options, args.prompts) if getattr(args, "prompts", None) else options


def with_settings(options: PlanOptions, changes: Sequence[str]) -> PlanOptions:
    """The same plan with settings of its methods changed.

    Args:
        options: The plan.
        changes: ``METHOD.SETTING=VALUE``, the value as in yaml; the method by the name it has in the plan.

    Raises:
        PlanError: If one is not of that form, or names a method that is not in the plan.
    """
    methods = list(options.methods)
    for change in changes:
        target, equals, text = change.partition("=")
        name, dot, setting = target.rpartition(".")
        mine = [i for i, choice in enumerate(methods) if name in (choice.id, choice.id.partition(":")[0])]
        if not (equals and dot and setting) or not mine:
            raise PlanError(
                f"--set was given {shown(change)}, which changes no setting of {', '.join(m.id for m in methods)}.",
                "Write METHOD.SETTING=VALUE, e.g. winclip.temperature=0.01.",
            )
        value = parse_yaml(text, f"What --set was given, {shown(change)},", PlanError)
        for i in mine:
            methods[i] = dataclasses.replace(methods[i], settings={**methods[i].settings, setting: value})
    return dataclasses.replace(options, methods=tuple(methods))


def with_prompts(options: PlanOptions, ensemble: str) -> PlanOptions:
    """The same plan with another prompt ensemble for the methods that are made to take any.

    Raises:
        PlanError: If none of the plan's methods is.
    """
    from vlmad_core.methods import list_methods, takes_prompts

    own = [takes_prompts(choice.id) for choice in options.methods]
    if not any(own):
        readers = ", ".join(name for name in list_methods() if takes_prompts(name))
        raise PlanError(
            f"--prompts was given, but none of the methods reads an ensemble: {readers} do.",
            "Name one of them with --method.",
        )
    methods = tuple(
        dataclasses.replace(choice, settings={**choice.settings, "ensemble": ensemble}) if takes else choice
        for choice, takes in zip(options.methods, own, strict=True)
    )
    return dataclasses.replace(options, methods=methods)


def _outcome(plan: Any, summary: Any, means: list[dict[str, Any]]) -> dict[str, Any]:
    """What became of the plan, as json values."""
    return {
        "store": str(plan.options.store),
        "units": {name: summary.count(name) for name in ("computed", "kept", "partial", "failed")},
        "runs": [run.record.id for run in plan.runs],
        "settled": _settled(plan),
        "not_applicable": [{"what": item.what, "reason": item.reason} for item in plan.not_applicable],
        "troubled": [
            {"run": unit.run_id, "category": unit.category, "outcome": unit.outcome, "reason": unit.reason}
            for unit in summary.troubled
        ],
        "images": summary.images,
        "seconds": round(summary.seconds, 3),
        "images_per_second": round(summary.images / summary.seconds, 3) if summary.seconds else None,
        "peak_rss_bytes": summary.peak_bytes,
        "spent": summary.ledger.rows(),
        "means": means,
        "exit_code": summary.exit_code,
    }


def _settled(plan: Any) -> list[dict[str, Any]]:
    """What was left to the machine, by backbone: what was taken, and why."""
    found: dict[str, dict[str, Any]] = {}
    for run in plan.runs:
        frozen = run.record.plan
        if "settled" in frozen:
            used = {name: frozen[name] for name in ("device", "precision", "batch_size")}
            row = {"backbone": run.record.key.backbone, **used, "reasons": dict(frozen["settled"])}
            found.setdefault(json.dumps(row, sort_keys=True), row)
    return list(found.values())


def _means(plan: Any) -> list[dict[str, Any]]:
    """Means over the planned categories of each run, as far as they are there."""
    from vlmad_core.analysis.leaderboard import leaderboard
    from vlmad_core.engine.jobs import jobs_of
    from vlmad_core.store.reader import open_store

    try:
        store = open_store(plan.options.store)
    except VlmadError:
        return []
    categories: dict[str, list[str]] = {}
    for job in jobs_of(plan):
        categories.setdefault(job.runs[0].dataset.name, []).append(job.category)
    planned = {run.record.id for run in plan.runs}
    rows: list[dict[str, Any]] = []
    for dataset, names in categories.items():
        board = leaderboard(store, SHOWN, dataset=dataset, categories=names)
        rows += _rows(board.loc[board["run_ids"].map(lambda ids: bool(planned & set(ids))).astype(bool)])
    return rows


def _rows(board: pd.DataFrame) -> list[dict[str, Any]]:
    columns = ["dataset", "title", "method", "preset", "shots", "metric", "value", "low", "high", "sd", "n_seeds"]
    frame = board[[*columns, "n_categories", "n", "reason"]].astype(object)
    return [
        {str(name): None if value != value else value for name, value in row.items()}  # NaN differs from itself
        for row in frame.to_dict("records")
    ]


def _closing_text(outcome: dict[str, Any]) -> str:
    from vlmad_core.analysis.statistics import INTERVAL_NAMES, OVER_CATEGORIES

    units = ", ".join(f"{count} {name}" for name, count in outcome["units"].items() if count)
    lines = [f"units: {units or 'none'}; {outcome['images']} images passed in {outcome['seconds']:.1f} s"]
    if outcome["peak_rss_bytes"]:
        lines[0] += f", peak memory {outcome['peak_rss_bytes'] / 2**30:.2f} GB"
    for row in outcome["settled"]:
        reasons = "; ".join(f"{name.replace('_', ' ')} {row[name]} ({why})" for name, why in row["reasons"].items())
        lines.append(f"settled for {row['backbone']}: {reasons}")
    lines.append(_spent_text(outcome["spent"]))
    table: dict[tuple[str, ...], dict[str, str]] = {}
    for row in outcome["means"]:
        line = (row["dataset"], f"{row['title']} ({row['method']}:{row['preset']})", str(row["shots"]))
        table.setdefault(line, {})[row["metric"]] = _percent(row)
    if table:
        head = ("data set", "method", "shots", *SHOWN)
        body = [(*line, *(cells.get(name, "") for name in SHOWN)) for line, cells in table.items()]
        widths = [max(len(row[i]) for row in (head, *body)) for i in range(len(head))]
        lines += ["  ".join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True)) for row in (head, *body)]
        lines.append(
            f"Means over categories in percent, ± deviation between seeds, [95%, {INTERVAL_NAMES[OVER_CATEGORIES]}]."
        )
    for unit in outcome["troubled"]:
        lines.append(f"{unit['outcome']}: {unit['run']} {unit['category']}: {unit['reason']}")
    if outcome["troubled"]:
        lines.append("Start the same command again to retry these; the rest is kept.")
    return "\n".join(lines)


def _spent_text(rows: Sequence[dict[str, Any]], most: int = 8) -> str:
    """Where the time of the whole command went, by stage."""
    stages: dict[str, float] = {}
    for row in rows:
        stages[row["stage"]] = stages.get(row["stage"], 0.0) + row["seconds"]
    total = sum(stages.values())
    ordered = sorted(stages.items(), key=lambda item: -item[1])
    named = [f"{stage} {seconds:.1f}" for stage, seconds in ordered[:most]]
    rest = sum(seconds for _, seconds in ordered[most:])
    return f"where {total:.1f} s went: {', '.join([*named, f'other {rest:.1f}'] if rest >= 0.05 else named)}"


def _percent(row: dict[str, Any]) -> str:
    if row["value"] is None:
        return "–"
    spread = "" if row["low"] is None else f" [{100 * row['low']:.1f}, {100 * row['high']:.1f}]"
    seeds = "" if row["sd"] is None else f" ±{100 * row['sd']:.1f}"
    return f"{100 * row['value']:.1f}{seeds}{spread}"
