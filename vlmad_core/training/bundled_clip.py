"""Training of the bundled CLIP: contrastive, on rendered inspection images with captions, from scratch.

Every batch holds pairs of one scene without and with a defect. Views are the whole image, crops, and windows
made by dropping tokens; each is compared with captions that name the part and its state. Two terms are not
in real CLIP and are stated in the model card: patches of the whole image are told normal from abnormal by the
mask, and an early block must be able to give back each patch's pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPTokenizer

from vlmad_core.training.alignment_losses import multi_positive_nce, reconstruction_loss, state_loss
from vlmad_core.training.bundled_model import IMAGE_SIZE, PATCH_SIZE
from vlmad_core.training.captions import Caption, caption_pair
from vlmad_core.training.pair_bank import PairBank
from vlmad_core.training.views import (
    Batch,
    augment,
    draw_windows,
    embed_windows,
    first_tokens,
    gather_tokens,
    project,
    run_blocks,
    view_states,
)

DENSE_SHARE = 0.12
"""A patch counts as abnormal if at least this share of its pixels is defective."""
RECONSTRUCTION_BLOCK = 3
CROP = 8
"""Side of a crop, in patches."""


@dataclass(frozen=True)
class Recipe:
    """Everything a training depends on beside the pairs.

    Attributes:
        steps: Optimiser steps; the first ``window_share`` of them see crops and windows only.
        pairs_per_batch: Pairs in a batch; twice as many images.
        window_share: Share of the steps without whole images.
        learning_rate: Peak of the cosine schedule.
        early_rate: Factor on the learning rate of the embedding and the first three blocks once whole
            images are seen, so that patch features are not trained away.
        weight_decay: Of AdamW.
        warmup: Steps of linear warm-up.
        dense_weight: Weight of the patch loss.
        reconstruction_weight: Weight of the pixel reconstruction.
        seed: Of initialisation, batches, captions and augmentation.
    """

    steps: int = 1900
    pairs_per_batch: int = 24
    window_share: float = 0.4
    learning_rate: float = 1e-3
    early_rate: float = 0.3
    weight_decay: float = 0.05
    warmup: int = 60
    dense_weight: float = 1.0
    reconstruction_weight: float = 0.3
    seed: int = 0


class Trainer:
    """The state of a training: model, heads, optimiser, step. A step depends on the recipe and its number only.

    Args:
        model: A ``CLIPModel``, trained in place.
        tokenizer: Its tokenizer.
        bank: The pairs.
        phrases: For each defect the phrases that name it.
        recipe: The recipe.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: CLIPTokenizer,
        bank: PairBank,
        phrases: Mapping[str, Sequence[str]],
        recipe: Recipe,
    ) -> None:
        self.model, self.tokenizer, self.bank, self.phrases, self.recipe = model, tokenizer, bank, phrases, recipe
        torch.manual_seed(recipe.seed)
        width = model.config.vision_config.hidden_size
        self.decoder = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 3 * PATCH_SIZE**2))
        self.state_scale = nn.Parameter(torch.tensor(2.0))
        early = _early_parameters(model)
        late = [p for p in model.parameters() if not any(p is q for q in early)]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": early, "early": True},
                {"params": [*late, *self.decoder.parameters(), self.state_scale], "early": False},
            ],
            lr=recipe.learning_rate,
            betas=(0.9, 0.98),
            weight_decay=recipe.weight_decay,
        )
        self.step = 0

    @property
    def whole_images(self) -> bool:
        """Whether this step sees whole images, not only windows and crops."""
        return self.step >= self.recipe.window_share * self.recipe.steps

    def train(self, until: int, report: Callable[[int, dict[str, float]], None] | None = None) -> None:
        """Train up to a step; equal calls in pieces give what one call gives."""
        self.model.train()
        while self.step < until:
            losses = self._losses()
            total = torch.stack(list(losses.values())).sum()
            self._set_rates()
            self.optimizer.zero_grad(set_to_none=True)
            total.backward()
            nn.utils.clip_grad_norm_([p for g in self.optimizer.param_groups for p in g["params"]], 1.0)
            self.optimizer.step()
            with torch.no_grad():
                self.model.logit_scale.clamp_(max=math.log(100))
            self.step += 1
            if report:
                report(self.step, {name: float(value.detach()) for name, value in losses.items()})

    def save(self, path: Path) -> None:
        """Write a checkpoint whole or not at all."""
        partial = path.with_suffix(".partial")
        content = {
            "model": self.model.state_dict(),
            "decoder": self.decoder.state_dict(),
            "state_scale": self.state_scale.detach(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
        }
        torch.save(content, partial)
        partial.replace(path)

    def load(self, path: Path) -> None:
        """Go on from a checkpoint of the same recipe."""
        content = torch.load(path, weights_only=True)
        self.model.load_state_dict(content["model"])
        self.decoder.load_state_dict(content["decoder"])
        with torch.no_grad():
            self.state_scale.copy_(content["state_scale"])
        self.optimizer.load_state_dict(content["optimizer"])
        self.step = content["step"]

    def _set_rates(self) -> None:
        recipe = self.recipe
        warm = min(1.0, (self.step + 1) / recipe.warmup)
        rate = recipe.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * self.step / recipe.steps))
        for group in self.optimizer.param_groups:
            group["lr"] = rate * (recipe.early_rate if group["early"] and self.whole_images else 1.0)

    def _losses(self) -> dict[str, Tensor]:
        chance = np.random.default_rng([self.recipe.seed, self.step])
        generator = torch.Generator().manual_seed(int(chance.integers(2**62)))
        rows = np.sort(chance.choice(len(self.bank), self.recipe.pairs_per_batch, replace=False))
        batch = augment(*self.bank.take(rows), generator)
        captions = [
            caption
            for row in rows
            for caption in caption_pair(chance, self.bank.nouns[row], self.bank.defects[row], self.phrases)
        ]
        scene = [(self.bank.nouns[row], self.bank.defects[row]) for row in rows for _ in range(2)]
        text = F.normalize(self._embed(captions), dim=-1)
        tokens = first_tokens(self.model, batch.pixels)
        if self.whole_images:
            losses = self._whole(batch, tokens, text, captions, scene)
            numbers = {5: 2, 3: 2, 2: 2}
        else:
            losses = self._crops(batch, tokens, text, captions, scene, generator)
            numbers = {5: 2, 3: 3, 2: 3}
        windows = []
        for scale, number in numbers.items():
            index, states = draw_windows(batch.defect_counts, scale, number, generator)
            embedded = embed_windows(self.model, tokens, index).flatten(0, 1)
            windows.append(state_loss(embedded, _direction(text), states.flatten(), self._scale()))
        return {**losses, "windows": torch.stack(windows).mean()}

    def _scale(self) -> Tensor:
        return self.state_scale.exp().clamp(max=50.0)

    def _embed(self, captions: Sequence[Caption]) -> Tensor:
        ids = self.tokenizer([caption.text for caption in captions], padding=True, return_tensors="pt")
        out: Tensor = self.model.get_text_features(**ids).pooler_output
        return out

    def _whole(
        self,
        batch: Batch,
        tokens: Tensor,
        text: Tensor,
        captions: Sequence[Caption],
        scene: Sequence[tuple[str, str]],
    ) -> dict[str, Tensor]:
        last, taps = run_blocks(self.model, tokens, (RECONSTRUCTION_BLOCK,))
        images = project(self.model, last[:, 0])
        states = view_states(batch.defect_counts, IMAGE_SIZE // PATCH_SIZE).flatten()
        rebuilt = self.decoder(taps[RECONSTRUCTION_BLOCK][:, 1:])
        return {
            **self._aligned(images, states, text, captions, scene),
            "patches": self._dense(last, batch.defect_counts.flatten(1), text),
            "pixels": self.recipe.reconstruction_weight * reconstruction_loss(rebuilt, batch.pixels, PATCH_SIZE),
        }

    def _crops(
        self,
        batch: Batch,
        tokens: Tensor,
        text: Tensor,
        captions: Sequence[Caption],
        scene: Sequence[tuple[str, str]],
        generator: torch.Generator,
    ) -> dict[str, Tensor]:
        index, states = draw_windows(batch.defect_counts, CROP, 1, generator)
        last, _ = run_blocks(self.model, gather_tokens(tokens, index))
        counts = batch.defect_counts.flatten(1).gather(1, index[:, 0, 1:] - 1)
        return {
            **self._aligned(project(self.model, last[:, 0]), states[:, 0], text, captions, scene),
            "patches": self._dense(last, counts, text),
        }

    def _dense(self, last: Tensor, defect_counts: Tensor, text: Tensor) -> Tensor:
        """Patches told normal from abnormal by how much of each is defective: tokens [B, 1 + P, d], [B, P]."""
        share = defect_counts.flatten() / PATCH_SIZE**2
        states = torch.where(share >= DENSE_SHARE, 1, torch.where(share > 0, -1, 0))
        patches = project(self.model, last[:, 1:]).flatten(0, 1)
        return self.recipe.dense_weight * state_loss(patches, _direction(text), states, self._scale())

    def _aligned(
        self,
        views: Tensor,
        states: Tensor,
        text: Tensor,
        captions: Sequence[Caption],
        scene: Sequence[tuple[str, str]],
    ) -> dict[str, Tensor]:
        """Views against captions, and against the direction of each view's own pair of captions."""
        kept = states >= 0
        truth = torch.tensor(
            [
                [_is_true(caption, bool(state), *shown) for caption in captions]
                for shown, state in zip(scene, states.tolist(), strict=True)
            ]
        )
        similarity = self.model.logit_scale.exp() * views @ text.T
        own = F.normalize(text[1::2] - text[0::2], dim=-1).repeat_interleave(2, dim=0)
        return {
            "captions": 0.5 * multi_positive_nce(similarity[kept], truth[kept]),
            "states": 0.5 * state_loss(views, own, states, self._scale())
            + 0.5 * state_loss(views, _direction(text), states, self._scale()),
        }


def _is_true(caption: Caption, abnormal: bool, noun: str, defect: str) -> bool:
    return (
        caption.abnormal == abnormal
        and caption.noun in (None, noun)
        and (caption.defect is None or caption.defect == defect)
    )


def _direction(text: Tensor) -> Tensor:
    """Unit vector from the mean of the normal to the mean of the abnormal captions of the batch."""
    return F.normalize(text[1::2].mean(dim=0) - text[0::2].mean(dim=0), dim=-1)


def _early_parameters(model: Any) -> list[nn.Parameter]:
    vision = model.vision_model
    modules = [vision.embeddings, vision.pre_layrnorm, *list(vision.encoder.layers)[:RECONSTRUCTION_BLOCK]]
    return [p for module in modules for p in module.parameters()]
