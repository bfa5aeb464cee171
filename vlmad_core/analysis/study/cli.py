"""The study command: all ablations of the plan, run by the engine, and the six answers that follow from them."""

from __future__ import annotations

import argparse
import dataclasses
import json
import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from vlmad_core.engine.options import PlanOptions, add_options, given_options, make_options
from vlmad_core.errors import VlmadError

if TYPE_CHECKING:
    from vlmad_core.analysis.study.running import StudyPart

OPTIONS = (
    *("datasets", "backbone", "store", "seeds", "size", "categories", "precision", "device", "batch_size", "threads"),
    "similarities",
    *("tokenizer", "latency_images", "replicates", "thumbnails"),
)
"""Options of a plan that the study takes."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    helps = {
        "datasets": "names or folders (default: both bundled sets, and the real ones in VLMAD_DATA_DIR)",
        "backbone": "bundled, a folder or a hub id (default: bundled)",
        "seeds": "draws of the references (default: the plan's)",
    }
    add_options(parser, OPTIONS, helps)
    parser.add_argument("--plan", type=Path, metavar="FILE", help="another plan than the one that comes along")
    parser.add_argument("--dry-run", action="store_true", help="only show what would be done, with an estimate")
    parser.add_argument("--answers", action="store_true", help="run nothing; answer from what is stored")
    parser.add_argument("--json", action="store_true", help="print json")
    parser.add_argument("--log", type=Path, metavar="FILE", help="append one json line per event")


def run(args: argparse.Namespace) -> int:
    """Run what is missing, then answer.

    Returns:
        0 if every unit is done, 2 if some failed or lack images.

    Raises:
        VlmadError: If the plan, a data set or the backbone can't be had; nothing has been written then.
    """
    from vlmad_core.analysis.study.plan import PLAN, study_plan
    from vlmad_core.analysis.study.running import default_datasets, study_parts

    study = study_plan(args.plan or PLAN)
    datasets = tuple(args.datasets or default_datasets())
    given = {"datasets": datasets, "methods": "clip_ac", "seeds": study.seeds, **given_options(args)}
    options = make_options(given, "The command line")
    study = dataclasses.replace(study, seeds=options.seeds)
    if args.answers:
        return _answer(args, options, 0)
    command = ("python -m vlmad_core study " + shlex.join(getattr(args, "command_line", []))).strip()
    parts = study_parts(study, datasets, options, command)
    if args.dry_run:
        return _estimate(args, parts)
    code = max(_run_part(args, part, command) for part in parts)
    return _answer(args, options, code)


def _estimate(args: argparse.Namespace, parts: list[StudyPart]) -> int:
    from vlmad_core.engine.estimate import estimate

    reports = [(part, estimate(part.plan)) for part in parts]
    if args.json:
        found = [{"dataset": p.dataset, "ablations": p.ablations, **report.to_json()} for p, report in reports]
        print(json.dumps(found, indent=1))
        return 0
    for part, report in reports:
        print(f"== {part.dataset}, {'ablations' if part.ablations else 'methods'}")
        print(report.text())
        for item in part.missing:
            print(f"not there: {item.what}: {item.reason}")
    return 0


def _run_part(args: argparse.Namespace, part: StudyPart, command: str) -> int:
    from vlmad_core.engine.plan import store_path
    from vlmad_core.engine.progress import Reporter
    from vlmad_core.engine.runner import keep_command, run_plan

    started = time.time()
    store_path(part.plan.options.store)
    with Reporter(sys.stderr, args.log) as reporter:
        reporter.say(f"{part.dataset}: {'ablations' if part.ablations else 'methods'}")
        for note in part.plan.notes:
            reporter.say(f"note: {note}")
        for skipped in (*part.plan.not_applicable, *part.missing):
            reporter.say(f"not applicable: {skipped.what}: {skipped.reason}", event="not_applicable")
        summary = run_plan(part.plan, reporter)
    keep_command(part.plan, summary, command, started)
    return summary.exit_code


def _answer(args: argparse.Namespace, options: PlanOptions, code: int) -> int:
    from vlmad_core.analysis.study.answers import answers, as_json, commands_for, study_comparisons
    from vlmad_core.datasets import load_dataset

    store, found = study_comparisons([options.store])
    names = {load_dataset(source).name for source in options.datasets}
    by_dataset, commands = {}, {}
    for one in found:
        # Of several backbones, comparisons come with the fullest first.
        if one.dataset in names and one.dataset not in by_dataset:
            by_dataset[one.dataset] = answers(store, one)
            commands[one.dataset] = commands_for(one, by_dataset[one.dataset])
    if not by_dataset:
        raise VlmadError(
            f"{options.store} holds nothing of {', '.join(options.datasets)}.", "Leave --answers out to run it."
        )
    if args.json:
        print(json.dumps(as_json(by_dataset), indent=1))
        return code
    for dataset, some in by_dataset.items():
        print(f"\n== {dataset}")
        for answer in some:
            if answer.answered:
                print(f"\n{answer.question.title}: {answer.question.ask}")
            for finding in answer.answered:
                print("\n    ".join([f"  {finding.ask}", *finding.sentences]))
        missing = [(answer.question, finding) for answer in some for finding in answer.unanswered]
        if missing:
            print("\nWithout an answer yet:")
        for question, finding in missing:
            print(f"  {question.title}: {finding.ask} {finding.sentence}")
        if commands[dataset]:
            print("\n".join(["  These commands run what is missing:", *(f"    {one}" for one in commands[dataset])]))
    return code
