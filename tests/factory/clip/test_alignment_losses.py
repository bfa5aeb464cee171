from __future__ import annotations

import math

import pytest
import torch

from vlmad_core.factory.clip.alignment_losses import caption_losses, multi_positive_nce, pair_loss, state_loss
from vlmad_core.factory.clip.captions import Caption


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
    assert float(nothing) == 0


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
