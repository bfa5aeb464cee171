"""The last phase of the bundled CLIP's training: its text tower learns anew, from what the finished vision tower sees.

Beside a vision tower that still moves, the text tower sees few captions a step and makes do with one direction from
normal to abnormal. Here views are embedded once, so a step compares many times as many captions at a fraction of the
cost, and the words of the simplest prompts (normal, anomalous) can be as rare among them as they are in what people
write under pictures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPTokenizer

from vlmad_core.training.alignment_losses import caption_losses
from vlmad_core.training.bundled_model import IMAGE_SIZE, PATCH_SIZE, new_model
from vlmad_core.training.captions import caption_pair
from vlmad_core.training.view_bank import ViewBank
from vlmad_core.training.views import first_tokens, normalise, project, run_to_class_token, view_states

_BATCH = 64
_FIRST_SCALE = 3.0


@dataclass(frozen=True)
class WordRecipe:
    """Everything this phase depends on beside views and vision tower.

    Attributes:
        steps: Optimiser steps; none leaves the text tower as it is.
        pairs: Pairs of views that are embedded, drawn from all.
        pairs_per_step: Pairs in a step, with a pair of captions each.
        learning_rate: Of AdamW at its highest; it falls along a cosine.
        weight_decay: Of AdamW.
        warmup: Steps of linear warm-up.
        rare: How often one of ``captions.RARE_STATES`` is said, relative to one of the other states.
        seed: Of initialisation, batches and captions.
    """

    steps: int = 1200
    pairs: int = 8_192
    pairs_per_step: int = 96
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    warmup: int = 60
    rare: float = 0.02
    seed: int = 0

    def rate(self, step: int) -> float:
        """Learning rate at a step."""
        falling = 0.5 * (1 + math.cos(math.pi * step / self.steps))
        return self.learning_rate * min(1.0, (step + 1) / self.warmup) * falling


def learn_words(
    model: Any,
    tokenizer: CLIPTokenizer,
    bank: ViewBank,
    phrases: Mapping[str, Sequence[str]],
    recipe: WordRecipe,
    report: Callable[[int, dict[str, float]], None] | None = None,
) -> None:
    """Train the text tower of a model from scratch, in place; nothing of its vision tower changes.

    Args:
        model: A ``CLIPModel`` of the bundled shape with a trained vision tower.
        tokenizer: Its tokenizer.
        bank: The views.
        phrases: For each defect the phrases that name it.
        recipe: The recipe.
        report: Called after each step with its number, from 1, and its losses.
    """
    if recipe.steps == 0:
        return
    chance = np.random.default_rng([recipe.seed, 3])
    rows = np.sort(chance.choice(len(bank.pairs), min(recipe.pairs, len(bank.pairs)), replace=False))
    views, states = _embed(model, bank, rows)
    new = new_model(tokenizer, recipe.seed)
    model.text_model.load_state_dict(new.text_model.state_dict())
    model.text_projection.load_state_dict(new.text_projection.state_dict())
    with torch.no_grad():
        model.logit_scale.fill_(_FIRST_SCALE)
    state_scale = nn.Parameter(torch.tensor(_FIRST_SCALE))
    learning = [*model.text_model.parameters(), *model.text_projection.parameters(), model.logit_scale, state_scale]
    optimizer = torch.optim.AdamW(learning, betas=(0.9, 0.98), weight_decay=recipe.weight_decay)
    model.train()
    for step in range(recipe.steps):
        drawn = chance.choice(len(rows), min(recipe.pairs_per_step, len(rows)), replace=False)
        scene = [(bank.nouns[row], bank.defects[row]) for row in rows[drawn]]
        captions = [caption for shown in scene for caption in caption_pair(chance, *shown, phrases, recipe.rare)]
        ids = tokenizer([caption.text for caption in captions], padding=True, return_tensors="pt")
        text = F.normalize(model.get_text_features(**ids).pooler_output, dim=-1)
        scales = model.logit_scale.exp(), state_scale.exp().clamp(max=50.0)
        losses = caption_losses(views[drawn].flatten(0, 1), states[drawn].flatten(), scene, text, captions, scales)
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate(step)
        optimizer.zero_grad(set_to_none=True)
        torch.stack(list(losses.values())).sum().backward()
        nn.utils.clip_grad_norm_(learning, 1.0)
        optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(max=math.log(100))
        if report:
            report(step + 1, {name: float(value.detach()) for name, value in losses.items()})


def _embed(model: Any, bank: ViewBank, rows: np.ndarray[Any, np.dtype[np.int64]]) -> tuple[Tensor, Tensor]:
    """Whole pairs in the joint space, [n, 2, e], and their states [n, 2]."""
    model.eval()
    views, states = [], []
    with torch.no_grad():
        for first in range(0, len(rows), _BATCH):
            pictures, counts = bank.take(bank.pairs[rows[first : first + _BATCH]].ravel())
            seen = run_to_class_token(model, first_tokens(model, normalise(pictures)))
            views.append(project(model, seen))
            states.append(view_states(counts, IMAGE_SIZE // PATCH_SIZE).flatten())
    return torch.cat(views).unflatten(0, (-1, 2)), torch.cat(states).unflatten(0, (-1, 2))
