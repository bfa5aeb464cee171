"""Images as they are given: files, folders, zip archives and uploads, each read when its turn comes.

A bad item costs that item and nothing else. Archives are read in memory; nothing is ever unpacked to disk. The part's
name in a visitor's words is checked here too, before it becomes part of a prompt.
"""

from __future__ import annotations

import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path, PurePosixPath

from PIL import Image

from vlmad_core.datasets.catalogue import category_noun
from vlmad_core.datasets.images import DEFAULT_LIMITS, IMAGE_SUFFIXES, ImageLimits, pixel_hash, read_image
from vlmad_core.errors import DatasetError

Source = str | Path | tuple[str, bytes] | Image.Image
"""A file, a folder, a zip archive, an upload (name and content), or an image that is already open."""

CHUNK = 2**20
MOST_PROBLEMS = 50
"""Problems of one archive that are told one by one."""


@dataclass(frozen=True)
class Picture:
    """An image ready to be judged.

    Attributes:
        name: What to call it: its file name, or its path inside the folder or archive.
        image: Upright RGB.
        content: Hash over its pixels (``pixel_hash``), whatever format the file had.
    """

    name: str
    image: Image.Image
    content: str


@dataclass(frozen=True)
class Item:
    """An image that was given and not read yet.

    Attributes:
        name: As in ``Picture``.
        read: Reads it; raises ``DatasetError`` if it is no image that can be used.
    """

    name: str
    read: Callable[[], Picture]


@dataclass(frozen=True)
class Given:
    """What was found in what was given.

    Attributes:
        items: The images, in order.
        problems: What can't be used, each in a sentence that names it.
        left_out: Number of files that are not images by their name.
    """

    items: tuple[Item, ...]
    problems: tuple[str, ...] = ()
    left_out: int = 0


@dataclass
class _Found:
    items: list[Item] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    left_out: int = 0


def open_picture(source: Path | bytes, name: str, limits: ImageLimits = DEFAULT_LIMITS) -> Picture:
    """Read one image.

    Raises:
        DatasetError: As ``read_image``.
    """
    image = read_image(source, limits, name=name)
    return Picture(name, image, pixel_hash(image))


def gather(sources: Iterable[Source], limits: ImageLimits = DEFAULT_LIMITS) -> Given:
    """List the images of files, folders and archives, in the order given; folders and archives by name.

    Args:
        sources: What was given.
        limits: How many and how large.

    Returns:
        The images, with what could not be used. Nothing is decoded yet.

    Raises:
        DatasetError: If there is no image among them, or more than ``limits.max_batch``.
    """
    found = _Found()
    for source in sources:
        if isinstance(source, Image.Image):
            found.items.append(_opened(source, f"image {len(found.items) + 1}"))
        elif isinstance(source, tuple):
            _add_upload(*source, found, limits)
        else:
            _add_path(Path(source).expanduser(), found, limits)
    if len(found.items) > limits.max_batch:
        raise DatasetError(
            f"{len(found.items):,} images were given, more than the {limits.max_batch} allowed at once.",
            "Give fewer, or make a data set of them and use precompute.",
        )
    if not found.items:
        what = " ".join(found.problems[:3]) or "There is no image in what was given."
        raise DatasetError(what, "" if found.problems else "Give JPEG, PNG, WebP, BMP or TIFF images.")
    problems = found.problems[:MOST_PROBLEMS]
    if len(found.problems) > MOST_PROBLEMS:
        problems.append(f"And {len(found.problems) - MOST_PROBLEMS:,} more problems.")
    return Given(tuple(found.items), tuple(problems), found.left_out)


def is_archive(name: str) -> bool:
    """Whether a file is taken for a zip archive, by its name."""
    return PurePosixPath(name.lower()).suffix == ".zip"


def _opened(image: Image.Image, name: str) -> Item:
    return Item(name, lambda: Picture(name, rgb := image.convert("RGB"), pixel_hash(rgb)))


def _add_upload(name: str, content: bytes, found: _Found, limits: ImageLimits) -> None:
    if is_archive(name):
        _add_archive(content, name, found, limits)
    else:
        found.items.append(Item(name, lambda: open_picture(content, name, limits)))


def _add_path(path: Path, found: _Found, limits: ImageLimits) -> None:
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.is_file() and not _hidden(p.relative_to(path).as_posix()))
        for file in files:
            name = file.relative_to(path).as_posix()
            if file.suffix.lower() in IMAGE_SUFFIXES:
                found.items.append(_file(file, name, limits))
            else:
                found.left_out += 1
        return
    if is_archive(path.name) and path.is_file():
        size = path.stat().st_size
        if size > limits.max_archive_bytes:
            raise _too_large(path.name, size, limits)
        _add_archive(path.read_bytes(), path.name, found, limits)
        return
    found.items.append(_file(path, path.name, limits))


def _file(path: Path, name: str, limits: ImageLimits) -> Item:
    return Item(name, lambda: open_picture(path, name, limits))


