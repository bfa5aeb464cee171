from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vlmad_core.datasets.masks import read_mask, resize_mask, sample_mask
from vlmad_core.datasets.sample import Sample
from vlmad_core.errors import DatasetError

BLOCK = np.zeros((16, 24), dtype=bool)
BLOCK[:4, :4] = True


@pytest.mark.parametrize(
    ("mode", "value"), [("L", 255), ("L", 1), ("L", 3), ("1", 255), ("P", 255), ("RGB", 255), ("RGBA", 255)]
)
def test_any_mode_and_small_ids(mode: str, value: int, tmp_path: Path, write_mask: Callable[..., Path]) -> None:
    path = write_mask(tmp_path / "mask.png", value=value, mode=mode)
    mask = read_mask(path, (16, 24))
    assert mask.dtype == np.bool_
    assert np.array_equal(mask, BLOCK)


def test_16_bit_ids_are_not_lost_to_the_high_byte(tmp_path: Path) -> None:
    Image.fromarray(BLOCK.astype(np.uint16)).save(tmp_path / "mask.png")
    assert np.array_equal(read_mask(tmp_path / "mask.png"), BLOCK)


def test_one_marked_channel_is_enough(tmp_path: Path) -> None:
    pixels = np.zeros((16, 24, 3), dtype=np.uint8)
    pixels[BLOCK, 2] = 1
    Image.fromarray(pixels).save(tmp_path / "mask.png")
    assert np.array_equal(read_mask(tmp_path / "mask.png"), BLOCK)


def test_transparent_pixels_are_normal(tmp_path: Path) -> None:
    pixels = np.full((16, 24, 4), 255, dtype=np.uint8)
    pixels[..., 3] = BLOCK * 255
    Image.fromarray(pixels).save(tmp_path / "mask.png")
    assert np.array_equal(read_mask(tmp_path / "mask.png"), BLOCK)


def test_other_size_is_an_error_at_that_mask(tmp_path: Path, write_mask: Callable[..., Path]) -> None:
    path = write_mask(tmp_path / "007_mask.png", size=(12, 8))
    with pytest.raises(DatasetError, match=r"007_mask\.png: the mask is 12 x 8 pixels, its image 24 x 16"):
        read_mask(path, (16, 24))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_mask_with_what_is_no_number_is_an_error_at_that_mask(value: float, tmp_path: Path) -> None:
    values = BLOCK.astype(np.float32)
    Image.fromarray(values).save(tmp_path / "mask.tiff")
    assert np.array_equal(read_mask(tmp_path / "mask.tiff"), BLOCK)
    values[7, 7] = value
    Image.fromarray(values).save(tmp_path / "mask.tiff")
    with pytest.raises(DatasetError, match=r"mask\.tiff: a floating-point mask with values that are NaN or infinite"):
        read_mask(tmp_path / "mask.tiff")


def test_resize_is_bilinear_above_one_half() -> None:
    mask = np.zeros((8, 8), dtype=bool)
    mask[:, :4] = True
    doubled = resize_mask(mask, (16, 16))
    expected = np.zeros((16, 16), dtype=bool)
    expected[:, :8] = True
    assert np.array_equal(doubled, expected)
    reference = Image.fromarray(mask.astype(np.uint8) * 255).resize((5, 3), Image.Resampling.BILINEAR)
    assert np.array_equal(resize_mask(mask, (3, 5)), np.asarray(reference) / 255 > 0.5)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.booleans())
def test_resize_keeps_constant_masks(height: int, width: int, value: bool) -> None:
    resized = resize_mask(np.full((13, 9), value), (height, width))
    assert resized.shape == (height, width)
    assert (resized == value).all()


def test_sample_mask_tells_normal_from_unknown(tmp_path: Path, write_mask: Callable[..., Path]) -> None:
    def sample(label: int, mask: Path | None) -> Sample:
        return Sample("a", "d", "c", "test", tmp_path / "a.png", mask, 1 if label else 0, "x" if label else "good")

    normal = sample_mask(sample(0, None), (16, 24))
    assert normal is not None
    assert normal.shape == (16, 24)
    assert not normal.any()
    assert sample_mask(sample(1, None), (16, 24)) is None
    defective = sample_mask(sample(1, write_mask(tmp_path / "m.png")), (16, 24))
    assert defective is not None
    assert np.array_equal(defective, BLOCK)
    Image.new("L", (24, 16)).save(tmp_path / "m.png")
    with pytest.raises(DatasetError, match=r"m\.png: no pixel is marked, though its image is defective"):
        sample_mask(sample(1, tmp_path / "m.png"), (16, 24))
