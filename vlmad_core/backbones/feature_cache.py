"""Features kept on disk: an image that was seen before need not pass the vision tower again.

An entry belongs to the bytes of an image and to everything its features depend on: weights, activation, input
size, position rule, precision, preprocessing, storage. Images pass the tower one by one here, so what is stored
does not depend on which images, prompts or methods were asked for together; a request is served from whatever
entry holds at least what it names, and the rest is added to the entry.

Any number of threads and processes may use one folder: entries are written under another name and renamed, and
nothing is changed in place. Files are not flushed to disk before renaming: an entry lost with the power fails its
checksum and is computed again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from PIL import Image
from torch import Tensor

from vlmad_core.backbones.feature_files import (
    FORMAT,
    STORAGES,
    DamagedFileError,
    Storage,
    StoredImage,
    merged,
    pack,
    read_file,
    stored_names,
    to_bytes,
)
from vlmad_core.backbones.features import FeatureRequest, Features, concatenate_features
from vlmad_core.datasets.images import pixel_hash, read_image, reading_protocol
from vlmad_core.errors import BackboneError
from vlmad_core.io import TEMPORARY_PREFIX, write_atomically
from vlmad_core.paths import feature_folder

DEFAULT_LIMIT = 10 * 2**30
"""Bytes that all entries together may take."""

ROOM = 0.9
"""Share of the limit that is left filled when old entries are removed."""

LEFTOVER_SECONDS = 3600.0
"""Age after which a temporary file is taken for one that a killed process left."""

NO_FEATURE_DEPENDS_ON = frozenset(
    {"id", "title", "source", "parameters", "training_data", "demonstration", "text_depth", "context_length"}
)
"""What is known of a backbone but does not change its features."""

Source = Path | bytes | Image.Image
"""An image as a file, as the content of one, or decoded."""


class Encoder(Protocol):
    """What extracts features; a ``ClipBackbone`` is one."""

    @property
    def info(self) -> Any:
        """A dataclass with ``to_json``: all that features depend on."""

    @property
    def preprocess(self) -> Callable[[Image.Image], Tensor]:
        """From a Pillow image to [3, S, S]."""

    def encode_images(self, pixel_values: Tensor, request: FeatureRequest) -> Features:
        """One pass for everything the request names."""


class FeatureCache:
    """A folder of features; see the module's text.

    Attributes:
        folder: Where entries lie.
        limit_bytes: Bytes they may take together; beyond it the least recently used ones are removed.
        storage: ``half`` or ``full``, see ``feature_files``.
        hits: Images served whole from the folder so far.
        misses: Images of which something had to be computed.
        damaged: Entries found damaged and computed again.
    """

    def __init__(
        self,
        folder: Path | None = None,
        limit_bytes: int = DEFAULT_LIMIT,
        storage: Storage = "half",
        notice: Callable[[str], None] | None = None,
    ) -> None:
        """Use a folder; nothing is written before the first entry.

        Args:
            folder: The folder; None for ``paths.feature_folder()``.
            limit_bytes: Bytes all entries may take; 0 stores nothing.
            storage: How features are stored.
            notice: Told in a sentence of damaged entries and of a folder that can't be written to; logged if None.

        Raises:
            BackboneError: If there is no such storage.
        """
        if storage not in STORAGES:
            raise BackboneError(f"There is no storage {storage!r}.", f"Choose one of: {', '.join(STORAGES)}.")
        self.folder = feature_folder() if folder is None else folder
        self.limit_bytes = limit_bytes
        self.storage = storage
        self.hits = self.misses = self.damaged = 0
        self._notice = notice or logging.getLogger("vlmad_core.feature_cache").warning
        self._lock = threading.Lock()
        self._filled: int | None = None
        self._writable = limit_bytes > 0

    def path(self, info: Any, content: str) -> Path:
        """The file of an image's entry; ``content`` comes from ``content_key``."""
        return self.folder / feature_key(info, self.storage) / content[:2] / f"{content}.safetensors"

    def read(self, info: Any, content: str, request: FeatureRequest) -> StoredImage | None:
        """The entry of an image if it holds all that is asked for, else None; only that is read."""
        wanted = request.names()
        stored = self._read(self.path(info, content), wanted)
        if stored is None or not wanted <= stored.names():
            return None
        with self._lock:
            self.hits += 1
        return stored

    def encode(
        self, backbone: Encoder, content: str, pixels: Tensor, size: tuple[int, int], request: FeatureRequest
    ) -> Features:
        """Features of one image: what is stored, the rest computed and stored as well.

        Args:
            backbone: Extracts what is missing.
            content: The image's ``content_key``.
            pixels: [3, S, S], preprocessed.
            size: Height and width of the image as it was read.
            request: What is wanted.

        Returns:
            N = 1; the same bits whether they were stored before or not.
        """
        path, wanted = self.path(backbone.info, content), request.names()
        with self._lock:
            self.misses += 1
        known = self._read(path, None)
        left = request.without(known.names() if known else ())
        stored = known
        if left.names() or stored is None:
            stored = merged(known, pack(backbone.encode_images(pixels[None], left), size, self.storage))
            self._write(backbone.info, path, stored)
        return stored.features(wanted)

    def holds(self, info: Any, content: str, request: FeatureRequest) -> bool:
        """Whether a request could be served, as far as can be told without reading the entry."""
        return request.names() <= stored_names(self.path(info, content))

    def filled_bytes(self) -> int:
        """Bytes that all entries take now."""
        return sum(size for _, size, _ in _entries(self.folder))

    def _read(self, path: Path, names: frozenset[str] | None) -> StoredImage | None:
        try:
            stored = read_file(path, names)
        except FileNotFoundError:
            return None
        except DamagedFileError as error:
            with self._lock:
                self.damaged += 1
            self._notice(f"The cached features {path} are damaged ({error}); they are computed again.")
            with contextlib.suppress(OSError):
                path.unlink()
            return None
        with contextlib.suppress(OSError):
            os.utime(path)  # the time of the last use decides what goes first
        return stored

    def _write(self, info: Any, path: Path, stored: StoredImage) -> None:
        """Store an entry if that is possible; a cache that can't be written to only costs time."""
        if not self._writable:
            return
        content = to_bytes(stored)
        if len(content) > ROOM * self.limit_bytes:
            return
        try:
            self._make_room(len(content))
            _describe(path.parent.parent, info, self.storage)
            write_atomically(path, content, durable=False)
        except OSError as error:
            self._writable = False
            self._notice(f"Features can't be cached in {self.folder} ({error}); the work goes on without.")

    def _make_room(self, added: int) -> None:
        """Remove the least recently used entries if the new one would be too much."""
        with self._lock:
            if self._filled is None:
                self._filled = self.filled_bytes()
            self._filled += added
            if self._filled <= self.limit_bytes:
                return
            entries = sorted(_entries(self.folder))
            filled = sum(size for _, size, _ in entries) + added
            for _, size, path in entries:
                if filled <= ROOM * self.limit_bytes:
                    break
                path.unlink(missing_ok=True)
                filled -= size
            self._filled = filled


