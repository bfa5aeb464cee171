"""NumPy files of others, read from their bytes: bounded before anything is allocated, and nothing in them is run.

``numpy.load`` believes a file's head: it allocates what the head declares, and raises whatever a damaged head or a
crafted archive leads it to. Here a head is held against the bytes that are there, and all that is wrong with a file is
a ``ValueError``, which says what.
"""

from __future__ import annotations

import ast
import math
import re
import struct
import zipfile
import zlib
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np

LONGEST_HEAD = 4096
"""Bytes of the head of an array; numpy writes 64 to 128 for arrays of numbers."""

MOST_ARRAYS = 1000
"""Arrays in an archive."""

METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""How entries of a zip archive may be packed: with the others, zipfile unpacks all that a piece holds at once."""

UNPACKING_ERRORS = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, RuntimeError, KeyError, ValueError, OverflowError,
)  # fmt: skip
"""What zipfile raises for damaged or crafted archives; ``NotImplementedError`` is a ``RuntimeError``."""

_LENGTHS = {b"\x93NUMPY\1\0": 2, b"\x93NUMPY\2\0": 4, b"\x93NUMPY\3\0": 4}
"""Bytes of the head's length, by how a file of each version begins."""

_ENTRY = b"PK\x01\x02"
_KIND = re.compile(r"[<>|=]?[fiubU][1-9]\d{0,6}")
_KEYS = {"descr", "fortran_order", "shape"}
_MOST_AXES = 32


@dataclass(frozen=True)
class ArrayHead:
    """What an array's head declares.

    Attributes:
        shape: Its shape.
        dtype: Its type: numbers, truth values or text.
        fortran: Whether its first axis runs fastest.
        start: Where the values begin, in bytes.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool
    start: int

    @property
    def size(self) -> int:
        """Bytes of head and values."""
        return self.start + math.prod(self.shape) * self.dtype.itemsize


def array_head(content: bytes) -> ArrayHead:
    """Read the head of an array.

    Args:
        content: The first ``LONGEST_HEAD`` bytes of the file, or all of them.

    Raises:
        ValueError: If it is damaged, or declares what is neither numbers nor text.
    """
    width = _LENGTHS.get(content[:8], 0)
    start = 8 + width + int.from_bytes(content[8 : 8 + width], "little")
    if not width or start > min(len(content), LONGEST_HEAD):
        raise ValueError("it does not begin as a NumPy array does")
    try:
        declared = ast.literal_eval(content[8 + width : start].decode("latin-1").strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise ValueError("its head is damaged") from error
    if not isinstance(declared, dict) or declared.keys() != _KEYS:
        raise ValueError("its head is damaged")
    kind, fortran, shape = declared["descr"], declared["fortran_order"], declared["shape"]
    plain = isinstance(shape, tuple) and all(type(n) is int and 0 <= n < 2**48 for n in shape)
    if not plain or len(shape) > _MOST_AXES or type(fortran) is not bool:
        raise ValueError("its head declares no shape that an array can have")
    if not isinstance(kind, str) or not _KIND.fullmatch(kind):
        raise ValueError(f"it holds values of type {str(kind)[:40]!r}, neither numbers nor text")
    try:
        return ArrayHead(shape, np.dtype(kind), fortran, start)
    except TypeError as error:
        raise ValueError(f"there are no values of type {kind!r}") from error


def parse_npy(content: bytes, most: int) -> np.ndarray:
    """An array from the bytes of a npy file.

    Args:
        content: The file.
        most: Values it may have, and elements without any (as in a shape of (0, 1000)).

    Returns:
        The array, with memory of its own; of numbers, truth values or text.

    Raises:
        ValueError: If it is damaged or too large, or holds anything else.
    """
    head = array_head(content)
    count = math.prod(head.shape)
    if math.prod(max(1, n) for n in head.shape) > most:
        raise ValueError(f"it declares {count:,} values, more than {most:,}")
    if head.size != len(content):
        raise ValueError(f"its head declares {head.size:,} bytes, and it has {len(content):,}")
    values = np.frombuffer(content, head.dtype, count, head.start)
    return values.reshape(head.shape, order="F" if head.fortran else "C").copy(order="K")


def parse_npz(content: bytes, most: int) -> dict[str, np.ndarray]:
    """The arrays of a npz file by name.

    Args:
        content: The file.
        most: Values that all arrays together may have.

    Raises:
        ValueError: As ``parse_npy``; or if it is no archive of arrays, or one that is encrypted or packed unusually.
    """
    if content.count(_ENTRY) > MOST_ARRAYS:  # before its table is read, which costs memory for each entry
        raise ValueError(f"it has more than {MOST_ARRAYS:,} entries")
    arrays: dict[str, np.ndarray] = {}
    try:
        with zipfile.ZipFile(BytesIO(content)) as archive:
            for entry in archive.infolist():
                name = entry.filename.removesuffix(".npy")
                if name in arrays:
                    raise ValueError(f"{name!r} is in it twice")
                try:
                    arrays[name] = parse_npy(_unpacked(archive, entry, most), most)
                except ValueError as error:
                    raise ValueError(f"{name!r}: {error}") from error
                most -= arrays[name].size
    except UNPACKING_ERRORS as error:
        raise ValueError(str(error) or type(error).__name__) from error
    return arrays


def _unpacked(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, most: int) -> bytes:
    """The bytes of an array in an archive: as many as its head declares, and one more if there are more."""
    if entry.flag_bits & 0x1 or entry.compress_type not in METHODS:
        raise ValueError("it is encrypted, or packed in an unusual way")
    with archive.open(entry) as stream:
        start = stream.read(LONGEST_HEAD)
        head = array_head(start)
        if math.prod(head.shape) > most:
            raise ValueError(f"it declares {math.prod(head.shape):,} values, more than {most:,} that are left")
        return start + stream.read(max(0, head.size + 1 - len(start)))
