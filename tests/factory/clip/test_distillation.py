from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from vlmad_core.factory.clip.distillation import TAPS, DistillationHeads, likeness_loss


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_likeness_is_zero_for_any_turn_and_length_of_the_teachers_tokens() -> None:
    targets = random(4, 10, 6)
    turn, _ = torch.linalg.qr(random(6, 6, seed=1))
    assert float(likeness_loss(targets @ turn * 7, [targets])) == pytest.approx(0, abs=1e-8)
    assert float(likeness_loss(random(4, 10, 6, seed=2), [targets])) > 1


def test_likeness_against_counting() -> None:
    tokens, targets = random(2, 3, 4), random(2, 3, 5, seed=1)
    other = random(2, 3, 2, seed=2)

    def cosines(values: torch.Tensor) -> torch.Tensor:
        rows = values.flatten(0, 1)
        return torch.stack([torch.stack([F.cosine_similarity(a, b, dim=0) for b in rows]) for a in rows])

    wanted = (cosines(targets) + cosines(other)) / 2
    expected = ((cosines(tokens) - wanted) ** 2).mean() / (wanted.var() + 1e-4)
    torch.testing.assert_close(likeness_loss(tokens, [targets, other]), expected)


def test_heads_are_asked_for_standardised_channels() -> None:
    channels = {4: 3, 8: 5, 10: 4}
    targets = random(6, 9, 12) * 0.3 + 2
    heads = DistillationHeads(8, channels, targets)
    for head in heads.heads.values():
        torch.nn.init.zeros_(head[1].weight)
        torch.nn.init.zeros_(head[1].bias)
    taps = {tap: random(6, 10, 8, seed=tap) for tap in TAPS}
    losses = heads.losses(taps, targets, torch.Generator().manual_seed(0), "float32")
    # Who always says the mean explains nothing of the variance.
    assert float(losses["features"].detach()) == pytest.approx(1.0, abs=0.02)
    assert float(losses["likeness"].detach()) > 0
