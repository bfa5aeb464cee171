"""What the training minimises: distance from an ImageNet teacher, and views that don't fit their captions.

Distillation has two terms. A head (LayerNorm, linear) on the tokens after a block must give the teacher's tokens,
channel by channel; and the tokens themselves, without a head, must be as similar to one another as the teacher's are,
because a patch memory compares them as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vlmad_core.backbones.arithmetic import products_in
from vlmad_core.backbones.info import Precision
from vlmad_core.factory.clip.captions import Caption

TAPS: Mapping[int, tuple[int, ...]] = {2: (4,), 3: (4, 8), 5: (8, 10), 6: (10,)}
"""Block of the tower, counted from 1 -> blocks of the teacher. 2, 3, 5 and 6 end the quarters of a tower of 6
blocks: what methods read of it."""
_TOKENS = 96
"""Tokens of each image whose likeness is compared."""


class DistillationHeads(nn.Module):
    """Maps from the tower's tokens to the teacher's; thrown away after training.

    Args:
        width: Of the tower.
        channels: Block of the teacher -> its channels, in the order in which targets hold them.
        sample: [n, P, C] targets of some views, for mean and spread of each channel.
    """

    mean: Tensor
    spread: Tensor

    def __init__(self, width: int, channels: Mapping[int, int], sample: Tensor) -> None:
        super().__init__()
        self.blocks = tuple(channels)
        self.widths = tuple(channels.values())
        self.heads = nn.ModuleDict(
            {
                str(tap): nn.Sequential(nn.LayerNorm(width), nn.Linear(width, sum(channels[b] for b in blocks)))
                for tap, blocks in TAPS.items()
            }
        )
        rows = sample.flatten(0, 1)
        self.register_buffer("mean", rows.mean(dim=0))
        self.register_buffer("spread", rows.std(dim=0) + 1e-4)

    def losses(
        self, taps: Mapping[int, Tensor], targets: Tensor, generator: torch.Generator, precision: Precision
    ) -> dict[str, Tensor]:
        """Both terms, each the share of the targets' variance that is not explained, mean over taps.

        Args:
            taps: Block of the tower -> [B, 1 + P, d] tokens, class token first. B is even.
            targets: [B, P, C] the teacher's tokens of the same views.
            generator: Draws the tokens whose likeness is compared.
            precision: Of the heads' matrix products.
        """
        scaled = dict(zip(self.blocks, ((targets - self.mean) / self.spread).split(self.widths, dim=-1), strict=True))
        plain = dict(zip(self.blocks, targets.split(self.widths, dim=-1), strict=True))
        drawn = torch.randint(targets.shape[1], (_TOKENS,), generator=generator)
        features, likeness = [], []
        for tap, blocks in TAPS.items():
            patches = taps[tap][:, 1:]
            with products_in(precision):
                predicted = self.heads[str(tap)](patches)
            features.append(F.mse_loss(predicted.float(), torch.cat([scaled[b] for b in blocks], dim=-1)))
            likeness.append(likeness_loss(patches[:, drawn], [plain[b][:, drawn] for b in blocks]))
        return {"features": torch.stack(features).mean(), "likeness": torch.stack(likeness).mean()}


def likeness_loss(tokens: Tensor, targets: Sequence[Tensor]) -> Tensor:
    """How far the cosines between tokens are from the teacher's, over all pairs within two images.

    Args:
        tokens: [B, n, d], of any length; B even: images 2i and 2i + 1 are compared with each other.
        targets: For each of the teacher's blocks [B, n, C]; their cosines are averaged, as a memory's distances are.

    Returns:
        Mean squared error divided by the variance of the teacher's cosines.
    """

    def cosines(values: Tensor) -> Tensor:
        unit = F.normalize(values.reshape(len(values) // 2, -1, values.shape[-1]), dim=-1)
        return unit @ unit.transpose(1, 2)

    wanted = torch.stack([cosines(values) for values in targets]).mean(dim=0)
    return F.mse_loss(cosines(tokens), wanted) / (wanted.var() + 1e-4)


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
