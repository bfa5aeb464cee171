"""Zip archives as strangers give them: read in memory, entry by entry, and never beyond the limits.

Nothing is unpacked to disk here, and no entry's word is taken for its size or its place.
"""

from __future__ import annotations

import stat
import zipfile
from collections.abc import Collection
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import PurePosixPath

from vlmad_core.arrays import METHODS, UNPACKING_ERRORS
from vlmad_core.datasets.images import ImageLimits
from vlmad_core.errors import DatasetError

CHUNK = 2**20
LONGEST_NAME, LONGEST_PATH = 200, 1000
"""Bytes of a file's name, and of its path in an archive: what every system can write."""
_ENTRY = b"PK\x01\x02"
"""How each entry of an archive's table begins."""


@dataclass
class Allowance:
    """Bytes that may still be unpacked of one archive."""

    left: int


@dataclass(frozen=True)
class ArchiveEntry:
    """A file in an archive, not unpacked yet.

    Attributes:
        path: Its path inside the archive, with forward slashes; it leads nowhere else.
        shown: What to call it in messages: archive and path.
    """

    path: str
    shown: str
    archive: zipfile.ZipFile
    entry: zipfile.ZipInfo
    allowance: Allowance
    limits: ImageLimits
    _counted: list[int] = field(default_factory=list)

    def read(self) -> bytes:
        """Its content, read in pieces so that it ends at the limit whatever its header promises.

        Raises:
            DatasetError: If it is encrypted or damaged, or it or the whole archive unpacks to more than is allowed.
        """
        limits = self.limits
        if self.entry.flag_bits & 0x1:
            raise DatasetError(f"{self.shown}: it is encrypted.", "Pack it without a password.")
        if self.entry.compress_type not in METHODS:
            raise DatasetError(f"{self.shown}: it is packed in an unusual way.", "Pack it with zip's usual method.")
        parts, size = [], 0
        try:
            with self.archive.open(self.entry) as stream:
                while part := stream.read(CHUNK):
                    size += len(part)
                    if size > limits.max_bytes:
                        raise DatasetError(
                            f"{self.shown}: unpacks to more than the {limits.max_bytes / 2**20:.0f} MB allowed.",
                            "Give a smaller or better compressed image.",
                        )
                    parts.append(part)
        except UNPACKING_ERRORS as e:
            raise DatasetError(f"{self.shown}: can't be unpacked ({e}).", "Pack it again.") from e
        if not self._counted:  # what is read again was counted already
            self._counted.append(size)
            self.allowance.left -= size
        if self.allowance.left < 0:
            raise DatasetError(
                f"{self.shown}: the archive unpacks to more than the {limits.max_unpacked_bytes / 2**20:.0f} MB"
                " allowed.",
                "Pack fewer or better compressed images.",
            )
        return b"".join(parts)


@dataclass(frozen=True)
class Archive:
    """What is in an archive.

    Attributes:
        entries: Its files of the endings that were asked for, in order.
        problems: What can't be used, each in a sentence that names it.
        left_out: Number of files with other endings.
    """

    entries: tuple[ArchiveEntry, ...]
    problems: tuple[str, ...]
    left_out: int


def is_archive(name: str) -> bool:
    """Whether a file is taken for a zip archive, by its name."""
    return PurePosixPath(name.lower()).suffix == ".zip"


def open_archive(content: bytes, name: str, suffixes: Collection[str], limits: ImageLimits) -> Archive:
    """List an archive's files.

    Args:
        content: The archive.
        name: What to call it in messages.
        suffixes: Endings (lower case) of the files that are wanted.
        limits: How large it may be, and how many entries it may have.

    Raises:
        DatasetError: If it is too large, has too many entries, or is no zip archive.
    """
    if len(content) > limits.max_archive_bytes:
        raise DatasetError(
            f"{name}: {len(content) / 2**20:.0f} MB, more than the {limits.max_archive_bytes / 2**20:.0f} MB allowed.",
            f"Pack at most {limits.max_batch} images, or give them as a folder.",
        )
    # Counted before the table is read: reading it costs memory for each entry, however many there are.
    count = content.count(_ENTRY)
    if count > limits.max_archive_entries:
        raise DatasetError(
            f"{name}: {count:,} entries, more than the {limits.max_archive_entries:,} allowed.",
            "Pack fewer images.",
        )
    try:
        archive = zipfile.ZipFile(BytesIO(content))
    except UNPACKING_ERRORS as error:
        raise DatasetError(f"{name}: not a zip archive that can be read ({error}).", "Pack it again.") from error
    allowance = Allowance(limits.max_unpacked_bytes)
    entries: dict[str, ArchiveEntry] = {}
    problems, left_out = [], 0
    for entry in archive.infolist():
        path = entry.filename.replace("\\", "/")
        shown = f"{name}/{entry.filename}"
        if path.endswith("/") or is_hidden(path):
            continue
        reason = "it is a link, not a file" if stat.S_ISLNK(entry.external_attr >> 16) else why_not(path, entries)
        if reason is not None:
            problems.append(f"{shown[:LONGEST_NAME]}: {reason}; it was left out.")
        elif PurePosixPath(path.lower()).suffix not in suffixes:
            left_out += 1
        else:
            entries[path] = ArchiveEntry(path, shown, archive, entry, allowance, limits)
    return Archive(tuple(entries.values()), tuple(problems), left_out)


def is_hidden(path: str) -> bool:
    """Whether a file is none of the user's: what systems put beside files."""
    return any((part.startswith(".") and part not in (".", "..")) or part == "__MACOSX" for part in path.split("/"))


def leads_out(path: str) -> bool:
    """Whether a path with forward slashes leads out of the folder it is relative to."""
    return path.startswith("/") or ".." in path.split("/") or path[1:2] == ":"


def is_writable_name(path: str) -> bool:
    """Whether every system can write a file of that path.

    >>> is_writable_name("good/Blech ä.png"), is_writable_name("a" + chr(0)), is_writable_name("x" * 300)
    (True, False, False)
    """
    try:
        lengths = [len(part.encode()) for part in path.split("/")]
    except UnicodeEncodeError:
        return False
    return path.isprintable() and min(lengths) > 0 and max(lengths) <= LONGEST_NAME and sum(lengths) <= LONGEST_PATH


def why_not(path: str, listed: Collection[str]) -> str | None:
    """Why a file of that path can't be taken from strangers; None if it can.

    Args:
        path: With forward slashes.
        listed: The paths that were taken before.
    """
    if leads_out(path):
        return "its path leads out of the archive"
    if is_archive(path):
        return "an archive inside an archive is not opened"
    if not is_writable_name(path):
        return "its name can't be written on every system"
    return "its name is there twice" if path in listed else None
