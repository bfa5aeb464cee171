"""One method alone on one backbone: latency, throughput at its best batch, memory, arithmetic, shares of a ceiling."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vlmad_core.backbones import FeatureRequest
from vlmad_core.backbones.arithmetic import product_speed
from vlmad_core.backbones.clip import ClipBackbone
from vlmad_core.backbones.features import FEATURES
from vlmad_core.backbones.info import default_batch_size, precisions_on
from vlmad_core.backbones.tower import Backbone
from vlmad_core.backbones.vision import WindowForm
from vlmad_core.backbones.windows import always_plain
from vlmad_core.bench.passes import PeakMemory, Rate, best_of, on_device, plain_forward, rate_of, rates_of
from vlmad_core.bench.subjects import ReadySubject
from vlmad_core.datasets.images import read_image
from vlmad_core.engine.speed import SpeedBook, measure_speed

CEILING_SIDE = 8192
"""Side of the matrices whose product is a card's ceiling."""

BATCHES, WINDOW_BATCHES = (16, 32), (1, 8, 32)
"""Sizes tried on a card; the latter for methods that read windows."""


@dataclass(frozen=True)
class Row:
    """How a method is to be measured.

    Attributes:
        files: Images, used again from the first if there are too few.
        images: Timed one by one.
        batches: Sizes to try; None for an eighth and a quarter of the backbone's own, on a card ``BATCHES``.
        peaks: Operations per second of matrix products by precision.
        book: What was counted before on this backbone.
        plain: Plain forwards timed before on this backbone, by what they keep and the batch.
        compiled: Whether windows are timed in their compiled form as well, where that is open.
    """

    files: Sequence[Path]
    images: int
    batches: tuple[int, ...] | None
    peaks: Mapping[str, int]
    book: SpeedBook
    plain: dict[tuple[FeatureRequest, int], Rate]
    compiled: bool = False

    def sizes_for(self, subject: ReadySubject) -> tuple[int, ...]:
        """Sizes to try for a method; a whole set has two images at least."""
        most, least = default_batch_size(subject.backbone.info), 2 if subject.transductive else 1
        on_card = WINDOW_BATCHES if subject.request.keys(FEATURES["windows"]) else BATCHES
        own = on_card if subject.backbone.device.type != "cpu" else (most // 8, most // 4)
        return tuple(sorted({max(least, size) for size in self.batches or own}))


def peak_speeds(device: torch.device) -> dict[str, int]:
    """Operations per second of matrix products by precision."""
    side = None if device.type == "cpu" else CEILING_SIDE
    return {name: round(product_speed(name, side, device=device)) for name in precisions_on(device.type)}


def measure_alone(subject: ReadySubject, row: Row) -> dict[str, Any]:
    """Measure one method.

    Args:
        subject: The method.
        row: How.

    Returns:
        What it is of (``method``, ``preset``, ``title``, ``shots``, ``backbone``, ``image_size``, ``precision``), what
        ``engine.speed.measure_speed`` gives, and: ``batches`` that were tried and ``batch_n``, the best of them, from
        pixels in memory to scores and native grids; ``tower``, the features alone at that batch; ``plain``, a plain
        forward that keeps the same stages, and ``plain_share`` of it; ``peak_bytes`` of the device, on the CPU of the
        process; ``peak_share`` of the product peak.
    """
    method, info, device = subject.entrant.method, subject.backbone.info, subject.backbone.device
    sizes = row.sizes_for(subject)
    least = 2 if subject.transductive else 1
    with PeakMemory(device) as memory:
        figures = measure_speed(subject, row.files, images=row.images, batch=least, book=row.book)
        pixels = _pixels(subject.backbone, row.files, max(sizes))
        rates = rates_of(lambda batch: subject.judged(pixels[:batch]), sizes, device)
    best = best_of(rates)
    peak = row.peaks.get(info.precision)
    each, flops = best.images_per_second, figures["flops_per_image"]
    return {
        "method": method.name,
        "preset": method.preset,
        "title": method.title(subject.entrant.shots),
        "shots": subject.entrant.shots,
        "backbone": info.id,
        "image_size": info.image_size,
        **figures,
        **_beside(subject, best, pixels, row),
        "compiled": _compiled(subject, best, pixels) if row.compiled else None,
        "batches": [rate.to_json() for rate in rates],
        "batch_n": best.to_json(),
        "peak_bytes": memory.bytes,
        "matmul_flops_per_second": peak,
        "peak_share": round(flops * each / peak, 4) if flops and each and peak else None,
    }


def forms_of(backbone: ClipBackbone, compiled: bool) -> tuple[WindowForm, ...]:
    """The forms in which windows are timed: the compiled one only if asked for, and where it is open at all."""
    open_here = compiled and not always_plain(backbone.device, backbone.info.precision)
    return ("plain", "compiled") if open_here else ("plain",)


def _compiled(subject: ReadySubject, best: Rate, pixels: Tensor) -> dict[str, Any] | None:
    """The best batch again with windows in their compiled form; None where they have none, or none are read."""
    backbone = subject.backbone
    windows = bool(subject.request.keys(FEATURES["windows"]))
    if not (windows and isinstance(backbone, ClipBackbone) and len(forms_of(backbone, True)) > 1):
        return None
    formed = replace(subject, backbone=replace(backbone, window_form="compiled"))
    start = time.perf_counter()
    formed.judged(pixels[: best.batch])
    first = time.perf_counter() - start
    rate = rate_of(lambda batch: formed.judged(pixels[:batch]), best.batch, backbone.device)
    return {**rate.to_json(), "first_seconds": round(first, 2)}


def _beside(subject: ReadySubject, best: Rate, pixels: Tensor, row: Row) -> dict[str, Any]:
    """The tower's features alone, and a plain forward, at the same batch size."""
    backbone, request, device = subject.backbone, subject.request, subject.backbone.device
    if best.images_per_second is None or not isinstance(backbone, ClipBackbone):
        return {"tower": None, "plain": None, "plain_share": None}
    tower = rate_of(lambda batch: backbone.encode_images(pixels[:batch], request), best.batch, device)
    if (request, best.batch) not in row.plain:
        forward, there = plain_forward(backbone, request), on_device(pixels[: best.batch], device)
        row.plain[request, best.batch] = rate_of(lambda batch: forward(there), best.batch, device)
    plain = row.plain[request, best.batch]
    each = plain.images_per_second
    return {
        "tower": tower.to_json(),
        "plain": plain.to_json(),
        "plain_share": round(best.images_per_second / each, 4) if each else None,
    }


def _pixels(backbone: Backbone, files: Sequence[Path], count: int) -> Tensor:
    """[count, 3, S, S] float32, preprocessed; each file is read once."""
    distinct = [backbone.preprocess(read_image(file)) for file in islice(files, count)]
    return torch.stack(list(islice(cycle(distinct), count)))
