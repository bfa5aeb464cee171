"""The export command: leaderboards as csv, LaTeX and markdown, and a run's anomaly maps as tiff files."""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
from PIL import Image

from vlmad_core.analysis.leaderboard import leaderboard
from vlmad_core.analysis.tables import leaderboard_csv, leaderboard_latex, markdown_table
from vlmad_core.errors import StoreError
from vlmad_core.io import commit_folder, json_bytes, temporary_folder, write_atomically
from vlmad_core.metrics.spec import METRICS
from vlmad_core.paths import store_root
from vlmad_core.store.reader import Missing, Store, find_run, open_store
from vlmad_core.store.schema import RunRecord
from vlmad_core.tabular import csv_text

Format = Literal["csv", "latex", "markdown"]

SCORE_FILE = "scores.csv"
ABOUT_FILE = "about.json"

LARGEST_SIDE = 4096


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="KIND")
    board = kinds.add_parser("leaderboard", help="means over categories and seeds, ranked where that is fair")
    board.add_argument("--format", choices=("csv", "latex", "markdown"), default="csv")
    board.add_argument("--dataset", help="only this data set")
    board.add_argument("--metric", nargs="+", choices=tuple(METRICS), metavar="M", help="only these")
    board.add_argument("--intervals", action="store_true", help="in markdown and LaTeX, the interval beside each value")
    board.add_argument("--out", type=Path, metavar="FILE", help="default: print it")
    maps = kinds.add_parser("maps", help="a run's maps as float32 tiff, in the layout of MVTec's evaluation script")
    maps.add_argument("run", help="id of a run, or the part of it that tells it from the others")
    maps.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new folder")
    maps.add_argument(
        "--size",
        default="256",
        help="side of the maps in pixels, or 'image' for each image's own size (needs --images); default: 256",
    )
    maps.add_argument("--images", metavar="DATASET", help="name or path of the data set, to look up image sizes")
    for kind in (board, maps):
        kind.add_argument(
            "--store", type=Path, default=store_root(), metavar="DIR", help="default: VLMAD_STORE, or results"
        )
    maps.add_argument("--json", action="store_true", help="print json")


def run(args: argparse.Namespace) -> int:
    """Export what was asked for.

    Returns:
        0.

    Raises:
        StoreError: If there is nothing to export, or the place is taken.
    """
    store = open_store(args.store)
    if args.kind == "leaderboard":
        text = leaderboard_text(store, args.format, dataset=args.dataset, metrics=args.metric, intervals=args.intervals)
        if args.out is None:
            print(text, end="")
        else:
            write_atomically(args.out, text.encode())
        return 0
    record = find_run(store, args.run)
    sizes = _image_sizes(args.images) if args.size == "image" else _side(args.size)
    count = export_maps(store, record, args.out, sizes)
    answer = {"run": record.id, "maps": count, "folder": str(args.out)}
    print(json.dumps(answer, indent=1) if args.json else f"{count} maps of {record.id} written to {args.out}")
    return 0


def leaderboard_text(
    store: Store,
    form: Format,
    *,
    dataset: str | None = None,
    metrics: Sequence[str] | None = None,
    intervals: bool = False,
) -> str:
    """A store's leaderboard as text; runs under different conditions stand in tables of their own.

    Args:
        store: The results.
        form: ``csv`` (one row per line and metric, fractions), ``latex`` or ``markdown`` (percent).
        dataset: Only this data set; None for all.
        metrics: Only these; None for all.
        intervals: Whether markdown and LaTeX show the interval of each value; csv always does.

    Raises:
        StoreError: If there is nothing to show.
    """
    board = leaderboard(store, metrics, dataset=dataset)
    if board.empty:
        what = f"of {dataset} " if dataset else ""
        raise StoreError(f"{store.roots[0]} holds no results {what}to export.", "List them: results list.")
    if form == "csv":
        return leaderboard_csv(board)
    parts = []
    for (name, conditions), part in board.groupby(["dataset", "conditions"], sort=True):
        records = [store.run(ids[0]) for ids in part["run_ids"]]
        record = next((one for one in records if one.protocol.conditions == conditions), records[0])
        backbone = record.protocol.backbone.get("title") or record.key.backbone
        heading = f"{name}, {backbone}, {record.mode}, conditions {conditions}"
        if form == "latex":
            parts.append(f"% {heading}\n{leaderboard_latex(part, intervals=intervals)}")
        else:
            parts.append(markdown_table(part, heading, intervals=intervals))
    return "\n".join(parts)


