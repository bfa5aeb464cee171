"""Files of others: opened if they are regular files, read no further than is allowed, and their names as text."""

from __future__ import annotations

import errno
import os
import re
import stat
from io import BufferedReader
from pathlib import Path

from vlmad_core.errors import VlmadError

_SURROGATE = re.compile("[\ud800-\udfff]")


def is_folder(path: Path) -> bool:
    """Whether a folder is there that may be looked for; a name too long or a place that is closed holds none."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def is_file(path: Path) -> bool:
    """Whether a regular file is there, likewise."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def open_regular(path: Path) -> BufferedReader:
    """Open a file for reading if it is one: a folder, pipe, socket or device is refused, and nothing is waited for.

    What it says of its size is not to be trusted: read no more than you can hold.

    Raises:
        OSError: If it can't be opened, or is no regular file.
    """
    flags = os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_NONBLOCK", "O_NOCTTY", "O_CLOEXEC", "O_BINARY"))
    try:
        descriptor = os.open(path, flags)
    except ValueError as problem:  # a name that no system has, as with a zero byte
        raise OSError(errno.EINVAL, f"no file can have this name ({problem})") from problem
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    raise OSError(errno.EINVAL, "it is a folder, pipe or device, no regular file")


def read_file(
    path: Path, most: int, error: type[VlmadError], fix: str = "Check the path.", *, name: str | None = None
) -> bytes:
    """The content of a regular file of bounded size: the one way in which files of others are read whole.

    Args:
        path: The file; a link is followed.
        most: Bytes it may have; no more are read, whatever it says of itself.
        error: What to raise.
        fix: What to do about a file that can't be read.
        name: What to call it in messages; the path by default.

    Raises:
        VlmadError: Of the kind ``error``: if it is missing, no regular file, too large, or can't be read.
    """
    shown = printable(name or path)
    try:
        with open_regular(path) as file:
            content = file.read(min(os.fstat(file.fileno()).st_size, most) + 1)
            content += file.read(most + 1 - len(content))  # nothing, unless it grows or hides its size
    except FileNotFoundError as problem:
        raise error(f"{shown}: can't be read (no such file).", fix) from problem
    except OSError as problem:
        raise error(f"{shown}: can't be read ({problem.strerror or problem}).", fix) from problem
    if len(content) > most:
        raise error(f"{shown}: has more than {most:,} bytes.", "Give a smaller file.")
    return content


def printable(name: object) -> str:
    r"""A file's name or path, or another text, as it can be written to any file and shown on any page.

    Where a system's names are bytes, some are no UTF-8; Python holds such a byte as a lone surrogate, which no text
    file takes. This is the one written form: the byte in hexadecimal after a percent sign.

    >>> printable("photo \udce9.png"), printable("größe.png")
    ('photo %E9.png', 'größe.png')
    """
    return _SURROGATE.sub(lambda found: f"%{ord(found[0]) - 0xDC00 & 0xFFFF:02X}", str(name))
