"""What is left to the machine: device, precision and batch size, settled by measurement before any work begins.

Nothing is read off a processor's or a card's name. What was settled stands with its reason in the plan of a run, so
that whoever goes on with it, on whatever machine, uses the same.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import psutil
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from vlmad_core.backbones.arithmetic import LEAST_GAIN, PRODUCT_SECONDS, product_gain
from vlmad_core.backbones.devices import resolve_device, wait
from vlmad_core.backbones.features import FeatureRequest
from vlmad_core.backbones.info import (
    MAX_BATCH,
    BackboneInfo,
    Precision,
    activation_bytes,
    default_batch_size,
    precisions_on,
)
from vlmad_core.backbones.loading import BackboneSpec, Loader
from vlmad_core.backbones.tower import Backbone
from vlmad_core.errors import BackboneError, VlmadError

SCORE_TOLERANCE = 0.01
"""How far scores in [0, 1] may be from those of float32 in the mean over calibration images, and over their patches.
On the bundled backbone bfloat16 stays within 0.002, which moves the mean image AUROC by 0.14 points."""

CALIBRATION_IMAGES = 4
"""Images of the batch that is timed and compared."""

STATES = ("a photo of a flawless object", "a photo of a damaged object")
"""Prompts of the scores that are compared: those of the text tower's own softmax, whatever methods follow."""

PASSES = 3
"""Passes of the batch of which the quickest counts, after one that warms up."""

SLOW_PASS = 1.0
"""Seconds beyond which the first pass is taken as it is."""

MADE_UP_SIDE = 256
"""Side of made-up calibration images, in pixels."""

MEMORY_SHARE = 0.5
"""Share of the free memory that a first batch may take; the rest is for scoring and for other programs."""


@dataclass(frozen=True)
class Settled:
    """A backbone as it is used, with nothing left open.

    Attributes:
        spec: Device and precision in it are those of the backbone.
        backbone: Loaded.
        reasons: By name (``device``, ``precision``), why what was left to the machine is what it is; empty if
            nothing was.
    """

    spec: BackboneSpec
    backbone: Backbone
    reasons: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def text(self) -> str:
        """What was settled and why, in a sentence; empty if nothing was."""
        chosen = {"device": str(self.backbone.device), "precision": self.backbone.info.precision}
        return "; ".join(f"{name} {chosen[name]} ({reason})" for name, reason in self.reasons.items())


Before = Callable[[BackboneInfo, str], tuple[Precision, str] | None]
"""Gives the precision that was settled earlier, with its reason, for a backbone and a type of device."""


def nothing_before(info: BackboneInfo, device: str) -> None:
    """Nothing was settled earlier."""


def made_up_images(count: int = CALIBRATION_IMAGES) -> list[Image.Image]:
    """Soft coloured spots under fine noise, the same on every call: for calibration where no images are at hand."""
    rng = np.random.default_rng(0)
    images = []
    for _ in range(count):
        spots = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        soft = np.asarray(spots.resize((MADE_UP_SIDE, MADE_UP_SIDE), Image.Resampling.BICUBIC), dtype=np.int16)
        noisy = soft + rng.integers(-12, 13, soft.shape, dtype=np.int16)
        images.append(Image.fromarray(noisy.clip(0, 255).astype(np.uint8)))
    return images


def settle(
    asked: BackboneSpec,
    load: Loader = BackboneSpec.load,
    images: Callable[[], Sequence[Image.Image]] = made_up_images,
    before: Before = nothing_before,
) -> Settled:
    """Load a backbone, and settle what is left to the machine: the one way from ``auto`` to a device and a precision.

    Args:
        asked: What to load; its device and precision may be ``auto``.
        load: Loads a backbone.
        images: Gives calibration images, if there is something to measure.
        before: What was settled earlier and is to be used again, whatever would be measured now.

    Raises:
        BackboneError: If the backbone can't be had, or the device is not there.
    """
    device, reasons = resolve_device(asked.device), {}
    if asked.device == "auto":
        reasons["device"] = "torch finds no accelerator" if device.type == "cpu" else "the accelerator torch finds"
        asked = dataclasses.replace(asked, device=str(device))
    if asked.precision != "auto":
        return Settled(asked, load(asked), reasons)

    def load_in(precision: Precision) -> Settled:
        spec = dataclasses.replace(asked, precision=precision)
        return Settled(spec, load(spec))

    exact = load_in("float32")
    known = before(exact.backbone.info, device.type)
    if known is None:
        chosen, reason = settle_precision(exact, load_in, images)
    else:
        chosen, reason = (exact if known[0] == "float32" else load_in(known[0])), known[1]
    return dataclasses.replace(chosen, reasons={**reasons, "precision": reason})


