"""Files and locks: atomic writes, checked records, and names held against other processes.

A kill at any moment leaves either the old state or the new one, never half of it.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from pydantic_core import from_json

from vlmad_core.errors import StoreError, VlmadError
from vlmad_core.reading import read_file

TEMPORARY_PREFIX = ".tmp-"
"""How names begin of what is being written, or left by a killed process."""

LOCK_FOLDER = ".locks"
"""Folder of a store that holds the files of its locks."""

RECOMPUTE = "Compute it again."
"""What to do about a damaged file of what can be computed."""

LARGEST_YAML, MOST_YAML, DEEPEST_YAML = 2**20, 100_000, 50
"""Bytes, values and levels of nesting of a yaml file; the largest that comes with the program has some thousands, some
hundreds and 6."""

LARGEST_JSON = 8 * 2**20
"""Bytes of a json file that is read as a record; the largest that the program writes has some thousands."""


def read_json(path: Path, fix: str = RECOMPUTE) -> dict[str, Any]:
    """Read a json object; see ``parse_json``.

    Args:
        path: The file.
        fix: What to do about a file that can't be read.

    Raises:
        StoreError: If it can't be read, or is no json object.
    """
    return parse_json(read_file(path, LARGEST_JSON, StoreError, fix), str(path), fix)


def parse_json(content: bytes, place: str, fix: str = RECOMPUTE) -> dict[str, Any]:
    """A json object of bounded size and depth, with finite numbers only.

    Args:
        content: The text.
        place: What to call it in messages.
        fix: What to do where it can't be read.

    Raises:
        StoreError: If it can't be read, or is no json object.
    """
    if len(content) > LARGEST_JSON:
        raise StoreError(f"{place} can't be read: it has more than {LARGEST_JSON:,} bytes.", fix)
    try:
        value = from_json(content, allow_inf_nan=False)
    except ValueError as problem:
        raise StoreError(f"{place} can't be read: {problem}.", fix) from problem
    if not isinstance(value, dict):
        raise StoreError(f"{place} is damaged: it holds no json object.", fix)
    if not _within_floats(value):
        raise StoreError(f"{place} is damaged: it holds a number beyond what can be computed with.", fix)
    return value


def read_yaml(path: Path, error: type[VlmadError]) -> Any:
    """Read a yaml file; see ``parse_yaml``.

    Raises:
        VlmadError: Of the kind ``error``, if it can't be read.
    """
    return parse_yaml(read_file(path, LARGEST_YAML, error), str(path), error)


def parse_yaml(content: bytes | str, place: str, error: type[VlmadError]) -> Any:
    """The plain values of a yaml text of bounded size and depth.

    Args:
        content: The text.
        place: What to call it in messages.
        error: What to raise.

    Raises:
        VlmadError: Of the kind ``error``: if it is no yaml, too large, too deep, or holds aliases.
    """
    import yaml

    if len(content) > LARGEST_YAML:
        raise error(f"{place} has more than {LARGEST_YAML:,} bytes.", "Make it shorter.")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml, where PyYAML was built with it
    level = 0
    try:
        for count, event in enumerate(yaml.parse(content, Loader=loader)):
            level += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if level > DEEPEST_YAML:
                raise error(f"{place} is nested more than {DEEPEST_YAML} levels deep.", "Write it flatter.")
            if count > MOST_YAML:
                raise error(f"{place} holds more than {MOST_YAML:,} values.", "Make it shorter.")
            if isinstance(event, yaml.AliasEvent):  # with them a small file can become a large one
                raise error(f"{place} holds yaml aliases.", "Write every entry out.")
        return yaml.load(content, Loader=loader)
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, RecursionError) as problem:
        words = " ".join(str(problem).split())[:300]
        if "exceeded maximum nesting depth" in words:  # libyaml's own bound
            raise error(f"{place} is nested more than {DEEPEST_YAML} levels deep.", "Write it flatter.") from problem
        raise error(f"{place} can't be read as yaml: {words}.", "Correct the file.") from problem


def _within_floats(value: Any) -> bool:
    """Whether all numbers in a json value are finite, and its whole numbers are of 64 bits at most."""
    kind = value.__class__
    if kind is dict:
        return all(map(_within_floats, value.values()))
    if kind is list:
        return all(map(_within_floats, value))
    if kind is float:
        return value - value == 0
    return kind is not int or -(2**63) <= value < 2**63


def json_bytes(value: object) -> bytes:
    """A value as the json files of a store hold it: one blank a level, finite numbers only.

    Raises:
        ValueError: If a number is not finite.
        TypeError: If json has no form for it.
    """
    return (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8", "replace")


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


def write_atomically(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Write a file under a temporary name and rename it; an existing file is replaced.

    Args:
        path: The file; folders above it are made.
        content: All it will hold.
        durable: Wait until it would survive a power cut. False for what can be made again, as in caches.

    Raises:
        OSError: If it can't be written, or is a folder, pipe or device; what was there stays.
    """
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "It is a folder, pipe or device, which no file takes the place of", str(path))
    temporary = _temporary_name(path)
    if durable:
        make_folder(path.parent)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
    try:
        if durable:
            write_synced(temporary, content)
        else:
            temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        with contextlib.suppress(OSError):  # a folder that can't be written to is told by what failed before
            temporary.unlink(missing_ok=True)
    if durable:
        sync_folder(path.parent)


