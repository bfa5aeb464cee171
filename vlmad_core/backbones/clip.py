"""The backbone: a CLIP model with its preprocessing and tokenizer, shared by all methods and never changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from vlmad_core.backbones.features import FeatureRequest, Features
from vlmad_core.backbones.info import BackboneInfo
from vlmad_core.backbones.preprocess import Preprocessing
from vlmad_core.backbones.text import Tokenizer, embed_learned_prompts, embed_prompts
from vlmad_core.backbones.vision import DEFAULT_TOKEN_BUDGET, Clock, extract_features
from vlmad_core.errors import BackboneError


@dataclass(frozen=True)
class ClipBackbone:
    """A loaded CLIP model. Made by ``load_backbone``; safe to use from several threads.

    Attributes:
        model: transformers' ``CLIPModel``, in evaluation mode.
        info: What it is, and all of it that a number depends on.
        preprocess: From a Pillow image to [3, S, S] float32.
        tokenize: From prompts to token ids.
        token_budget: Most window tokens that go through the tower at once: the bound on memory.
    """

    model: Any
    info: BackboneInfo
    preprocess: Preprocessing
    tokenize: Tokenizer
    token_budget: int = DEFAULT_TOKEN_BUDGET

    def preprocess_batch(self, images: Sequence[Image.Image]) -> Tensor:
        """Preprocess N images: [N, 3, S, S] float32."""
        return torch.stack([self.preprocess(image) for image in images])

    def encode_images(self, pixel_values: Tensor, request: FeatureRequest, clock: Clock | None = None) -> Features:
        """One pass over a batch for everything the request names; see ``extract_features``.

        Args:
            pixel_values: [N, 3, S, S] float32, preprocessed.
            request: The union of what is wanted.
            clock: Told the seconds that ``vision`` and ``windows`` took.
        """
        return extract_features(self.model, pixel_values, request, self.token_budget, clock)

    def encode_text(self, prompts: Sequence[str]) -> Tensor:
        """Embed prompts: [n, e] float32, not normalised.

        Raises:
            BackboneError: If a prompt is longer than the text tower takes.
        """
        tokens = self.tokenize(prompts)
        limit = self.info.context_length
        for prompt, ids in zip(prompts, tokens, strict=True):
            if len(ids) > limit:
                shown = prompt if len(prompt) <= 80 else prompt[:77] + "..."
                raise BackboneError(
                    f"The prompt {shown!r} has {len(ids)} tokens; {self.info.title} reads at most {limit}.",
                    "Shorten the category name or the template.",
                )
        return embed_prompts(self.model, tokens)

    def encode_learned_prompts(self, prompts: Sequence[str], context: Tensor, deep: Sequence[Tensor] = ()) -> Tensor:
        """Embed prompts behind learned context vectors: [n, e] float32; see ``embed_learned_prompts``."""
        return embed_learned_prompts(self.model, self.tokenize(prompts), context, deep)
