"""A user's own parts in the workspace: made, renamed, removed, taken along."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from vlmad_core import paths
from vlmad_core.datasets.catalogue import canonical_name, official_sets
from vlmad_core.datasets.parts import Part, checked_folder
from vlmad_core.errors import DatasetError
from vlmad_core.io import lock, make_folder, remove_folder

LONGEST_SLUG = 40


def new_part(title: str, noun: str, folder: Path | None = None) -> Part:
    """A part that is not kept yet; its slug is what it would be called if nothing else has the name.

    Args:
        title: Its name in words.
        noun: What prompts call it.
        folder: Where its photos lie on the server; None for photos that are uploaded.

    Raises:
        DatasetError: If the folder may not be read from here.
    """
    where = None if folder is None else str(checked_folder(folder))
    return Part(_slug(title), title, noun, datetime.now(UTC).isoformat(timespec="seconds"), where)


def keep(part: Part, taken: Collection[str] = ()) -> Part:
    """Keep a part in the workspace, under a slug that no other part and no other data set has.

    Args:
        part: Not kept yet.
        taken: Names that are in use elsewhere, such as those of the data sets in a results store.

    Returns:
        The part as it is kept; two of one name differ in their slugs.

    Raises:
        DatasetError: If the workspace can't be written to.
    """
    root = paths.workspace()
    try:
        make_folder(root)
        with lock(root, "parts", wait=True):
            kept = replace(part, slug=free_slug(part.title, taken))
            kept.write()
    except OSError as error:
        raise DatasetError(f"Nothing was kept: {root} can't be written to ({error}).", _ELSEWHERE) from error
    return kept


def remove(part: Part) -> None:
    """Remove a part with its photos, jobs and decisions; photos that lie elsewhere on the server stay.

    Raises:
        DatasetError: If it can't be removed.
    """
    try:
        remove_folder(part.home)
    except OSError as error:
        raise DatasetError(f"{part.home} can't be removed ({error}).", "Remove the folder by hand.") from error


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


_ELSEWHERE = f"Name another folder in {paths.WORKSPACE}."


def _slug(title: str) -> str:
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:LONGEST_SLUG].strip("-") or "part"
    return f"part-{slug}" if canonical_name(slug) in official_sets() else slug