def temporary_folder(target: Path) -> Path:
    """Make a folder beside ``target`` whose content will become ``target``'s."""
    folder = _temporary_name(target)
    make_folder(folder)
    return folder


def remove_folder(folder: Path) -> None:
    """Remove a folder so that nobody meets half of it: it loses its name first.

    Raises:
        OSError: If it can't be renamed.
    """
    aside = _temporary_name(folder)
    folder.rename(aside)
    shutil.rmtree(aside, ignore_errors=True)


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
        aside = _temporary_name(target)
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
    except BaseException:
        if aside is not None and not target.exists():
            aside.rename(target)
        raise
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
    path = _lock_file(store, name)
    held = _acquired(path, wait=wait)
    if held is None:
        yield False
        return
    try:
        yield True
    finally:
        _let_go(held, path)


@contextmanager
def workshop(store: Path, name: str) -> Iterator[Path]:
    """A folder in a store where something is made that is moved to its place when it is whole.

    It is gone at the end, and so is what killed processes left of theirs.

    Args:
        store: Root of the store.
        name: What is made there, as a part of the folder's name.

    Yields:
        The folder, which nobody takes for a result.
    """
    for left in store.glob(f"{TEMPORARY_PREFIX}{name}-*-????????"):
        with lock(store, left.name) as nobodys:
            if nobodys:
                shutil.rmtree(left, ignore_errors=True)
    folder = _temporary_name(store / name)
    with lock(store, folder.name, wait=True):
        make_folder(folder)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def held_locks(store: Path) -> int:
    """How many names other processes hold in a store."""
    return sum(map(_is_held, (store / LOCK_FOLDER).glob("*")))


def is_locked(store: Path, name: str) -> bool:
    """Whether another process holds a name in a store now; see ``lock``.

    Who looks holds the name for a moment: who wants to hold it without waiting should try more than once.
    """
    path = _lock_file(store, name)
    return path.exists() and _is_held(path)


def _is_held(path: Path) -> bool:
    with contextlib.suppress(OSError):  # one that can't be opened is nobody's, or was let go of just now
        held = _acquired(path, wait=False)
        if held is None:
            return True
        _let_go(held, path)
    return False


def _lock_file(store: Path, name: str) -> Path:
    return store / LOCK_FOLDER / hashlib.sha256(name.encode()).hexdigest()[:16]


def _acquired(path: Path, *, wait: bool) -> FileLock | None:
    """The system's lock on a file, which is made; None if another process has it and ``wait`` is False."""
    held = FileLock(path)
    folder = path.parent
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            if folder.exists() and not folder.is_dir():
                raise
            continue  # it was tidied away while `mkdir` looked whether what is there is a folder
        try:
            held.acquire(timeout=-1 if wait else 0)
        except Timeout:
            return None
        except FileNotFoundError:
            continue  # the folder was tidied away between the two steps
        except FileExistsError:  # filelock makes the folder too, and meets the same as `mkdir` above
            if folder.exists() and not folder.is_dir():
                raise
            continue
        return held


def _let_go(held: FileLock, path: Path) -> None:
    """Release a lock and tidy its file away, and the folder after the last one."""
    if os.name != "nt":  # Windows removes no open file; there, filelock does it on release
        path.unlink(missing_ok=True)  # while it is held: who waits for it notices that the name is gone
    held.release()
    with contextlib.suppress(OSError):  # other locks are held
        path.parent.rmdir()


def make_folder(folder: Path) -> None:
    """Make a folder with those above it, and make their names durable."""
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for made in reversed(missing):
        made.mkdir(exist_ok=True)
        sync_folder(made.parent)


def _temporary_name(path: Path) -> Path:
    """A name beside ``path`` that no other process uses."""
    return path.with_name(f"{TEMPORARY_PREFIX}{path.name}-{os.getpid()}-{secrets.token_hex(4)}")


def _escaped(name: str) -> str:
    """A name with the wildcards of shell patterns taken literally."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)
