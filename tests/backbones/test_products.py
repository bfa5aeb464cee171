"""oneDNN's products against torch's own, on whatever processor the tests run."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from vlmad_core.backbones import products
from vlmad_core.backbones.arithmetic import count_flops
from vlmad_core.backbones.model import QuickLinear
from vlmad_core.backbones.products import linear

needs_onednn = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch has no oneDNN")


@pytest.fixture(params=[pytest.param(True, marks=needs_onednn), False], ids=["oneDNN", "torch"])
def library(request, monkeypatch):
    """Both ways to multiply."""
    monkeypatch.setattr(products, "onednn_is_quicker", lambda: request.param)
    return request.param


@pytest.fixture
def operands():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(3, 5, 64, generator=generator), torch.randn(7, 32, generator=generator), torch.randn(7)


def test_products_are_those_of_torch(library, operands):
    rows, weight, bias = operands
    for left in (rows[..., :32], rows[:, :1, 32:], rows[0, 0, :32], rows[:0, :, :32]):
        for right in (weight, weight.T.contiguous().T):
            torch.testing.assert_close(linear(left, right, bias), F.linear(left, right, bias), atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(linear(left, right), F.linear(left, right), atol=1e-5, rtol=1e-5)


def test_what_is_learned_keeps_its_gradient(library, operands):
    rows = operands[0]
    layer = QuickLinear(64, 7)
    layer(rows).sum().backward()
    torch.testing.assert_close(layer.weight.grad, rows.sum(dim=(0, 1)).expand(7, 64))


def test_other_precisions_are_left_to_torch(library, operands):
    rows, weight, _ = operands
    half = linear(rows[..., :32].bfloat16(), weight.bfloat16())
    assert torch.equal(half, F.linear(rows[..., :32].bfloat16(), weight.bfloat16()))
    with torch.autocast("cpu", torch.bfloat16):
        assert linear(rows[..., :32], weight).dtype == torch.bfloat16


def test_operations_are_counted_alike(library, operands):
    rows, weight, bias = operands
    assert count_flops(lambda: linear(rows[..., :32], weight, bias)) == 2 * 15 * 32 * 7


@pytest.mark.parametrize(
    ("capability", "maker", "chosen"),
    [("AVX512", "AuthenticAMD", True), ("AVX512", "GenuineIntel", False), ("AVX2", "AuthenticAMD", False)],
)
@needs_onednn
def test_the_processor_decides(monkeypatch, capability, maker, chosen):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(products, "_processor_maker", lambda: maker)
    assert products.onednn_is_quicker.__wrapped__() is chosen
