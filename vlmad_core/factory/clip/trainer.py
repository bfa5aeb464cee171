"""Training of the bundled CLIP: its vision tower learns from an ImageNet teacher, then from captions as well.

First every step distils the teacher's patch tokens on rendered and generic pictures. Then each batch also holds
pairs of one rendered scene without and with a defect, whose views (the whole image, and windows made by dropping
tokens) are compared with captions that name the part and its state. Distillation goes on beside it, since
captions alone soon train patch features away. Nothing here tells projected patch tokens normal from abnormal: as
in a real CLIP they are not aligned with text. That they hold what is needed is asked of heads that are thrown away.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPTokenizer

from vlmad_core.factory.clip.captions import caption_pair
from vlmad_core.factory.clip.losses import TAPS, DistillationHeads, caption_losses, state_direction, state_loss
from vlmad_core.factory.clip.model import IMAGE_SIZE, PATCH_SIZE
from vlmad_core.factory.clip.recipe import Muon, Recipe
from vlmad_core.factory.clip.view_bank import ViewBank
from vlmad_core.factory.clip.views import (
    draw_windows,
    embed_windows,
    first_tokens,
    normalise,
    project,
    run_blocks,
    view_states,
)
from vlmad_core.io import write_atomically

DENSE_SHARE = 0.12
"""A patch counts as abnormal if at least this share of its pixels is defective."""
WINDOWS: Mapping[int, int] = {2: 3, 3: 3, 5: 1, 8: 1}
"""Side of a window in patches -> windows of each image in a step."""
_RARE_IN_REFINEMENT = 0.15
_SAMPLE = 256
"""Views, the first, over which mean and spread of the teacher's channels are taken."""


