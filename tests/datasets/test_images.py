from __future__ import annotations

import os
import struct
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, TiffImagePlugin

from vlmad_core.datasets.fingerprint import file_hash
from vlmad_core.datasets.images import BACKGROUND, ImageLimits, image_size, pixel_hash, read_image, reading_protocol
from vlmad_core.datasets.masks import read_mask
from vlmad_core.errors import DatasetError


def encoded(image: Image.Image, format_name: str = "PNG", **options: Any) -> bytes:
    buffer = BytesIO()
    image.save(buffer, format_name, **options)
    return buffer.getvalue()


@pytest.fixture
def ramp() -> np.ndarray:
    return np.arange(24 * 16, dtype=np.uint8).reshape(16, 24)


@pytest.mark.parametrize("format_name", ["PNG", "BMP", "TIFF"])
def test_lossless_formats_keep_pixels(format_name: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8)
    image = read_image(encoded(Image.fromarray(pixels), format_name))
    assert image.mode == "RGB"
    assert np.array_equal(np.asarray(image), pixels)


@pytest.mark.parametrize("format_name", ["JPEG", "WEBP"])
def test_lossy_formats_are_close(format_name: str, ramp: np.ndarray) -> None:
    smooth = Image.fromarray(ramp // 4 + 90).convert("RGB").resize((48, 32))
    image = read_image(encoded(smooth, format_name, quality=95))
    assert np.abs(np.asarray(image).astype(int) - np.asarray(smooth)).mean() < 4


def test_grey_is_replicated(ramp: np.ndarray) -> None:
    image = np.asarray(read_image(encoded(Image.fromarray(ramp))))
    assert (image == ramp[..., None]).all()


@pytest.mark.parametrize("format_name", ["PNG", "TIFF"])
def test_16_bit_grey_keeps_the_high_byte_without_stretching(format_name: str, ramp: np.ndarray) -> None:
    deep = (ramp.astype(np.uint16) << 8) | 0x3C
    image = np.asarray(read_image(encoded(Image.fromarray(deep), format_name)))
    assert (image == ramp[..., None]).all()


def test_32_bit_integers_need_a_range() -> None:
    image = Image.fromarray(np.full((16, 16), 0x7F00, dtype=np.int32))
    assert np.asarray(read_image(encoded(image, "TIFF"))).max() == 0x7F
    wide = Image.fromarray(np.full((16, 16), 70_000, dtype=np.int32))
    with pytest.raises(DatasetError, match="32-bit integer image with values from 70000"):
        read_image(encoded(wide, "TIFF"))


def test_floats_need_a_range() -> None:
    image = Image.fromarray(np.full((16, 16), 0.5, dtype=np.float32))
    assert np.asarray(read_image(encoded(image, "TIFF")))[0, 0].tolist() == [128, 128, 128]
    with pytest.raises(DatasetError, match=r"values outside \[0, 1\]"):
        read_image(encoded(Image.fromarray(np.full((16, 16), 7.5, dtype=np.float32)), "TIFF"))


def test_12_bit_tiff_fills_the_range() -> None:
    # Pillow writes no 12-bit TIFF: two pixels (0xFFF and 0x800) are packed by hand into 8 x 8 of them.
    data = bytes([0xFF, 0xF8, 0x00]) * 32
    header = b"II*\0" + struct.pack("<I", 8 + len(data))
    tags = [(256, 8), (257, 8), (258, 12), (259, 1), (262, 1), (273, 8), (277, 1), (278, 8), (279, len(data))]
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", t, 4, 1, v) for t, v in tags)
    image = np.asarray(read_image(header + data + directory + b"\0\0\0\0"))
    assert sorted(set(image.ravel().tolist())) == [0x80, 0xFF]


def test_palette_is_looked_up() -> None:
    image = Image.fromarray(np.tile(np.array([0, 1], dtype=np.uint8), (16, 8)))
    image.putpalette([10, 20, 30, 200, 100, 50])
    pixels = np.asarray(read_image(encoded(image)))
    assert pixels[0, 0].tolist() == [10, 20, 30]
    assert pixels[0, 1].tolist() == [200, 100, 50]


@pytest.mark.parametrize(("mode", "format_name"), [("RGBA", "PNG"), ("LA", "PNG"), ("PA", "TIFF")])
def test_transparent_pixels_show_the_background(mode: str, format_name: str) -> None:
    opaque_left = Image.new("L", (16, 16))
    opaque_left.paste(255, (0, 0, 8, 16))
    image = Image.new({"RGBA": "RGB", "LA": "L", "PA": "P"}[mode], (16, 16))
    image.putalpha(opaque_left)
    assert image.mode == mode
    pixels = np.asarray(read_image(encoded(image, format_name)))
    assert pixels[0, 0].tolist() == [0, 0, 0]
    assert tuple(pixels[0, 15].tolist()) == BACKGROUND


def test_a_transparent_palette_entry_shows_the_background() -> None:
    image = Image.fromarray(np.tile(np.array([0, 1], dtype=np.uint8), (16, 8)))
    image.putpalette([10, 20, 30, 200, 100, 50])
    pixels = np.asarray(read_image(encoded(image, transparency=1)))
    assert pixels[0, 0].tolist() == [10, 20, 30]
    assert tuple(pixels[0, 1].tolist()) == BACKGROUND


def test_half_transparent_black_on_white_is_grey() -> None:
    pixels = np.asarray(read_image(encoded(Image.new("RGBA", (16, 16), (0, 0, 0, 128)))))
    assert pixels[0, 0].tolist() == [127, 127, 127]


def test_cmyk_becomes_rgb() -> None:
    image = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    red, green, blue = np.asarray(read_image(encoded(image, "TIFF")))[0, 0].tolist()
    assert (red, green, blue) == (255, 0, 0)


def test_lab_and_ycbcr_become_rgb() -> None:
    grey = np.asarray(read_image(encoded(Image.new("LAB", (16, 16), (128, 128, 128)), "TIFF")))[0, 0]
    assert np.ptp(grey) <= 1
    assert 100 < grey[0] < 140
    red = np.asarray(read_image(encoded(Image.new("RGB", (16, 16), "red").convert("YCbCr"), "TIFF")))[0, 0]
    assert np.abs(red.astype(int) - [255, 0, 0]).max() <= 2


@pytest.mark.parametrize(("orientation", "corner"), [(1, (0, 0)), (3, (15, 23)), (6, (0, 15)), (8, (23, 0))])
def test_exif_rotation_is_applied(orientation: int, corner: tuple[int, int]) -> None:
    image = Image.new("RGB", (24, 16))
    image.putpixel((0, 0), (255, 255, 255))
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright = np.asarray(read_image(encoded(image, "PNG", exif=exif)))
    assert upright.shape[:2] == ((16, 24) if orientation in (1, 3) else (24, 16))
    assert upright[corner].tolist() == [255, 255, 255]
    assert (upright > 0).sum() == 3


def test_rotated_tiff_is_turned_once() -> None:
    image = Image.new("L", (24, 16))
    image.putpixel((0, 0), 255)
    info = TiffImagePlugin.ImageFileDirectory_v2()
    info[0x0112] = 6
    upright = np.asarray(read_image(encoded(image, "TIFF", tiffinfo=info)))
    assert upright.shape == (24, 16, 3)
    assert upright[0, 15].tolist() == [255, 255, 255]


@pytest.mark.parametrize("format_name", ["PNG", "WEBP", "TIFF"])
def test_first_frame_of_an_animation(format_name: str) -> None:
    frames = [Image.new("RGB", (16, 16), color) for color in ("red", "blue")]
    options: dict[str, Any] = {"lossless": True} if format_name == "WEBP" else {}
    data = encoded(frames[0], format_name, save_all=True, append_images=frames[1:], **options)
    assert np.asarray(read_image(data))[0, 0].tolist() == [255, 0, 0]


def test_result_is_free_of_file_and_metadata(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", (16, 16)).save(path, dpi=(100, 100))
    image = read_image(path)
    path.unlink()
    assert image.info == {}
    assert type(image) is Image.Image
    assert image.getpixel((0, 0)) == (0, 0, 0)


def png_header(width: int, height: int) -> bytes:
    """A PNG that promises a size and brings next to no pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


GOOD = encoded(Image.fromarray(np.random.default_rng(1).integers(0, 256, (32, 32, 3), dtype=np.uint8)))
GOOD_JPEG = encoded(Image.open(BytesIO(GOOD)), "JPEG")

BAD_FILES = {
    "zero bytes": (b"", "empty"),
    "renamed pdf": (b"%PDF-1.7\n%\xe2\xe3", "PDF"),
    "svg": (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
    "html": (b"\n<!DOCTYPE html><html>404</html>", "HTML"),
    "gif": (encoded(Image.new("P", (16, 16)), "GIF"), "GIF"),
    "zip": (b"PK\x03\x04rest", "zip"),
    "heic": (b"\0\0\0\x18ftypheic", "HEIC"),
    "text": (b"hello, I am a label file\n", "text file"),
    "noise": (bytes(range(1, 40)), "unknown format"),
    "truncated png": (GOOD[: len(GOOD) // 2], "damaged or cut off"),
    "truncated jpeg": (GOOD_JPEG[: len(GOOD_JPEG) // 2], "damaged or cut off"),
    "cut in the header": (GOOD[:12], "damaged or cut off"),
    "flipped bytes": (GOOD[:60] + b"\xff" * 40 + GOOD[100:], "damaged or cut off"),
    "one pixel": (encoded(Image.new("RGB", (1, 1))), "at least 8"),
    "20,000 wide": (png_header(20_000, 40), "16,384"),
    "too many pixels": (png_header(16_000, 16_000), "64,000,000"),
    "decompression bomb": (png_header(60_000, 60_000), "64,000,000|16,384"),
}


@pytest.mark.parametrize("case", BAD_FILES)
@pytest.mark.parametrize("as_file", [True, False])
def test_bad_files_get_a_message_with_name_finding_and_fix(case: str, as_file: bool, tmp_path: Path) -> None:
    content, words = BAD_FILES[case]
    path = tmp_path / "part 7.png"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=words) as caught:
        read_image(path if as_file else content, name=None if as_file else "part 7.png")
    assert "part 7.png" in caught.value.problem
    assert caught.value.fix.endswith(".")


SEEDS = [
    encoded(Image.open(BytesIO(GOOD)), name, **options)
    for name, options in (
        ("PNG", {}),
        ("JPEG", {"exif": b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"}),
        ("WEBP", {}),
        ("BMP", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
    )
]


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(SEEDS),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=8),
    st.floats(0.05, 1),
)
def test_damaged_bytes_give_an_image_or_a_clear_error(
    content: bytes, changes: list[tuple[float, int]], kept: float
) -> None:
    damaged = bytearray(content)
    for place, value in changes:
        damaged[int(place * (len(damaged) - 1))] = value
    outcome: Image.Image | DatasetError
    try:
        outcome = read_image(bytes(damaged[: int(kept * len(damaged))]))
    except DatasetError as error:
        outcome = error
    if isinstance(outcome, DatasetError):
        assert outcome.fix
    else:
        assert outcome.mode == "RGB"
        assert min(outcome.size) >= 8


def test_file_larger_than_allowed_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "big.png"
    path.write_bytes(GOOD)
    with pytest.raises(DatasetError, match="allowed"):
        read_image(path, ImageLimits(max_bytes=100))


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no such file"):
        read_image(tmp_path / "none.png")
    with pytest.raises(DatasetError, match="can't be read"):
        read_image(tmp_path)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")
def test_what_never_ends_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "endless.png").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "pipe.png")
    for name in ("endless.png", "pipe.png"):
        for read in (read_image, image_size):
            with pytest.raises(DatasetError, match=rf"{name}: can't be read \(it is a folder, pipe or device"):
                read(tmp_path / name)
        assert file_hash(tmp_path / name) == "unreadable"


def test_the_size_is_known_without_decoding(tmp_path: Path) -> None:
    image = Image.new("RGB", (40, 20))
    turned = Image.Exif()
    turned[0x0112] = 6
    image.save(tmp_path / "turned.jpg", exif=turned)
    (tmp_path / "cut.png").write_bytes(encoded(image)[:60])
    assert image_size(tmp_path / "turned.jpg") == (40, 20) == read_image(tmp_path / "turned.jpg").size[::-1]
    assert image_size(tmp_path / "cut.png") == (20, 40)


def test_a_damaged_palette_is_said(tmp_path: Path) -> None:
    """More alpha values than colours: Pillow notices when it converts."""
    image = Image.fromarray(np.zeros((16, 24), np.uint8)).convert("P")
    image.putpalette([0, 0, 0, 255, 0, 0])
    image.save(tmp_path / "palette.png", transparency=b"\0" * 250)
    content = (tmp_path / "palette.png").read_bytes()
    place = content.index(b"tRNS")
    alphas = b"tRNS" + bytes(300)
    end = place + 8 + int.from_bytes(content[place - 4 : place], "big")
    chunk = struct.pack(">I", 300) + alphas + struct.pack(">I", zlib.crc32(alphas))
    (tmp_path / "palette.png").write_bytes(content[: place - 4] + chunk + content[end:])
    for read in (read_image, read_mask):
        with pytest.raises(DatasetError, match=r"palette\.png: its colours \(P\) can't be converted to RGBA"):
            read(tmp_path / "palette.png")


def test_odd_aspect_ratios_are_kept() -> None:
    assert read_image(encoded(Image.new("L", (900, 10)))).size == (900, 10)


def test_pixel_hash_knows_pixels_and_size_and_not_the_format() -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (16, 24, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    assert pixel_hash(read_image(encoded(image, "BMP"))) == pixel_hash(read_image(encoded(image, "PNG")))
    assert pixel_hash(image) != pixel_hash(Image.fromarray(pixels.reshape(24, 16, 3)))
    changed = pixels.copy()
    changed[0, 0, 0] ^= 1
    assert pixel_hash(image) != pixel_hash(Image.fromarray(changed))


def test_protocol_states_every_case() -> None:
    protocol = reading_protocol()
    assert {"orientation", "grey", "16_bit", "palette", "alpha", "cmyk", "animated"} <= set(protocol)
    assert str(BACKGROUND) in protocol["alpha"]
