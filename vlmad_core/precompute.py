"""The precompute command: from data sets and methods to a results store."""

from __future__ import annotations

import argparse
import dataclasses
import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from vlmad_core.backbones.feature_files import STORAGES
from vlmad_core.engine.options import (
    KEEP_GRIDS,
    MODES,
    PRECISIONS,
    SIZES,
    PlanError,
    PlanOptions,
    make_options,
    read_plan,
)
from vlmad_core.errors import VlmadError
from vlmad_core.methods.plugins import add_plugin_argument

if TYPE_CHECKING:
    import pandas as pd

SHOWN = ("image_auroc", "image_ap", "pixel_auroc", "pixel_ap", "aupro_30")
"""Metrics of the closing table."""

GIVEN = (
    *("datasets", "methods", "shots", "seeds", "backbone", "mode", "size", "categories", "store", "batch_size"),
    *(
        "threads",
        "precision",
        "device",
        "image_size",
        "activation",
        "tokenizer",
        "parameters",
        "grids",
        "thumbnails",
        "latency_images",
        "window_tokens",
    ),
    *("cache", "cache_dir", "cache_storage", "cache_gb"),
)
"""Arguments that are part of a plan; those not given keep the plan file's value or the default."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    plan = parser.add_argument_group("what to compute")
    plan.add_argument(
        "--dataset",
        dest="datasets",
        nargs="+",
        metavar="NAME|PATH",
        help="bundled_a, bundled_b, a name in VLMAD_DATA_DIR, or a folder",
    )
    plan.add_argument(
        "--method", dest="methods", nargs="+", metavar="M", help="name or name:preset, e.g. winclip:accurate"
    )
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
    plan.add_argument("--shots", nargs="+", type=int, metavar="K", help="numbers of normal references (default 0)")
    plan.add_argument("--seeds", type=int, metavar="N", help="draws of the references, seeds 0..N-1 (default 1)")
    plan.add_argument(
        "--backbone",
        metavar="ID",
        help="bundled, a folder or a hub id (default: bundled, or each method's own)",
    )
    plan.add_argument(
        "--mode", choices=MODES, help="one backbone for all methods (default), or each as its authors had it"
    )
    plan.add_argument("--size", choices=tuple(SIZES), help="how many test images per category (default full)")
    plan.add_argument("--categories", nargs="+", metavar="NAME", help="only these")
    plan.add_argument("--plan", type=Path, metavar="FILE", help="a yaml plan; arguments override it")
    how = parser.add_argument_group("how to compute")
    how.add_argument("--store", type=Path, metavar="DIR", help="results folder (default: VLMAD_STORE, or results)")
    how.add_argument("--batch-size", type=int, metavar="N", help="images per pass (default: by the backbone's size)")
    how.add_argument(
        "--window-tokens",
        type=int,
        metavar="N",
        help="bound on memory: most tokens of WinCLIP's windows at once (default 65536, 0.9 GB with ViT-B/16+)",
    )
    how.add_argument("--threads", type=int, metavar="N", help="threads of torch (default: all)")
    how.add_argument("--precision", choices=PRECISIONS, help="arithmetic of the backbone (default float32)")
    how.add_argument("--device", metavar="NAME", help="where the vision tower computes, e.g. cuda (default cpu)")
    how.add_argument("--image-size", type=int, metavar="S", help="side of the input (default: the backbone's own)")
    how.add_argument("--activation", choices=("gelu", "quick_gelu"), help="override the checkpoint's")
    how.add_argument("--parameters", nargs="+", metavar="METHOD=FILE", help="trained parameters other than those found")
    how.add_argument("--tokenizer", metavar="ID", help="hub id or folder, for checkpoints that bring none")
    how.add_argument("--grids", choices=KEEP_GRIDS, help="which runs keep maps, curves and regions (default all)")
    how.add_argument(
        "--no-thumbnails", dest="thumbnails", action="store_false", default=None, help="store no thumbnails"
    )
    how.add_argument(
        "--latency",
        dest="latency_images",
        type=int,
        metavar="N",
        help="time N images one by one in each run's first unit, apart from the scores; 0 for none (default 8)",
    )
    _add_cache_arguments(parser)
    add_plugin_argument(parser)
    out = parser.add_argument_group("what to say")
    out.add_argument("--dry-run", action="store_true", help="only show what would be done")
    out.add_argument("--json", action="store_true", help="print the outcome as json")
    out.add_argument("--log", type=Path, metavar="FILE", help="append one json line per event")


def _add_cache_arguments(parser: argparse.ArgumentParser) -> None:
    cache = parser.add_argument_group("features on disk, for runs with other prompts or methods later")
    cache.add_argument(
        "--cache",
        action=argparse.BooleanOptionalAction,
        help="keep features and read those that are there (default: --no-cache)",
    )
    cache.add_argument(
        "--cache-dir",
        type=Path,
        metavar="DIR",
        help="where; implies --cache (default: VLMAD_CACHE_DIR, or the system's folder for caches)",
    )
    cache.add_argument(
        "--cache-storage",
        choices=STORAGES,
        help="half: directions in 16 bits, which moves scores a little and is a protocol of its own (default); full",
    )
    cache.add_argument(
        "--cache-gb", type=float, metavar="N", help="room; beyond it the least recently used go (default 10)"
    )


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

    command = "python -m vlmad_core precompute " + shlex.join(getattr(args, "command_line", []))
    plan = build_plan(options, command=command.strip())
    if args.dry_run:
        from vlmad_core.engine.estimate import estimate

        report = estimate(plan)
        print(json.dumps(report.to_json(), indent=1) if args.json else report.text())
        return 0
    from vlmad_core.engine.jobs import jobs_of
    from vlmad_core.engine.progress import Reporter
    from vlmad_core.engine.runner import run_plan

    store_path(options.store)
    total = sum(len(job.samples) for job in jobs_of(plan))
    with Reporter(total, sys.stderr, args.log) as reporter:
        for note in plan.notes:
            reporter.say(f"note: {note}")
        for skipped in plan.not_applicable:
            reporter.say(f"not applicable: {skipped.what}: {skipped.reason}", event="not_applicable")
        summary = run_plan(plan, reporter)
    outcome = _outcome(plan, summary)
    print(json.dumps(outcome, indent=1) if args.json else _closing_text(outcome))
    return summary.exit_code


def options_of(args: argparse.Namespace) -> PlanOptions:
    """The plan's options from the command line, on top of a yaml file if one is named."""
    given = {name: getattr(args, name) for name in GIVEN if getattr(args, name, None) is not None}
    if "cache_dir" in given:
        given.setdefault("cache", True)
    if "parameters" in given:
        given["parameters"] = dict(_pair(text) for text in given["parameters"])
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
                f"--set was given {change!r}, which changes no setting of {', '.join(m.id for m in methods)}.",
                "Write METHOD.SETTING=VALUE, e.g. winclip.temperature=0.01.",
            )
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise PlanError(f"--set was given {change!r}: {error}.", "Write the value as in yaml.") from error
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


