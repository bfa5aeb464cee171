"""The losses that align views and captions."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def multi_positive_nce(similarity: Tensor, truth: Tensor) -> Tensor:
    """InfoNCE with the exact matrix of what is true, averaged over both directions.

    Args:
        similarity: [V, C] scaled similarities of views and captions.
        truth: [V, C] bool: whether a caption is true of a view.

    Returns:
        Scalar; rows and columns without anything true don't count.
    """

    def one_way(logits: Tensor, positive: Tensor) -> Tensor:
        some = positive.any(dim=1)
        hits = logits.masked_fill(~positive, float("-inf"))[some].logsumexp(dim=1)
        return (logits[some].logsumexp(dim=1) - hits).mean()

    return 0.5 * (one_way(similarity, truth) + one_way(similarity.T, truth.T))


def state_loss(views: Tensor, direction: Tensor, states: Tensor, scale: Tensor) -> Tensor:
    """Cross-entropy of normal against abnormal along a unit direction from normal to abnormal text.

    The direction has unit length on purpose: otherwise both texts drift together until its gradient vanishes.
    Both states weigh the same, however many views each has.

    Args:
        views: [V, e] unit embeddings.
        direction: [e] or [V, e] unit vectors.
        states: [V] 1 abnormal, 0 normal, -1 left out.
        scale: Positive scalar.

    Returns:
        Scalar.
    """
    logits = scale * (views * direction).sum(dim=-1)
    losses = F.binary_cross_entropy_with_logits(logits, states.clamp_min(0).to(logits.dtype), reduction="none")
    parts = [losses[states == state].mean() for state in (0, 1) if bool((states == state).any())]
    return torch.stack(parts).mean() if parts else logits.sum() * 0
