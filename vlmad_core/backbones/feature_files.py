"""One image's features as one file: what is stored at which precision, and how damage is noticed.

Vectors of which only the direction is used are stored as float16 unit vectors beside their length in float32;
raw tokens of the residual stream (``stages``) stay float32, since APRIL-GAN's linear layers and MuSc's
normalisation over all patches follow. Nothing in a file is ever unpickled.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from safetensors import SafetensorError, safe_open

from vlmad_core.backbones.devices import to_host
from vlmad_core.backbones.features import Features, feature_of
from vlmad_core.libraries import torch

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = 1
"""Version of the files; part of the folder's name, so that another version never meets them."""

Storage = Literal["half", "full"]
STORAGES: tuple[Storage, ...] = ("half", "full")
"""``half``: directions in float16; ``full``: everything in float32, as it was computed."""

LENGTH_SUFFIX = ".length"


class DamagedFileError(Exception):
    """A file is cut, altered, or not one of ours."""


@dataclass(frozen=True)
class StoredImage:
    """What is stored of one image.

    Attributes:
        tensors: By flat name, as ``pack`` made them, where it was given them; memory-mapped where they were read from
            a file.
        grid: Patch grid (rows, columns).
        size: Height and width of the image as it was read, in pixels.
    """

    tensors: Mapping[str, Tensor]
    grid: tuple[int, int]
    size: tuple[int, int]

    def names(self) -> frozenset[str]:
        """Flat names of the features it holds."""
        return frozenset(name for name in self.tensors if not name.endswith(LENGTH_SUFFIX))

    def features(self, names: frozenset[str] | None = None) -> Features:
        """The features of these names, or all: float32, N = 1."""
        chosen = self.names() if names is None else names
        return Features.of_tensors(self.grid, {name: _unpacked(self.tensors, name) for name in sorted(chosen)})


def pack(features: Features, size: tuple[int, int], storage: Storage) -> StoredImage:
    """The features of one image as they will stand in its file.

    Args:
        features: N = 1, float32.
        size: Height and width of the image in pixels.
        storage: See ``STORAGES``.
    """
    tensors: dict[str, Tensor] = {}
    for name, tensor in features.tensors().items():
        if storage == "full" or not feature_of(name).direction_only:
            tensors[name] = tensor.float().contiguous()
            continue
        length = torch.linalg.vector_norm(tensor.float(), dim=-1, keepdim=True)
        # A vector without length stays zero instead of becoming not-a-number.
        unit = tensor.float() / length.clamp_min(torch.finfo(torch.float32).tiny)
        tensors[name] = unit.half().contiguous()
        tensors[name + LENGTH_SUFFIX] = length.contiguous()
    return StoredImage(tensors, features.grid, size)


def merged(first: StoredImage | None, second: StoredImage) -> StoredImage:
    """Both together; where both hold a tensor the first one's stays."""
    if first is None:
        return second
    return StoredImage({**second.tensors, **first.tensors}, second.grid, second.size)


def to_bytes(stored: StoredImage) -> bytes:
    """The file's content: safetensors with a checksum of each tensor."""
    tensors = {name: tensor.contiguous() for name, tensor in to_host(stored.tensors).items()}
    facts = {
        "format": FORMAT,
        "grid": stored.grid,
        "size": stored.size,
        "checksums": {name: _checksum(tensor) for name, tensor in tensors.items()},
    }
    from safetensors.torch import save

    content: bytes = save(tensors, metadata={"vlmad": json.dumps(facts)})
    return content


def read_file(path: Path, names: frozenset[str] | None = None) -> StoredImage:
    """Map a file into memory and check what is asked for.

    Safetensors opens a file twice, for its header and for its tensors. What another process renamed into its place
    between the two looks like damage; so a file that is no longer the one it was is read again.

    Args:
        path: The file.
        names: Flat names that are wanted; the others are not read. None for all. Names that the file does not
            hold are left out.

    Raises:
        FileNotFoundError: If there is none.
        DamagedFileError: If it is not whole.
    """
    while path.is_file():
        before = _identity(path)
        try:
            return _mapped(path, names)
        except DamagedFileError:
            if _identity(path) == before:
                raise
    raise FileNotFoundError(path)


def _identity(path: Path) -> tuple[int, int, int]:
    """Inode, size and time of change: together they tell a file from one renamed into its place."""
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns


def _mapped(path: Path, names: frozenset[str] | None) -> StoredImage:
    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads((file.metadata() or {})["vlmad"])
            held: list[str] = list(file.keys())
            wanted = [name for name in held if names is None or name.removesuffix(LENGTH_SUFFIX) in names]
            tensors = {name: file.get_tensor(name) for name in wanted}
        for name, tensor in tensors.items():
            if _checksum(tensor) != facts["checksums"][name]:
                raise DamagedFileError(f"the checksum of {name} is not the one recorded")
        rows, columns = facts["grid"]
        height, width = facts["size"]
        return StoredImage(tensors, (int(rows), int(columns)), (int(height), int(width)))
    except FileNotFoundError:
        raise  # removed by another process just now
    except (SafetensorError, OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
        raise DamagedFileError(f"{type(error).__name__}: {error}") from error


def stored_names(path: Path) -> frozenset[str]:
    """Flat names of the features a file holds, without reading them; empty if it is missing or not whole."""
    try:
        with safe_open(path, framework="pt") as file:
            held: list[str] = list(file.keys())
    except (SafetensorError, OSError, RuntimeError):
        return frozenset()
    return frozenset(name for name in held if not name.endswith(LENGTH_SUFFIX))


def _unpacked(tensors: Mapping[str, Tensor], name: str) -> Tensor:
    length = tensors.get(name + LENGTH_SUFFIX)
    return tensors[name] if length is None else tensors[name].float() * length


def _checksum(tensor: Tensor) -> int:
    return zlib.crc32(tensor.contiguous().numpy().data)