def settle_precision(
    exact: Settled, load_in: Callable[[Precision], Settled], images: Callable[[], Sequence[Image.Image]]
) -> tuple[Settled, str]:
    """The quickest precision whose scores are those of float32 within ``SCORE_TOLERANCE``, and why.

    A matrix product is timed first: where hardware lacks a precision it may be a hundred times slower, and no pass is
    tried with it. Then one batch passes the tower in each, and its scores are compared.

    Args:
        exact: The backbone in float32.
        load_in: Loads it in another precision.
        images: Gives the batch.

    Returns:
        The backbone in the precision taken, and the figures of every precision.
    """
    device = exact.backbone.device
    if exact.backbone.info.vision_only:
        return exact, "it knows images only, and runs in float32"
    gains = {name: product_gain(name, PRODUCT_SECONDS / 10, device) for name in precisions_on(device.type)[1:]}
    figures = {name: f"{name}: {gain:.2g} times float32 in the product" for name, gain in gains.items()}
    worth = [name for name, gain in gains.items() if gain >= LEAST_GAIN]
    best = exact
    if worth:
        try:
            pixels = torch.stack([exact.backbone.preprocess(image) for image in images()])
            plain, expected = _calibrated(exact.backbone, pixels)
        except VlmadError as error:  # e.g. no tokenizer, which a run without prompts does without; too small an image
            return exact, f"scores can't be compared: {error}"
        quickest = plain
    for name in worth:
        tried = load_in(name)
        seconds, scores = _calibrated(tried.backbone, pixels)
        apart = max(float((ours - theirs).abs().mean()) for ours, theirs in zip(scores, expected, strict=True))
        figures[name] += f", {plain / seconds:.2g} times in a pass, scores within {apart:.1g}"
        if not apart <= SCORE_TOLERANCE:  # also where they are no numbers
            figures[name] += f" where {SCORE_TOLERANCE:g} is allowed"
        elif quickest / seconds >= LEAST_GAIN:
            best, quickest = tried, seconds
    return best, "; ".join(figures.values())


def _calibrated(backbone: Any, pixels: Tensor) -> tuple[float, tuple[Tensor, Tensor]]:
    """Seconds of the quickest pass of a batch [N, 3, S, S], and its scores: of images [N], of patches [N, P].

    Scores are the share of the second of two states under the model's own temperature.
    """
    request = FeatureRequest(image_embedding=True, patch_embeddings=True)
    texts = F.normalize(backbone.encode_text(STATES).cpu(), dim=-1)
    scale = float(backbone.model.logit_scale.exp())
    spent: list[float] = []
    while len(spent) <= PASSES and not (spent and spent[0] > SLOW_PASS):
        start = time.perf_counter()
        features = backbone.encode_images(pixels, request)
        wait(backbone.device)
        spent.append(time.perf_counter() - start)
    found = (features.image_embedding, features.patch_embeddings)
    image, patches = ((scale * F.normalize(one.cpu(), dim=-1) @ texts.T).softmax(dim=-1)[..., 1] for one in found)
    return min(spent[1:] or spent), (image, patches)


def settle_batch_size(
    backbone: Backbone, request: FeatureRequest, known: tuple[int, str] | None = None
) -> tuple[int, str | None]:
    """Images per pass, and why; no reason where it is the backbone's default.

    On the CPU it is ``default_batch_size``, or less where the memory is nearly full. On a card a first pass is tried
    with what half of its free memory holds, and halved as long as memory runs out.

    Args:
        backbone: The backbone on its device.
        request: What all methods read of a batch.
        known: What was settled earlier, with its reason: used on the CPU, and what a card is tried with first.

    Raises:
        BackboneError: If not even one image fits.
    """
    info, device = backbone.info, backbone.device
    each = activation_bytes(info) + request.bytes_per_image(info)
    held = max(1, int(MEMORY_SHARE * free_bytes(device)) // each)
    if device.type == "cpu":
        if known is not None:
            return known
        batch = default_batch_size(info)
        return (batch, None) if held >= batch else (held, f"the memory left holds no more than {held} images")
    size, reason = known or (min(MAX_BATCH, held), f"tried in a pass on {device}")
    while True:
        try:
            backbone.encode_images(torch.zeros(size, 3, info.image_size, info.image_size), request)
            wait(device)
        except Exception as error:
            if not out_of_memory(error):
                raise
            if size == 1:
                raise BackboneError(
                    f"The memory of {device} does not hold one image of {info.title} at {info.image_size} pixels.",
                    "End what else uses it, lower --window-tokens, or use --device cpu.",
                ) from error
            reason, size = f"tried in a pass on {device}, {size} did not fit", size // 2
            if device.type == "cuda":
                torch.cuda.empty_cache()
            continue
        return size, reason


def free_bytes(device: torch.device) -> int:
    """Free memory of a device; of the computer, where torch does not say it of the device."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)


def out_of_memory(error: BaseException) -> bool:
    """Whether an exception means that memory ran out, on a card or off it."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    said = str(error).lower()
    return isinstance(error, RuntimeError) and ("not enough memory" in said or "out of memory" in said)
