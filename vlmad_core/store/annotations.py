"""Notes and tags on single images, and saved live demos: what people add to a store, beside its runs.

Everything lies under ``<store>/annotations``, never in a run:

    failures/<data set>/<16 hex>.json     one file per image and method
    demos/<16 hex>/demo.json              one folder per saved demo, with its files beside it

A file is replaced as a whole, so a reader never meets half of one, and people who write about different images
never meet at all. Of two who write about the same image and method, the later one is kept: unless a writer says
which state he has seen, and is told when it has changed since.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
import secrets
import shutil
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from vlmad_core.errors import StoreError
from vlmad_core.io import (
    commit_folder,
    json_bytes,
    lock,
    read_json,
    remove_folder,
    temporary_folder,
    write_atomically,
    write_synced,
)
from vlmad_core.reading import read_file
from vlmad_core.records import Count, Number
from vlmad_core.store import layout
from vlmad_core.store.schema import SCHEMA_VERSION, StoreProblem, canonical_json, read_record
from vlmad_core.store.writer import now

LONGEST_NOTE, LONGEST_TAG, MOST_TAGS = 4000, 40, 20
"""Limits of what is kept of a note (letters), a tag (letters), and of the number of tags."""

LARGEST_DEMO = 64 * 2**20
"""Most bytes of all files of one saved demo."""

FAILURES, DEMOS, DEMO_FILE = "failures", "demos", "demo.json"
_ID = re.compile(r"[0-9a-f]{16}")
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")


@dataclass(frozen=True)
class Annotation:
    """What somebody notes about one image as one method judged it.

    Attributes:
        dataset: Name of the data set.
        category: The category.
        image_id: The image, as the run lists it.
        method: The competitor, e.g. ``winclip`` or ``winclip:accurate``.
        shots: Its number of references.
        note: Free text; markup in it means nothing.
        tags: Short words to find it again.
        verdict: What the method's verdict was when it was written, e.g. ``missed``; empty if unknown.
        score: The image's score at that time, or None.
        threshold: The threshold it was judged at, or None.
        run_id: The run that was looked at; empty if unknown.
        changed_at: When it was saved, ISO 8601, UTC; set by ``save_annotation``.
    """

    dataset: str
    category: str
    image_id: str
    method: str
    shots: Count = 0
    note: str = ""
    tags: tuple[str, ...] = ()
    verdict: str = ""
    score: Number | None = None
    threshold: Number | None = None
    run_id: str = ""
    changed_at: str = ""

    @property
    def key(self) -> tuple[str, str, str, str, int]:
        """What it is about; there is at most one annotation of a key."""
        return self.dataset, self.category, self.image_id, self.method, self.shots


@dataclass(frozen=True)
class Demo:
    """A saved live demo.

    Attributes:
        id: Sixteen hex digits.
        title: What it is called.
        saved_at: When, ISO 8601, UTC.
        content: What the page that saved it needs to show it again, as plain json values.
        files: Names of its files and their sizes in bytes.
        path: Its folder.
    """

    id: str
    title: str
    saved_at: str
    content: Mapping[str, Any]
    files: Mapping[Annotated[str, Field(pattern=f"^{_FILE_NAME.pattern}$")], Count]
    path: Path = Path()

    def read(self, name: str) -> bytes:
        """One of its files.

        Raises:
            StoreError: If it has no such file, or the file is gone.
        """
        if name not in self.files:
            raise StoreError(f"The saved demo {self.id} has no file {clean(name, 80)!r}.", "Save the demo again.")
        return read_file(self.path / name, LARGEST_DEMO, StoreError, "Save the demo again.")


@dataclass(frozen=True)
class Found:
    """Annotations or demos of a store, and what could not be read of them.

    Attributes:
        items: What could be read; annotations in the order of their keys, demos newest first.
        problems: What could not, file by file.
    """

    items: tuple[Any, ...]
    problems: tuple[StoreProblem, ...] = ()


def save_annotation(store: str | Path, annotation: Annotation, *, seen: str | None = None) -> Annotation | None:
    """Keep a note and tags; without either, what was kept is removed.

    Args:
        store: Root of the store; made if it isn't there.
        annotation: What to keep; texts are cleaned and cut to their limits.
        seen: ``changed_at`` of the state the writer has seen, ``""`` if there was none; None to write whatever
            is there.

    Returns:
        What was kept, with its time; None if it was removed.

    Raises:
        StoreError: If the folder can't be written, or somebody else has changed it since it was seen.
    """
    kept = dataclasses.replace(
        annotation, note=clean(annotation.note, LONGEST_NOTE), tags=_tags(annotation.tags), changed_at=now()
    )
    path = _annotation_file(Path(store), kept)
    with _writing(Path(store), f"annotation {path.name}"):
        if seen is not None:
            current = _read_annotation(path) if path.is_file() else None
            if (current.changed_at if current else "") != seen:
                raise StoreError(
                    f"Somebody else has changed the note on {kept.image_id} meanwhile.",
                    "Open the image again to see it, then save yours.",
                )
        if not kept.note and not kept.tags:
            path.unlink(missing_ok=True)
            return None
        write_atomically(path, json_bytes({"schema_version": SCHEMA_VERSION, **dataclasses.asdict(kept)}))
    return kept


def read_annotations(store: str | Path, dataset: str | None = None) -> Found:
    """Notes and tags of a store; a damaged file costs itself only.

    Args:
        store: Root of the store; may be missing.
        dataset: Only of this data set.
    """
    root = Path(store) / layout.ANNOTATION_FOLDER / FAILURES
    if dataset is not None:
        places = [root / layout.folder_name(dataset)]
    else:
        places = list(root.iterdir()) if root.is_dir() else []
    items, problems = [], []
    for path in sorted(file for place in places if place.is_dir() for file in place.glob("*.json")):
        try:
            items.append(_read_annotation(path))
        except StoreError as error:
            problems.append(StoreProblem("damaged_file", path, str(error)))
    return Found(tuple(sorted(items, key=lambda one: one.key)), tuple(problems))


def annotations_signature(store: str | Path) -> str:
    """A short text that changes when an annotation is saved or removed; a key for caches."""
    root = Path(store) / layout.ANNOTATION_FOLDER / FAILURES
    if not root.is_dir():
        return ""
    marks = [(place.name, place.stat().st_mtime_ns) for place in root.iterdir()]
    return hashlib.sha256(canonical_json(sorted(marks)).encode()).hexdigest()[:16]


def save_demo(store: str | Path, title: str, content: Mapping[str, Any], files: Mapping[str, bytes]) -> Demo:
    """Keep a live demo: what was asked, what came out, and the pictures.

    Args:
        store: Root of the store; made if it isn't there.
        title: What it is called.
        content: Plain json values; finite numbers only.
        files: By name (letters, digits, ``._-``), e.g. ``image.webp``, ``map-winclip.npz``.

    Raises:
        StoreError: If a name is not allowed, the files are too large, the content is not json, or the folder
            can't be written.
    """
    for name in files:
        if not _FILE_NAME.fullmatch(name) or name == DEMO_FILE:
            raise StoreError(f"A file of a demo can't be called {clean(name, 80)!r}.", "Use letters, digits and ._-")
    total = sum(map(len, files.values()))
    if total > LARGEST_DEMO:
        raise StoreError(
            f"The demo's files take {total / 2**20:.0f} MB; at most {LARGEST_DEMO // 2**20} MB are kept.",
            "Use smaller images or fewer methods.",
        )
    root, demo_id = Path(store), secrets.token_hex(8)
    target = root / layout.ANNOTATION_FOLDER / DEMOS / demo_id
    sizes = {name: len(value) for name, value in files.items()}
    demo = Demo(demo_id, clean(title, 200) or "Untitled", now(), content, sizes, target)
    try:
        record = json_bytes({"schema_version": SCHEMA_VERSION, **_demo_record(demo)})
    except (TypeError, ValueError) as error:
        raise StoreError(f"The demo can't be written as json: {error}.", "This is a defect; report it.") from error
    with _writing(root):
        temporary = temporary_folder(target)
        try:
            for name, value in files.items():
                write_synced(temporary / name, value)
            write_synced(temporary / DEMO_FILE, record)
            commit_folder(temporary, target)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
    return demo


def read_demos(store: str | Path) -> Found:
    """Saved demos, newest first, without the content of their files; a damaged one costs itself only."""
    root = Path(store) / layout.ANNOTATION_FOLDER / DEMOS
    items, problems = [], []
    for folder in sorted(root.iterdir()) if root.is_dir() else []:
        if _ID.fullmatch(folder.name):
            try:
                items.append(_read_demo(folder))
            except StoreError as error:
                problems.append(StoreProblem("damaged_file", folder, str(error)))
    return Found(tuple(sorted(items, key=lambda one: (one.saved_at, one.id), reverse=True)), tuple(problems))


def read_demo(store: str | Path, demo_id: str) -> Demo:
    """One saved demo.

    Raises:
        StoreError: If there is none of that id, or it is damaged.
    """
    folder = Path(store) / layout.ANNOTATION_FOLDER / DEMOS / demo_id
    if not _ID.fullmatch(demo_id) or not folder.is_dir():
        raise StoreError(f"There is no saved demo {clean(demo_id, 40)!r}.", "Choose one from the list.")
    return _read_demo(folder)


def remove_demo(store: str | Path, demo_id: str) -> None:
    """Remove a saved demo; one that isn't there is no error."""
    folder = Path(store) / layout.ANNOTATION_FOLDER / DEMOS / demo_id
    if _ID.fullmatch(demo_id) and folder.is_dir():
        with _writing(Path(store)):
            remove_folder(folder)