def _pair(text: str) -> tuple[str, str]:
    name, equals, file = text.partition("=")
    if not (name and equals and file):
        raise PlanError(f"--parameters was given {text!r}.", "Write METHOD=FILE, e.g. april_gan=my.safetensors.")
    return name, file


def _outcome(plan: Any, summary: Any) -> dict[str, Any]:
    """What became of the plan, as json values."""
    return {
        "store": str(plan.options.store),
        "units": {name: summary.count(name) for name in ("computed", "kept", "partial", "failed")},
        "runs": [run.record.id for run in plan.runs],
        "not_applicable": [{"what": item.what, "reason": item.reason} for item in plan.not_applicable],
        "troubled": [
            {"run": unit.run_id, "category": unit.category, "outcome": unit.outcome, "reason": unit.reason}
            for unit in summary.troubled
        ],
        "images": summary.images,
        "seconds": round(summary.seconds, 3),
        "images_per_second": round(summary.images / summary.seconds, 3) if summary.seconds else None,
        "peak_rss_bytes": summary.peak_bytes,
        "means": _means(plan),
        "exit_code": summary.exit_code,
    }


def _means(plan: Any) -> list[dict[str, Any]]:
    """Means over the planned categories of each run, as far as they are there."""
    from vlmad_core.analysis.aggregate import leaderboard
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
    units = ", ".join(f"{count} {name}" for name, count in outcome["units"].items() if count)
    lines = [f"units: {units or 'none'}; {outcome['images']} images passed in {outcome['seconds']:.1f} s"]
    if outcome["peak_rss_bytes"]:
        lines[0] += f", peak memory {outcome['peak_rss_bytes'] / 2**30:.2f} GB"
    table: dict[tuple[str, ...], dict[str, str]] = {}
    for row in outcome["means"]:
        line = (row["dataset"], f"{row['title']} ({row['method']}:{row['preset']})", str(row["shots"]))
        table.setdefault(line, {})[row["metric"]] = _percent(row)
    if table:
        head = ("data set", "method", "shots", *SHOWN)
        body = [(*line, *(cells.get(name, "") for name in SHOWN)) for line, cells in table.items()]
        widths = [max(len(row[i]) for row in (head, *body)) for i in range(len(head))]
        lines += ["  ".join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True)) for row in (head, *body)]
        lines.append("Means over categories in percent, ± deviation between seeds, [95% bootstrap over categories].")
    for unit in outcome["troubled"]:
        lines.append(f"{unit['outcome']}: {unit['run']} {unit['category']}: {unit['reason']}")
    if outcome["troubled"]:
        lines.append("Start the same command again to retry these; the rest is kept.")
    return "\n".join(lines)


def _percent(row: dict[str, Any]) -> str:
    if row["value"] is None:
        return "–"
    spread = "" if row["low"] is None else f" [{100 * row['low']:.1f}, {100 * row['high']:.1f}]"
    seeds = "" if row["sd"] is None else f" ±{100 * row['sd']:.1f}"
    return f"{100 * row['value']:.1f}{seeds}{spread}"
