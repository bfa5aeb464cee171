"""Small folders and files for the tests of data sets."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

WriteImage = Callable[..., Path]


@pytest.fixture
def write_image() -> WriteImage:
    """Writes a small image whose pixels depend on its path, so that no two are alike."""

    def write(path: Path, size: tuple[int, int] = (24, 16), mode: str = "RGB") -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        seed = np.frombuffer(str(path).encode(), dtype=np.uint8)
        shape = (size[1], size[0], 3) if mode == "RGB" else (size[1], size[0])
        pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
        Image.fromarray(pixels).save(path)
        return path

    return write


@pytest.fixture
def write_mask() -> WriteImage:
    """Writes a mask with a marked block of 4 x 4 pixels (or none) in the upper left corner."""

    def write(path: Path, size: tuple[int, int] = (24, 16), value: int = 255, mode: str = "L") -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.zeros((size[1], size[0]), dtype=np.uint8)
        pixels[:4, :4] = value
        image = Image.fromarray(pixels)
        if mode == "P":
            image = Image.fromarray((pixels > 0).astype(np.uint8))
            image.putpalette([0, 0, 0, 200, 30, 30])
        else:
            image = image.convert(mode)
        image.save(path)
        return path

    return write


@pytest.fixture
def mvtec_tree(tmp_path: Path, write_image: WriteImage, write_mask: WriteImage) -> Path:
    """A data set of two categories in MVTec AD's layout, without a fault."""
    root = tmp_path / "factory"
    for category in ("gear", "cog_wheel"):
        for number in range(4):
            write_image(root / category / "train" / "good" / f"{number:03}.png")
        for number in range(2):
            write_image(root / category / "test" / "good" / f"{number:03}.png")
        for defect in ("dent", "scratch"):
            for number in range(2):
                write_image(root / category / "test" / defect / f"{number:03}.png")
                write_mask(root / category / "ground_truth" / defect / f"{number:03}_mask.png")
    return root


@pytest.fixture
def data_dir() -> Path:
    """The folder of real data sets, or a skip."""
    value = os.environ.get("VLMAD_DATA_DIR")
    if not value or not Path(value).is_dir():
        pytest.skip("VLMAD_DATA_DIR names no folder of real data sets")
    return Path(value)
