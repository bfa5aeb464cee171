"""The backbone: a CLIP model with its preprocessing and tokenizer, shared by all methods and never changed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PIL import Image

from vlmad_core.backbones.devices import wait
from vlmad_core.backbones.features import FeatureRequest, Features
from vlmad_core.backbones.info import BackboneInfo, Preprocessing
from vlmad_core.backbones.text import Tokenizer, embed_learned_prompts, embed_prompts, embed_shared
from vlmad_core.backbones.tower import Clock, Images, stacked_pixels
from vlmad_core.backbones.vision import DEFAULT_TOKEN_BUDGET, TowerPass, WindowForm
from vlmad_core.errors import BackboneError
from vlmad_core.libraries import torch

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class ClipBackbone:
    """A loaded CLIP model. Made by ``load_backbone``; safe to use from several threads.

    Attributes:
        model: ``ClipModel``, in evaluation mode.
        info: What it is, and all of it that a number depends on.
        preprocess: From a Pillow image to [3, S, S] float32.
        tokenize: From prompts to token ids.
        token_budget: Most window tokens that go through the tower at once: the bound on memory.
        window_form: How blocks are computed for windows; see ``windows.settle_form``.
    """

    model: Any
    info: BackboneInfo
    preprocess: Preprocessing
    tokenize: Tokenizer
    token_budget: int = DEFAULT_TOKEN_BUDGET
    window_form: WindowForm = "plain"

    @property
    def device(self) -> torch.device:
        """Where both towers stand, and with them features and embeddings of prompts."""
        device: torch.device = self.model.visual_projection.weight.device
        return device

    def preprocess_batch(self, images: Sequence[Image.Image]) -> Tensor:
        """Preprocess N images: [N, 3, S, S] float32."""
        return torch.stack([self.preprocess(image) for image in images])

    def recall(self, key: str, request: FeatureRequest) -> None:
        """Nothing: it remembers no image."""

    def encode_images(self, images: Images, request: FeatureRequest, clock: Clock | None = None) -> Features:
        """One pass over N images for everything the request names; see ``Backbone`` and ``extract_features``."""
        bounds = self.token_budget, self.window_form
        return extract_features(self.model, stacked_pixels(images), request, *bounds, clock=clock)

    def encode_text(self, prompts: Sequence[str]) -> Tensor:
        """Embed prompts: [n, e] float32, not normalised.

        Raises:
            BackboneError: If a prompt is longer than the text tower takes.
        """
        return embed_prompts(self.model, self._tokens(prompts))

    def encode_text_shared(self, prompts: Sequence[str]) -> Tensor:
        """As ``encode_text`` but for rounding; many prompts that begin alike take a third of the time.

        Raises:
            BackboneError: If a prompt is longer than the text tower takes.
        """
        return embed_shared(self.model, self._tokens(prompts))

    def over_length(self, prompts: Sequence[str]) -> dict[str, int]:
        """Prompts that the text tower can't read whole, with their numbers of tokens (start and end included)."""
        counted = zip(prompts, self.tokenize(prompts) if prompts else (), strict=True)
        return {prompt: len(ids) for prompt, ids in counted if len(ids) > self.info.context_length}

    def _tokens(self, prompts: Sequence[str]) -> list[list[int]]:
        tokens = self.tokenize(prompts) if prompts else []
        for prompt, ids in zip(prompts, tokens, strict=True):
            if len(ids) > self.info.context_length:
                shown = prompt if len(prompt) <= 80 else prompt[:77] + "..."
                raise BackboneError(
                    f"The prompt {shown!r} has {len(ids)} tokens; {self.info.title} reads at most "
                    f"{self.info.context_length}.",
                    "Shorten the category name or the template.",
                )
        return tokens

    def encode_learned_prompts(self, prompts: Sequence[str], context: Tensor, deep: Sequence[Tensor] = ()) -> Tensor:
        """Embed prompts behind learned context vectors: [n, e] float32; see ``embed_learned_prompts``."""
        return embed_learned_prompts(self.model, self.tokenize(prompts), context, deep)


def extract_features(
    model: Any,
    pixel_values: Tensor,
    request: FeatureRequest,
    token_budget: int = DEFAULT_TOKEN_BUDGET,
    window_form: WindowForm = "plain",
    clock: Clock | None = None,
) -> Features:
    """Run the vision tower once over a batch and read off all that is asked for.

    Args:
        model: A ``ClipModel`` in evaluation mode.
        pixel_values: [N, 3, S, S], float32, preprocessed, on any device.
        request: What to return.
        token_budget: Most window tokens that go through the tower at once; bounds the memory.
        window_form: How blocks are computed for windows.
        clock: Told the seconds that ``vision`` (whole images) and each expensive feature took, by its name.

    Returns:
        The features asked for, float32, on the tower's device.

    Raises:
        BackboneError: If the image size, a stage or a window scale does not fit the tower.
    """
    device: torch.device = model.visual_projection.weight.device

    def seconds() -> float:
        """The time now, once the device has done what it was given; nobody waits where nobody asks for the time."""
        if clock is not None:
            wait(device)
        return time.perf_counter()

    start = seconds()
    with torch.no_grad():
        tower = TowerPass.of(model, pixel_values, token_budget, window_form)
        readers = {feature: feature.read(tower, request.keys(feature)) for feature in request.features()}
        vision = seconds() - start
        tensors: dict[str, Tensor] = {}
        for expensive in (True, False):
            chosen = {feature: reader for feature, reader in readers.items() if feature.expensive is expensive}
            start = seconds()
            if chosen and not expensive:
                tower.run(chosen.values())
            for feature, reader in chosen.items():
                tensors |= {feature.flat_name(key): tensor for key, tensor in reader.tensors().items()}
                if expensive and clock is not None:
                    clock(feature.name, seconds() - start)
                    start = seconds()
            vision += seconds() - start
    if clock is not None:
        clock("vision", vision)
    return Features.of_tensors(tower.grid, {name: tensors[name] for name in sorted(tensors)})
