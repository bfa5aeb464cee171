"""What further methods cost beside WinCLIP where they read the same passes: scoring, and what it does not ask for."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import cycle, islice
from statistics import median
from typing import Any

import torch
from torch import Tensor

from vlmad_core.backbones import FeatureRequest, Features
from vlmad_core.backbones.devices import wait
from vlmad_core.backbones.info import default_batch_size
from vlmad_core.backbones.tower import Backbone, ImageInput
from vlmad_core.bench.subjects import ReadySubject, Scene, make_subject
from vlmad_core.datasets.images import read_image
from vlmad_core.engine.session import Entrant, Session
from vlmad_core.methods import create_method

FIRST = ("winclip", 0)
FURTHER = (("clip_ac", 0), ("clip_cpe", 0), ("april_gan", 0), ("anomaly_clip", 0), ("patch_memory", 4))
"""Methods with their numbers of references."""

LIMIT = 1.2
"""Most that all of them may cost, in times of WinCLIP alone."""

BATCHES, PAIRS = 2, 3
"""Batches of a run, and runs of each kind, alternating, after one that is not counted."""


@dataclass(frozen=True)
class SessionCost:
    """Seconds from the first batch to the last score: on the clock, and on processors; texts are embedded before."""

    wall: float
    processor: float


def together(backbone: Backbone, scene: Scene, batch: int | None = None) -> dict[str, Any]:
    """Time WinCLIP alone, and with the others on the same passes, turn by turn.

    Methods that are trained get random parameters of the right shapes where there are none for the backbone.

    Args:
        backbone: The backbone.
        scene: Where images and references come from.
        batch: Images of a pass; None for the backbone's own.

    Returns:
        Plain values: ``methods_added``, ``methods_left_out`` (and why), ``alone`` and ``together`` (medians),
        ``ratios`` of wall-clock times pair by pair, their ``median``, ``processor_ratio``, ``limit``, ``ok``.
    """
    ready: dict[str, ReadySubject] = {}
    left_out: dict[str, str] = {}
    for name, shots in (FIRST, *FURTHER):
        subject = make_subject(create_method(name), shots, backbone, scene)
        if isinstance(subject, str):
            left_out[name] = subject
        else:
            ready[name] = subject
    size = batch or default_batch_size(backbone.info)
    distinct = [backbone.preprocess(read_image(file)) for file in islice(scene.files, size)]
    pixels = list(islice(cycle(distinct), size))
    first, everybody = [ready[FIRST[0]]], list(ready.values())
    for subjects in (first, everybody):
        _cost(backbone, subjects, pixels, 1)
    pairs = [tuple(_cost(backbone, subjects, pixels, BATCHES) for subjects in (first, everybody)) for _ in range(PAIRS)]
    ratios = [round(both.wall / alone.wall, 4) for alone, both in pairs]
    alone, both = (_median([pair[kind] for pair in pairs]) for kind in (0, 1))
    return {
        "backbone": backbone.info.id,
        "batch": size,
        "methods_added": [name for name in ready if name != FIRST[0]],
        "methods_left_out": left_out,
        "alone": asdict(alone),
        "together": asdict(both),
        "ratios": ratios,
        "median": median(ratios),
        "processor_ratio": round(both.processor / alone.processor, 4),
        "limit": LIMIT,
        "ok": median(ratios) <= LIMIT and not left_out,
    }


def _cost(backbone: Backbone, subjects: Sequence[ReadySubject], pixels: Sequence[Tensor], batches: int) -> SessionCost:
    """Judge some batches in a session of its own; the clock starts when everybody is ready."""
    drawn = {subject.entrant: subject.drawn for subject in subjects}
    started: list[tuple[float, float]] = []

    def given(entrant: Entrant, request: FeatureRequest) -> Features | None:
        return drawn[entrant]

    def images() -> Iterator[list[ImageInput]]:
        wait(backbone.device)
        started.append((time.perf_counter(), time.process_time()))
        for _ in range(batches):
            yield [_made(one) for one in pixels]

    for scored in Session(backbone).score(images(), list(drawn), given):
        if scored.error is not None:
            raise scored.error
    wait(backbone.device)
    wall, processor = started[0]
    return SessionCost(time.perf_counter() - wall, time.process_time() - processor)


def _made(pixels: Tensor) -> ImageInput:
    """An image whose pixels are in memory."""
    return ImageInput("", lambda: (pixels, (pixels.shape[-2], pixels.shape[-1])))


def _median(costs: Sequence[SessionCost]) -> SessionCost:
    return SessionCost(
        round(median(cost.wall for cost in costs), 6), round(median(cost.processor for cost in costs), 6)
    )


def text_of(report: dict[str, Any]) -> str:
    """The figures as a line."""
    pairs = ", ".join(f"{ratio:.2f}" for ratio in report["ratios"])
    added = ", ".join(report["methods_added"])
    missing = "".join(f"; {name} left out: {reason}" for name, reason in report["methods_left_out"].items())
    return (
        f"sharing, {report['backbone']}, {torch.get_num_threads()} threads: WinCLIP {report['alone']['wall']:.2f} s; "
        f"with {added} {report['median']:.2f} times that ({pairs}; at most {report['limit']:g}: "
        f"{'met' if report['ok'] else 'MISSED'}){missing}"
    )
