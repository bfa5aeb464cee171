from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from vlmad_core.backbones import load_backbone
from vlmad_core.backbones.positions import resample_positions
from vlmad_core.errors import BackboneError

TABLE = torch.randn(1 + 16, 5, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("rule", "options"),
    [
        ("bicubic_antialias", {"mode": "bicubic", "antialias": True}),
        ("bicubic", {"mode": "bicubic", "antialias": False}),
        ("bilinear", {"mode": "bilinear", "antialias": False}),
    ],
)
def test_rules_are_the_named_interpolations(rule, options):
    found = resample_positions(TABLE, (7, 6), rule)
    image = TABLE[1:].T.reshape(1, 5, 4, 4)
    expected = F.interpolate(image, (7, 6), align_corners=False, **options).reshape(5, 42).T
    assert torch.equal(found[0], TABLE[0])
    torch.testing.assert_close(found[1:], expected)


def test_rules_differ():
    found = [resample_positions(TABLE, (7, 7), rule) for rule in ("bicubic_antialias", "bicubic", "bilinear")]
    for i, first in enumerate(found):
        for second in found[i + 1 :]:
            assert (first - second).norm() / first.norm() > 0.02


def test_own_grid_is_left_alone():
    assert torch.equal(resample_positions(TABLE, (4, 4), "native"), TABLE)
    with pytest.raises(BackboneError, match="Choose a position rule"):
        resample_positions(TABLE, (5, 5), "native")


def test_a_backbone_at_another_size(tiny_clip):
    large = load_backbone(str(tiny_clip), image_size=48, position_rule="bilinear")
    native = load_backbone(str(tiny_clip))
    assert (large.info.grid, large.info.native_image_size, large.info.position_rule) == ((6, 6), 32, "bilinear")
    assert native.info.position_rule == "native"
    assert large.info.weights_hash == native.info.weights_hash
    table = large.model.vision_model.embeddings.position_embedding.weight
    own = native.model.vision_model.embeddings.position_embedding.weight
    torch.testing.assert_close(table, resample_positions(own, (6, 6), "bilinear"))
    assert large.preprocess.image_size == 48


@pytest.mark.parametrize("size", [4, 30])
def test_sizes_that_do_not_divide_into_patches(tiny_clip, size):
    with pytest.raises(BackboneError, match="multiple of 8"):
        load_backbone(str(tiny_clip), image_size=size)