def export_maps(store: Store, record: RunRecord, folder: Path, size: int | Mapping[str, tuple[int, int]] = 256) -> int:
    """Write a run's anomaly maps as float32 tiff files, with its image scores and where they come from.

    The layout is that of MVTec's evaluation script, ``<category>/test/<defect type>/<image name>.tiff``; beside
    it stand ``scores.csv`` and ``about.json``.

    Args:
        store: The results.
        record: The run.
        folder: Where to; must be new or empty. It appears whole or not at all.
        size: Side of square maps in pixels, or (height, width) by image id.

    Returns:
        Number of maps.

    Raises:
        StoreError: If the run has no maps, the folder is taken, or two images would share a file.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise StoreError(f"{folder} is not empty.", "Give a new folder.")
    targets = _targets(store, record)
    workshop = temporary_folder(folder)
    try:
        for category, image_id, target in targets:
            path = workshop / target
            path.parent.mkdir(parents=True, exist_ok=True)
            shape = (size, size) if isinstance(size, int) else size.get(image_id)
            if shape is None:
                raise StoreError(f"The data set has no image {image_id}.", "Give the one the run was measured on.")
            found = store.anomaly_map(record.id, category, image_id, shape)
            if isinstance(found, Missing):
                raise StoreError(f"{record.id}: {found.reason}", "Choose a run that keeps its maps.")
            Image.fromarray(np.ascontiguousarray(found, dtype=np.float32), "F").save(path, "TIFF")
        _write_scores(store, record, workshop / SCORE_FILE)
        about = {"run": record.to_json(), "size": size if isinstance(size, int) else "image", "values": "float32"}
        (workshop / ABOUT_FILE).write_bytes(json_bytes(about))
        if folder.exists():
            folder.rmdir()
        commit_folder(workshop, folder)
    finally:
        shutil.rmtree(workshop, ignore_errors=True)
    return len(targets)


def _targets(store: Store, record: RunRecord) -> list[tuple[str, str, str]]:
    """Category, image id and file of each map."""
    targets: dict[str, tuple[str, str]] = {}
    for category in record.categories:
        grids = store.grids(record.id, category)
        if isinstance(grids, Missing):
            raise StoreError(f"{record.id} has no maps of {category}: {grids.reason}", "Choose another run.")
        images = store.images(record.id, category).set_index("image_id")
        for image_id in grids.image_ids:
            name = PurePosixPath(image_id).stem
            target = "/".join(_part(part) for part in (category, "test", str(images.loc[image_id, "defect_type"])))
            target = f"{target}/{_part(name)}.tiff"
            if target in targets:
                raise StoreError(
                    f"{image_id} and {targets[target][1]} would both be written to {target}.",
                    "The layout has no room for both; rename one of the images.",
                )
            targets[target] = (category, image_id)
    if not targets:
        raise StoreError(f"{record.id} has no finished categories.", "Finish it first: precompute.")
    return [(category, image_id, target) for target, (category, image_id) in targets.items()]


def _part(name: str) -> str:
    """A name as one part of a path."""
    if not name or name in (".", "..") or "/" in name or "\\" in name:
        raise StoreError(f"{name!r} can't be a folder's or file's name.", "Rename it in the data set.")
    return name


def _write_scores(store: Store, record: RunRecord, path: Path) -> None:
    images = store.images(record.id)
    scored = images.loc[images["score"].notna(), ["image_id", "category", "defect_type", "label", "score"]]
    path.write_text(csv_text(scored), encoding="utf-8")


def _side(text: str) -> int:
    if not text.isdecimal() or not 2 <= int(text) <= LARGEST_SIDE:
        raise StoreError(f"{text!r} is no size of a map.", f"Give a side from 2 to {LARGEST_SIDE} pixels, or 'image'.")
    return int(text)


def _image_sizes(source: str | None) -> Mapping[str, tuple[int, int]]:
    """(height, width) of each test image of a data set."""
    from vlmad_core.datasets import load_dataset
    from vlmad_core.datasets.images import read_image

    if source is None:
        raise StoreError("The size 'image' needs the images.", "Name the data set with --images.")
    sizes = {}
    for sample in load_dataset(source).samples:
        if sample.split == "test":
            image = read_image(sample.image_path)
            sizes[sample.id] = (image.height, image.width)
    return sizes
