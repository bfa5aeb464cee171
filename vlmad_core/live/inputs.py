"""Images as they are given: files, folders, zip archives and uploads, each read when its turn comes.

A bad item costs that item and nothing else. Archives are read in memory; nothing is ever unpacked to disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vlmad_core import paths
from vlmad_core.datasets.archives import ArchiveEntry, is_archive, is_hidden, open_archive
from vlmad_core.datasets.images import DEFAULT_LIMITS, IMAGE_SUFFIXES, ImageLimits, pixel_hash, read_image
from vlmad_core.errors import DatasetError
from vlmad_core.reading import printable, read_file

Source = str | Path | tuple[str, bytes] | Image.Image
"""A file, a folder, a zip archive, an upload (name and content), or an image that is already open."""

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

    def __reduce__(self) -> tuple[Callable[..., Picture], tuple[str, NDArray[np.uint8], str]]:
        """Pickled as an array, which takes a fifth of the time of Pillow's own way."""
        return _unpacked, (self.name, np.asarray(self.image), self.content)


def _unpacked(name: str, pixels: NDArray[np.uint8], content: str) -> Picture:
    return Picture(name, Image.fromarray(pixels), content)


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
            _add_path(paths.expanded(Path(source)), found, limits)
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


def _opened(image: Image.Image, name: str) -> Item:
    return Item(name, lambda: Picture(name, rgb := image.convert("RGB"), pixel_hash(rgb)))


def _add_upload(name: str, content: bytes, found: _Found, limits: ImageLimits) -> None:
    name = printable(name)
    if is_archive(name):
        _add_archive(content, name, found, limits)
    else:
        found.items.append(Item(name, lambda: open_picture(content, name, limits)))


def _add_path(path: Path, found: _Found, limits: ImageLimits) -> None:
    name = printable(path.name)
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if not p.is_dir() and not is_hidden(p.relative_to(path).as_posix()))
        for file in files:
            name = printable(file.relative_to(path).as_posix())
            if file.suffix.lower() in IMAGE_SUFFIXES:
                found.items.append(_file(file, name, limits))
            else:
                found.left_out += 1
        return
    if is_archive(name) and path.is_file():
        _add_archive(read_file(path, limits.max_archive_bytes, DatasetError, name=name), name, found, limits)
        return
    found.items.append(_file(path, name, limits))


def _file(path: Path, name: str, limits: ImageLimits) -> Item:
    return Item(name, lambda: open_picture(path, name, limits))


def _add_archive(content: bytes, name: str, found: _Found, limits: ImageLimits) -> None:
    """List an archive's images; entries are unpacked when they are read."""
    archive = open_archive(content, name, IMAGE_SUFFIXES, limits)
    found.items += [_packed(entry, limits) for entry in archive.entries]
    found.problems += archive.problems
    found.left_out += archive.left_out


def _packed(entry: ArchiveEntry, limits: ImageLimits) -> Item:
    return Item(entry.shown, lambda: open_picture(entry.read(), entry.shown, limits))
