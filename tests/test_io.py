from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from vlmad_core import io
from vlmad_core.errors import StoreError
from vlmad_core.io import (
    LOCK_FOLDER,
    commit_folder,
    held_locks,
    is_locked,
    json_bytes,
    lock,
    read_json,
    remove_folder,
    remove_leftovers,
    temporary_folder,
    workshop,
    write_atomically,
)

HOLDER = """
import sys
from pathlib import Path
from typing import Any
from vlmad_core.io import lock

with lock(Path(sys.argv[1]), sys.argv[2], wait=True) as held:
    print(held, flush=True)
    sys.stdin.read()
"""


@contextmanager
def another_process(store: Path, name: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds a name until its standard input is closed."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(store), name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
    ) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "True\n"
            yield process
        finally:
            process.kill()


def test_a_lock_is_held_by_one_and_tidied_away(tmp_path: Path) -> None:
    order: list[str] = []

    def wait() -> None:
        with lock(tmp_path, "x", wait=True) as held:
            assert held
            order.append("second")

    with lock(tmp_path, "x") as held, lock(tmp_path, "x") as refused, lock(tmp_path, "y") as other:
        assert (held, refused, other) == (True, False, True)
        assert held_locks(tmp_path) == 2
        thread = threading.Thread(target=wait)
        thread.start()
        time.sleep(0.2)
        order.append("first")
    thread.join(timeout=10)
    assert order == ["first", "second"]
    assert not (tmp_path / LOCK_FOLDER).exists()
    assert held_locks(tmp_path) == 0


def test_what_another_process_holds_is_refused_or_waited_for(tmp_path: Path) -> None:
    with another_process(tmp_path, "a unit") as process:
        assert held_locks(tmp_path) == 1
        assert (is_locked(tmp_path, "a unit"), is_locked(tmp_path, "another")) == (True, False)
        with lock(tmp_path, "a unit") as held:
            assert not held
        assert process.stdin is not None
        threading.Timer(0.3, process.stdin.close).start()
        start = time.monotonic()
        with lock(tmp_path, "a unit", wait=True) as held:
            assert held
            assert time.monotonic() - start > 0.2
            assert process.wait(timeout=10) == 0
    assert not (tmp_path / LOCK_FOLDER).exists()


def test_a_killed_holder_loses_its_lock_at_once(tmp_path: Path) -> None:
    with another_process(tmp_path, "a unit") as process:
        process.send_signal(signal.SIGKILL if os.name != "nt" else signal.SIGTERM)
        process.wait(timeout=10)
        assert any((tmp_path / LOCK_FOLDER).iterdir())  # its file is still there
        assert held_locks(tmp_path) == 0
        with lock(tmp_path, "a unit") as held:
            assert held
    assert not (tmp_path / LOCK_FOLDER).exists()


def test_any_name_makes_a_file_every_system_allows(tmp_path: Path) -> None:
    names = ("run d/m:canonical", "CON", "a" * 400, 'Schraube "3" <groß>?*|', "..", "")
    for name in names:
        with lock(tmp_path, name) as held:
            assert held
            (file,) = (tmp_path / LOCK_FOLDER).iterdir()
            assert re.fullmatch(r"[0-9a-f]{16}", file.name)


def test_many_who_want_the_same_get_it_one_by_one(tmp_path: Path) -> None:
    """Files and folder of the locks vanish and come back all the time; nobody may notice."""
    inside, seen = [0], []

    def work() -> None:
        for _ in range(50):
            with lock(tmp_path, "x", wait=True) as held:
                inside[0] += 1
                seen.append((held, inside[0]))
                inside[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert seen == [(True, 1)] * 200


@pytest.mark.parametrize("error", [FileExistsError(17, "File exists"), FileNotFoundError(2, "No such file")])
def test_a_folder_tidied_away_under_filelock_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    acquire, errors = FileLock.acquire, [error]

    def once_too_late(self: FileLock, *words: Any, **more: Any) -> Any:
        if errors:
            raise errors.pop()
        return acquire(self, *words, **more)

    monkeypatch.setattr(FileLock, "acquire", once_too_late)
    with lock(tmp_path, "x") as held:
        assert held
    assert errors == []


@pytest.mark.parametrize("error", [OSError(30, "Read-only file system"), FileNotFoundError(2, "No such file")])
def test_a_store_that_cannot_be_written_to_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", refuse)
        with pytest.raises(OSError, match=str(error.strerror)), lock(tmp_path, "x", wait=True):
            pass
    assert held_locks(tmp_path) == 0
    (tmp_path / LOCK_FOLDER).write_text("a file where the folder belongs")
    with pytest.raises(FileExistsError), lock(tmp_path, "x", wait=True):
        pass


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "file"
    write_atomically(file, b"old")
    write_atomically(file, b"new")
    write_atomically(tmp_path / "cache" / "entry", b"quick", durable=False)
    assert file.read_bytes() == b"new"
    assert (tmp_path / "cache" / "entry").read_bytes() == b"quick"
    assert [p.name for p in file.parent.iterdir()] == ["file"]


@pytest.mark.parametrize("durable", [True, False])
def test_a_file_that_could_not_be_written_stays_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durable: bool
) -> None:
    file = tmp_path / "file"
    write_atomically(file, b"old")

    def full(path: Path, content: bytes) -> int:
        path.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(io, "write_synced", full)
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        write_atomically(file, b"new", durable=durable)
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("file", b"old")]


def test_a_folder_appears_and_goes_in_one_step(tmp_path: Path) -> None:
    target = tmp_path / "unit [1]"
    for content, replace, committed in (("a", False, True), ("b", False, False), ("c", True, True)):
        workshop = temporary_folder(target)
        (workshop / "file").write_text(content)
        assert commit_folder(workshop, target, replace=replace) is committed
    assert (target / "file").read_text() == "c"
    temporary_folder(target)
    remove_leftovers(target)
    assert [p.name for p in tmp_path.iterdir()] == [target.name]
    remove_folder(target)
    assert list(tmp_path.iterdir()) == []


def test_only_json_objects_are_read(tmp_path: Path) -> None:
    file = tmp_path / "record.json"
    file.write_bytes(json_bytes({"größe": 1.5}))
    assert read_json(file) == {"größe": 1.5} == json.loads(file.read_text(encoding="utf-8"))
    for content, said in ((b"[1]", "no json object"), (b"{", "can't be read"), (b"\xff", "can't be read")):
        file.write_bytes(content)
        with pytest.raises(StoreError, match=said):
            read_json(file)
    with pytest.raises(ValueError, match="JSON compliant"):
        json_bytes({"score": float("nan")})


def test_a_workshop_is_gone_at_its_end_and_takes_those_of_killed_processes_along(tmp_path: Path) -> None:
    left = tmp_path / ".tmp-import-1-0123abcd"
    left.mkdir()
    with workshop(tmp_path, "import") as mine:
        assert not left.exists()
        with workshop(tmp_path, "import") as other:
            assert mine.is_dir()
            assert other.is_dir()
    assert list(tmp_path.iterdir()) == []


def test_a_pipe_or_device_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="pipe or device"):
        write_atomically(tmp_path / "pipe", b"x")
    assert (tmp_path / "pipe").is_fifo()
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]
