"""Reading images as cameras, scanners and uploads give them: upright RGB with 8 bits, or a clear error.

Every choice made here can move a score, so :func:`reading_protocol` states them and runs record it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from vlmad_core.errors import DatasetError
from vlmad_core.reading import printable, read_file

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".jpe", ".bmp", ".tif", ".tiff", ".webp"})
"""Endings (lower case) of files that are taken for images when a folder is listed."""

BACKGROUND = (255, 255, 255)
"""What shows through transparent pixels: white, as a page or a light table would."""


@dataclass(frozen=True)
class ImageLimits:
    """What may be given to the program, how large and how much of it: the one place where this is set.

    Attributes:
        max_bytes: Size of the file in bytes.
        max_pixels: Width times height.
        max_side: The longer side in pixels.
        min_side: The shorter side in pixels; below it there is nothing to inspect.
        formats: Accepted formats by Pillow's name. ``JPEG`` covers MPO, a JPEG with further views, as phones
            and stereo cameras write it.
        max_batch: Images that may be given at once (a folder, a zip, several uploads); reading a single image
            takes no notice of it, nor of what follows.
        max_archive_bytes: Size of a zip archive in bytes.
        max_archive_entries: Files and folders in a zip archive.
        max_unpacked_bytes: What may be unpacked of one archive, in bytes; counted while unpacking, whatever the
            archive says of itself.
        max_references: Normal reference images of one category.
        max_methods: Methods that judge an image side by side.
        max_words: Length of a category's name in words, in characters.
    """

    max_bytes: int = 64 * 2**20
    max_pixels: int = 64_000_000
    max_side: int = 16_384
    min_side: int = 8
    formats: tuple[str, ...] = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")
    max_batch: int = 200
    max_archive_bytes: int = 64 * 2**20
    max_archive_entries: int = 2_000
    max_unpacked_bytes: int = 512 * 2**20
    max_references: int = 16
    max_methods: int = 6
    max_words: int = 60


DEFAULT_LIMITS = ImageLimits()

_ORIENTATION = 0x0112
"""The EXIF tag that says how a camera was held."""

_FORMAT_WORDS = "JPEG, PNG, WebP, BMP or TIFF"

# How files that are no accepted image begin; only used to say what was found.
_SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (b"%PDF", "a PDF document"),
    (b"GIF87a", "a GIF image"),
    (b"GIF89a", "a GIF image"),
    (b"PK\x03\x04", "a zip archive or an Office document"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"Rar!", "a rar archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"8BPS", "a Photoshop document"),
    (b"\x00\x00\x01\x00", "a Windows icon"),
    (b"\x00\x00\x00\x0cjP  ", "a JPEG 2000 image"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself (run `git lfs pull`)"),
)


def reading_protocol() -> dict[str, str]:
    """What is done to an image on reading, as recorded in the protocol of a run."""
    return {
        "reader": "Pillow",
        "orientation": "EXIF orientation applied",
        "grey": "replicated to three channels",
        "16_bit": "high byte kept (value >> 8, range 0..65535); 12-bit TIFF: value >> 4; no stretching",
        "32_bit_integer": "as 16-bit if all values are in 0..65535, else refused",
        "float": "values in [0, 1] times 255, rounded; else refused",
        "palette": "looked up",
        "alpha": f"composited on RGB {BACKGROUND}",
        "cmyk": "converted by Pillow's formula, embedded colour profiles ignored",
        "ycbcr_lab_hsv": "converted by Pillow",
        "animated": "first frame or page",
        "colour_profile": "ignored: values are taken as sRGB",
        "aspect_ratio": "kept on reading",
    }


def pixel_hash(image: Image.Image) -> str:
    """SHA-256 (hex) of an image's decoded RGB pixels with its size, whatever format the file had.

    Args:
        image: Any mode; converted to RGB.
    """
    rgb = image if image.mode == "RGB" else image.convert("RGB")
    digest = hashlib.sha256(b"%dx%d\n" % rgb.size)
    digest.update(rgb.tobytes())
    return digest.hexdigest()


def read_image(source: Path | bytes, limits: ImageLimits = DEFAULT_LIMITS, *, name: str | None = None) -> Image.Image:
    """Read an image as upright RGB with 8 bits per channel.

    What is done to grey, 16-bit, palette, transparent, CMYK, animated and rotated images is stated by
    :func:`reading_protocol`.

    Args:
        source: A file, or the content of one (uploads).
        limits: What is accepted.
        name: What to call the image in messages; the path by default.

    Returns:
        A loaded image of mode RGB that keeps no file open.

    Raises:
        DatasetError: The file is missing, empty, truncated, too large or too small, or no accepted image.
    """
    label = _label(source, name)
    return _to_rgb(open_checked(source, limits, name=label), label)


def open_checked(source: Path | bytes, limits: ImageLimits = DEFAULT_LIMITS, *, name: str | None = None) -> Image.Image:
    """Decode a file within the limits, in the mode it was stored in and upright; masks need the raw values.

    Args:
        source: A file, or the content of one.
        limits: What is accepted.
        name: What to call the image in messages; the path by default.

    Raises:
        DatasetError: As :func:`read_image`.
    """
    label = _label(source, name)
    image = _opened(source, limits, label)
    try:
        image.seek(0)
        image.load()
    except Exception as error:  # decoders raise whatever damaged bytes lead them to
        raise DatasetError(
            f"{label}: the {image.format} image is damaged or cut off ({_reason(error)}).",
            "Copy or export the file again.",
        ) from error
    return _upright(image)


def image_size(path: Path, limits: ImageLimits = DEFAULT_LIMITS) -> tuple[int, int]:
    """Height and width of an image as it will be read, upright; nothing is decoded.

    Args:
        path: The file.
        limits: What is accepted.

    Raises:
        DatasetError: As :func:`read_image`, where the head shows it.
    """
    image = _opened(path, limits, printable(path))
    try:
        turned = image.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8)
    except Exception:  # as in _upright
        turned = False
    return (image.width, image.height) if turned else (image.height, image.width)


def _opened(source: Path | bytes, limits: ImageLimits, label: str) -> Image.Image:
    """An image within the limits whose pixels are not decoded yet."""
    content = _content(source, limits, label)
    Image.init()  # registers all formats; without it only the commonest can be named
    try:
        image = Image.open(BytesIO(content), formats=limits.formats)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise DatasetError(
            f"{label}: its header promises far more pixels than the {limits.max_pixels:,} allowed.",
            "Give a smaller image, or cut it into parts.",
        ) from None
    except Exception as error:
        raise _not_an_image(content, label) from error
    _check_size(image, limits, label)
    return image


def _to_rgb(image: Image.Image, label: str) -> Image.Image:
    """Convert a decoded image by the rules of :func:`reading_protocol`; may change it in place."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return _bare(image)
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(_to_bytes(image, label), mode="L").convert("RGB")
    if image.has_transparency_data:
        layer = converted(image, "RGBA", label)
        canvas = Image.new("RGBA", layer.size, (*BACKGROUND, 255))
        return _bare(Image.alpha_composite(canvas, layer).convert("RGB"))
    return _bare(converted(image, "RGB", label))


