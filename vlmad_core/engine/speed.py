"""What one method alone costs: latency image by image, throughput, stages, arithmetic, memory.

Scores of a run come from shared passes; this is measured apart from them and never changes them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from vlmad_core.backbones import ClipBackbone, FeatureRequest, Features
from vlmad_core.backbones.arithmetic import count_flops, product_speed
from vlmad_core.backbones.devices import wait
from vlmad_core.backbones.features import passing_stages
from vlmad_core.backbones.tower import Backbone
from vlmad_core.datasets.images import read_image
from vlmad_core.datasets.views import View
from vlmad_core.engine.profiling import PeakSampler, Stopwatch, load_average, percentile
from vlmad_core.engine.protocol import MAP_SIZE
from vlmad_core.engine.session import Entrant, judge
from vlmad_core.engine.tiles import join_tiles, tile_pixels
from vlmad_core.methods import Scorer, full_maps

WARM_UP = 1
"""Images passed before the first that counts."""

LARGEST_BATCH = 8
"""Most images passed together for a run's throughput: measuring must stay small beside the run itself."""

MOST_SECONDS = 2.0
"""Time after which no further image is started, once three were timed, and that a batch is to take at most: a photo in
many tiles takes a second."""

LEAST_IMAGES, LEAST_BATCH = 3, 2


@dataclass(frozen=True)
class Subject:
    """A method to be measured by itself.

    Attributes:
        entrant: The method for one category.
        backbone: The backbone; one that remembers nothing, or there is nothing to measure.
        drawn: Features of the references and, behind them, of images for calibration; None for zero-shot.
        view: How photos are looked at; figures are per photo, whatever the number of its tiles.
    """

    entrant: Entrant
    backbone: Backbone
    drawn: Features | None = None
    view: View = field(default_factory=View)

    @property
    def request(self) -> FeatureRequest:
        """The features its scorer reads."""
        return self.entrant.needs(self.backbone.info)

    @property
    def transductive(self) -> bool:
        """Whether it needs all test images at once."""
        return self.entrant.transductive

    def prepare(self) -> Scorer:
        """Make it ready; embeds its prompts."""
        return self.entrant.prepare(self.backbone, self.drawn)


