"""From imported scores and maps to a run in the store, by the same metrics as all others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch.nn import functional as F

from vlmad_core.datasets.sample import Dataset, Sample
from vlmad_core.engine.evaluation import Evaluation, evaluate, image_rows, thumbnail_rows
from vlmad_core.engine.extraction import CategoryScores, RunScores
from vlmad_core.engine.plan import PlannedRun
from vlmad_core.engine.profiling import Stopwatch
from vlmad_core.engine.protocol import MAP_SIZE
from vlmad_core.engine.reading import ImageLoader, ahead, contents_hash
from vlmad_core.errors import StoreError
from vlmad_core.exchange.items import ImportProblem, ImportRefusedError
from vlmad_core.exchange.maps import check_sizes, map_shape, read_map
from vlmad_core.exchange.record import Imported, ScoreRule, imported_record
from vlmad_core.io import commit_folder, lock, workshop
from vlmad_core.methods.predictions import MapRule
from vlmad_core.store import layout
from vlmad_core.store.schema import RunRecord
from vlmad_core.store.writer import UnitContents, start_run, write_thumbnails, write_unit

LARGEST_NATIVE = 1024
"""Pixel metrics are computed at the maps' own size up to this side, in pixels."""


@dataclass
class _Category:
    """Maps and scores of one category, read."""

    samples: Sequence[Sample]
    maps: list[np.ndarray]
    scores: dict[str, float]
    problems: list[ImportProblem]


def import_run(
    store: Path,
    dataset: Dataset,
    found: Imported,
    problems: Sequence[ImportProblem] = (),
    *,
    command: str = "",
    say: Callable[[str], None] = lambda line: None,
) -> RunRecord:
    """Measure what was found and commit it as one run; with any problem, nothing is.

    Args:
        store: Root of the store.
        dataset: The data set.
        found: What to import.
        problems: What is wrong already; reported together with what is found on reading.
        command: The command line, for the record.
        say: Told what goes on.

    Raises:
        ImportRefusedError: If anything is wrong; it lists all of it.
        StoreError: If the same was imported before.
    """
    wrong = list(problems)
    sizes = _evaluation_sizes(found)
    record = imported_record(store, dataset, found, sizes, command)
    if (record.path / layout.RUN_FILE).exists():
        raise StoreError(
            f"The store has this already: {record.id}.", f"Remove it first: results prune --run {record.id} --yes."
        )
    with workshop(store, "import") as shop:
        started = start_run(shop, record)
        for category in found.categories:
            read = _read_category(dataset, category, found)
            wrong += read.problems
            if wrong:
                say(f"{category}: checked")  # the rest is read too, so that everything wrong is listed at once
                continue
            contents = _contents(shop, dataset, category, started, read, found, sizes)
            write_unit(shop, started, category, contents)
            say(f"{category}: {len(read.samples)} images measured")
        if wrong:
            raise ImportRefusedError(found.source, wrong)
        _commit(shop, store, record)
    return record


def _read_category(dataset: Dataset, category: str, found: Imported) -> _Category:
    samples = [s for s in dataset.select(category, "test") if s.id in found.maps or s.id in found.scores]
    maps: list[np.ndarray] = []
    problems = []
    sizes: dict[str, tuple[int, int]] = {}
    for sample in samples:
        path = found.maps.get(sample.id)
        if path is None:
            continue
        try:
            maps.append(read_map(path))
        except StoreError as error:
            problems.append(ImportProblem("bad_map", str(path), str(error)))
            continue
        height, width = maps[-1].shape
        sizes[sample.id] = (height, width)
    problems += check_sizes(sizes, {sample.id: sample for sample in samples})
    scores = {s.id: found.scores[s.id] for s in samples if s.id in found.scores}
    if maps and not scores and not problems:
        scores = {s.id: _image_score(one, found.score_rule) for s, one in zip(samples, maps, strict=True)}
    return _Category(samples, maps, scores, problems)


