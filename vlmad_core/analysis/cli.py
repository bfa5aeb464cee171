"""The results command: list, show, verify, compare and tidy what is stored."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from vlmad_core.analysis.comparable import comparable, flat
from vlmad_core.analysis.entries import entries_of
from vlmad_core.analysis.leaderboard import mean_over_categories
from vlmad_core.errors import StoreError
from vlmad_core.io import held_locks
from vlmad_core.paths import store_root
from vlmad_core.store.prune import find_leftovers, remove
from vlmad_core.store.reader import Store, find_run, open_store
from vlmad_core.store.schema import RunRecord
from vlmad_core.store.verifying import verify_run

Outcome = tuple[dict[str, Any], str, int]
"""As json values, as text, and the exit code."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    every = {
        "list": "all runs",
        "show": "one run: protocol, units, metrics",
        "verify": "hold files, thumbnails, trained parameters and prompts against what was noted of them",
        "diff": "what differs between two runs: protocol, provenance, data, metrics",
        "prune": "remove leftovers, damaged units, unused thumbnails; or whole runs",
    }
    for name, text in every.items():
        action = actions.add_parser(name, help=text, description=text)
        action.add_argument(
            "--store", type=Path, default=store_root(), metavar="DIR", help="default: VLMAD_STORE, or results"
        )
        action.add_argument("--json", action="store_true", help="print json")
        if name == "show":
            action.add_argument("run", help="id of a run, or the part of it that tells it from the others")
        elif name == "verify":
            action.add_argument("run", nargs="*", help="only these runs")
        elif name == "diff":
            action.add_argument("first", help="id of a run")
            action.add_argument("second", help="id of another")
        elif name == "prune":
            action.add_argument("--run", nargs="+", default=[], help="remove these runs as a whole")
            action.add_argument("--yes", action="store_true", help="do it; otherwise it is only shown")


def run(args: argparse.Namespace) -> int:
    """Do what was asked.

    Returns:
        0, or 1 if ``verify`` found something.

    Raises:
        StoreError: If the store or a run isn't there.
    """
    store = open_store(args.store)
    if args.action == "list":
        value, text, code = _list(store)
    elif args.action == "show":
        value, text, code = _show(store, find_run(store, args.run))
    elif args.action == "verify":
        chosen = [find_run(store, name) for name in args.run] or list(store.runs)
        value, text, code = _verify(store, chosen)
    elif args.action == "diff":
        value, text, code = _diff(store, find_run(store, args.first), find_run(store, args.second))
    else:
        value, text, code = _prune(store, [find_run(store, name) for name in args.run], do=args.yes)
    print(json.dumps(value, indent=1, default=str) if args.json else text)
    return code


def _list(store: Store) -> Outcome:
    runs = [
        {
            "id": r.id,
            "title": r.title,
            **asdict(r.key),
            "mode": r.mode,
            "conditions": r.protocol.conditions,
            "size": r.protocol.data.get("size"),
            "categories": list(r.categories),
            "partial": [name for name, unit in r.units.items() if unit.status == "partial"],
            "failed": [f.category for f in store.failed if f.run_id == r.id],
        }
        for r in store.runs
    ]
    lines = [
        f"{r['id']}  {r['title']}, {len(r['categories'])} categories"
        + (f", {len(r['failed'])} failed" if r["failed"] else "")
        + (f", {len(r['partial'])} without some images" if r["partial"] else "")
        for r in runs
    ]
    problems = _problems(store)
    lines += [f"{p['kind']}: {p['message']}" for p in problems]
    return {"runs": runs, "problems": problems}, "\n".join(lines) or "no runs", 0


def _show(store: Store, record: RunRecord) -> Outcome:
    metrics = store.metrics([record.id])
    means = mean_over_categories(metrics, blank="skip")
    rows = ["category", "metric", "eval_size", "value", "low", "high", "n", "reason"]
    value = {
        **record.to_json(),
        "fingerprint": str(record.fingerprint),
        "units": {name: unit.to_json() for name, unit in record.units.items()},
        "metrics": _records(metrics[rows]),
        "means": _records(means[["metric", "eval_size", "value", "low", "high", "n_categories", "n", "reason"]]),
        "failed": [asdict(f) for f in store.failed if f.run_id == record.id],
    }
    lines = [f"{record.id}: {record.title}", f"started {record.provenance.started_at}", f"data {record.fingerprint}"]
    lines += [f"{name} = {item}" for name, item in flat(record.to_json()["protocol"])]
    for name, unit in record.units.items():
        trouble = f", {unit.errors} unusable" if unit.errors else ""
        lines.append(f"unit {name}: {unit.images} images{trouble}, finished {unit.finished_at}")
    lines += [f"failed {f.category}: {f.reason}" for f in store.failed if f.run_id == record.id]
    lines += [_metric_line("mean", row) for row in value["means"]]
    lines += [_metric_line(row["category"], row) for row in value["metrics"]]
    return value, "\n".join(lines), 0


