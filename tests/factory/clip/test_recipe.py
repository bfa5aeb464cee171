from __future__ import annotations

import pytest
import torch

from vlmad_core.factory.clip.recipe import Muon, Recipe, orthogonal


def test_the_rate_falls_to_zero_twice() -> None:
    recipe = Recipe(10, 10, 10, learning_rate=1.0, decay_share=0.5, refine_rate=0.6, warmup=2)
    rates = [recipe.rate(step) for step in range(recipe.steps + 1)]
    assert rates[:11] == [1.0] * 11
    assert rates[19] == pytest.approx(0.1)
    assert rates[20:22] == pytest.approx([0.3, 0.54])
    assert rates[21:] == sorted(rates[21:], reverse=True)
    assert rates[30] == 0


def matrices() -> list[torch.nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in ((12, 20), (20, 12), (8, 8))]


def train(parameters: list[torch.nn.Parameter], optimizer: torch.optim.Optimizer, steps: int) -> list[torch.Tensor]:
    for step in range(steps):
        for number, parameter in enumerate(parameters):
            parameter.grad = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(10 * step + number))
        optimizer.step()
    return [parameter.detach().clone() for parameter in parameters]


@pytest.mark.parametrize(("precision", "tolerance"), [("bfloat16", 1e-6), ("float32", 5e-4)])
def test_steps_are_those_of_pytorchs_muon(precision: str, tolerance: float) -> None:
    theirs, ours = matrices(), matrices()
    reference = torch.optim.Muon(theirs, lr=0.01, weight_decay=0.05, adjust_lr_fn="match_rms_adamw")
    expected = train(theirs, reference, 4)
    found = train(ours, Muon([{"params": ours}], 0.01, 0.05, precision), 4)
    for one, two, start in zip(found, expected, matrices(), strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=tolerance)
        assert float((one - start.detach()).abs().max()) > 20 * tolerance


def test_updates_are_nearly_orthogonal_in_float32() -> None:
    for matrix in matrices():
        found = orthogonal(matrix.detach())
        assert found.dtype == torch.float32
        values = torch.linalg.svdvals(found)
        assert 0.6 < float(values.min()) <= float(values.max()) < 1.3
    assert not orthogonal(torch.zeros(3, 5)).any()


def test_state_is_saved_with_its_precision_and_a_parameter_without_gradient_stays() -> None:
    whole, first, second = matrices(), matrices(), matrices()
    expected = train(whole, Muon([{"params": whole}], 0.01, 0.0, "bfloat16"), 3)
    begun = Muon([{"params": first}], 0.01, 0.0, "bfloat16")
    values = train(first, begun, 2)
    goes_on = Muon([{"params": second}], 0.5, 0.1, "float32")
    goes_on.load_state_dict(begun.state_dict())
    with torch.no_grad():
        for parameter, value in zip(second, values, strict=True):
            parameter.copy_(value)
    for number, parameter in enumerate(second[:2]):
        parameter.grad = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(20 + number))
    goes_on.step()
    assert torch.equal(second[0], expected[0])
    assert torch.equal(second[1], expected[1])
    assert torch.equal(second[2], values[2])
