from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from vlmad_core.errors import StoreError
from vlmad_core.io import read_json, read_yaml
from vlmad_core.reading import open_regular, printable, read_file


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(str(path))


UNREADABLE = {
    "pipe": _pipe,
    "device": _device,
    "socket": _socket,
    "folder": Path.mkdir,
    "missing": lambda path: None,
    "dangling": lambda path: path.symlink_to("nowhere"),
    "circle": lambda path: path.symlink_to(path.name),
}
"""What may lie where a file is expected, by name: makes it at a path. None of it may be waited for."""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")
@pytest.mark.parametrize("make", UNREADABLE.values(), ids=UNREADABLE)
def test_what_is_no_file_is_refused_at_once(tmp_path: Path, make: Callable[[Path], None]) -> None:
    path = tmp_path / "it"
    make(path)
    for read in (lambda: read_file(path, 10, StoreError), lambda: read_json(path), lambda: read_yaml(path, StoreError)):
        with pytest.raises(StoreError, match=r"it: can't be read \((no such|it is a folder|No such device|Too many)"):
            read()
    with pytest.raises(OSError, match=r"folder|No such|Too many"):
        open_regular(path)


def test_no_more_is_read_than_is_allowed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    assert read_file(path, 10, StoreError) == b"0123456789"
    with pytest.raises(StoreError, match="more than 9 bytes"):
        read_file(path, 9, StoreError)
    os.truncate(path, 2**40)  # takes no place on the disk, and would take all memory
    with pytest.raises(StoreError, match="more than 8,388,608 bytes"):
        read_file(path, 2**23, StoreError)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc here")
def test_a_file_that_hides_its_size_is_read() -> None:
    assert Path("/proc/self/status").stat().st_size == 0
    assert read_file(Path("/proc/self/status"), 2**20, StoreError).startswith(b"Name:")
    with pytest.raises(StoreError, match="more than 5 bytes"):
        read_file(Path("/proc/self/status"), 5, StoreError)


@pytest.mark.parametrize("name", ["a\0b", "\ud800", "x" * 5000])
def test_names_that_no_file_has_are_said(name: str) -> None:
    with pytest.raises(StoreError, match=r"can't be read \((no file can have this name|File name too long)"):
        read_file(Path(name), 10, StoreError)


def test_a_name_that_is_no_utf_8_can_be_written() -> None:
    assert printable(os.fsdecode(b"photo \xe9.png")) == "photo %E9.png"
    assert printable(Path("größe/照片.png")) == "größe/照片.png"
    assert printable("\ud800").isascii()
