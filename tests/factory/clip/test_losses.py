from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from vlmad_core.factory.clip.captions import Caption
from vlmad_core.factory.clip.losses import (
    TAPS,
    DistillationHeads,
    caption_losses,
    likeness_loss,
    multi_positive_nce,
    pair_loss,
    state_loss,
)


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


def test_with_one_positive_each_it_is_plain_clip() -> None:
    similarity = torch.randn(5, 5, generator=torch.Generator().manual_seed(0))
    target = torch.arange(5)
    expected = 0.5 * (
        torch.nn.functional.cross_entropy(similarity, target) + torch.nn.functional.cross_entropy(similarity.T, target)
    )
    torch.testing.assert_close(multi_positive_nce(similarity, torch.eye(5, dtype=torch.bool)), expected)


def test_all_true_costs_nothing_and_rows_without_truth_do_not_count() -> None:
    similarity = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    assert float(multi_positive_nce(similarity, torch.ones(3, 4, dtype=torch.bool))) == pytest.approx(0, abs=1e-6)
    truth = torch.tensor([[True, False], [False, False]])
    scores = torch.tensor([[2.0, 0.0], [5.0, 1.0]])
    by_view = math.log(1 + math.exp(-2))
    by_caption = math.log(1 + math.exp(3))
    assert float(multi_positive_nce(scores, truth)) == pytest.approx((by_view + by_caption) / 2, abs=1e-5)


def test_state_loss_weighs_both_states_alike_and_leaves_out_the_rest() -> None:
    direction = torch.tensor([1.0, 0.0])
    views = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [-1.0, 0.0], [-1.0, 0.0], [0.6, 0.8]])
    states = torch.tensor([0, 0, 0, 1, -1])
    scale = torch.tensor(2.0)
    wrong, right = math.log(1 + math.exp(2)), math.log(1 + math.exp(-2))
    expected = ((wrong + 2 * right) / 3 + wrong) / 2
    assert float(state_loss(views, direction, states, scale)) == pytest.approx(expected, abs=1e-5)
    nothing = state_loss(views.requires_grad_(), direction, torch.full((5,), -1), scale)
    nothing.backward()
    assert float(nothing.detach()) == 0


def test_pair_loss_asks_which_of_two_views_is_damaged() -> None:
    direction = torch.tensor([1.0, 0.0])
    views = torch.tensor([[0.6, 0.8], [1.0, 0.0], [1.0, 0.0], [0.6, 0.8], [1.0, 0.0], [-1.0, 0.0]])
    scale = torch.tensor(5.0)
    found, missed = math.log(1 + math.exp(-2)), math.log(1 + math.exp(2))
    assert float(pair_loss(views, direction, torch.tensor([0, 1, 0, 1, 0, -1]), scale)) == pytest.approx(
        (found + missed) / 2, abs=1e-5
    )
    assert float(pair_loss(views, direction, torch.tensor([0, -1] * 3), scale)) == 0


def test_caption_losses_know_what_is_true() -> None:
    views = torch.eye(4)
    captions = [
        Caption("a gear", False, "gear", None),
        Caption("a gear with a cut", True, "gear", frozenset({"cut"})),
        Caption("a coin", False, "coin", None),
        Caption("a damaged coin", True, "coin", None),
    ]
    scene, states = [("gear", "cut"), ("coin", "dent")], torch.tensor([0, 1, 0, 1])
    scales = torch.tensor(50.0), torch.tensor(1.0)
    right = caption_losses(views, states, scene, torch.eye(4), captions, scales)
    wrong = caption_losses(views, states, scene, torch.eye(4)[[1, 0, 2, 3]], captions, scales)
    assert float(right["captions"]) < 1e-6
    assert float(wrong["captions"]) > 10
    assert float(right["states"]) < float(wrong["states"])
    assert float(right["pairs"]) < float(wrong["pairs"])
