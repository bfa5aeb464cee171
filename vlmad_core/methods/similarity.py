"""Scores from the similarity of an embedding to two text prototypes.

All methods here have exactly two classes, so every softmax is a logistic function of one difference: exact,
and safe from saturation in rankings, which go by the logit.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from vlmad_core.errors import MethodError
from vlmad_core.methods.base import Reason
from vlmad_core.prompts.prototypes import TextClasses


def two_class_logits(embeddings: Tensor, prototypes: Tensor, temperature: float) -> Tensor:
    """How much nearer embeddings are to the abnormal than to the normal prototype.

    Args:
        embeddings: [..., e], of any length.
        prototypes: [2, e] unit vectors: normal, abnormal.
        temperature: Divides the difference of the cosines, > 0.

    Returns:
        [...], (cos to abnormal - cos to normal) / temperature; its logistic is the softmax probability.
    """
    return F.normalize(embeddings, dim=-1) @ (prototypes[1] - prototypes[0]) / temperature


def check_temperature(method: str, temperature: float) -> None:
    """Raise ``MethodError`` unless the temperature is positive."""
    if not temperature > 0:
        raise MethodError(
            f"The setting 'temperature' of {method} is {temperature}.", "Give a positive number, e.g. 0.07."
        )


def nearest_prompts(embeddings: Tensor, text: TextClasses, count: int = 3) -> tuple[tuple[Reason, ...], ...]:
    """For each image the most similar prompts of either class.

    Args:
        embeddings: [N, e] image embeddings.
        text: Prompts and their embeddings.
        count: How many of each class.

    Returns:
        For each image up to ``count`` reasons of either class, most similar first.
    """
    similarities = F.normalize(embeddings, dim=-1) @ text.embeddings.T
    members = {
        side: torch.tensor([i for i, name in enumerate(text.classes) if name == side])
        for side in ("abnormal", "normal")
    }
    reasons = []
    for row in similarities:
        best: list[Reason] = []
        for side, indices in members.items():
            top = row[indices].topk(min(count, len(indices)))
            best += [
                Reason("prompt", text.prompts[int(indices[i])], float(value), side)
                for value, i in zip(top.values, top.indices, strict=True)
            ]
        reasons.append(tuple(sorted(best, key=lambda reason: -reason.value)))
    return tuple(reasons)
