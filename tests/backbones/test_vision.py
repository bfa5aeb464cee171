"""The one pass against transformers' own forward, full-length masking, and hooks."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from vlmad_core.backbones import FeatureRequest, load_backbone
from vlmad_core.backbones.vision import resample_positions
from vlmad_core.errors import BackboneError

ALL = FeatureRequest(
    image_embedding=True,
    class_projection=True,
    patch_tokens=True,
    patch_embeddings=True,
    stages=frozenset({1, 2}),
    windows=frozenset({1, 2, 3}),
    value_paths=frozenset({(1, 2), (2, 1), (2, 2)}),
)


def test_agrees_with_transformers(backbone, pixels, transformers_twin):
    features = backbone.encode_images(pixels, ALL)
    model = transformers_twin(backbone.model)
    with torch.no_grad():
        out = model.vision_model(pixel_values=pixels, output_hidden_states=True)
        image = model.get_image_features(pixel_values=pixels).pooler_output
        last = out.hidden_states[-1]
        normed = model.vision_model.post_layernorm(last[:, 1:])
    torch.testing.assert_close(features.image_embedding, image)
    for block in (1, 2):
        torch.testing.assert_close(features.stages[block], out.hidden_states[block])
    torch.testing.assert_close(features.patch_tokens, normed)
    torch.testing.assert_close(features.patch_embeddings, model.visual_projection(normed))
    torch.testing.assert_close(features.class_projection, model.visual_projection(last[:, 0]))
    assert all(tensor.dtype == torch.float32 for tensor in features.tensors().values())


def test_value_path_is_the_literal_side_path(backbone, pixels):
    """x_l = x_{l-1} + out_proj(softmax(V V^T / sqrt(d_h)) V), V of the original path; never fed back."""
    model = backbone.model
    vision = model.vision_model
    with torch.no_grad():
        hidden = vision.pre_layrnorm(vision.embeddings(pixels))
        side, heads = None, 2
        for number, layer in enumerate(vision.encoder.layers, start=1):
            if number >= 2:
                side = hidden if side is None else side
                values = layer.self_attn.v_proj(layer.layer_norm1(hidden))
                per_head = values.reshape(3, 17, heads, -1).permute(0, 2, 1, 3)
                weights = (per_head @ per_head.transpose(-1, -2) / per_head.shape[-1] ** 0.5).softmax(dim=-1)
                mixed = (weights @ per_head).permute(0, 2, 1, 3).reshape(3, 17, -1)
                side = side + layer.self_attn.out_proj(mixed)
            hidden = layer(hidden, attention_mask=None)
            if number == 1:
                before = model.visual_projection(vision.post_layernorm(hidden))
        expected = model.visual_projection(vision.post_layernorm(side))
    features = backbone.encode_images(pixels, ALL)
    torch.testing.assert_close(features.value_paths[2, 2], expected, atol=1e-5, rtol=1e-4)
    # Before the path starts, the original path is read.
    torch.testing.assert_close(features.value_paths[2, 1], before, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(features.value_paths[1, 2], features.value_paths[2, 2])


def test_one_request_or_many(backbone, pixels):
    """The union gives what the parts give."""
    together = backbone.encode_images(pixels, ALL)
    for part in (
        FeatureRequest(image_embedding=True),
        FeatureRequest(windows=frozenset({2})),
        FeatureRequest(stages=frozenset({1})),
        FeatureRequest(value_paths=frozenset({(1, 2)})),
    ):
        for name, tensor in backbone.encode_images(pixels, part).tensors().items():
            torch.testing.assert_close(tensor, together.tensors()[name])


def test_only_what_is_asked_for_is_returned(backbone, pixels):
    features = backbone.encode_images(pixels, FeatureRequest(windows=frozenset({2})))
    assert list(features.tensors()) == ["windows.2"]
    assert len(features) == 3
    assert features.grid == (4, 4)


def test_batch_of_one_equals_batch_of_three(backbone, pixels):
    whole = backbone.encode_images(pixels, ALL).tensors()
    for i in range(3):
        for name, tensor in backbone.encode_images(pixels[i : i + 1], ALL).tensors().items():
            torch.testing.assert_close(tensor, whole[name][i : i + 1], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (FeatureRequest(stages=frozenset({3})), "Block 3 was asked for.*1 to 2"),
        (FeatureRequest(value_paths=frozenset({(0, 2)})), "Block 0"),
        (FeatureRequest(windows=frozenset({5})), "between 1 and 4"),
    ],
)
def test_what_the_tower_does_not_have(backbone, pixels, request_, message):
    with pytest.raises(BackboneError, match=message):
        backbone.encode_images(pixels, request_)


def test_wrong_size_is_named(backbone):
    with pytest.raises(BackboneError, match="32 x 32 pixels"):
        backbone.encode_images(torch.zeros(1, 3, 40, 40), ALL)


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
