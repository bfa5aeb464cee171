"""Writing so that a kill at any moment leaves either the old state or the new one, never half of it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vlmad_core.store.layout import LOCK_FOLDER, TEMPORARY_PREFIX

try:
    import fcntl
except ImportError:  # Windows has no flock; there, the rename alone keeps two processes apart.
    fcntl = None  # type: ignore[assignment]


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable, where the system allows it."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_synced(path: Path, content: bytes) -> None:
    """Write a file and make its content durable; the name follows when its folder is synced."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file under a temporary name and rename it; an existing file is replaced."""
    make_folder(path.parent)
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{path.name}-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        write_synced(temporary, content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def temporary_folder(target: Path) -> Path:
    """Make a folder beside ``target`` whose content will become ``target``'s."""
    folder = target.with_name(f"{TEMPORARY_PREFIX}{target.name}-{os.getpid()}-{secrets.token_hex(4)}")
    make_folder(folder)
    return folder


def remove_leftovers(target: Path) -> None:
    """Remove what a killed process left of its try at ``target``; call only while holding its lock."""
    if target.parent.is_dir():
        for leftover in target.parent.glob(f"{_escaped(TEMPORARY_PREFIX + target.name)}-*-????????"):
            if leftover.is_dir():
                shutil.rmtree(leftover, ignore_errors=True)
            else:
                leftover.unlink(missing_ok=True)


def commit_folder(temporary: Path, target: Path, *, replace: bool = False) -> bool:
    """Turn a temporary folder into ``target`` in one step.

    Args:
        temporary: A folder whose files are already durable.
        target: Its final name.
        replace: Put it in the place of an existing folder; otherwise the existing one stays.

    Returns:
        False if ``target`` was there and stays; the temporary folder is then removed.
    """
    sync_folder(temporary)
    aside: Path | None = None
    if target.exists():
        if not replace:
            shutil.rmtree(temporary, ignore_errors=True)
            return False
        aside = target.with_name(f"{TEMPORARY_PREFIX}{target.name}-{os.getpid()}-{secrets.token_hex(4)}")
        target.rename(aside)
    try:
        temporary.rename(target)
    except OSError:
        if aside is not None:
            aside.rename(target)
            aside = None
        if not target.exists():
            raise
        shutil.rmtree(temporary, ignore_errors=True)
        return False
    sync_folder(target.parent)
    if aside is not None:
        shutil.rmtree(aside, ignore_errors=True)
    return True


@contextmanager
def lock(store: Path, name: str, *, wait: bool = False) -> Iterator[bool]:
    """Hold a name in a store against other processes; a killed process loses it at once.

    Args:
        store: Root of the store.
        name: Any text.
        wait: Wait until the other process is done; otherwise give up at once.

    Yields:
        True if the lock is held.
    """
    if fcntl is None:
        yield True
        return
    folder = store / LOCK_FOLDER
    path = folder / hashlib.sha256(name.encode()).hexdigest()[:16]
    descriptor = -1
    try:
        while True:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o644)
            except FileNotFoundError:
                continue  # the folder was tidied away between the two lines
            except FileExistsError:
                if folder.exists() and not folder.is_dir():
                    raise
                continue  # it was tidied away while `mkdir` looked whether what is there is a folder
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                yield False
                return
            # The last holder removes the file; what was locked must still be what the name means.
            if _is_named(descriptor, path):
                break
            os.close(descriptor)
            descriptor = -1
        try:
            yield True
        finally:
            path.unlink(missing_ok=True)
    finally:
        if descriptor >= 0:
            os.close(descriptor)
        with contextlib.suppress(OSError):  # other locks are held
            folder.rmdir()


def held_locks(store: Path) -> int:
    """How many names other processes hold in a store; 0 where the system has no locks."""
    if fcntl is None:
        return 0
    held = 0
    for path in (store / LOCK_FOLDER).glob("*"):
        try:
            descriptor = os.open(path, os.O_RDWR)
        except OSError:
            continue  # let go of just now
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            held += 1
        finally:
            os.close(descriptor)
    return held


def make_folder(folder: Path) -> None:
    """Make a folder with those above it, and make their names durable."""
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for made in reversed(missing):
        made.mkdir(exist_ok=True)
        sync_folder(made.parent)


def _is_named(descriptor: int, path: Path) -> bool:
    """Whether an open file is still what its name means."""
    try:
        return os.fstat(descriptor).st_ino == path.stat().st_ino
    except FileNotFoundError:
        return False


def _escaped(name: str) -> str:
    """A name with the wildcards of shell patterns taken literally."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)
