"""What an image costs beside the tower: decoding, resizing, its mask, its thumbnail, and its share of the metrics."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from vlmad_core.backbones.info import Preprocessing
from vlmad_core.bench.metrics import made_up_case
from vlmad_core.datasets import Sample, load_dataset
from vlmad_core.datasets.images import read_image
from vlmad_core.datasets.masks import resize_mask, sample_mask
from vlmad_core.engine.protocol import MAP_SIZE
from vlmad_core.engine.reading import thumbnail_of
from vlmad_core.metrics import image_auroc
from vlmad_core.metrics.ordering import order_pixels
from vlmad_core.metrics.pixel import evaluate_pixels

MOST_IMAGES = 60
"""Images of a category that are timed."""


def per_image(dataset: str, category: str, image_size: int, threads: int) -> dict[str, Any]:
    """Milliseconds per image of each step, medians over a category's test images, one at a time.

    Args:
        dataset: Where images come from.
        category: Of the data set.
        image_size: Side of the backbone's input, in pixels.
        threads: Reading threads that are tried beside one.

    Returns:
        Plain values: ``images``, ``pixels`` (median, of the files), ``milliseconds`` by step (``decode``, ``resize``,
        ``mask``, ``thumbnail``; ``metrics``: all pixel metrics of a set of maps of the evaluation size, and
        ``image_metrics``, over the number of images), ``images_per_second`` of decoding and resizing by threads.
    """
    samples = load_dataset(dataset).select(category, "test")[:MOST_IMAGES]
    preprocess = Preprocessing(image_size)
    images = [read_image(sample.image_path) for sample in samples]
    sizes = [(image.height, image.width) for image in images]
    masked = [(s, size) for s, size in zip(samples, sizes, strict=True) if s.mask_path is not None]
    steps: dict[str, Sequence[Callable[[], object]]] = {
        "decode": [partial(read_image, sample.image_path) for sample in samples],
        "resize": [partial(preprocess, image) for image in images],
        "mask": [partial(_mask, sample, size) for sample, size in masked],
        "thumbnail": [partial(thumbnail_of, image) for image in images],
    }
    milliseconds = {name: _each(work) for name, work in steps.items()}
    maps, masks = made_up_case(len(samples), MAP_SIZE)
    labels = masks.any(axis=(1, 2)).astype(np.int64)
    for name, whole in (
        ("metrics", lambda: evaluate_pixels(order_pixels(maps, masks), curves=True)),
        ("image_metrics", lambda: image_auroc(labels, maps.max(axis=(1, 2)))),
    ):
        milliseconds[name] = round(1000 * _seconds(whole) / len(samples), 4)
    files = [sample.image_path for sample in samples]
    return {
        "images": len(samples),
        "pixels": int(median(height * width for height, width in sizes)),
        "image_size": image_size,
        "milliseconds": milliseconds,
        "images_per_second": {count: _rate(files, preprocess, count) for count in sorted({1, threads})},
    }


def text_of(report: dict[str, Any]) -> str:
    """The figures as a line."""
    steps = ", ".join(
        f"{name.replace('_', ' ')} {'–' if value is None else format(value, '.2f')}"
        for name, value in report["milliseconds"].items()
    )
    rates = ", ".join(f"{count} threads {rate:.0f}" for count, rate in report["images_per_second"].items())
    return (
        f"ms per image ({report['images']} of {report['pixels'] / 1e6:.2f} megapixels to {report['image_size']}): "
        f"{steps}; decoded and resized per second: {rates}"
    )


def _mask(sample: Sample, size: tuple[int, int]) -> None:
    mask = sample_mask(sample, size)
    if mask is not None:
        resize_mask(mask, (MAP_SIZE, MAP_SIZE))


def _each(work: Sequence[Callable[[], object]]) -> float | None:
    """The median of several, in milliseconds; None without any."""
    return round(1000 * median(_seconds(one) for one in work), 4) if work else None


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _rate(files: Sequence[Path], preprocess: Preprocessing, threads: int) -> float:
    """Images decoded and resized a second by some threads."""
    with ThreadPoolExecutor(threads) as pool:
        seconds = _seconds(lambda: list(pool.map(lambda file: preprocess(read_image(file)), files)))
    return round(len(files) / seconds, 2)
