"""Arrays in files of others: npy and npz, with every size held against the bytes that are there before it is taken.

numpy's own reading allocates what a header declares, and says of damage whatever its parts come to say.
"""

from __future__ import annotations

import io
import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Sequence

import numpy as np

DECODING_ERRORS = (
    OSError,
    ValueError,
    LookupError,
    TypeError,
    ArithmeticError,
    EOFError,
    SyntaxError,
    MemoryError,
    RuntimeError,  # also nesting too deep, and what a library never learnt to read
    AssertionError,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What decoding damaged or made-up bytes may raise, here and in the libraries that do it."""

LARGEST_HEADER = 4096
"""Bytes of a npy header; those that numpy writes have 128."""

_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def npy_array(content: bytes) -> np.ndarray:
    """The array of a npy file.

    Args:
        content: The whole file.

    Returns:
        The array, read-only: a view of the bytes.

    Raises:
        ValueError: If it is none, holds Python objects, or does not have the bytes that it declares.
    """
    stream = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(stream)
        if version not in _HEADERS:
            raise ValueError(f"npy of version {version[0]}.{version[1]}")
        shape, by_column, dtype = _HEADERS[version](stream, max_header_size=LARGEST_HEADER)
        if dtype.hasobject:
            raise ValueError("Python objects, which are not read")
        declared, there = math.prod(shape) * dtype.itemsize, len(content) - stream.tell()
        if declared != there or min(shape, default=0) < 0:
            raise ValueError(f"it declares {declared:,} bytes of numbers and has {there:,}")
        flat = np.frombuffer(content, dtype, offset=stream.tell()) if there else np.empty(0, dtype)
        return flat.reshape(shape, order="F" if by_column else "C")
    except DECODING_ERRORS as error:
        raise ValueError(f"no array that can be read: {str(error)[:200]}") from error


def npz_arrays(content: bytes, names: Sequence[str], most: int) -> dict[str, np.ndarray]:
    """Arrays of a npz file.

    Args:
        content: The whole file.
        names: Which; those that are not there are left out.
        most: Bytes they may have in all, decompressed; no more are taken.

    Returns:
        By name, read-only.

    Raises:
        ValueError: If it is no archive, is encrypted or compressed in a way numpy does not write, holds more than
            ``most``, or an array of it can't be read.
    """
    found: dict[str, np.ndarray] = {}
    left = most
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = {entry.filename: entry for entry in archive.infolist()}
            for name in names:
                entry = entries.get(f"{name}.npy")
                if entry is None:
                    continue
                if entry.flag_bits & 1 or entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise ValueError(f"{name} is encrypted, or compressed in a way that is not read")
                if not 0 <= entry.file_size <= left:
                    raise ValueError(f"{name} has more than the {left:,} bytes allowed")
                with archive.open(entry) as file:
                    raw = file.read(entry.file_size + 1)
                if len(raw) != entry.file_size:
                    raise ValueError(f"{name} does not have the size that is written of it")
                left -= len(raw)
                found[name] = npy_array(raw)
    except DECODING_ERRORS as error:
        raise ValueError(f"no archive of arrays that can be read: {str(error)[:200]}") from error
    return found
