"""The losses against numbers worked out by hand, and against the authors' two-channel form."""

from __future__ import annotations

import math

import pytest
import torch

from vlmad_core.training.objectives import dice_loss, focal_loss

PROBABILITY = torch.tensor([[[0.9, 0.2], [0.4, 0.5]]])
MASK = torch.tensor([[[True, False], [True, False]]])


def test_focal_by_hand():
    # Probability of the true class: .9 (hit), .8, .4 (missed defect), .5; smoothing moves each by about 1e-5.
    expected = sum(-((1 - p) ** 2) * math.log(p) for p in (0.9, 0.8, 0.4, 0.5)) / 4
    assert float(focal_loss(PROBABILITY, MASK)) == pytest.approx(expected, abs=5e-5)


def test_focal_is_the_authors_two_channel_form():
    generator = torch.Generator().manual_seed(0)
    abnormal = torch.rand(3, 5, 4, generator=generator)
    mask = torch.rand(3, 5, 4, generator=generator) > 0.7
    channels = torch.stack([1 - abnormal, abnormal], dim=1)
    one_hot = torch.stack([~mask, mask], dim=1).float().clamp(1e-5, 1 - 1e-5)
    true_class = (one_hot * channels).sum(dim=1) + 1e-5
    expected = (-((1 - true_class) ** 2) * true_class.log()).mean()
    torch.testing.assert_close(focal_loss(abnormal, mask), expected)


def test_dice_by_hand():
    # Overlap .9 + .4, sizes 2.0 and 2: 1 - (2 * 1.3 + 1) / (2.0 + 2 + 1).
    assert float(dice_loss(PROBABILITY, MASK)) == pytest.approx(1 - 3.6 / 5, abs=1e-6)


def test_dice_of_an_empty_mask_is_finite_and_zero_when_right():
    empty = torch.zeros(1, 2, 2, dtype=torch.bool)
    assert float(dice_loss(torch.zeros(1, 2, 2), empty)) == 0.0
    assert float(dice_loss(torch.ones(1, 2, 2), empty)) == pytest.approx(1 - 1 / 5)


def test_a_last_batch_of_one_image_is_one_image():
    """The public code takes that image's rows for images; the mean over images must not change with the batch."""
    generator = torch.Generator().manual_seed(1)
    probability, mask = torch.rand(4, 6, 6, generator=generator), torch.rand(4, 6, 6, generator=generator) > 0.5
    singles = torch.stack([dice_loss(probability[i : i + 1], mask[i : i + 1]) for i in range(4)])
    torch.testing.assert_close(dice_loss(probability, mask), singles.mean())


@pytest.mark.parametrize("loss", [focal_loss, dice_loss])
def test_certain_and_wrong_is_finite_with_a_gradient(loss):
    probability = torch.tensor([[[0.0, 1.0]]], requires_grad=True)
    value = loss(probability, torch.tensor([[[True, False]]]))
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(probability.grad).all()
    assert probability.grad[0, 0, 0] < 0 < probability.grad[0, 0, 1]
