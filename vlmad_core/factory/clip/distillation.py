"""Teaching the vision tower what an ImageNet teacher sees at each patch.

Two terms. A head (LayerNorm, linear) on the tokens after a block must give the teacher's tokens, channel by channel;
and the tokens themselves, without a head, must be as similar to one another as the teacher's are, because a patch
memory compares them as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vlmad_core.backbones.arithmetic import products_in
from vlmad_core.backbones.info import Precision

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