def _image_score(one: np.ndarray, rule: ScoreRule) -> float:
    if rule == "max":
        return float(one.max())
    count = max(1, one.size // 100)
    return float(np.partition(one, one.size - count, axis=None)[-count:].mean(dtype=np.float64))


def _evaluation_sizes(found: Imported) -> tuple[int, ...]:
    """The common map size, and the maps' own where all are square and of one size that is not too large."""
    shapes = {map_shape(path) for path in found.maps.values()}
    if len(shapes) != 1:
        return (MAP_SIZE,)
    shape = shapes.pop()
    if shape is None or shape[0] != shape[1] or shape[0] > LARGEST_NATIVE:
        return (MAP_SIZE,)
    return tuple(dict.fromkeys((MAP_SIZE, shape[0])))


def _contents(
    shop: Path,
    dataset: Dataset,
    category: str,
    record: RunRecord,
    read: _Category,
    found: Imported,
    sizes: Sequence[int],
) -> UnitContents:
    watch = Stopwatch()
    loader = ImageLoader(None, sizes, dataset.redistributable, watch)
    scored = CategoryScores(images=list(ahead(read.samples, loader, depth=4)))
    # Evaluating asks the run for its title only; neither method nor backbone are known here.
    run = cast(PlannedRun, _ImportedRun(record))
    rule = MapRule() if read.maps else None
    stored = _stored(read.maps) if read.maps else None
    scores = RunScores(run=run, scores=read.scores, grids=[] if stored is None else [stored], rule=rule)
    result = evaluate(scored, scores, [size for size in sizes if size <= MAP_SIZE], watch)
    larger = [size for size in sizes if size > MAP_SIZE]
    if larger and read.maps:
        full = np.stack([_resized(one, larger[0]) for one in read.maps])[:, None]
        more = evaluate(scored, RunScores(run=run, scores=read.scores, grids=[full], rule=rule), larger, watch)
        result.metrics += [row for row in more.metrics if row["level"] == "pixel"]
        result.replicates |= more.replicates
    if not read.maps:
        _explain_blanks(result, found)
    elif (native := int(record.protocol.evaluation["native_size"])) not in sizes:
        reason = f"The imported maps are not of {native} x {native} pixels."
        rows = [row for row in result.metrics if row["level"] == "pixel" and row["eval_size"] == MAP_SIZE]
        blank = {"eval_size": native, "value": None, "low": None, "high": None, "reason": reason}
        result.metrics += [{**row, **blank} for row in rows]
    thumbnails = None
    if dataset.redistributable:
        thumbnails = f"{layout.folder_name(category)}-{contents_hash(scored.images)[:8]}.parquet"
        write_thumbnails(shop, dataset.name, thumbnails, thumbnail_rows(scored.images))
    return UnitContents(
        images=image_rows(scored, scores),
        metrics=result.metrics,
        data_hash=contents_hash(scored.images),
        grid_ids=list(read.scores) if stored is not None else (),
        grids=stored,
        rule=rule,
        curves=result.curves,
        regions=result.regions,
        replicates=result.replicates,
        thresholds=result.thresholds,
        profile={
            "seconds": watch.seconds(),
            "images": len(read.scores),
            "latency_ms": {"median": None, "p95": None},
            "imported": True,
        },
        thumbnails=thumbnails,
        thumbnails_reason=None
        if thumbnails
        else f"The licence of {dataset.name} ({dataset.licence or 'unknown'}) does not allow copies of its images.",
    )


@dataclass(frozen=True)
class _ImportedRun:
    """Stands for a planned run where only its record is known."""

    record: RunRecord


def _explain_blanks(result: Evaluation, found: Imported) -> None:
    for row in result.metrics:
        if row["level"] == "pixel":
            row["reason"] = f"{found.source} holds image scores, but no anomaly maps."


def _stored(maps: Sequence[np.ndarray]) -> np.ndarray:
    """Maps as they are stored, [N, 1, h, w]: as they are if all are square, equal and small; else of ``MAP_SIZE``."""
    shapes = {one.shape for one in maps}
    height, width = next(iter(shapes))
    if len(shapes) == 1 and height == width <= MAP_SIZE:
        return np.stack(maps)[:, None]
    return np.stack([_resized(one, MAP_SIZE) for one in maps])[:, None]


def _resized(one: np.ndarray, side: int) -> np.ndarray:
    """A map at a square size, bilinear; averaged over what a pixel covers where it is reduced."""
    if one.shape == (side, side):
        return one
    tensor = torch.from_numpy(np.ascontiguousarray(one))[None, None]
    smaller = F.interpolate(tensor, size=(side, side), mode="bilinear", align_corners=False, antialias=True)
    return smaller[0, 0].numpy()


def _commit(shop: Path, store: Path, record: RunRecord) -> None:
    """Move the finished run into the store in one step; thumbnails first, which are of no harm alone."""
    with lock(store, f"run {record.id}", wait=True):
        for path in shop.glob(f"*/{layout.THUMBNAIL_FOLDER}/*.parquet"):
            target = store / path.relative_to(shop)
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.exists():
                path.rename(target)
        target = layout.run_folder(store, record.id)
        target.parent.mkdir(parents=True, exist_ok=True)
        if not commit_folder(layout.run_folder(shop, record.id), target):
            raise StoreError(f"The store has this already: {record.id}.", "Another process was quicker.")
