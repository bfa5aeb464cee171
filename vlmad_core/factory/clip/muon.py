"""Muon (Jordan et al., 2024): momentum whose update is made nearly orthogonal, for the matrices of the blocks.

PyTorch's own always computes in bfloat16, which takes a hundred times as long where the hardware has none.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
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
