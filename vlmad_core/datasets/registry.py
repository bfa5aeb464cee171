"""The layouts that can be read, in the order in which they are tried."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vlmad_core.datasets import (
    btad,
    elpv,
    kolektor,
    magnetic_tile,
    manifest,
    mpdd,
    mvtec,
    real_iad,
    textile,
    visa,
)
from vlmad_core.datasets.sample import Dataset


@dataclass(frozen=True)
class Reader:
    """One layout.

    Attributes:
        layout: Its name.
        expected: What it looks like on disk, for messages.
        recognises: Whether a path looks like it; cheap, decodes nothing.
        read: Lists the data set; bad items become problems.
    """

    layout: str
    expected: str
    recognises: Callable[[Path], bool]
    read: Callable[[Path, str], Dataset]


READERS: tuple[Reader, ...] = tuple(
    Reader(module.LAYOUT, module.EXPECTED, module.recognises, module.read)
    for module in (manifest, real_iad, visa, kolektor, magnetic_tile, elpv, textile, btad, mpdd, mvtec)
)
"""Most particular first: the first that recognises a path reads it."""


def reader_for(root: Path) -> Reader | None:
    """The reader that recognises a path, or None."""
    return next((reader for reader in READERS if reader.recognises(root)), None)