def _verify(store: Store, runs: list[RunRecord]) -> Outcome:
    problems = _problems(store)
    notes: list[str] = []
    for record in runs:
        found = verify_run(store, record.id)
        problems += [{**asdict(p), "path": str(p.path)} for p in found.problems]
        notes += found.notes
    problems = list({(p["kind"], p["path"], p["message"]): p for p in problems}.values())  # runs share thumbnails
    units = sum(len(record.units) for record in runs)
    lines = [*(f"{p['kind']}: {p['message']}" for p in problems), *(f"note: {note}" for note in notes)]
    lines.append(f"{len(runs)} runs, {units} units, {len(problems)} problems")
    value = {"runs": len(runs), "units": units, "problems": problems, "notes": notes}
    return value, "\n".join(lines), 1 if problems else 0


def _diff(store: Store, first: RunRecord, second: RunRecord) -> Outcome:
    parts: dict[str, Any] = {}
    for name in ("protocol", "provenance", "plan"):
        a, b = (dict(flat(r.to_json()[name])) for r in (first, second))
        keys = [key for key in {**a, **b} if a.get(key) != b.get(key)]
        parts[name] = {key: [a.get(key), b.get(key)] for key in keys}
    keys = ["category", "metric", "eval_size"]
    tables = [store.metrics([r.id])[[*keys, "value"]] for r in (first, second)]
    joined = tables[0].merge(tables[1], on=keys, how="outer", suffixes=("_first", "_second"))
    joined["difference"] = joined["value_second"] - joined["value_first"]
    same = joined["value_first"].eq(joined["value_second"]) | (
        joined["value_first"].isna() & joined["value_second"].isna()
    )
    parts["metrics"] = _records(joined[~same])
    parts["data"] = list(first.fingerprint.differences(second.fingerprint))
    parts["rankable_together"] = bool(comparable([*entries_of([first]), *entries_of([second])]))
    lines = [
        f"{name} {key}: {a!r} -> {b!r}"
        for name in ("protocol", "provenance", "plan")
        for key, (a, b) in parts[name].items()
    ]
    lines += [
        f"{row['category']} {row['metric']}@{row['eval_size']}: {row['value_first']} -> {row['value_second']}"
        for row in parts["metrics"]
    ]
    lines += [f"data: {text}" for text in parts["data"]]
    together = "may" if parts["rankable_together"] else "must not"
    lines.append(f"These runs {together} be ranked together; {len(parts['metrics'])} metrics differ.")
    return parts, "\n".join(lines), 0


def _prune(store: Store, runs: list[RunRecord], *, do: bool) -> Outcome:
    found = find_leftovers(store)
    paths = [item.path for item in found] + [record.path for record in runs]
    lines = [f"{item.why}: {item.path} ({item.bytes} bytes)" for item in found]
    lines += [f"run: {record.path}" for record in runs]
    if do:
        busy = sum(held_locks(root) for root in store.roots)
        if busy:
            raise StoreError(
                f"Another process is writing to {store.roots[0]}: what it is at looks like a leftover.",
                "Prune when it is done.",
            )
        for path in paths:
            remove(path)
    lines.append(f"{len(paths)} removed" if do else f"{len(paths)} would be removed; add --yes to do it")
    return {"paths": [str(path) for path in paths], "removed": do}, "\n".join(lines), 0


def _problems(store: Store) -> list[dict[str, Any]]:
    return [{**asdict(p), "path": str(p.path)} for p in store.problems]


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as plain values, blanks as None."""
    plain = frame.astype(object).where(frame.notna(), None)
    return [{str(name): value for name, value in row.items()} for row in plain.to_dict("records")]


def _metric_line(what: str, row: Mapping[str, Any]) -> str:
    size = f"@{row['eval_size']}" if row["eval_size"] is not None else ""
    value = "–" if row["value"] is None else f"{100 * row['value']:.2f}"
    spread = "" if row["low"] is None else f" [{100 * row['low']:.2f}, {100 * row['high']:.2f}]"
    reason = f"  ({row['reason']})" if row["reason"] else ""
    return f"{what}: {row['metric']}{size} {value}{spread}, {row['n']} images{reason}"