def converted(image: Image.Image, mode: str, label: str) -> Image.Image:
    """A decoded image in another mode.

    Raises:
        DatasetError: If Pillow knows no way from its colours, or its palette is damaged.
    """
    try:
        return image.convert(mode)
    except Exception as error:  # as decoders, it raises whatever a damaged palette leads it to
        raise DatasetError(
            f"{label}: its colours ({image.mode}) can't be converted to {mode} ({_reason(error)}).", "Save it as RGB."
        ) from error


def _bare(image: Image.Image) -> Image.Image:
    """The pixels without what came with them: EXIF, colour profile, transparency, an open file."""
    if type(image) is not Image.Image:
        image = image.copy()
    image.info = {}
    return image


def _to_bytes(image: Image.Image, label: str) -> np.ndarray:
    values = np.asarray(image)
    if image.mode == "F":
        if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1):
            raise DatasetError(
                f"{label}: a floating-point image with values outside [0, 1].",
                "Save it with 8 or 16 bits, so that black and white are defined.",
            )
        return np.rint(values * 255).astype(np.uint8)
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        raise DatasetError(
            f"{label}: a 32-bit integer image with values from {low} to {high}.",
            "Save it with 8 or 16 bits, so that black and white are defined.",
        )
    return (values.astype(np.uint32) >> (4 if _is_12_bit(image) else 8)).astype(np.uint8)


