"""Timing passes of whole batches on any device: the best batch size, memory, and a plain forward to compare with."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch import Tensor

from vlmad_core.backbones import FeatureRequest
from vlmad_core.backbones.clip import ClipBackbone
from vlmad_core.backbones.devices import to_device, wait
from vlmad_core.backbones.features import FEATURES
from vlmad_core.backbones.settling import out_of_memory
from vlmad_core.backbones.vision import TowerPass
from vlmad_core.backbones.windows import side_and_stride, window_indices
from vlmad_core.engine.profiling import PeakSampler

LEAST_PASSES, MOST_PASSES = 3, 20
SECONDS = 1.0
"""Passes of one batch size that are timed, after one that is not, and the time after which no further one starts."""

WORSE = 0.9
"""Larger batches are not tried any more once one is this much slower per image than the best before."""

Work = Callable[[int], object]
"""Does something with the first so many images."""


@dataclass(frozen=True)
class Rate:
    """How quick a batch size is.

    Attributes:
        batch: Images passed together.
        seconds: Of a pass, the median; None where memory ran out.
    """

    batch: int
    seconds: float | None

    @property
    def images_per_second(self) -> float | None:
        """By the median pass."""
        return round(self.batch / self.seconds, 4) if self.seconds else None

    def to_json(self) -> dict[str, Any]:
        """As plain json values."""
        seconds = None if self.seconds is None else round(self.seconds, 6)
        return {"batch": self.batch, "images_per_second": self.images_per_second, "seconds": seconds}


def rate_of(work: Work, batch: int, device: torch.device, seconds: float = SECONDS) -> Rate:
    """Time one batch size: medians after a pass that is not counted; without seconds where memory runs out.

    Args:
        work: What a pass does.
        batch: Images.
        device: Waited for before the clock is read.
        seconds: See ``SECONDS``.
    """
    try:
        work(batch)
        spent: list[float] = []
        began = time.perf_counter()
        while len(spent) < LEAST_PASSES or (len(spent) < MOST_PASSES and time.perf_counter() - began < seconds):
            wait(device)
            start = time.perf_counter()
            work(batch)
            wait(device)
            spent.append(time.perf_counter() - start)
            if time.perf_counter() - began > LEAST_PASSES * seconds:
                break
    except Exception as error:  # the allocators of devices raise their own
        if not out_of_memory(error):
            raise
        if device.type == "cuda":
            torch.cuda.empty_cache()
        return Rate(batch, None)
    return Rate(batch, median(spent))


def rates_of(work: Work, batches: Sequence[int], device: torch.device, seconds: float = SECONDS) -> list[Rate]:
    """Time some batch sizes, from the smallest on; where memory runs out it is halved, and nothing larger is tried.

    Args:
        work: What a pass does.
        batches: Sizes to try.
        device: See ``rate_of``.
        seconds: See ``SECONDS``.

    Returns:
        What was tried, in the order of sizes.
    """
    found: dict[int, Rate] = {}
    waiting = sorted(set(batches))
    while waiting:
        batch = waiting.pop(0)
        rate = found[batch] = rate_of(work, batch, device, seconds)
        if rate.images_per_second is None:
            half = batch // 2
            waiting = [half] if half and half not in found else []
        elif rate.images_per_second < WORSE * max(one.images_per_second or 0.0 for one in found.values()):
            break
    return [found[batch] for batch in sorted(found)]


def best_of(rates: Sequence[Rate]) -> Rate:
    """The quickest; one without seconds where none fitted."""
    return max(rates, key=lambda rate: rate.images_per_second or 0.0)


class PeakMemory:
    """The largest memory that torch held on a device while a block ran; on the CPU that of the whole process.

    Attributes:
        bytes: The peak; None where torch does not tell it of the device.
    """

    def __init__(self, device: torch.device) -> None:
        self._device, self._sampler = device, PeakSampler()
        self.bytes: int | None = None

    def __enter__(self) -> PeakMemory:
        """Start looking."""
        if self._device.type == "cpu":
            self._sampler.__enter__()
        elif self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
        return self

    def __exit__(self, *error: object) -> None:
        """Stop looking."""
        if self._device.type == "cpu":
            self._sampler.__exit__()
            self.bytes = self._sampler.peak
        elif self._device.type == "cuda":
            self.bytes = int(torch.cuda.max_memory_allocated(self._device))


def plain_forward(backbone: ClipBackbone, request: FeatureRequest) -> Callable[[Tensor], list[Tensor]]:
    """The tower's own blocks, one after the other, keeping what a request reads of the same stages.

    What a method could reach at best: whole images give the class embedding and the raw tokens of the blocks that
    are read; windows pass the same blocks as short sequences of their own. What else a method asks for (the
    value-value attention of AnomalyCLIP, projections of patches) is left out, so that a share of this tells all that
    is done beside it.

    Args:
        backbone: The backbone.
        request: What a method reads.

    Returns:
        A function of pixels [N, 3, S, S] on the backbone's device.
    """
    kept = _stages_read(request, backbone.info.depth)
    windows = sorted(map(side_and_stride, request.keys(FEATURES["windows"])))

    @torch.no_grad()
    def forward(pixels: Tensor) -> list[Tensor]:
        tower = TowerPass.of(backbone.model, pixels, backbone.token_budget)
        entering = tower.tokens.to(next(tower.layers.parameters()).dtype)
        found, hidden = [], entering
        for number, layer in enumerate(tower.layers, start=1):
            hidden = layer(hidden, attention_mask=None)
            if number in kept:
                found.append(hidden)
        found.append(tower.project(hidden[:, 0].float()))
        for side, stride in windows:
            index = window_indices(tower.grid, side, stride).to(pixels.device) + 1
            index = torch.cat([index.new_zeros(len(index), 1), index], dim=1)
            sequences = entering[:, index].flatten(0, 1)
            for part in sequences.split(max(1, backbone.token_budget // index.shape[1])):
                for layer in tower.layers:
                    part = layer(part, attention_mask=None)
                found.append(tower.project(part[:, 0].float()))
        return found

    return forward


def _stages_read(request: FeatureRequest, depth: int) -> frozenset[int]:
    """Blocks of which a request reads tokens of patches."""
    kept: set[int] = set()
    for feature in request.features():
        for key in request.keys(feature):
            if feature.name in ("patch_tokens", "patch_embeddings"):
                kept.add(depth)
            elif feature.name in ("stages", "value_paths"):
                stage = key[-1] if isinstance(key, tuple) else key
                assert stage is not None
                kept.add(stage)
    return frozenset(kept)


def on_device(pixels: Tensor, device: torch.device) -> Tensor:
    """Pixels where they are computed with, once the copy is done."""
    there = to_device(pixels, device)
    wait(device)
    return there
