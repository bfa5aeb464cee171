"""What one method alone costs: latency image by image, throughput, stages, arithmetic, memory.

Scores of a run come from shared passes; this is measured apart from them and never changes them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vlmad_core.backbones import ClipBackbone, FeatureRequest, Features
from vlmad_core.backbones.features import passing_stages
from vlmad_core.datasets.images import read_image
from vlmad_core.engine.backbone import Backbone
from vlmad_core.engine.flops import count_flops, product_speed
from vlmad_core.engine.profiling import PeakSampler, Stopwatch, load_average, percentile
from vlmad_core.engine.protocol import MAP_SIZE
from vlmad_core.engine.timing import timed_encode
from vlmad_core.methods import Method, Predictions, Scorer, anomaly_maps

WARM_UP = 1
"""Images passed before the first that counts."""

LARGEST_BATCH = 8
"""Most images passed together for a run's throughput: measuring must stay small beside the run itself."""

MOST_SECONDS = 30.0
"""Time after which no further image is started, once three were timed."""

LEAST_IMAGES = 3


@dataclass(frozen=True)
class Subject:
    """A method made ready for one category, and what it takes to make it ready again.

    Attributes:
        method: The method.
        shots: Number of references.
        backbone: The backbone.
        category: In words, as prompts name it.
        references: Features of the references; None for zero-shot.
        parameters: Trained tensors, for methods that train.
        calibration: Features of further normal images, where the method's settings ask for them.
    """

    method: Method
    shots: int
    backbone: Backbone
    category: str
    references: Features | None = None
    parameters: Mapping[str, Tensor] | None = None
    calibration: Features | None = None

    @property
    def request(self) -> FeatureRequest:
        """The features its scorer reads."""
        return self.method.needs(self.backbone.info, self.shots)

    @property
    def transductive(self) -> bool:
        """Whether it needs all test images at once."""
        return self.method.is_transductive(self.shots)

    def prepare(self) -> Scorer:
        """Make it ready; embeds its prompts."""
        return self.method.prepare(self.category, self.backbone, self.references, self.parameters, self.calibration)


def stages_alone() -> tuple[str, ...]:
    """Stages from file to map, in order; ``text`` comes once per category before them."""
    return ("read", "preprocess", *passing_stages(), "scoring", "upsampling")


def measure_speed(
    subject: Subject, files: Sequence[Path], *, images: int, batch: int, warm_up: int = WARM_UP
) -> dict[str, Any]:
    """Measure one method alone.

    Args:
        subject: The method, made ready.
        files: Images that can be read; used again from the first if there are fewer than asked for.
        images: Images to time one by one, after the warm-up; fewer where they take longer than ``MOST_SECONDS``.
        batch: Images passed together for the throughput.
        warm_up: Images passed before.

    Returns:
        Plain values, as ``results/README.md`` documents them under ``speed``.
    """
    info, threads = subject.backbone.info, torch.get_num_threads()
    facts: dict[str, Any] = {"precision": info.precision, "threads": threads, "load_average": load_average()}
    start = time.perf_counter()
    scorer = subject.prepare()
    text_ms = 1000 * (time.perf_counter() - start) if subject.method.capabilities.uses_text else None
    with PeakSampler() as memory:
        facts |= _one_by_one(subject, scorer, files, images, warm_up)
        pixels = torch.stack([_read(subject.backbone, file) for file in islice(cycle(files), batch)])
        facts["batch_n"] = _together(subject, scorer, pixels)
    facts |= {
        "text_ms": _rounded(text_ms),
        "peak_rss_bytes": memory.peak,
        "peak_scope": "method",
        "extra_rss_bytes": memory.extra,
    }
    facts |= _arithmetic(subject, scorer, pixels)
    facts |= {"parameters": info.parameters, "parameters_vision": _vision_parameters(subject.backbone)}
    speed = product_speed(info.precision)
    facts["matmul_flops_per_second"] = round(speed)
    each = facts["batch_n"]["images_per_second"]
    flops = facts["flops_per_image"]
    facts["peak_share"] = round(flops * each / speed, 4) if flops and each else None
    return facts


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
            pixels = subject.backbone.preprocess(image)[None]
        features = timed_encode(subject.backbone, pixels, subject.request, watch)
        if not subject.transductive:
            _score(scorer.score, features, watch)
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


def _together(subject: Subject, scorer: Scorer, pixels: Tensor) -> dict[str, Any]:
    """Images per second of a whole batch, from pixels to maps."""
    start = time.perf_counter()
    features = subject.backbone.encode_images(pixels, subject.request)
    _score(scorer.score_set if subject.transductive else scorer.score, features, Stopwatch())
    seconds = time.perf_counter() - start
    return {"batch": len(pixels), "seconds": round(seconds, 6), "images_per_second": round(len(pixels) / seconds, 4)}


def _score(score: Callable[[Features], Predictions], features: Features, watch: Stopwatch) -> None:
    with watch.measure("scoring"):
        predictions = score(features)
    if predictions.grids is not None and predictions.map_rule is not None:
        with watch.measure("upsampling"):
            anomaly_maps(predictions.grids, predictions.map_rule, (MAP_SIZE, MAP_SIZE))


def _arithmetic(subject: Subject, scorer: Scorer, pixels: Tensor) -> dict[str, Any]:
    """Operations per image, and of the prompts once per category."""
    chosen = pixels if subject.transductive else pixels[:1]
    score = scorer.score_set if subject.transductive else scorer.score
    total = count_flops(lambda: score(subject.backbone.encode_images(chosen, subject.request)))
    text = count_flops(subject.prepare) if subject.method.capabilities.uses_text else None
    return {"flops_per_image": total // len(chosen), "flops_text": text}


def _vision_parameters(backbone: Backbone) -> int | None:
    """Weights of the vision tower with its projection; None where the backbone has no towers to tell apart."""
    if not isinstance(backbone, ClipBackbone):
        return None
    model = backbone.model
    parts = (*model.vision_model.parameters(), *model.visual_projection.parameters())
    return sum(part.numel() for part in parts)


def _read(backbone: Backbone, file: Path) -> Tensor:
    return backbone.preprocess(read_image(file))


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
