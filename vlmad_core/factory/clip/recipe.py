"""Everything a training of the bundled CLIP depends on beside its views, and the optimiser of its blocks.

Muon (Jordan et al., 2024) makes the update of a matrix nearly orthogonal. PyTorch's own always computes in bfloat16,
which takes a hundred times as long where the hardware has none.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vlmad_core.backbones.info import Precision

MOMENTUM = 0.95
ITERATIONS = 5
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the odd polynomial of degree 5 that each iteration applies to the singular values (Jordan et al.)."""
ADAMW_SCALE = 0.2
"""Gives updates the root mean square that AdamW's have, so that both share one rate (Liu et al., 2025)."""


@dataclass(frozen=True)
class Recipe:
    """Everything a training depends on beside the views.

    Attributes:
        distil_steps: Optimiser steps that distil only, on generic pictures.
        caption_steps: Steps after these, with captions and rendered pictures.
        refine_steps: Steps after these, from a fresh but lower rate, on pairs not seen before as well, most of them
            inventions that are described only. Captions then say "normal" and "anomalous" as rarely as people do,
            and the last block is no longer asked for patches that tell normal from abnormal.
        first_pairs: Pairs that the steps before refinement draw from.
        views_per_step: Views in a step that distils only.
        pairs_per_step: Pairs with captions in a later step; twice as many views.
        described_per_step: How many of these are described only in a step of refinement; the teacher's are the rest.
        free_per_step: Views without captions beside them.
        learning_rate: Of all parameters, until it falls; Muon's is scaled to AdamW's.
        decay_share: Share of the steps before refinement, the last, over which the rate falls linearly to zero.
        refine_rate: Factor on the rate at the start of refinement; it falls linearly to zero.
        weight_decay: Of AdamW.
        warmup: Steps of linear warm-up, at the start and once more for the text when captions begin.
        anchor_weight: Weight of distillation once captions are there.
        likeness_weight: Weight of the likeness of tokens within distillation.
        window_weight: Weight of the windows' states.
        refine_window_weight: The same in refinement.
        pair_weight: Weight of telling the two views of a pair from each other.
        dense_weight: Weight of the patch loss through heads that are thrown away.
        precision: Of the vision tower's blocks, the distillation heads and Muon; losses are always in float32.
        seed: Of initialisation, batches and captions.
    """

    distil_steps: int = 1000
    caption_steps: int = 1000
    refine_steps: int = 2100
    first_pairs: int = 5_120
    views_per_step: int = 16
    pairs_per_step: int = 11
    described_per_step: int = 7
    free_per_step: int = 4
    learning_rate: float = 3e-3
    decay_share: float = 0.5
    refine_rate: float = 0.6
    weight_decay: float = 0.05
    warmup: int = 100
    anchor_weight: float = 1.0
    likeness_weight: float = 1.0
    window_weight: float = 1.0
    refine_window_weight: float = 1.5
    pair_weight: float = 0.5
    dense_weight: float = 0.5
    precision: Precision = "float32"
    seed: int = 0

    @property
    def steps(self) -> int:
        """All steps."""
        return self.refine_from + self.refine_steps

    @property
    def refine_from(self) -> int:
        """The first step of refinement."""
        return self.distil_steps + self.caption_steps

    def rate(self, step: int) -> float:
        """Learning rate at a step."""
        if step < self.refine_from:
            return self.learning_rate * min(1.0, (1 - step / self.refine_from) / self.decay_share)
        warm = min(1.0, (step + 1 - self.refine_from) / self.warmup)
        return self.learning_rate * self.refine_rate * warm * (self.steps - step) / self.refine_steps


class Muon(torch.optim.Optimizer):
    """Muon with Nesterov momentum and decoupled weight decay.

    Args:
        groups: Parameter groups, all of matrices.
        lr: Learning rate.
        weight_decay: Of the parameters, times the rate.
        precision: Of the products that make updates orthogonal; saved and restored with the state.
    """

    def __init__(self, groups: Iterable[dict[str, Any]], lr: float, weight_decay: float, precision: Precision) -> None:
        super().__init__(groups, {"lr": lr, "weight_decay": weight_decay, "precision": precision})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # nothing is evaluated again
        """Change each parameter that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                momentum = self.state[parameter].setdefault("momentum", torch.zeros_like(parameter))
                momentum.lerp_(parameter.grad, 1 - MOMENTUM)
                update = parameter.grad.lerp(momentum, MOMENTUM).to(getattr(torch, group["precision"]))
                scale = ADAMW_SCALE * math.sqrt(max(parameter.shape))
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.add_(orthogonal(update), alpha=-group["lr"] * scale)


def orthogonal(matrix: Tensor) -> Tensor:
    """The matrix with its singular values brought near 1 by a Newton-Schulz iteration, in its own precision.

    Args:
        matrix: [n, m]; one that is all zeros stays so.

    Returns:
        [n, m] of singular values between about 0.7 and 1.2, but for those that were next to nothing.
    """
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    wide = wide / wide.norm().clamp_min(1e-7)
    first, third, fifth = COEFFICIENTS
    for _ in range(ITERATIONS):
        square = wide @ wide.T
        mixed = torch.addmm(square, square, square, beta=third, alpha=fifth)
        wide = torch.addmm(wide, mixed, wide, beta=first)
    return wide if matrix.shape[0] <= matrix.shape[1] else wide.T
