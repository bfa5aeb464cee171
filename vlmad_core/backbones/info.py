"""What is known of a loaded backbone: everything about it that a stored number depends on."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from vlmad_core.backbones.preprocess import OPENAI_MEAN, OPENAI_STD

Precision = Literal["float32", "bfloat16"]
PositionRule = Literal["native", "bicubic_antialias", "bicubic", "bilinear"]

PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")


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