def content_key(source: Source) -> str:
    """Hex digits that stand for an image: over the bytes of its file, or over the pixels if it is decoded.

    Raises:
        OSError: If the file can't be read.
    """
    if isinstance(source, Image.Image):
        return f"pixels-{pixel_hash(source)}"
    if isinstance(source, bytes):
        return hashlib.sha256(source).hexdigest()
    with source.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def feature_key(info: Any, storage: Storage) -> str:
    """Sixteen hex digits over all that features depend on besides the image."""
    return hashlib.sha256(_conditions(info, storage).encode()).hexdigest()[:16]


def cached_features(
    sources: Sequence[Source],
    backbone: Encoder,
    request: FeatureRequest,
    cache: FeatureCache | None,
    advance: Callable[[int], None] = lambda count: None,
) -> Features:
    """Features of N images in order, from a cache or extracted one by one.

    Args:
        sources: Files, contents of files, or decoded images.
        backbone: Extracts what is missing.
        request: What is wanted.
        cache: Where to look and to store; None to extract everything.
        advance: Told 1 after each image.

    Returns:
        All that the request names, float32.

    Raises:
        DatasetError: If an image can't be read; names it.
        ValueError: If there are no images.
    """
    parts = []
    for source in sources:
        parts.append(_one(source, backbone, request, cache))
        advance(1)
    return concatenate_features(parts)


def _one(source: Source, backbone: Encoder, request: FeatureRequest, cache: FeatureCache | None) -> Features:
    content = None
    if cache is not None:
        with contextlib.suppress(OSError):  # reading the image says more clearly what is wrong with it
            content = content_key(source)
            stored = cache.read(backbone.info, content, request)
            if stored is not None:
                return stored.features(request.names())
    image = source if isinstance(source, Image.Image) else read_image(source)
    pixels = backbone.preprocess(image)
    if cache is None or content is None:
        return backbone.encode_images(pixels[None], request)
    return cache.encode(backbone, content, pixels, (image.height, image.width), request)


def _conditions(info: Any, storage: Storage) -> str:
    facts = {name: value for name, value in info.to_json().items() if name not in NO_FEATURE_DEPENDS_ON}
    # Other releases of torch may round otherwise; one machine's cache then holds both apart.
    more = {"format": FORMAT, "storage": storage, "reading": reading_protocol(), "torch": torch.__version__}
    return json.dumps({**more, "backbone": facts}, sort_keys=True, indent=1)


def _describe(folder: Path, info: Any, storage: Storage) -> None:
    """Say in a file to what the entries of a folder belong, for people who look."""
    path = folder / "about.json"
    if not path.exists():
        write_atomically(path, _conditions(info, storage).encode(), durable=False)


def _entries(folder: Path) -> Iterable[tuple[float, int, Path]]:
    """Time of last use, bytes and path of each entry; what killed processes left is removed on the way."""
    for path in folder.glob("*/*/*.safetensors*"):
        try:
            status = path.stat()
            if path.name.startswith(TEMPORARY_PREFIX):
                if time.time() - status.st_mtime > LEFTOVER_SECONDS:
                    path.unlink(missing_ok=True)
            else:
                yield status.st_mtime, status.st_size, path
        except OSError:
            continue  # another process removed it just now
