"""The text side of a backbone, as prompts and methods see it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from vlmad_core.backbones.info import BackboneInfo


class TextTower(Protocol):
    """What embeds prompts; a ``ClipBackbone`` is one."""

    @property
    def info(self) -> BackboneInfo:
        """The backbone it belongs to."""

    def encode_text(self, prompts: Sequence[str]) -> Tensor:
        """Embed prompts: [n, e] float32, not normalised."""

    def encode_learned_prompts(self, prompts: Sequence[str], context: Tensor, deep: Sequence[Tensor] = ()) -> Tensor:
        """Embed prompts behind learned context vectors (AnomalyCLIP, section 3.1): [n, e] float32."""