@dataclass
class SpeedBook:
    """What was measured and counted already while a plan is done, so that nothing is twice.

    Attributes:
        measured: What a method alone costs, and the id of the run it was measured with, by all it depends on: the
            method with its settings, the number of references, and the backbone.
        operations: Operations by what was counted.
    """

    measured: dict[Hashable, tuple[str, dict[str, Any]]] = field(default_factory=dict)
    operations: dict[Hashable, int] = field(default_factory=dict)

    def count(self, work: Hashable, do: Callable[[], object]) -> int:
        """Operations of some work; it is done only if it has not been counted."""
        if work not in self.operations:
            self.operations[work] = count_flops(do)
        return self.operations[work]

    def speed_of(self, run: str, subject: Subject, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What a method alone costs: measured, or as it was measured with another run, whose id then stands beside.

        Args:
            run: Id of the run that asks.
            subject: The method.
            measure: Measures it.
        """
        method, info = subject.entrant.method, subject.backbone.info
        key = (
            method.id,
            repr(method.settings),
            subject.entrant.shots,
            info.weights_hash,
            info.image_size,
            info.precision,
            subject.view,
        )
        if key not in self.measured:
            self.measured[key] = run, measure()
        source, facts = self.measured[key]
        return facts if source == run else {**facts, "measured_with": source}


def stages_alone() -> tuple[str, ...]:
    """Stages from file to map, in order; ``text`` comes once per category before them."""
    return ("read", "preprocess", *passing_stages(), "scoring", "upsampling")


def measure_speed(
    subject: Subject,
    files: Sequence[Path],
    *,
    images: int,
    batch: int,
    warm_up: int = WARM_UP,
    book: SpeedBook | None = None,
) -> dict[str, Any]:
    """Measure one method alone.

    Args:
        subject: The method, made ready.
        files: Images that can be read; used again from the first if there are fewer than asked for.
        images: Images to time one by one, after the warm-up; fewer where they take longer than ``MOST_SECONDS``.
        batch: Images passed together for the throughput; fewer where they take longer than ``MOST_SECONDS``.
        warm_up: Images passed before.
        book: What was counted before; a new one if None.

    Returns:
        Plain values, as ``results/README.md`` documents them under ``speed``.
    """
    info, threads = subject.backbone.info, torch.get_num_threads()
    facts: dict[str, Any] = {"precision": info.precision, "threads": threads, "load_average": load_average()}
    start = time.perf_counter()
    scorer = subject.prepare()
    wait(subject.backbone.device)
    text_ms = 1000 * (time.perf_counter() - start) if subject.entrant.method.capabilities.uses_text else None
    with PeakSampler() as memory:
        facts |= _one_by_one(subject, scorer, files, images, warm_up)
        each = sum(facts["stages_ms"].values()) / 1000
        batch = passes_for(each, LEAST_BATCH, batch)
        pixels = torch.cat([_tiles(subject, read_image(file)) for file in islice(cycle(files), batch)])
        facts["batch_n"], features = _together(subject, scorer, pixels)
    facts |= {
        "text_ms": _rounded(text_ms),
        "peak_rss_bytes": memory.peak,
        "peak_scope": "method",
        "extra_rss_bytes": memory.extra,
    }
    facts |= _arithmetic(subject, scorer, pixels[: subject.view.count], features, book or SpeedBook())
    facts |= {"parameters": info.parameters, "parameters_vision": _vision_parameters(subject.backbone)}
    speed = product_speed(info.precision, device=subject.backbone.device)
    facts["matmul_flops_per_second"] = round(speed)
    rate, flops = facts["batch_n"]["images_per_second"], facts["flops_per_image"]
    facts["peak_share"] = round(flops * rate / speed, 4) if flops and rate else None
    return facts


def passes_for(each: float, least: int, most: int) -> int:
    """How many images are passed that take ``each`` seconds: as many as ``MOST_SECONDS`` allow, within bounds.

    >>> passes_for(0.1, 3, 8), passes_for(0.75, 2, 8), passes_for(30.0, 3, 8)
    (8, 2, 3)
    """
    return most if each * most <= MOST_SECONDS else max(min(least, most), int(MOST_SECONDS / each))


def _one_by_one(subject: Subject, scorer: Scorer, files: Sequence[Path], images: int, warm_up: int) -> dict[str, Any]:
    """Latency from file to score and map, and its stages; of a transductive method the stages before scoring."""
    totals: list[float] = []
    processor: list[float] = []
    stages: dict[str, list[float]] = {name: [] for name in stages_alone()}
    began = time.perf_counter()
    for number, file in enumerate(islice(cycle(files), warm_up + images)):
        watch, used = Stopwatch(), time.process_time()
        with watch.measure("read"):
            image = read_image(file)
        with watch.measure("preprocess"):
            pixels = _tiles(subject, image)
        features = subject.backbone.encode_images(pixels, subject.request, watch.add)
        if not subject.transductive:
            _score(subject, scorer, features, watch)
        if number < warm_up:
            continue
        spent = watch.seconds()
        totals.append(1000 * sum(spent.values()))
        processor.append(1000 * (time.process_time() - used))
        for name, values in stages.items():
            values.append(1000 * spent.get(name, 0.0))
        if len(totals) >= LEAST_IMAGES and time.perf_counter() - began > MOST_SECONDS:
            break
    medians = {name: _rounded(percentile(values, 0.5)) for name, values in stages.items()}
    facts: dict[str, Any] = {"stages_ms": {name: value for name, value in medians.items() if value}}
    if subject.transductive:
        reason = "It judges test images against one another, so there is no time for one image alone."
        return {**facts, "batch_1": None, "reason": reason}
    facts["batch_1"] = {
        "median_ms": _rounded(percentile(totals, 0.5)),
        "p95_ms": _rounded(percentile(totals, 0.95)),
        "processor_ms": _rounded(percentile(processor, 0.5)),
        "images": len(totals),
        "warm_up": warm_up,
    }
    return facts


def _together(subject: Subject, scorer: Scorer, pixels: Tensor) -> tuple[dict[str, Any], Features]:
    """Images per second of a whole batch, from pixels to maps, and the batch's features."""
    start = time.perf_counter()
    features = subject.backbone.encode_images(pixels, subject.request)
    _score(subject, scorer, features, Stopwatch())
    seconds = time.perf_counter() - start
    photos = len(pixels) // subject.view.count
    rate = round(photos / seconds, 4)
    return {"batch": photos, "seconds": round(seconds, 6), "images_per_second": rate}, features


def _score(subject: Subject, scorer: Scorer, features: Features, watch: Stopwatch) -> None:
    with watch.measure("scoring"):
        predictions = join_tiles(subject.view, judge(scorer, features, together=subject.transductive))
    if predictions.grids is not None and predictions.map_rule is not None:
        with watch.measure("upsampling"):
            full_maps(predictions.grids.numpy(), predictions.map_rule, MAP_SIZE, subject.backbone.device)


def _arithmetic(
    subject: Subject, scorer: Scorer, pixels: Tensor, features: Features, book: SpeedBook
) -> dict[str, Any]:
    """Operations per image, and of the prompts once per category; passes are counted once per shape."""
    backbone, method, request = subject.backbone, subject.entrant.method, subject.request
    where = (backbone.info.id, backbone.info.weights_hash, backbone.info.image_size, len(pixels))
    tower = book.count((*where, request), lambda: backbone.encode_images(pixels, request))
    scoring = count_flops(lambda: judge(scorer, features, together=subject.transductive))
    text = None
    if method.capabilities.uses_text:
        text = book.count((*where, method.name, repr(method.prompt_record())), subject.prepare)
    return {"flops_per_image": tower + scoring * subject.view.count // len(features), "flops_text": text}


def _vision_parameters(backbone: Backbone) -> int | None:
    """Weights of the vision tower with its projection; None where the backbone has no towers to tell apart."""
    if not isinstance(backbone, ClipBackbone):
        return None
    model = backbone.model
    parts = (*model.vision_model.parameters(), *model.visual_projection.parameters())
    return sum(part.numel() for part in parts)


def _tiles(subject: Subject, image: Image.Image) -> Tensor:
    """The tiles of a photo, [T, 3, S, S]."""
    return torch.stack(tile_pixels(subject.backbone, subject.view, image))


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