def clean(text: str, longest: int) -> str:
    """A text without control and direction characters, cut to a length; line breaks stay.

    >>> clean(" a" + chr(0) + "b" + chr(0x202E) + "c ", 10)
    'abc'
    """
    plain = text.replace("\r\n", "\n").replace("\r", "\n")
    kept = "".join(letter for letter in plain if letter in "\n\t" or unicodedata.category(letter)[0] != "C")
    return kept.strip()[:longest].rstrip()


def _tags(tags: Iterable[str]) -> tuple[str, ...]:
    plain = (" ".join(clean(tag, LONGEST_TAG).split()) for tag in tags)
    return tuple(dict.fromkeys(tag for tag in plain if tag))[:MOST_TAGS]


def _annotation_file(store: Path, one: Annotation) -> Path:
    name = hashlib.sha256(canonical_json(one.key[1:]).encode()).hexdigest()[:16]
    return store / layout.ANNOTATION_FOLDER / FAILURES / layout.folder_name(one.dataset) / f"{name}.json"


def _read_annotation(path: Path) -> Annotation:
    fix = "Remove the file."
    one = read_record(Annotation, read_json(path, fix), path, fix)
    return dataclasses.replace(one, tags=_tags(one.tags))


def _demo_record(demo: Demo) -> dict[str, Any]:
    return {"id": demo.id, "title": demo.title, "saved_at": demo.saved_at, "content": dict(demo.content)} | {
        "files": dict(demo.files)
    }


def _read_demo(folder: Path) -> Demo:
    fix = "Remove the folder."
    raw = read_json(folder / DEMO_FILE, fix)
    demo = read_record(Demo, {**raw, "id": folder.name, "path": folder}, folder, fix)
    return dataclasses.replace(demo, title=clean(demo.title, 200), saved_at=clean(demo.saved_at, 40))


@contextmanager
def _writing(store: Path, name: str | None = None) -> Iterator[None]:
    """Hold a name in the store while something is written, and turn what the disk refuses into a sentence."""
    try:
        (store / layout.ANNOTATION_FOLDER).mkdir(parents=True, exist_ok=True)
        with lock(store, name, wait=True) if name is not None else nullcontext():
            yield
    except OSError as error:
        raise StoreError(
            f"Nothing was saved: {store / layout.ANNOTATION_FOLDER} can't be written ({error.strerror or error}).",
            "Make the results folder writable, or name another one in VLMAD_STORE.",
        ) from error
