"""Features and prompts that are remembered: what was seen before need not pass a tower again.

A cache is a backbone around a backbone (``CachingBackbone``), so no caller asks whether there is one. On disk an entry
belongs to the bytes of an image and to everything its features depend on: weights, activation, input size, position
rule, precision, preprocessing, storage.

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
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from PIL import Image

from vlmad_core.backbones.clip import ClipBackbone
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
from vlmad_core.backbones.info import BackboneInfo
from vlmad_core.backbones.text import TextCache
from vlmad_core.backbones.tower import Backbone, Clock, ImageInput, Images
from vlmad_core.datasets.images import pixel_hash, read_image, reading_protocol
from vlmad_core.errors import BackboneError
from vlmad_core.io import TEMPORARY_PREFIX, write_atomically
from vlmad_core.libraries import torch
from vlmad_core.paths import feature_folder

if TYPE_CHECKING:
    from torch import Tensor

DEFAULT_LIMIT = 10 * 2**30
"""Bytes that all entries together may take."""

ROOM = 0.9
"""Share of the limit that is left filled when old entries are removed."""

MOST_IN_MEMORY = 40
"""Images of which features are held in memory."""

LEFTOVER_SECONDS = 3600.0
"""Age after which a temporary file is taken for one that a killed process left."""

NO_FEATURE_DEPENDS_ON = frozenset(
    {"id", "title", "source", "parameters", "training_data", "demonstration", "text_depth", "context_length"}
)
"""What is known of a backbone but does not change its features."""

Source = Path | bytes | Image.Image
"""An image as a file, as the content of one, or decoded."""


class FeatureCache(Protocol):
    """Where features are kept, image by image: a ``FeatureFolder`` or a ``FeatureMemory``."""

    @property
    def storage(self) -> Storage:
        """How features are stored."""

    def get(self, info: BackboneInfo, key: str, names: frozenset[str] | None = None) -> StoredImage | None:
        """What is held of an image, of the features of these flat names or of all; None if there is no entry."""

    def put(self, info: BackboneInfo, key: str, stored: StoredImage) -> None:
        """Keep an image's features in place of those kept before."""


class CachingBackbone:
    """A backbone around a backbone that remembers what the inner one computed.

    With a cache of features, images pass the tower one by one, so what is stored does not depend on which images,
    prompts or methods were asked for together, and what is given is always what would be read back. A request is
    served from whatever entry holds at least what it names; the rest is added to the entry.

    Attributes:
        inner: The backbone that computes.
        features: Where features are kept; None to pass images on as they come.
        texts: Embeddings of prompts; None to embed them each time.
    """

    def __init__(self, inner: Backbone, features: FeatureCache | None = None, texts: TextCache | None = None) -> None:
        self.inner, self.features, self.texts = inner, features, texts

    @property
    def info(self) -> BackboneInfo:
        """The inner backbone's."""
        return self.inner.info

    @property
    def device(self) -> torch.device:
        """The inner backbone's."""
        return self.inner.device

    @property
    def preprocess(self) -> Callable[[Image.Image], Tensor]:
        """The inner backbone's."""
        return self.inner.preprocess

    def recall(self, key: str, request: FeatureRequest) -> StoredImage | None:
        """The entry of an image if it holds all that is asked for; only that is read."""
        if self.features is None or not key:
            return self.inner.recall(key, request)
        stored = self.features.get(self.info, key, request.names())
        return stored if stored is not None and request.names() <= stored.names() else None

    def encode_images(self, images: Images, request: FeatureRequest, clock: Clock | None = None) -> Features:
        """Features of N images: what is known, the rest computed and kept as well; see the class."""
        if self.features is None:
            return self.inner.encode_images(images, request, clock)
        if isinstance(images, torch.Tensor):
            images = [ImageInput("", partial(_with_size, pixels)) for pixels in images]
        return concatenate_features([self._one(self.features, image, request, clock) for image in images])

    def _one(self, cache: FeatureCache, image: ImageInput, request: FeatureRequest, clock: Clock | None) -> Features:
        names, stored = request.names(), image.known
        if stored is None or not names <= stored.names():
            stored = cache.get(self.info, image.key) if image.key else None
            left = request.without(stored.names() if stored else ())
            if left.names() or stored is None:
                computed = self.inner.encode_images([image], left, clock)
                assert image.size is not None
                stored = merged(stored, pack(computed, image.size, cache.storage))
                if image.key:
                    cache.put(self.info, image.key, stored)
            image.size = image.size or stored.size
        return stored.features(names).to(self.device)

    def encode_text(self, prompts: Sequence[str]) -> Tensor:
        """Embed prompts: [n, e] float32; always a copy, so that no method can change another's."""
        if self.texts is None:
            return self.inner.encode_text(prompts)
        return self.texts.embed(self.inner.encode_text, [tuple(prompts)])

    def encode_learned_prompts(self, prompts: Sequence[str], context: Tensor, deep: Sequence[Tensor] = ()) -> Tensor:
        """Embed prompts behind learned context vectors; never kept."""
        return self.inner.encode_learned_prompts(prompts, context, deep)


