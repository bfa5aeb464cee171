"""``datasets list`` and ``datasets check``: is this data set what it should be, and if not, which files."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlmad_core.datasets.bundled_sets import verify_pixels
from vlmad_core.datasets.file_checks import FileFinding, inspect_files
from vlmad_core.datasets.loading import data_sets_in, list_datasets, load_dataset
from vlmad_core.datasets.official import Counts, official_sets
from vlmad_core.datasets.sample import Dataset
from vlmad_core.errors import DatasetError

_NOTES_OF_LISTING = frozenset({"not_an_image"})
"""Kinds of problems met on listing that cost nothing."""


@dataclass(frozen=True)
class CheckReport:
    """What was found about a data set.

    Attributes:
        dataset: The data set.
        counts: Normal train, normal test and defective test images by category.
        masks: Defective images with a mask by category.
        findings: Everything found, errors first.
    """

    dataset: Dataset
    counts: Mapping[str, Counts]
    masks: Mapping[str, int]
    findings: tuple[FileFinding, ...]

    @property
    def ok(self) -> bool:
        """True if there are neither errors nor differences from the published counts."""
        return all(finding.severity == "note" for finding in self.findings)

    def as_json(self) -> dict[str, Any]:
        """The report as plain data."""
        official = official_sets().get(self.dataset.official or "")
        return {
            "name": self.dataset.name,
            "root": str(self.dataset.root),
            "layout": self.dataset.layout,
            "official": self.dataset.official,
            "licence": self.dataset.licence,
            "synthetic": self.dataset.synthetic,
            "categories": {
                name: {
                    "train_normal": train,
                    "test_normal": normal,
                    "test_defective": defective,
                    "masks": self.masks[name],
                    "official": list(official.counts[name]) if official and name in official.counts else None,
                }
                for name, (train, normal, defective) in self.counts.items()
            },
            "problems": [
                {"kind": f.kind, "severity": f.severity, "path": str(f.path), "message": f.message}
                for f in self.findings
            ],
            "notes": list(self.dataset.notes),
            "ok": self.ok,
        }


def check_dataset(dataset: Dataset) -> CheckReport:
    """Check a data set as listed: every file, the masks, duplicates, and the published counts."""
    counts = _counts(dataset)
    masks = Counter(s.category for s in dataset.samples if s.label == 1 and s.mask_path is not None)
    listed = [
        FileFinding(p.kind, "note" if p.kind in _NOTES_OF_LISTING else "error", p.path, p.message)
        for p in dataset.problems
    ]
    pixels = [FileFinding(p.kind, "error", p.path, p.message) for p in verify_pixels(dataset)]
    findings = [
        *listed,
        *_missing_masks(dataset, masks, {p.path for p in dataset.problems if p.kind == "missing_mask"}),
        *inspect_files(dataset.samples),
        *pixels,
        *_against_official(dataset, counts),
        *_what_is_possible(dataset, counts, masks),
    ]
    order = ("error", "difference", "note")
    findings.sort(key=lambda finding: order.index(finding.severity))
    return CheckReport(dataset, counts, {name: masks[name] for name in counts}, tuple(findings))


def _counts(dataset: Dataset) -> dict[str, Counts]:
    numbers = Counter((s.category, s.split, s.label) for s in dataset.samples)
    return {
        name: (numbers[name, "train", 0], numbers[name, "test", 0], numbers[name, "test", 1])
        for name in dataset.categories
    }


def _missing_masks(dataset: Dataset, masks: Mapping[str, int], known: set[Path]) -> Iterable[FileFinding]:
    """Defective images without a mask in categories where others have one, unless already listed."""
    for s in dataset.samples:
        if s.label == 1 and s.mask_path is None and masks.get(s.category) and s.image_path not in known:
            yield FileFinding(
                "missing_mask",
                "error",
                s.image_path,
                "no mask, though others of its category have one; pixel metrics leave the image out.",
            )


def _against_official(dataset: Dataset, counts: Mapping[str, Counts]) -> Iterable[FileFinding]:
    published = official_sets().get(dataset.official or "")
    if published is None:
        return
    for name, numbers in counts.items():
        expected = published.counts.get(name)
        if expected is None and published.counts:
            yield _difference(dataset.root / name, f"{name} is no category of {published.title}.")
        elif expected is not None and numbers != expected:
            yield _difference(dataset.root / name, f"{_words(numbers)}; published {_words(expected)}.")
    missing = [name for name in published.counts if name not in counts]
    if missing:
        yield _difference(dataset.root, f"categories of {published.title} that are missing: {', '.join(missing)}.")
    if not published.counts:
        train, normal, defective = (sum(column) for column in zip(*counts.values(), strict=True))
        if published.total is not None and (train, normal, defective) != published.total:
            found = _words((train, normal, defective))
            yield _difference(dataset.root, f"{found}; published {_words(published.total)}.")
        if published.everything is not None and (train + normal, defective) != published.everything:
            expected_normal, expected_defective = published.everything
            yield _difference(
                dataset.root,
                f"{train + normal} normal and {defective} defective; published {expected_normal} normal and"
                f" {expected_defective} defective.",
            )


def _difference(path: Path, message: str) -> FileFinding:
    return FileFinding("count", "difference", path, message)


def _words(counts: Counts) -> str:
    return f"{counts[0]} train, {counts[1]} normal and {counts[2]} defective test"


def _what_is_possible(
    dataset: Dataset, counts: Mapping[str, Counts], masks: Mapping[str, int]
) -> Iterable[FileFinding]:
    for name, (train, normal, defective) in counts.items():
        path = dataset.root / name
        if defective and not masks.get(name):
            yield FileFinding(
                "no_masks",
                "note",
                path,
                f"classification works, segmentation is blank because none of its {defective} defective"
                " images has a mask.",
            )
        if not normal or not defective:
            lacking = "normal" if not normal else "defective"
            yield FileFinding(
                "one_class",
                "note",
                path,
                f"image AUROC, AP and F1-max are blank because the test split has no {lacking} image.",
            )
        if not train:
            yield FileFinding("no_train", "note", path, "no normal training images, so few-shot methods can't run.")


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
            }
            for entry in entries
        ]
        print(json.dumps(rows, indent=2))
        return 0
    for entry in entries:
        where = str(entry.root) if entry.root else f"not available: {entry.reason}"
        print(f"{entry.name:<20} {entry.layout:<14} {where}{'  (synthetic)' if entry.synthetic else ''}")
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
    path = Path(source).expanduser()
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
    lines.extend(f"Note: {note}" for note in dataset.notes)
    groups: dict[tuple[str, str], list[FileFinding]] = defaultdict(list)
    for finding in report.findings:
        groups[finding.severity, finding.kind].append(finding)
    for (severity, kind), findings in groups.items():
        lines.append(f"{severity} {kind} ({len(findings)})")
        lines.extend(f"  {finding.path}: {finding.message}" for finding in findings)
    numbers = Counter(finding.severity for finding in report.findings)
    lines.append(
        f"{numbers['error']} errors, {numbers['difference']} differences from the published counts,"
        f" {numbers['note']} notes: {'ok' if report.ok else 'not ok'}"
    )
    if official:
        lines.append(f"Published counts: {official.source}")
    return "\n".join(lines)
