"""A user's own parts in the workspace: kept, renamed, removed, taken along."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import unicodedata
import zipfile
from collections.abc import Collection, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from vlmad_core import paths
from vlmad_core.datasets.catalogue import canonical_name, category_words, official_sets
from vlmad_core.datasets.parts import PHOTOS, RECORD, Part, checked_folder
from vlmad_core.errors import DatasetError
from vlmad_core.io import commit_folder, json_bytes, lock, make_folder, remove_folder, temporary_folder, write_synced
from vlmad_core.store import layout
from vlmad_core.workspace import queue
from vlmad_core.workspace.uploads import Upload

LONGEST_SLUG = 40
RESERVED = layout.RESERVED | {"jobs", "recipes", "parts", "photos", "new"}
"""Slugs that no part gets: other folders of a store or the workspace."""


def new_part(title: str, folder: Path | None = None, noun: str = "") -> Part:
    """A part that is not kept yet; its slug is what it would be called if nothing else had the name.

    Args:
        title: Its name in words.
        folder: Where its photos lie on the server; None for photos that are uploaded.
        noun: What prompts call it; the title if empty.

    Raises:
        DatasetError: If it has no name that can be used, or the folder may not be read from here.
    """
    where = None if folder is None else str(checked_folder(folder))
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return Part(_slug(title), _title(title), category_words(noun or title.lower()), now, where)


def keep(part: Part, taken: Collection[str] = (), upload: Upload | None = None) -> Part:
    """Keep a part in the workspace, with its photos, under a slug that no other part and no other data set has.

    Args:
        part: Not kept yet.
        taken: Names that are in use elsewhere, such as those of the data sets in a results store.
        upload: Its photos, unless they lie on the server. What can't be unpacked is left out, as its check said.

    Returns:
        The part as it is kept; two of one name differ in their slugs.

    Raises:
        DatasetError: If the workspace can't be written to; nothing is there then.
    """
    root = paths.workspace()
    temporary = None
    try:
        make_folder(root)
        with lock(root, "parts", wait=True):
            kept = replace(part, slug=free_slug(part.title, taken))
            temporary = temporary_folder(kept.home)
            _write_photos(temporary / PHOTOS, upload)
            write_synced(temporary / RECORD, json_bytes(kept.record()))
            commit_folder(temporary, kept.home)
    except OSError as error:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
        raise DatasetError(
            f"Nothing was kept: {root} can't be written to ({error}).",
            f"Name another folder in {paths.WORKSPACE}, or make room.",
        ) from error
    return kept


def rename(part: Part, title: str) -> Part:
    """Give a part another name in words; its slug and what prompts call it stay, since results rest on them.

    Raises:
        DatasetError: If the name can't be used, or the workspace can't be written to.
    """
    renamed = replace(part, title=_title(title))
    try:
        renamed.write()
    except OSError as error:
        raise DatasetError(f"{part.home} can't be written to ({error}).", "Check its permissions.") from error
    return renamed


def remove(part: Part, stores: Collection[Path] = ()) -> None:
    """Remove a part: its photos, jobs and decisions, and its results. Photos elsewhere on the server stay.

    Args:
        part: A kept part.
        stores: The results folders from which its data set goes, too.

    Raises:
        StoreError: If a job of it waits or runs.
        DatasetError: If something can't be removed.
    """
    queue.check_idle(paths.workspace(), part.slug)
    for folder in (*(Path(store) / layout.folder_name(part.slug) for store in stores), part.home):
        try:
            if folder.is_dir():
                remove_folder(folder)
        except OSError as error:
            raise DatasetError(f"{folder} can't be removed ({error}).", "Remove the folder by hand.") from error
    with contextlib.suppress(OSError):  # a job that stays costs nothing
        queue.forget(paths.workspace(), part.slug)


def remove_photos(part: Part) -> None:
    """Remove a part's uploaded photos from the workspace; results and decisions stay.

    Raises:
        StoreError: If a job of it waits or runs.
        DatasetError: If they can't be removed.
    """
    queue.check_idle(paths.workspace(), part.slug)
    try:
        if (part.home / PHOTOS).is_dir():
            remove_folder(part.home / PHOTOS)
    except OSError as error:
        raise DatasetError(f"{part.home / PHOTOS} can't be removed ({error}).", "Remove the folder by hand.") from error


def size(part: Part) -> int:
    """Bytes that a part takes in the workspace."""
    return sum(path.stat().st_size for path in _files(part.home))


def export(part: Part, stores: Collection[Path], out: BinaryIO) -> None:
    """Write all that there is of a part into a zip: its folder of the workspace, and its results.

    Args:
        part: A kept part.
        stores: The results folders.
        out: Receives the archive.
    """
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:  # photos and tables are compressed already
        for path in _files(part.home):
            archive.write(path, f"{part.slug}/{path.relative_to(part.home).as_posix()}")
        for store in stores:
            folder = Path(store) / layout.folder_name(part.slug)
            for path in _files(folder):
                archive.write(path, f"{part.slug}/results/{path.relative_to(folder).as_posix()}")


def free_slug(title: str, taken: Collection[str] = ()) -> str:
    """The slug of a title that nothing has yet: one that is in use gets a number.

    Args:
        title: A name in words.
        taken: Names that are in use besides those of parts.
    """
    slug, number = _slug(title), 1
    while slug in taken or (paths.workspace() / slug).exists():
        number += 1
        slug = f"{_slug(title)}-{number}"
    return slug


def _write_photos(folder: Path, upload: Upload | None) -> None:
    """Write an upload's files, one after the other; what can't be unpacked costs itself only."""
    for name, read in upload.files.items() if upload is not None else ():
        try:
            content = read()
        except DatasetError:
            continue
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _files(folder: Path) -> Iterator[Path]:
    """Files below a folder, no links, nothing half written."""
    for place, inner, names in os.walk(folder):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        for name in sorted(names):
            path = Path(place) / name
            if not name.startswith(".") and path.is_file() and not path.is_symlink():
                yield path


def _title(text: str) -> str:
    """A name in words as it is kept: in one line, without what can't be seen.

    Raises:
        DatasetError: As ``category_words``.
    """
    category_words(text)
    return " ".join("".join(c if c.isprintable() else " " for c in unicodedata.normalize("NFC", text)).split())


def _slug(title: str) -> str:
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:LONGEST_SLUG].strip("-") or "part"
    return f"part-{slug}" if slug in RESERVED or canonical_name(slug) in official_sets() else slug
