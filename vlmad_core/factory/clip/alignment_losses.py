"""The losses that align views and captions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from vlmad_core.factory.clip.captions import Caption


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


def pair_loss(views: Tensor, direction: Tensor, states: Tensor, scale: Tensor) -> Tensor:
    """How surely the damaged view of a pair lies further along the direction than the undamaged one.

    The two show the same scene: what else they show cancels, and what is left is whether the defect was noticed.

    Args:
        views: [2 p, e] unit embeddings, undamaged and damaged in turn.
        direction: [e] unit vector.
        states: [2 p] as for ``state_loss``; pairs with a damaged view left out don't count.
        scale: Positive scalar.

    Returns:
        Scalar, mean of the logistic loss.
    """
    along = scale * (views * direction).sum(dim=-1)
    kept = states[1::2] == 1
    return F.softplus(along[0::2] - along[1::2])[kept].sum() / kept.sum().clamp_min(1)


def caption_losses(
    views: Tensor,
    states: Tensor,
    scene: Sequence[tuple[str, str]],
    text: Tensor,
    captions: Sequence[Caption],
    scales: tuple[Tensor, Tensor],
) -> dict[str, Tensor]:
    """Pairs of views against pairs of captions: what is true of what, and which state each view is in.

    Args:
        views: [2 p, e] unit embeddings, undamaged and damaged in turn.
        states: [2 p] as for ``state_loss``.
        scene: For each pair the noun and the defect that it shows.
        text: [2 p, e] unit embeddings of each pair's captions, normal and abnormal in turn.
        captions: The captions.
        scales: Of similarities, and of states.

    Returns:
        ``captions``; ``states``, along the direction of all captions and of the pair's own; ``pairs``.
    """
    kept = states >= 0
    shown = [part for part in scene for _ in range(2)]
    truth = torch.tensor(
        [
            [_is_true(caption, bool(state), *part) for caption in captions]
            for part, state in zip(shown, states.tolist(), strict=True)
        ]
    )
    similarity = scales[0] * views @ text.T
    own = F.normalize(text[1::2] - text[0::2], dim=-1).repeat_interleave(2, dim=0)
    common = state_direction(text)
    return {
        "captions": multi_positive_nce(similarity[kept], truth[kept]),
        "states": 0.5 * state_loss(views, own, states, scales[1]) + 0.5 * state_loss(views, common, states, scales[1]),
        "pairs": pair_loss(views, common, states, scales[1]),
    }


def state_direction(text: Tensor) -> Tensor:
    """Unit vector [e] from the mean of normal to the mean of abnormal captions, given in turn as [2 p, e]."""
    return F.normalize(text[1::2].mean(dim=0) - text[0::2].mean(dim=0), dim=-1)


def _is_true(caption: Caption, abnormal: bool, noun: str, defect: str) -> bool:
    return (
        caption.abnormal == abnormal
        and caption.noun in (None, noun)
        and (caption.defects is None or defect in caption.defects)
    )