def _add_archive(content: bytes, name: str, found: _Found, limits: ImageLimits) -> None:
    """List an archive's images; entries are unpacked when they are read, and never beyond the limits."""
    if len(content) > limits.max_archive_bytes:
        raise _too_large(name, len(content), limits)
    try:
        archive = zipfile.ZipFile(BytesIO(content))
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise DatasetError(f"{name}: not a zip archive that can be read ({error}).", "Pack it again.") from error
    entries = archive.infolist()
    if len(entries) > limits.max_archive_entries:
        raise DatasetError(
            f"{name}: {len(entries):,} entries, more than the {limits.max_archive_entries:,} allowed.",
            f"Pack at most {limits.max_batch} images.",
        )
    unpacked = _Allowance(limits.max_unpacked_bytes)
    for entry in entries:
        shown = f"{name}/{entry.filename}"
        if entry.is_dir() or _hidden(entry.filename):
            continue
        if _leads_out(entry.filename):
            found.problems.append(f"{shown}: its path leads out of the archive; it was left out.")
        elif PurePosixPath(entry.filename.lower()).suffix not in IMAGE_SUFFIXES:
            found.left_out += 1
        else:
            found.items.append(_entry(archive, entry, shown, unpacked, limits))


class _Allowance:
    """Bytes that may still be unpacked of one archive."""

    def __init__(self, left: int) -> None:
        self.left = left


def _entry(
    archive: zipfile.ZipFile, entry: zipfile.ZipInfo, name: str, allowance: _Allowance, limits: ImageLimits
) -> Item:
    kept: list[int] = []

    def read() -> Picture:
        content = _unpack(archive, entry, name, limits)
        if not kept:  # an image that is read again was counted already
            kept.append(len(content))
            allowance.left -= len(content)
        if allowance.left < 0:
            raise DatasetError(
                f"{name}: the archive unpacks to more than the {limits.max_unpacked_bytes / 2**20:.0f} MB allowed.",
                "Pack fewer or better compressed images.",
            )
        return open_picture(content, name, limits)

    return Item(name, read)


def _unpack(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, name: str, limits: ImageLimits) -> bytes:
    """An entry's content, read in pieces so that it ends at the limit whatever its header promises."""
    if entry.flag_bits & 0x1:
        raise DatasetError(f"{name}: it is encrypted.", "Pack it without a password.")
    parts, size = [], 0
    try:
        with archive.open(entry) as stream:
            while part := stream.read(CHUNK):
                size += len(part)
                if size > limits.max_bytes:
                    raise DatasetError(
                        f"{name}: unpacks to more than the {limits.max_bytes / 2**20:.0f} MB allowed.",
                        "Give a smaller or better compressed image.",
                    )
                parts.append(part)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError, RuntimeError) as error:
        raise DatasetError(f"{name}: can't be unpacked ({error}).", "Pack it again.") from error
    return b"".join(parts)


def _hidden(name: str) -> bool:
    return any((part.startswith(".") and part not in (".", "..")) or part == "__MACOSX" for part in name.split("/"))


def _leads_out(name: str) -> bool:
    plain = name.replace("\\", "/")
    return plain.startswith("/") or ".." in plain.split("/") or plain[1:2] == ":"


def _too_large(name: str, size: int, limits: ImageLimits) -> DatasetError:
    return DatasetError(
        f"{name}: {size / 2**20:.0f} MB, more than the {limits.max_archive_bytes / 2**20:.0f} MB allowed.",
        f"Pack at most {limits.max_batch} images, or give them as a folder.",
    )


def category_words(text: str, limits: ImageLimits = DEFAULT_LIMITS) -> str:
    """A category in words, as prompts are to name it.

    Control and formatting characters become blanks, blanks are joined, and the name of a category folder becomes
    the words that the benchmark uses for it. All else stays as it is: braces and markup are letters to a prompt.

    Args:
        text: As typed, e.g. ``metal nut`` or ``metal_nut``.
        limits: ``max_words`` is the greatest length.

    Raises:
        DatasetError: If it is empty, too long, or holds no letter or digit.

    Examples:
        >>> category_words("  metal_nut ")
        'metal nut'
    """
    if len(text) > 20 * limits.max_words:  # nothing below needs to look at a novel
        raise _too_long(len(text), limits)
    plain = "".join(" " if unicodedata.category(c).startswith("C") else c for c in unicodedata.normalize("NFC", text))
    plain = " ".join(plain.split())
    if not plain:
        raise DatasetError("The part has no name.", "Say in a word or two what it is: the prompts need it.")
    if len(plain) > limits.max_words:
        raise _too_long(len(plain), limits)
    if not any(c.isalnum() for c in plain):
        raise DatasetError(
            "The part's name holds no letters or digits.", "Say in a word or two what it is, e.g. metal nut."
        )
    return category_noun(plain)


def _too_long(length: int, limits: ImageLimits) -> DatasetError:
    return DatasetError(
        f"The part's name has {length:,} characters, more than the {limits.max_words} allowed.",
        "Say in a word or two what it is, e.g. metal nut.",
    )
