"""A tiny backbone as an engine, made-up pictures of parts, and files of every bad kind."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
import pytest
from PIL import Image

from vlmad_core.datasets.images import pixel_hash
from vlmad_core.inference.engine import Engine, load_engine
from vlmad_core.live.inputs import Picture

MakePart = Callable[..., Image.Image]


@pytest.fixture(scope="session")
def engine(tiny_clip: Path) -> Engine:
    return load_engine(str(tiny_clip))


@pytest.fixture(scope="session")
def part() -> MakePart:
    """A function that makes a picture of a part, by number; with a defect if wanted."""

    def make(number: int, *, defect: bool = False, side: int = 48) -> Image.Image:
        pixels = np.random.default_rng(number).integers(80, 150, (side, side, 3), dtype=np.uint8)
        if defect:
            pixels[6:20, 6:20] = (250, 20, 20)
        return Image.fromarray(pixels)

    return make


@pytest.fixture(scope="session")
def picture(part: MakePart) -> Callable[..., Picture]:
    """The same, ready to be judged."""

    def make(number: int, *, defect: bool = False) -> Picture:
        image = part(number, defect=defect)
        return Picture(f"part {number}.png", image, pixel_hash(image))

    return make


@pytest.fixture(scope="session")
def as_png() -> Callable[[Image.Image], bytes]:
    def encode(image: Image.Image) -> bytes:
        buffer = BytesIO()
        image.save(buffer, "PNG")
        return buffer.getvalue()

    return encode


@pytest.fixture(scope="session")
def zipped() -> Callable[[dict[str, bytes]], bytes]:
    """A function that packs files by name."""

    def pack(files: dict[str, bytes]) -> bytes:
        buffer = BytesIO()
        with ZipFile(buffer, "w", ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        return buffer.getvalue()

    return pack
