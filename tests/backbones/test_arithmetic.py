from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from vlmad_core.backbones import FeatureRequest, arithmetic
from vlmad_core.backbones.arithmetic import choose_precision, count_flops, product_gain, product_speed, products_in


def tower_flops(tokens: int, depth: int, width: int, hidden: int) -> int:
    """Of the blocks of a transformer: four projections, two attention products, two layers of the perceptron."""
    return 2 * depth * (4 * tokens * width**2 + 2 * tokens**2 * width + 2 * tokens * width * hidden)


def test_attention_counts():
    query = torch.randn(1, 2, 7, 16)
    assert count_flops(lambda: F.scaled_dot_product_attention(query, query, query)) == 2 * 2 * 2 * 7 * 7 * 16


def test_a_pass_counts_what_the_architecture_says(backbone):
    info = backbone.info
    pixels = torch.zeros(1, 3, 32, 32)
    patches = info.grid[0] * info.grid[1]
    embedding = 2 * patches * 3 * info.patch_size**2 * info.width
    projection = 2 * info.width * info.embed_dim
    whole = count_flops(lambda: backbone.encode_images(pixels, FeatureRequest(image_embedding=True)))
    assert whole == embedding + tower_flops(1 + patches, info.depth, info.width, 64) + projection
    windows = count_flops(lambda: backbone.encode_images(pixels, FeatureRequest(windows=frozenset({2}))))
    count, d = (info.grid[0] - 1) ** 2, info.width
    # The first block's three products are made once for all windows; in the last block four of a window's five tokens
    # have no query, no row of attention, and no way through the linear layers behind it.
    first = 2 * 3 * d * d * ((1 + patches) - 5 * count)
    last = 4 * count * (2 * d * d + 2 * 2 * 5 * d + 2 * d * d + 2 * 2 * d * 64)
    assert windows == embedding + count * (tower_flops(5, info.depth, d, 64) + projection) + first - last


def test_the_count_leaves_attention_as_it_was(backbone):
    pixels, request = torch.ones(1, 3, 32, 32), FeatureRequest(image_embedding=True)
    before = backbone.encode_images(pixels, request).image_embedding
    count_flops(lambda: backbone.encode_images(pixels, request))
    assert torch.equal(before, backbone.encode_images(pixels, request).image_embedding)


def test_the_speed_of_products_is_positive_and_measured_once():
    first = product_speed("float32", side=64, seconds=0.0)
    assert first == product_speed("float32", side=64, seconds=0.0) > 0


def test_products_are_timed_where_they_are_asked_for_with_matrices_of_that_devices_size(monkeypatch):
    asked: list[tuple[str, int, str]] = []

    def timed(precision, side, seconds, device, threads):
        asked.append((precision, side, device.type))
        return {"float32": 10.0, "float16": 25.0}[precision]

    monkeypatch.setattr(arithmetic, "_product_speed", timed)
    assert product_gain("float16", device=torch.device("cuda")) == 2.5
    product_speed("float32")
    assert asked == [("float16", 4096, "cuda"), ("float32", 4096, "cuda"), ("float32", 512, "cpu")]


@pytest.mark.parametrize(
    ("gflops", "chosen"),
    [((70, 0.5), "float32"), ((70, 70), "float32"), ((70, 74), "bfloat16"), ((90, 400), "bfloat16")],
)
def test_the_quicker_precision_is_chosen_unless_one_is_asked_for(monkeypatch, gflops, chosen):
    measured = dict(zip(("float32", "bfloat16"), gflops, strict=True))
    monkeypatch.setattr(arithmetic, "product_speed", lambda precision, **_: measured[precision])
    assert choose_precision() == choose_precision("auto") == chosen
    assert choose_precision("float32") == "float32"
    assert choose_precision("bfloat16") == "bfloat16"


def test_products_are_computed_in_the_precision():
    square = torch.rand(4, 4, generator=torch.Generator().manual_seed(0))
    with products_in("bfloat16"):
        half = square @ square
    with products_in("float32"):
        whole = square @ square
    assert (half.dtype, whole.dtype) == (torch.bfloat16, torch.float32)
    assert torch.equal(whole, square @ square)
    torch.testing.assert_close(half.float(), whole, rtol=0.02, atol=0)
