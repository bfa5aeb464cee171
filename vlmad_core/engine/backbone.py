"""How a backbone is to be loaded, and how much of it fits into memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from vlmad_core.backbones import BackboneInfo, load_backbone
from vlmad_core.backbones.info import PositionRule, Precision
from vlmad_core.backbones.loading import VISION_ONLY_NAMES
from vlmad_core.backbones.teacher import load_vision_only
from vlmad_core.backbones.tower import Backbone

ACTIVATION_BUDGET = 192 * 2**20
"""Bytes of activations of one block that a batch may take; decides the batch size."""

MAX_BATCH = 32


@dataclass(frozen=True)
class BackboneSpec:
    """How a backbone is to be loaded.

    Attributes:
        name: ``bundled``, a folder, or a hub id.
        image_size: Side of the input; None for its own.
        activation: Overrides the checkpoint's; None to keep it.
        position_rule: How the position table is resampled; None for the default.
        precision: Arithmetic of the towers.
        tokenizer: For checkpoints that bring none; None for the default.
        device: Where the vision tower stands.
    """

    name: str
    image_size: int | None = None
    activation: Literal["gelu", "quick_gelu"] | None = None
    position_rule: PositionRule | None = None
    precision: Precision = "float32"
    tokenizer: str | None = None
    device: str = "cpu"

    def load(self) -> Backbone:
        """Load it.

        Raises:
            BackboneError: If it can't be found, fetched or read.
        """
        if self.name in VISION_ONLY_NAMES:
            return load_vision_only(self.image_size)
        more: dict[str, Any] = {}
        if self.position_rule is not None and self.position_rule != "native":
            more["position_rule"] = self.position_rule
        if self.tokenizer is not None:
            more["tokenizer"] = self.tokenizer
        return load_backbone(
            self.name,
            image_size=self.image_size,
            activation=self.activation,
            precision=self.precision,
            device=self.device,
            **more,
        )


Loader = Callable[[BackboneSpec], Backbone]


def default_batch_size(info: BackboneInfo) -> int:
    """Images per pass whose activations stay within bounds; depends on nothing but the backbone."""
    tokens = 1 + info.grid[0] * info.grid[1]
    per_image = tokens * info.width * 4 * 8  # residual stream, attention and the four times wider hidden layer
    return max(1, min(MAX_BATCH, ACTIVATION_BUDGET // per_image))