def _is_12_bit(image: Image.Image) -> bool:
    tags = getattr(image, "tag_v2", None)
    bits_per_sample = 258
    return tags is not None and tags.get(bits_per_sample) == (12,)


def _upright(image: Image.Image) -> Image.Image:
    try:
        turned = ImageOps.exif_transpose(image)
    except Exception:  # EXIF that can't be parsed says nothing about orientation; the pixels are fine
        return image
    # exif_transpose keeps no reference to the TIFF tags that tell 12-bit from 16-bit values.
    if turned is not image and hasattr(image, "tag_v2"):
        turned.tag_v2 = image.tag_v2  # type: ignore[attr-defined]
    return turned


def _label(source: Path | bytes, name: str | None) -> str:
    return printable(name or (source if isinstance(source, Path) else "the uploaded image"))


def _content(source: Path | bytes, limits: ImageLimits, label: str) -> bytes:
    content = read_file(source, limits.max_bytes, DatasetError, name=label) if isinstance(source, Path) else source
    if not content:
        raise DatasetError(f"{label}: the file is empty (0 bytes).", "Copy or export it again.")
    if len(content) > limits.max_bytes:
        raise DatasetError(
            f"{label}: {len(content) / 2**20:.0f} MB, more than the {limits.max_bytes / 2**20:.0f} MB allowed.",
            "Give a smaller or better compressed image.",
        )
    return content


def _check_size(image: Image.Image, limits: ImageLimits, label: str) -> None:
    width, height = image.size
    if min(width, height) < limits.min_side:
        raise DatasetError(
            f"{label}: {width} x {height} pixels, the shorter side must have at least {limits.min_side}.",
            "Give the image at its full resolution.",
        )
    if max(width, height) > limits.max_side:
        raise DatasetError(
            f"{label}: {width} x {height} pixels, the longer side may have at most {limits.max_side:,}.",
            "Scale it down or cut it into parts.",
        )
    if width * height > limits.max_pixels:
        raise DatasetError(
            f"{label}: {width} x {height} pixels, more than the {limits.max_pixels:,} allowed in all.",
            "Scale it down or cut it into parts.",
        )


def _not_an_image(content: bytes, label: str) -> DatasetError:
    found = _found(content)
    return DatasetError(f"{label}: not an image that can be read; found {found}.", f"Give a {_FORMAT_WORDS} image.")


def _found(content: bytes) -> str:
    for signature, words in _SIGNATURES:
        if content.startswith(signature):
            return words
    if content[4:8] == b"ftyp":
        return "a HEIC, AVIF or video file"
    start = content[:2048].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if b"<svg" in start:
        return "an SVG drawing"
    if start.startswith((b"<!doctype html", b"<html")):
        return "an HTML page (a failed download?)"
    if start.startswith(b"<?xml"):
        return "an XML document"
    for signature, words in ((b"\xff\xd8", "JPEG"), (b"\x89PNG", "PNG"), (b"BM", "BMP"), (b"II*\0", "TIFF")):
        if content.startswith(signature):
            return f"a {words} file whose header is damaged or cut off"
    if all(byte >= 32 or byte in b"\t\r\n" for byte in content[:512]):
        return "a text file"
    return f"an unknown format (first bytes {content[:8].hex(' ')})"


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
