"""The import command: results of other programs and of other machines."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlmad_core.errors import StoreError
from vlmad_core.exchange.items import ImportProblem, ImportRefusedError
from vlmad_core.paths import store_root
from vlmad_core.store.reader import find_run, open_store

if TYPE_CHECKING:
    from vlmad_core.datasets.sample import Dataset
    from vlmad_core.exchange.record import Imported
    from vlmad_core.exchange.tables import ScoreTable

KINDS: Mapping[str, str] = {
    "scores": "a csv or parquet file with one row for each test image: its path and its score",
    "maps": "anomaly maps (tiff, npy, png) in the folder layout of MVTec's evaluation script",
    "anomalib": "a results folder of anomalib with saved maps or scores",
    "store": "a results folder of this program from another machine",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="KIND")
    for name, text in KINDS.items():
        kind = kinds.add_parser(name, help=text, description=f"Import {text}. With any problem, nothing is imported.")
        kind.add_argument("source", type=Path, help="file or folder")
        kind.add_argument(
            "--store", type=Path, default=store_root(), metavar="DIR", help="default: VLMAD_STORE, or results"
        )
        kind.add_argument("--json", action="store_true", help="print json")
        kind.add_argument("--origin", help="where it comes from, in words; shown with the results")
        if name == "store":
            kind.add_argument("--run", nargs="+", metavar="ID", help="only these runs")
            continue
        kind.add_argument("--dataset", required=True, help="name or path of the data set the images are of")
        kind.add_argument("--method", required=name != "anomalib", help="name of the method")
        kind.add_argument("--title", help="how the method is shown; default: its name")
        kind.add_argument("--preset", default="imported", help="tells several imports of a method apart")
        kind.add_argument("--shots", type=int, default=0, help="normal reference images used")
        kind.add_argument("--seed", type=int, default=0, help="seed of their draw")
        kind.add_argument("--backbone", default="unknown", help="name of the backbone")
        kind.add_argument("--categories", nargs="+", metavar="C", help="only these")
        kind.add_argument(
            "--conditions-of",
            metavar="RUN",
            help="declare that backbone and input were those of this stored run, and show it with those runs only",
        )
        if name == "maps":
            kind.add_argument("--scores", type=Path, metavar="FILE", help="image scores, if not taken from the maps")
        if name in ("maps", "anomalib"):
            kind.add_argument(
                "--image-score",
                choices=("max", "mean_top_1_percent"),
                default="max",
                help="how an image score follows from its map where none is given; default: max",
            )
        if name in ("maps", "scores"):
            kind.add_argument("--image-column", help="column with the images' paths or ids")
            kind.add_argument("--score-column", help="column with the scores")
            kind.add_argument("--category-column", help="column with the categories, where paths don't tell them")


def run(args: argparse.Namespace) -> int:
    """Import what was asked for.

    Returns:
        0 if it was imported, 1 if nothing was.

    Raises:
        StoreError: If nothing was imported (with ``--json`` the problems are printed as well).
    """
    try:
        answer, text = _import_store(args) if args.kind == "store" else _import_run(args)
    except ImportRefusedError as error:
        if not args.json:
            raise
        problems = [asdict(problem) for problem in error.problems]
        print(json.dumps({"imported": False, "problems": problems}, indent=1))
        return 1
    print(json.dumps({"imported": True, **answer}, indent=1) if args.json else text)
    return 0


def _import_store(args: argparse.Namespace) -> tuple[dict[str, Any], str]:
    from vlmad_core.exchange.stores import import_store

    copied = import_store(args.store, args.source, origin=args.origin or str(args.source), run_ids=args.run)
    lines = [
        f"{run.run_id}: {len(run.copied)} categories copied"
        + (f", {len(run.kept)} were here already" if run.kept else "")
        for run in copied
    ]
    return {"runs": [asdict(run) for run in copied]}, "\n".join(lines)


def _import_run(args: argparse.Namespace) -> tuple[dict[str, Any], str]:
    from vlmad_core.datasets import load_dataset
    from vlmad_core.exchange.measuring import import_run

    dataset = load_dataset(args.dataset)
    categories = _known_categories(dataset, args.categories)
    found, problems, notes = _find(args, dataset, categories)
    say = (lambda line: None) if args.json else print
    for note in notes:
        say(f"note: {note}")
    args.store.mkdir(parents=True, exist_ok=True)
    command = " ".join(getattr(args, "command_line", []))
    record = import_run(args.store, dataset, found, problems, command=command, say=say)
    answer = {"run": record.id, "categories": list(found.categories), "notes": notes}
    return answer, f"imported as {record.id} ({record.title}, {len(found.categories)} categories)"


def _find(
    args: argparse.Namespace, dataset: Dataset, categories: Sequence[str] | None
) -> tuple[Imported, list[ImportProblem], list[str]]:
    """Look through the source: what is there, what is wrong with it, and what the user should know."""
    from vlmad_core.exchange.maps import find_maps, missing_images
    from vlmad_core.exchange.record import Imported

    problems: list[ImportProblem] = []
    notes: list[str] = []
    scores: dict[str, float] = {}
    maps: dict[str, Path] = {}
    files: list[Path] = []
    method, origin = args.method, args.origin
    if args.kind == "anomalib":
        from vlmad_core.exchange.maps import find_anomalib

        results = find_anomalib(args.source, dataset, categories)
        notes += results.notes
        method, origin = method or results.model, origin or "anomalib"
        if results.maps:
            named = find_maps(args.source.resolve(), dataset, categories, results.maps)
            maps, problems = named.files, [*problems, *named.problems]
        files = results.tables
    elif args.kind == "maps":
        named = find_maps(args.source, dataset, categories)
        maps, problems = named.files, [*problems, *named.problems]
        notes += named.notes
        files = [args.scores] if args.scores else []
    else:
        files = [args.source]
    for file in files:
        table = _read_table(args, file, dataset, categories)
        scores.update(table.scores)
        problems += table.problems
        notes += table.notes
    there = {sample.category for sample in dataset.samples if sample.id in maps or sample.id in scores}
    if not there and not problems:
        raise StoreError(f"{args.source} holds nothing for the test images of {dataset.name}.", "Check --dataset.")
    left_out = sorted(set(categories or dataset.categories) - there)
    if left_out:
        notes.append(f"nothing is there for {', '.join(left_out)}; left out.")
    if maps:
        problems += missing_images(dataset, maps, sorted(there), "map")
    if scores or args.kind == "scores":
        problems += missing_images(dataset, scores, sorted(there), "usable score")
    name, title = _method_name(method)
    found = Imported(
        source=str(args.source),
        origin=origin or "another program",
        method=name,
        title=args.title or title,
        preset=args.preset,
        shots=args.shots,
        seed=args.seed,
        backbone=args.backbone,
        scores=scores,
        maps=maps,
        categories=sorted(there),
        score_rule=getattr(args, "image_score", "max"),
        like=_like(args),
        files=files,
    )
    return found, problems, notes


def _read_table(args: argparse.Namespace, file: Path, dataset: Dataset, categories: Sequence[str] | None) -> ScoreTable:
    from vlmad_core.exchange.tables import Columns, read_scores

    if args.kind == "anomalib":
        return read_scores(file, dataset, categories=categories)
    columns = Columns(args.image_column, args.score_column, args.category_column)
    return read_scores(file, dataset, columns, categories)


def _known_categories(dataset: Dataset, asked: Sequence[str] | None) -> Sequence[str] | None:
    unknown = sorted(set(asked or ()) - set(dataset.categories))
    if unknown:
        raise StoreError(f"{dataset.name} has no category {unknown[0]!r}.", f"It has: {', '.join(dataset.categories)}.")
    return asked


def _method_name(method: str | None) -> tuple[str, str]:
    """Identifier and title of a method: this program's own where the name is known in the literature."""
    from vlmad_core.methods.registry import ALIASES, list_methods

    given = (method or "").strip()
    if not given:
        raise StoreError("The import has no method's name.", "Give one with --method.")
    name = ALIASES.get(given.lower(), given.lower())
    if name in list_methods():
        from vlmad_core.cards import load_card

        return name, load_card(name).title
    return name, given


def _like(args: argparse.Namespace) -> Any:
    if args.conditions_of is None:
        return None
    return find_run(open_store(args.store), args.conditions_of)
