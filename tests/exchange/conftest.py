"""Fixtures for imports and exports: a small data set in MVTec layout, and maps of its test images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SIDE = 48


@pytest.fixture(scope="session")
def small_dataset() -> Callable[..., Path]:
    """A function that writes a small data set in MVTec layout and returns its folder."""
    return write_small_dataset


@pytest.fixture(scope="session")
def small_maps() -> Callable[..., Path]:
    """A function that writes a map for each test image of such a data set, and returns their folder."""
    return write_small_maps


def write_small_dataset(
    root: Path,
    *,
    categories: tuple[str, ...] = ("bolt", "felt"),
    count: int = 5,
    size: tuple[int, int] = (SIDE, SIDE),
) -> Path:
    """Each category has one training image, ``count`` normal and ``count`` defective test images with masks.

    Args:
        root: Where to.
        categories: Their names.
        count: Images of each label.
        size: (width, height).
    """
    width, height = size
    rng = np.random.default_rng(7)
    for category in categories:
        for split, kind, number in (("train", "good", 1), ("test", "good", count), ("test", "scratch", count)):
            for index in range(number):
                pixels = rng.integers(90, 160, (height, width, 3), dtype=np.uint8)
                path = root / category / split / kind / f"{index:03d}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(path)
                if kind != "good":
                    mask = root / category / "ground_truth" / kind / f"{index:03d}_mask.png"
                    mask.parent.mkdir(parents=True, exist_ok=True)
                    Image.fromarray(defect(index, size).astype(np.uint8) * 255).save(mask)
    return root


def defect(index: int, size: tuple[int, int]) -> np.ndarray:
    """Where the defect of an image lies, boolean [height, width]."""
    width, height = size
    mask = np.zeros((height, width), dtype=bool)
    left = 4 + 5 * index
    mask[10:22, left : left + 9] = True
    return mask


def write_small_maps(
    folder: Path, dataset: Path, *, side: int | tuple[int, int] = 12, kind: str = "npy", seed: int = 3
) -> Path:
    """Maps that find most of the defects, in the layout of MVTec's evaluation script.

    Args:
        folder: Where to.
        dataset: As ``write_small_dataset`` made it.
        side: Side of the maps, or (width, height).
        kind: ``npy``, ``tiff`` or ``png`` (16 bit).
        seed: Of the noise.
    """
    width, height = (side, side) if isinstance(side, int) else side
    rng = np.random.default_rng(seed)
    for path in sorted(dataset.glob("*/test/*/*.png")):
        one = rng.normal(0.3, 0.12, (height, width)).astype(np.float32)
        if path.parent.name != "good":
            with Image.open(path) as image:
                where = Image.fromarray(defect(int(path.stem), image.size).astype(np.uint8) * 255)
            one += np.asarray(where.resize((width, height), Image.Resampling.BILINEAR), np.float32) / 255 * 0.4
        target = folder / path.relative_to(dataset).with_suffix(f".{kind}")
        target.parent.mkdir(parents=True, exist_ok=True)
        if kind == "npy":
            np.save(target, one)
        elif kind == "tiff":
            Image.fromarray(one, "F").save(target)
        else:
            Image.fromarray((np.clip(one, 0, 1) * 65535).astype(np.uint16)).save(target)
    return folder