def _with_size(pixels: Tensor) -> tuple[Tensor, tuple[int, int]]:
    return pixels, (pixels.shape[-2], pixels.shape[-1])


class FeatureMemory:
    """Features of the images that were looked at last, as and where they were computed; for several threads."""

    storage: Storage = "full"

    def __init__(self, most: int = MOST_IN_MEMORY) -> None:
        """Start empty.

        Args:
            most: Images held; beyond it those used longest ago go.
        """
        self._most = most
        self._known: OrderedDict[tuple[BackboneInfo, str], StoredImage] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Number of images held."""
        return len(self._known)

    def get(self, info: BackboneInfo, key: str, names: frozenset[str] | None = None) -> StoredImage | None:
        """All that is held of an image, whatever the names."""
        with self._lock:
            found = self._known.get((info, key))
            if found is not None:
                self._known.move_to_end((info, key))
        return found

    def put(self, info: BackboneInfo, key: str, stored: StoredImage) -> None:
        """Keep an image's features."""
        with self._lock:
            self._known[info, key] = stored
            self._known.move_to_end((info, key))
            while len(self._known) > self._most:
                self._known.popitem(last=False)


class FeatureFolder:
    """A folder of features; see the module's text.

    Attributes:
        folder: Where entries lie.
        limit_bytes: Bytes they may take together; beyond it the least recently used ones are removed.
        storage: ``half`` or ``full``, see ``feature_files``.
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
        self.damaged = 0
        self._notice = notice or logging.getLogger("vlmad_core.feature_cache").warning
        self._lock = threading.Lock()
        self._filled: int | None = None
        self._writable = limit_bytes > 0

    def path(self, info: BackboneInfo, key: str) -> Path:
        """The file of an image's entry; ``key`` comes from ``content_key``."""
        return self.folder / feature_key(info, self.storage) / key[:2] / f"{key}.safetensors"

    def holds(self, info: BackboneInfo, key: str, request: FeatureRequest) -> bool:
        """Whether a request could be served, as far as can be told without reading the entry."""
        return request.names() <= stored_names(self.path(info, key))

    def filled_bytes(self) -> int:
        """Bytes that all entries take now."""
        return sum(size for _, size, _ in _entries(self.folder))

    def get(self, info: BackboneInfo, key: str, names: frozenset[str] | None = None) -> StoredImage | None:
        """What is held of an image; what is damaged is removed, and is no entry."""
        path = self.path(info, key)
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

    def put(self, info: BackboneInfo, key: str, stored: StoredImage) -> None:
        """Store an entry if that is possible; a cache that can't be written to only costs time."""
        if not self._writable:
            return
        path, content = self.path(info, key), to_bytes(stored)
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


class TextFolder:
    """Embeddings of prompts in a folder of features: found by their tokens, and by what features depend on."""

    def __init__(self, folder: FeatureFolder, backbone: ClipBackbone) -> None:
        self._folder, self._backbone = folder, backbone

    def get(self, group: tuple[str, ...]) -> Tensor | None:
        """What is kept of a group: [n, e] float32; None if nothing is."""
        stored = self._folder.get(self._backbone.info, self._key(group))
        return None if stored is None else stored.tensors["text"].clone().to(self._backbone.device)

    def put(self, group: tuple[str, ...], rows: Tensor) -> None:
        """Keep a group's embeddings."""
        self._folder.put(self._backbone.info, self._key(group), StoredImage({"text": rows.cpu()}, (0, 0), (0, 0)))

    def _key(self, group: tuple[str, ...]) -> str:
        """Over the prompts' tokens: tokenizers may differ where the weights do not."""
        return f"text-{hashlib.sha256(json.dumps(self._backbone.tokenize(group)).encode()).hexdigest()}"


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


def feature_key(info: BackboneInfo, storage: Storage) -> str:
    """Sixteen hex digits over all that features depend on besides the image."""
    return hashlib.sha256(_conditions(info, storage).encode()).hexdigest()[:16]


def image_input(source: Source, backbone: Backbone, request: FeatureRequest) -> ImageInput:
    """An image that a backbone is to be asked about; it is not decoded if the backbone knows all that is asked for.

    Args:
        source: A file, the content of one, or a decoded image.
        backbone: The backbone.
        request: What will be asked for.
    """
    key = ""
    with contextlib.suppress(OSError):  # reading the image says more clearly what is wrong with it
        key = content_key(source)

    def read() -> tuple[Tensor, tuple[int, int]]:
        image = source if isinstance(source, Image.Image) else read_image(source)
        return backbone.preprocess(image), (image.height, image.width)

    return ImageInput(key, read, backbone.recall(key, request) if key else None)


def _conditions(info: BackboneInfo, storage: Storage) -> str:
    facts = {name: value for name, value in info.to_json().items() if name not in NO_FEATURE_DEPENDS_ON}
    # Other releases of torch may round otherwise; one machine's cache then holds both apart.
    more = {"format": FORMAT, "storage": storage, "reading": reading_protocol(), "torch": torch.__version__}
    return json.dumps({**more, "backbone": facts}, sort_keys=True, indent=1)


def _describe(folder: Path, info: BackboneInfo, storage: Storage) -> None:
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
