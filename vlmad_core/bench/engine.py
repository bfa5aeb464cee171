"""`bench engine`: what sharing passes and the feature cache save, what an image costs, and how memory grows."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from vlmad_core.backbones import load_backbone
from vlmad_core.backbones.feature_cache import CachingBackbone, FeatureFolder
from vlmad_core.backbones.loading import BackboneSpec
from vlmad_core.backbones.text import TextCache
from vlmad_core.backbones.tower import Backbone
from vlmad_core.bench.architectures import PREFIX, random_backbone
from vlmad_core.bench.images import per_image
from vlmad_core.bench.images import text_of as text_of_images
from vlmad_core.bench.subjects import Scene
from vlmad_core.bench.together import text_of as text_of_sharing
from vlmad_core.bench.together import together
from vlmad_core.datasets import load_dataset
from vlmad_core.engine.extraction import CategoryScores, RunScores, score_category
from vlmad_core.engine.frozen import Backbones
from vlmad_core.engine.jobs import CategoryJob, jobs_of
from vlmad_core.engine.options import PlanOptions, make_options
from vlmad_core.engine.plan import build_plan
from vlmad_core.engine.profiling import Stopwatch
from vlmad_core.engine.provenance import hardware
from vlmad_core.engine.reading import ImageLoader
from vlmad_core.errors import VlmadError
from vlmad_core.metrics import image_auroc

PARTS = ("sharing", "cache", "storage", "images", "memory")
FURTHER = ("clip_ac", "clip_cpe", "april_gan", "anomaly_clip")
"""Methods beside WinCLIP whose scores are compared."""

OTHER_PROMPTS = {"id": "winclip", "settings": {"ensemble": "winclip_accurate", "text_average": "mean"}}
CACHE_LIMIT, MEMORY_LIMIT = 0.05, 0.10


@dataclass(frozen=True)
class Cost:
    """Time of extraction and scoring, metrics not counted.

    Attributes:
        wall: Seconds on the clock.
        processor: Seconds of all this process's threads on processors; what counts on a busy machine.
        stages: Seconds by stage.
    """

    wall: float
    processor: float
    stages: dict[str, float]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS), help="what to measure (default: all)")
    parser.add_argument("--dataset", default="bundled_a", metavar="NAME|PATH")
    parser.add_argument("--categories", nargs="+", metavar="NAME", help="of the data set (default: the first)")
    parser.add_argument("--backbone", default="bundled", metavar="ID", help="bundled, a folder, a hub id, random:NAME")
    parser.add_argument("--size", choices=("smoke", "fast", "full"), default="full")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="of torch (default 1)")
    parser.add_argument("--few", type=int, default=4, metavar="N", help="categories of the small made-up set (4)")
    parser.add_argument("--many", type=int, default=40, metavar="N", help="categories of the large one (40)")
    parser.add_argument("--images", type=int, default=50, metavar="N", help="test images of each of them (50)")
    parser.add_argument("--json", action="store_true", help="print the figures as json")


def run(args: argparse.Namespace) -> int:
    """Measure.

    Returns:
        0, or 1 if a target was missed.
    """
    report: dict[str, Any] = {"hardware": dict(hardware()), "threads": args.threads, "backbone": args.backbone}
    threads = torch.get_num_threads()
    torch.set_num_threads(args.threads)
    try:
        with tempfile.TemporaryDirectory(prefix="vlmad-bench-") as folder:
            options = _options(args, Path(folder))
            if set(args.part) - {"memory"}:
                backbone = _load(args.backbone)
                loader: Callable[[BackboneSpec], Backbone] = lambda spec: backbone  # noqa: E731
                if "sharing" in args.part:
                    report["sharing"] = together(backbone, _scene(options))
                for part, measure in (("cache", caching), ("storage", storage)):
                    if part in args.part:
                        report[part] = measure(options, loader)
                if "images" in args.part:
                    report["images"] = images_of(options, backbone)
            if "memory" in args.part:
                counts = (args.few, args.many)
                report["memory"] = memory(Path(folder), counts, args.images, args.threads, args.backbone)
    finally:
        torch.set_num_threads(threads)
    print(json.dumps(report, indent=1) if args.json else text_of(report))
    return 1 if any(report[part].get("ok") is False for part in PARTS if part in report) else 0


def caching(options: PlanOptions, loader: Callable[[BackboneSpec], Backbone]) -> dict[str, Any]:
    """A first run that fills the cache, and one with other prompts that reads it."""
    cache = FeatureFolder(options.store / "features")
    first = _cost(_with(options, ["winclip"]), loader, cache)
    filled = cache.filled_bytes()
    second = _cost(_with(options, [OTHER_PROMPTS]), loader, FeatureFolder(options.store / "features"))
    share = second.processor / first.processor
    return {
        "first": dataclasses.asdict(first),
        "again": dataclasses.asdict(second),
        "bytes": filled,
        "share": round(share, 4),
        "share_wall": round(second.wall / first.wall, 4),
        "limit": CACHE_LIMIT,
        "ok": share < CACHE_LIMIT,
    }


def storage(options: PlanOptions, loader: Callable[[BackboneSpec], Backbone]) -> dict[str, Any]:
    """How far scores and maps move when directions are kept in 16 bits."""
    methods = ["winclip", *FURTHER, "patch_memory", "musc"]
    chosen = dataclasses.replace(_with(options, methods), shots=(0, 1, 4))
    exact = list(_scores(chosen, loader, None))
    kept = list(_scores(chosen, loader, FeatureFolder(options.store / "half")))
    rows = []
    for (job, before), (_, after) in zip(exact, kept, strict=True):
        labels = {sample.id: sample.label for sample in job.samples}
        for key, scores in before.runs.items():
            rows.append({"category": job.category, **_difference(scores, after.runs[key], labels)})
    return {"methods": rows}


def images_of(options: PlanOptions, backbone: Backbone) -> dict[str, Any]:
    """What an image of the first category costs beside the tower."""
    assert options.categories is not None
    return per_image(options.datasets[0], options.categories[0], backbone.info.image_size, os.cpu_count() or 1)


def memory(
    folder: Path, categories: tuple[int, int], images: int, threads: int, backbone: str = "bundled"
) -> dict[str, Any]:
    """Peak resident memory of a process that does few categories, and of one that does many."""
    peaks = []
    for count in categories:
        data = made_up_images(folder / f"parts{count}", count, images)
        words = ["--dataset", str(data), "--method", "clip_ac", "clip_cpe", "--store", str(folder / f"store{count}")]
        more = ["--backbone", backbone, "--threads", str(threads), "--latency", "0", "--json"]
        command = [sys.executable, "-m", "vlmad_core", "precompute", *words, *more]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise VlmadError(f"The run over {count} categories failed: {done.stderr.strip()[-400:]}")
        peaks.append(int(json.loads(done.stdout)["peak_rss_bytes"]))
    more_memory = peaks[1] / peaks[0] - 1
    return {
        "categories": list(categories),
        "images_each": images,
        "peak_rss_bytes": peaks,
        "more": round(more_memory, 4),
        "limit": MEMORY_LIMIT,
        "ok": abs(more_memory) < MEMORY_LIMIT,
    }


def made_up_images(root: Path, categories: int, images: int, side: int = 96, references: int = 2) -> Path:
    """A data set of noise in MVTec layout, half of the test images with a bright square; returns its folder."""
    rng = np.random.default_rng(0)
    for number in range(categories):
        part = root / f"part{number:02d}"
        for kind, count in (
            ("train/good", references),
            ("test/good", images // 2),
            ("test/spot", images - images // 2),
        ):
            folder = part / kind
            folder.mkdir(parents=True)
            for index in range(count):
                pixels = rng.integers(60, 140, (side, side, 3), dtype=np.uint8)
                if kind.endswith("spot"):
                    pixels[20:50, 30:60] = (240, 40, 30)
                    mask = np.zeros((side, side), dtype=np.uint8)
                    mask[20:50, 30:60] = 255
                    truth = part / "ground_truth" / "spot"
                    truth.mkdir(parents=True, exist_ok=True)
                    Image.fromarray(mask).save(truth / f"{index:03d}_mask.png")
                Image.fromarray(pixels).save(folder / f"{index:03d}.png")
    return root


def text_of(report: dict[str, Any]) -> str:
    """The figures as lines."""
    lines = [f"{report['hardware']['processor']}, {report['threads']} threads, backbone {report['backbone']}"]
    if "sharing" in report:
        lines.append(text_of_sharing(report["sharing"]))
    if "cache" in report:
        part = report["cache"]
        lines.append(
            f"cache: first {part['first']['processor']:.2f} s, again with other prompts "
            f"{100 * part['share']:.2f}% of it (below {100 * part['limit']:.0f}%: {_verdict(part)}); "
            f"{part['bytes'] / 2**20:.1f} MB kept"
        )
    for row in report.get("storage", {}).get("methods", ()):
        auroc = "–" if row["auroc_change"] is None else f"{100 * row['auroc_change']:+.3f} points"
        lines.append(
            f"16 bits: {row['category']} {row['title']}, {row['shots']} shots: score {row['score']:.1e}, "
            f"map {'–' if row['map'] is None else format(row['map'], '.1e')}, image AUROC {auroc}"
        )
    if "images" in report:
        lines.append(text_of_images(report["images"]))
    if "memory" in report:
        part = report["memory"]
        peaks = " and ".join(f"{peak / 2**20:.0f} MB" for peak in part["peak_rss_bytes"])
        counts = " and ".join(str(count) for count in part["categories"])
        lines.append(
            f"memory: {peaks} for {counts} categories of {part['images_each']} images: {100 * part['more']:+.1f}% "
            f"(within {100 * part['limit']:.0f}%: {_verdict(part)})"
        )
    return "\n".join(lines)


def _options(args: argparse.Namespace, store: Path) -> PlanOptions:
    categories = args.categories or [load_dataset(args.dataset).categories[0]]
    values = {"datasets": [args.dataset], "methods": ["winclip"], "backbone": args.backbone, "size": args.size}
    return make_options({**values, "categories": categories, "store": store, "threads": args.threads})


def _scene(options: PlanOptions) -> Scene:
    """The first category of the first data set."""
    assert options.categories is not None
    return Scene(load_dataset(options.datasets[0]), options.categories[0])


def _load(name: str) -> Backbone:
    if name.startswith(PREFIX):
        return random_backbone(name.removeprefix(PREFIX))
    return load_backbone(name)


def _with(options: PlanOptions, methods: Sequence[Any]) -> PlanOptions:
    return dataclasses.replace(options, methods=make_options({"datasets": ["any"], "methods": list(methods)}).methods)


def _cost(options: PlanOptions, loader: Callable[[BackboneSpec], Backbone], cache: FeatureFolder | None = None) -> Cost:
    """Time of all that comes before metrics: reading, passes, text, scoring."""
    spent: list[Cost] = []
    for job, images in _jobs(options, loader, cache):
        with _timed(images.stopwatch) as cost:
            score_category(job.category, job.samples, job.runs, images, job.runs[0].record.plan["batch_size"])
        spent.append(cost())
    stages = {name: sum(cost.stages.get(name, 0.0) for cost in spent) for name in spent[0].stages}
    return Cost(sum(cost.wall for cost in spent), sum(cost.processor for cost in spent), stages)


def _scores(
    options: PlanOptions, loader: Callable[[BackboneSpec], Backbone], cache: FeatureFolder | None
) -> Iterator[tuple[Any, CategoryScores]]:
    for job, images in _jobs(options, loader, cache):
        batch_size = int(job.runs[0].record.plan["batch_size"])
        yield job, score_category(job.category, job.samples, job.runs, images, batch_size)


def _jobs(
    options: PlanOptions, loader: Callable[[BackboneSpec], Backbone], cache: FeatureFolder | None
) -> Iterator[tuple[CategoryJob, ImageLoader]]:
    for job in jobs_of(build_plan(options, backbones=Backbones(loader))):
        backbone = CachingBackbone(job.runs[0].backbone, cache, TextCache())
        yield job, ImageLoader(backbone, (), False, Stopwatch())


@contextmanager
def _timed(watch: Stopwatch) -> Iterator[Callable[[], Cost]]:
    """Time a block; the cost can be asked for after it."""
    wall, processor = time.perf_counter(), time.process_time()
    found: list[Cost] = []
    yield lambda: found[0]
    found.append(Cost(time.perf_counter() - wall, time.process_time() - processor, watch.seconds()))


def _difference(before: RunScores, after: RunScores, labels: dict[str, int]) -> dict[str, Any]:
    """Largest changes of scores and native grids, and the change of the image AUROC."""
    ids = list(before.scores)
    truth = np.array([labels[key] for key in ids])
    old, new = (np.array([run.scores[key] for key in ids]) for run in (before, after))
    grids = before.all_grids(), after.all_grids()
    moved = None
    if grids[0] is not None and grids[1] is not None:
        moved = float(np.abs(grids[0] - grids[1]).max())
    values = [image_auroc(truth, scores).value for scores in (old, new)]
    change = None if values[0] is None or values[1] is None else values[1] - values[0]
    record = before.run.record
    return {
        "method": record.key.method,
        "title": record.title,
        "shots": record.key.shots,
        "score": float(np.abs(old - new).max()),
        "map": moved,
        "auroc_change": change,
    }


def _verdict(part: dict[str, Any]) -> str:
    return "met" if part["ok"] else "MISSED"
