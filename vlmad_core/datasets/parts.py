"""A user's own parts: what is known of each, where its photos lie, and finding them in the workspace.

A part is a folder of the workspace with ``part.json`` in it. Its slug is the name of its data set, on the command line
and in a results store: ``precompute --dataset SLUG`` takes it like any other name.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pydantic import ValidationError

from vlmad_core import paths
from vlmad_core.datasets.folders import subfolders
from vlmad_core.datasets.sample import Dataset
from vlmad_core.errors import DatasetError, StoreError
from vlmad_core.io import json_bytes, read_json, write_atomically
from vlmad_core.records import in_words, read_as

RECORD = "part.json"
PHOTOS = "photos"
"""Folder of a part with the photos that were uploaded."""


@dataclass(frozen=True)
class Part:
    """A user's own part.

    Attributes:
        slug: Its identifier: its folder in the workspace, and the name of its data set.
        title: Its name in words, as pages show it.
        noun: What prompts call it.
        created: When, in ISO 8601 with the time zone.
        folder: The folder on the server where its photos lie; None for photos of its own, below the workspace.
    """

    slug: str
    title: str
    noun: str
    created: str
    folder: str | None = None

    @property
    def home(self) -> Path:
        """Its folder in the workspace."""
        return paths.workspace() / self.slug

    @property
    def photos(self) -> Path:
        """Where its photos lie."""
        return self.home / PHOTOS if self.folder is None else Path(self.folder)

    @property
    def kept(self) -> bool:
        """Whether it stands in the workspace; until then its photos are in the memory of one visitor's session."""
        return (self.home / RECORD).is_file()

    def write(self) -> None:
        """Write its record.

        Raises:
            OSError: If the workspace can't be written to.
        """
        write_atomically(self.home / RECORD, json_bytes(asdict(self)))


def find_part(slug: str) -> Part | None:
    """The part of a slug; None if there is none.

    Raises:
        DatasetError: If its record can't be read.
    """
    record = paths.workspace() / slug / RECORD
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", slug) or not record.is_file():
        return None
    try:
        part = read_as(Part, read_json(record))
    except StoreError as error:
        raise DatasetError(error.problem, "Restore the file, or remove its folder.") from error
    except ValidationError as error:
        raise DatasetError(
            f"{record} is damaged: {in_words(error)}.", "Restore the file, or remove its folder."
        ) from error
    return replace(part, slug=slug)


def list_parts() -> tuple[Part, ...]:
    """The parts of the workspace, by title; one whose record is damaged is left out (``find_part`` says why)."""
    found = []
    for folder in subfolders(paths.workspace()):
        try:
            part = find_part(folder.name)
        except DatasetError:
            continue
        if part is not None:
            found.append(part)
    return tuple(sorted(found, key=lambda part: (part.title.lower(), part.slug)))


def as_part(dataset: Dataset, part: Part) -> Dataset:
    """A data set under a part's name; where it has one category of no published set, that is called by the noun.

    The noun stands in the place of a category's folder name, with underscores, so that every table of names gives it
    back in words.
    """
    own = len(dataset.categories) == 1 and dataset.official is None
    category = re.sub(r"[\s/\\\\]+", "_", part.noun)
    samples = tuple(replace(s, dataset=part.slug, category=category if own else s.category) for s in dataset.samples)
    return replace(dataset, name=part.slug, samples=samples, category_kinds={} if own else dataset.category_kinds)
