"""``datasets list`` and ``datasets check``."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter, defaultdict
from pathlib import Path

from vlmad_core import paths
from vlmad_core.datasets.catalogue import official_sets
from vlmad_core.datasets.check import CheckReport, check_dataset, sizes_in_words
from vlmad_core.datasets.inspecting import FileFinding
from vlmad_core.datasets.loading import data_sets_in, list_datasets, load_dataset
from vlmad_core.errors import DatasetError
from vlmad_core.reading import printable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare ``list [--json]`` and ``check PATH [--json]``."""
    commands = parser.add_subparsers(dest="datasets_command", required=True, metavar="list|check")
    listing = commands.add_parser("list", help="data sets that can be named")
    listing.add_argument("--json", action="store_true", help="print JSON")
    check = commands.add_parser("check", help="recognise the layout, count, and list every problem")
    check.add_argument("path", metavar="PATH", help="a folder, a manifest, or the name of a data set")
    check.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Run the command; 0 if all is well, 1 if something was found or the data set can't be listed."""
    if args.datasets_command == "list":
        return _run_list(args.json)
    return _run_check(args.path, args.json)


def _run_list(as_json: bool) -> int:
    entries = list_datasets()
    if as_json:
        rows = [
            {
                "name": entry.name,
                "layout": entry.layout,
                "root": str(entry.root) if entry.root else None,
                "available": entry.available,
                "reason": entry.reason,
                "synthetic": entry.synthetic,
                "title": entry.title or None,
            }
            for entry in entries
        ]
        print(json.dumps(rows, indent=2))
        return 0
    for entry in entries:
        where = str(entry.root) if entry.root else f"not available: {entry.reason}"
        said = "  (synthetic)" if entry.synthetic else f"  ({entry.title}, a part of yours)" if entry.title else ""
        print(f"{entry.name:<20} {entry.layout:<14} {where}{said}")
    return 0


def _run_check(source: str, as_json: bool) -> int:
    try:
        reports = [check_dataset(load_dataset(part)) for part in _parts(source)]
    except DatasetError as error:
        if as_json:
            print(json.dumps({"ok": False, "error": error.problem, "fix": error.fix}, indent=2))
        else:
            print(error, file=sys.stderr)
        return 1
    ok = all(report.ok for report in reports)
    if as_json:
        print(json.dumps({"datasets": [report.as_json() for report in reports], "ok": ok}, indent=2))
    else:
        print("\n\n".join(_text(report) for report in reports))
    return 0 if ok else 1


def _parts(source: str) -> tuple[str | Path, ...]:
    """The data set itself, or those in a folder that holds several."""
    path = paths.expanded(Path(source))
    return data_sets_in(path) if path.is_dir() and len(data_sets_in(path)) > 1 else (source,)


def _text(report: CheckReport) -> str:
    dataset = report.dataset
    official = official_sets().get(dataset.official or "")
    title = f", {official.title}" if official else ""
    lines = [f"{dataset.name}: {dataset.layout} layout{title}, {len(dataset.samples)} images in {dataset.root}"]
    if dataset.licence:
        lines.append(f"Licence: {dataset.licence}")
    width = max(len(name) for name in report.counts) + 2
    lines.append(f"{'category':<{width}} {'train':>7} {'normal':>7} {'defective':>10} {'masks':>7}")
    for name, (train, normal, defective) in report.counts.items():
        lines.append(f"{name:<{width}} {train:>7} {normal:>7} {defective:>10} {report.masks[name]:>7}")
    lines.append(sizes_in_words(report.sizes))
    lines.extend(f"Note: {note}" for note in (*dataset.notes, *report.outlook))
    groups: dict[tuple[str, str], list[FileFinding]] = defaultdict(list)
    for finding in report.findings:
        groups[finding.severity, finding.kind].append(finding)
    for (severity, kind), findings in groups.items():
        lines.append(f"{severity} {kind} ({len(findings)})")
        lines.extend(f"  {printable(finding.path)}: {finding.message}" for finding in findings)
    numbers = Counter(finding.severity for finding in report.findings)
    lines.append(
        f"{numbers['error']} errors, {numbers['difference']} differences from the published counts,"
        f" {numbers['note']} notes: {'ok' if report.ok else 'not ok'}"
    )
    if official:
        lines.append(f"Published counts: {official.source}")
    return "\n".join(lines)
