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
from vlmad_core.datasets.sample import Dataset, DatasetProblem
from vlmad_core.errors import DatasetError, StoreError
from vlmad_core.io import json_bytes, read_json, write_atomically
from vlmad_core.reading import printable
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

    def record(self) -> dict[str, str | None]:
        """What stands in its file."""
        return asdict(self)

    def write(self) -> None:
        """Write its file.

        Raises:
            OSError: If the workspace can't be written to.
        """
        write_atomically(self.home / RECORD, json_bytes(self.record()))


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
    category = re.sub(r"[\s/\\]+", "_", part.noun)
    samples = tuple(replace(s, dataset=part.slug, category=category if own else s.category) for s in dataset.samples)
    return replace(dataset, name=part.slug, samples=samples, category_kinds={} if own else dataset.category_kinds)


def without_links_out(dataset: Dataset) -> Dataset:
    """A data set without the photos that are links to files where visitors may not look; each becomes a problem."""
    samples, problems = [], list(dataset.problems)
    for sample in dataset.samples:
        if all(may_be_read(path) for path in (sample.image_path, sample.mask_path) if path is not None):
            samples.append(sample)
        else:
            problems.append(DatasetProblem("outside", sample.image_path, "leads to a file elsewhere; copy it here."))
    return replace(dataset, samples=tuple(samples), problems=tuple(problems))


def may_be_read(path: Path) -> bool:
    """Whether a path, followed through links, lies where visitors may look: in ``VLMAD_DATA_DIR`` or the workspace."""
    found = path.resolve()
    return any(found.is_relative_to(place.resolve()) for place in readable_places())


def readable_places() -> tuple[Path, ...]:
    """The folders on the server whose photos visitors may use."""
    return tuple(place for place in (paths.data_dir(), paths.workspace()) if place is not None)


def checked_folder(folder: Path) -> Path:
    """A folder on the server, followed through links, if it lies where visitors may look.

    Args:
        folder: Whole, or relative to one of those places.

    Raises:
        DatasetError: If it is not there, or lies elsewhere.
    """
    found = next((place / folder for place in readable_places() if (place / folder).is_dir()), folder).resolve()
    if not may_be_read(found):
        where = " and ".join(str(place) for place in readable_places())
        raise DatasetError(
            f"{folder} is not below the folders that may be read from here: {where}.",
            f"Copy the photos there, or start the program with another {paths.DATA_DIR}.",
        )
    if not found.is_dir():
        raise DatasetError(f"There is no folder {folder}.", "Check the path.")
    return found


def offered_folders(most: int = 200) -> tuple[str, ...]:
    """Folders of ``VLMAD_DATA_DIR`` and those one level below, relative to it: what a chooser may offer."""
    root = paths.data_dir()
    found: list[str] = []
    for folder in subfolders(root) if root is not None else ():
        inner = [f"{folder.name}/{below.name}" for below in subfolders(folder)]
        found += [name for name in (folder.name, *inner) if name == printable(name)]  # no page can show others
        if len(found) >= most:
            break
    return tuple(found[:most])