class Trainer:
    """The state of a training: model, heads, optimiser, step. A step depends on the recipe and its number only.

    Args:
        model: A ``CLIPModel``, trained in place.
        tokenizer: Its tokenizer.
        bank: The views.
        phrases: For each defect the phrases that name it.
        recipe: The recipe.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: CLIPTokenizer,
        bank: ViewBank,
        phrases: Mapping[str, Sequence[str]],
        recipe: Recipe,
    ) -> None:
        self.model, self.tokenizer, self.bank, self.phrases, self.recipe = model, tokenizer, bank, phrases, recipe
        torch.manual_seed(recipe.seed)
        width = model.config.vision_config.hidden_size
        sample = bank.taught_tokens(range(min(_SAMPLE, bank.generic + 2 * bank.taught)))
        self.heads = DistillationHeads(width, bank.channels, sample)
        projection = model.config.projection_dim
        self.dense = nn.ModuleDict(
            {str(t): nn.Sequential(nn.LayerNorm(width), nn.Linear(width, projection)) for t in TAPS}
        )
        self.state_scale = nn.Parameter(torch.tensor(2.0))
        self.optimizers = self._optimizers()
        self.step = 0

    def train(self, until: int, report: Callable[[int, dict[str, float]], None] | None = None) -> None:
        """Train up to a step; equal calls in pieces give what one call gives."""
        self.model.train()
        while self.step < until:
            losses = self._losses()
            total = torch.stack(list(losses.values())).sum()
            self._set_rates()
            for optimizer in self.optimizers:
                optimizer.zero_grad(set_to_none=True)
            total.backward()
            nn.utils.clip_grad_norm_([p for o in self.optimizers for g in o.param_groups for p in g["params"]], 1.0)
            for optimizer in self.optimizers:
                optimizer.step()
            with torch.no_grad():
                self.model.logit_scale.clamp_(max=math.log(100))
            self.step += 1
            if report:
                report(self.step, {name: float(value.detach()) for name, value in losses.items()})

    def save(self, path: Path) -> None:
        """Write a checkpoint whole or not at all."""
        content = {name: part.state_dict() for name, part in self._parts().items()}
        content |= {"state_scale": self.state_scale.detach(), "step": self.step, "precision": self.recipe.precision}
        buffer = io.BytesIO()
        torch.save(content, buffer)
        write_atomically(path, buffer.getvalue())

    def load(self, path: Path) -> None:
        """Go on from a checkpoint of the same recipe, in the precision it was begun in."""
        content = torch.load(path, weights_only=True)
        for name, part in self._parts().items():
            part.load_state_dict(content[name])
        with torch.no_grad():
            self.state_scale.copy_(content["state_scale"])
        self.step = content["step"]
        self.recipe = replace(self.recipe, precision=content["precision"])

    def _parts(self) -> dict[str, Any]:
        muon, adamw = self.optimizers
        return {"model": self.model, "heads": self.heads, "dense": self.dense, "muon": muon, "adamw": adamw}

    def _set_rates(self) -> None:
        recipe, rate = self.recipe, self.recipe.rate(self.step)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate * min(1.0, max(0, self.step + 1 - group["start"]) / recipe.warmup)

    def _optimizers(self) -> tuple[torch.optim.Optimizer, torch.optim.Optimizer]:
        """Muon for the matrices of the blocks, AdamW for the rest."""
        recipe, model = self.recipe, self.model
        vision = [p for p in model.vision_model.encoder.parameters() if p.ndim == 2]
        text = [p for p in model.text_model.encoder.parameters() if p.ndim == 2]
        matrices = {id(p) for p in (*vision, *text)}
        seeing = [*model.vision_model.parameters(), *self.heads.parameters()]
        early = {id(p) for p in seeing}
        reading = [p for p in model.parameters() if id(p) not in early]
        reading += [*self.dense.parameters(), self.state_scale]
        late = self.recipe.distil_steps
        muon = Muon(
            [{"params": vision, "start": 0}, {"params": text, "start": late}],
            recipe.learning_rate,
            recipe.weight_decay,
            recipe.precision,
        )
        adamw = torch.optim.AdamW(
            [
                {"params": [p for p in seeing if id(p) not in matrices], "start": 0},
                {"params": [p for p in reading if id(p) not in matrices], "start": late},
            ],
            lr=recipe.learning_rate,
            betas=(0.9, 0.98),
            weight_decay=recipe.weight_decay,
        )
        return muon, adamw

    def _losses(self) -> dict[str, Tensor]:
        recipe = self.recipe
        chance = np.random.default_rng([recipe.seed, self.step])
        generator = torch.Generator().manual_seed(int(chance.integers(2**62)))
        if self.step < self.recipe.distil_steps:
            rows = chance.choice(self.bank.generic, recipe.views_per_step, replace=False)
            tokens = first_tokens(self.model, normalise(self.bank.take(rows)[0]))
            _, taps = run_blocks(self.model, tokens, recipe.precision, tuple(TAPS))
            return self._distilled(taps, self.bank.taught_tokens(rows), 1.0, generator)
        drawn, taught, free = self._draw(chance)
        pairs = self.bank.pairs[drawn].ravel()
        pictures, counts = self.bank.take(np.concatenate([pairs, free]))
        tokens = first_tokens(self.model, normalise(pictures))
        last, taps = run_blocks(self.model, tokens, recipe.precision, tuple(TAPS))
        shown = len(pairs)
        scene = [(self.bank.nouns[row], self.bank.defects[row]) for row in drawn]
        losses = {}
        if recipe.anchor_weight:
            anchored = [*range(2 * taught), *range(shown, len(pictures))]
            targets = self.bank.taught_tokens(np.concatenate([pairs[: 2 * taught], free]))
            losses = self._distilled(
                {tap: values[anchored] for tap, values in taps.items()}, targets, recipe.anchor_weight, generator
            )
        described = self._described(
            chance,
            generator,
            scene,
            tokens[:shown],
            last[:shown],
            {t: v[:shown] for t, v in taps.items()},
            counts[:shown],
        )
        return {**losses, **described}

    def _draw(self, chance: np.random.Generator) -> tuple[NDArray[np.int64], int, NDArray[np.int64]]:
        """Pairs of a step, those that the teacher saw first; how many these are; and rows of views without captions."""
        recipe, bank = self.recipe, self.bank
        since = self.step - recipe.refine_from
        known = bank.taught if since >= 0 else min(bank.taught, recipe.first_pairs)
        others = len(bank.pairs) - bank.taught
        new = recipe.described_per_step if since >= 0 and others else 0
        drawn = chance.choice(known, recipe.pairs_per_step - new, replace=False)
        # Each pair has one view without captions, and generic pictures come before all of these.
        free = chance.choice(bank.free[: bank.generic + known], recipe.free_per_step, replace=False)
        # One after another, so that each is seen once before any is seen again.
        described = bank.taught + (since * new + np.arange(new)) % max(1, others)
        return np.concatenate([drawn, described]), len(drawn), free

    def _distilled(
        self, taps: Mapping[int, Tensor], targets: Tensor, weight: float, generator: torch.Generator
    ) -> dict[str, Tensor]:
        losses = self.heads.losses(taps, targets, generator, self.recipe.precision)
        return {
            "features": weight * losses["features"],
            "likeness": weight * self.recipe.likeness_weight * losses["likeness"],
        }

    def _described(
        self,
        chance: np.random.Generator,
        generator: torch.Generator,
        scene: Sequence[tuple[str, str]],
        tokens: Tensor,
        last: Tensor,
        taps: Mapping[int, Tensor],
        counts: Tensor,
    ) -> dict[str, Tensor]:
        """Losses of views with captions: whole images, windows, and patches through their own heads."""
        refining = self.step >= self.recipe.refine_from
        rare = _RARE_IN_REFINEMENT if refining else 1.0
        captions = [c for shown in scene for c in caption_pair(chance, *shown, self.phrases, rare)]
        ids = self.tokenizer([caption.text for caption in captions], padding=True, return_tensors="pt")
        text = F.normalize(self.model.get_text_features(**ids).pooler_output, dim=-1)
        direction = state_direction(text)
        scale = self.state_scale.exp().clamp(max=50.0)
        windows = []
        for side, number in WINDOWS.items():
            index, states = draw_windows(counts, side, number, generator)
            embedded = embed_windows(self.model, tokens, index, self.recipe.precision).flatten(0, 1)
            windows.append(state_loss(embedded, direction, states.flatten(), scale))
        share = counts.flatten() / PATCH_SIZE**2
        patch_states = torch.where(share >= DENSE_SHARE, 1, torch.where(share > 0, -1, 0))
        dense = [
            state_loss(F.normalize(self.dense[str(t)](v[:, 1:]), dim=-1).flatten(0, 1), direction, patch_states, scale)
            for t, v in taps.items()
            if not (refining and t == max(TAPS))
        ]
        window_weight = self.recipe.refine_window_weight if refining else self.recipe.window_weight
        images = project(self.model, last[:, 0])
        states = view_states(counts, IMAGE_SIZE // PATCH_SIZE).flatten()
        scales = self.model.logit_scale.exp(), scale
        aligned = caption_losses(images, states, scene, text, captions, scales)
        return {
            "captions": 0.5 * aligned["captions"],
            "states": aligned["states"],
            "pairs": self.recipe.pair_weight * aligned["pairs"],
            "windows": window_weight * torch.stack(windows).mean(),
            "dense": self.recipe.dense_weight * torch.stack(dense).mean(),
        }
