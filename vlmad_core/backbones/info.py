"""What is known of a loaded backbone and how images are made ready for it: all that a stored number depends on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from PIL import Image

from vlmad_core.errors import DatasetError
from vlmad_core.libraries import torch

if TYPE_CHECKING:
    from torch import Tensor

OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)
OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)

Precision = Literal["float32", "bfloat16", "float16"]
AskedPrecision = Literal["auto", "float32", "bfloat16", "float16"]
"""A precision, or ``auto`` for the one that is settled by measurement (``settling``)."""
PositionRule = Literal["native", "bicubic_antialias", "bicubic", "bilinear"]

PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16", "float16")
ASKED_PRECISIONS: tuple[AskedPrecision, ...] = ("auto", *PRECISIONS)


ACTIVATION_BUDGET = 192 * 2**20
"""Bytes of activations of one block that a batch may take; decides the batch size."""

MAX_BATCH = 32

HASH_DIGITS = 16


@dataclass(frozen=True)
class BackboneInfo:
    """Identity and shape of a loaded CLIP model.

    Attributes:
        id: What was asked for: ``bundled``, a hub id, or the name of a folder.
        title: How it is shown.
        source: ``bundled``, ``hub``, ``folder``, ``open_clip`` or ``package``.
        weights_hash: First 16 hex digits of the SHA-256 over all tensors (names, shapes, values).
        activation: ``gelu`` or ``quick_gelu``, as it runs; ``relu6`` of the teacher.
        image_size: Side of the square input, in pixels.
        native_image_size: The side the position table was trained for.
        patch_size: Side of a patch, in pixels.
        position_rule: How the position table was resampled; ``native`` if it was not.
        precision: Arithmetic of the towers; what follows the last block always runs in float32.
        depth: Number of blocks of the vision tower.
        text_depth: Number of blocks of the text tower; 0 for a backbone that knows images only.
        width: Width of the vision tower.
        embed_dim: Width of the joint embedding space.
        context_length: Most tokens a prompt may have.
        parameters: Number of weights of both towers together.
        image_mean: Subtracted from each channel of an image in [0, 1], red first.
        image_std: Divided by, per channel.
        training_data: Names of the data sets it was trained on; None if unknown.
        demonstration: True for a model that shows how the program works and decides nothing about real parts.
    """

    id: str
    title: str
    source: Literal["bundled", "hub", "folder", "open_clip", "package"]
    weights_hash: str
    activation: Literal["gelu", "quick_gelu", "relu6"]
    image_size: int
    native_image_size: int
    patch_size: int
    position_rule: PositionRule
    precision: Precision
    depth: int
    text_depth: int
    width: int
    embed_dim: int
    context_length: int
    parameters: int
    image_mean: tuple[float, float, float] = OPENAI_MEAN
    image_std: tuple[float, float, float] = OPENAI_STD
    training_data: tuple[str, ...] | None = None
    demonstration: bool = False

    @property
    def vision_only(self) -> bool:
        """Whether it has no text tower: a reference, not a vision-language model."""
        return self.text_depth == 0

    @property
    def grid(self) -> tuple[int, int]:
        """Patch grid (rows, columns)."""
        side = self.image_size // self.patch_size
        return side, side

    def to_json(self) -> dict[str, Any]:
        """As plain json values."""
        return asdict(self)


@dataclass(frozen=True)
class Preprocessing:
    """How an image is made ready; part of the protocol of every run.

    The image is resized to a square with Pillow's bicubic filter (which smooths when shrinking) on 8-bit
    values, aspect ratio not kept and nothing cropped, so that a defect at the border stays in view; then
    scaled to [0, 1] and normalised per channel.

    Attributes:
        image_size: Side of the square, in pixels.
        mean: Subtracted per channel, red first.
        std: Divided by, per channel.
        patch_size: Side of a patch in pixels; a smaller image has nothing in it to compare.
    """

    image_size: int
    mean: tuple[float, float, float] = OPENAI_MEAN
    std: tuple[float, float, float] = OPENAI_STD
    patch_size: int = 1

    def __call__(self, image: Image.Image) -> Tensor:
        """Make one image ready.

        Args:
            image: Any size; converted to RGB if it is not.

        Returns:
            [3, image_size, image_size], float32.

        Raises:
            DatasetError: If a side is shorter than a patch.
        """
        if min(image.size) < self.patch_size:
            raise DatasetError(
                f"An image of {image.width} x {image.height} pixels is smaller than a patch of {self.patch_size} x "
                f"{self.patch_size}.",
                "Give the image at its full resolution, or use a backbone with smaller patches.",
            )
        side = self.image_size
        resized = image.convert("RGB").resize((side, side), Image.Resampling.BICUBIC)
        pixels = np.asarray(resized, dtype=np.float32) / np.float32(255)
        normalised = (pixels - np.asarray(self.mean, np.float32)) / np.asarray(self.std, np.float32)
        return torch.from_numpy(np.ascontiguousarray(normalised.transpose(2, 0, 1)))

    def to_json(self) -> dict[str, Any]:
        """As plain json values, with the rule in words."""
        return {
            "resize": "square, Pillow bicubic on 8-bit RGB, aspect ratio not kept, no crop",
            "image_size": self.image_size,
            "mean": list(self.mean),
            "std": list(self.std),
        }


def precisions_on(device: str) -> tuple[Precision, ...]:
    """Arithmetics offered on a kind of device, float32 first.

    Args:
        device: ``cpu``, ``cuda``, ...; CPUs have no float16 products to speak of, so it is for cards only.
    """
    return tuple(precision for precision in PRECISIONS if device != "cpu" or precision != "float16")


def activation_bytes(info: BackboneInfo) -> int:
    """Bytes of activations of one block for one image in float32."""
    tokens = 1 + info.grid[0] * info.grid[1]
    return tokens * info.width * 4 * 8  # residual stream, attention and the four times wider hidden layer


def default_batch_size(info: BackboneInfo) -> int:
    """Images per pass whose activations stay within bounds; depends on nothing but the backbone."""
    return max(1, min(MAX_BATCH, ACTIVATION_BUDGET // activation_bytes(info)))


def hash_tensors(tensors: Mapping[str, Tensor]) -> str:
    """First 16 hex digits of ``tensors_sha256``, by which protocols name weights."""
    return tensors_sha256(tensors)[:HASH_DIGITS]


def tensors_sha256(tensors: Mapping[str, Tensor]) -> str:
    """The SHA-256 over names, shapes and float32 values, in order of names; 64 hex digits."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().float().contiguous()
        digest.update(f"{name}:{tuple(tensor.shape)};".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()
