"""Names of folders and files in a results store, and the reading of the records among them."""

from __future__ import annotations

import hashlib
import re
import stat
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote

from vlmad_core.errors import StoreError
from vlmad_core.io import RECOMPUTE, read_json
from vlmad_core.reading import open_regular, read_file
from vlmad_core.store.schema import (
    FailedUnit,
    FailedUnits,
    RunKey,
    RunRecord,
    UnitRecord,
    check_seal,
    read_record,
)

RUN_FILE = "run.json"
UNIT_FILE = "unit.json"
FAILED_FILE = "failed.json"
THUMBNAIL_FOLDER = "thumbnails"
ANNOTATION_FOLDER = "annotations"

STUDY_FOLDER = "study"
"""Where a store keeps the study's ablations: a store of its own, so that no leaderboard mixes them with methods."""

RESERVED = frozenset({"bundled", "reported", ANNOTATION_FOLDER, STUDY_FOLDER})
"""Folders of a store's root that are not data sets: other stores, reported numbers, notes."""

KNOWN_FILES = frozenset({"README.md", "plan.yaml", ".gitignore", ".DS_Store"})
"""Files of a store's root that are no results but belong there."""


def folder_name(name: str) -> str:
    """A data set's or category's name as a folder name, reversible and safe on every system.

    >>> folder_name("metal_nut"), folder_name("a/b: c")
    ('metal_nut', 'a%2Fb%3A c')
    """
    quoted = quote(name, safe=" +-_()[]")
    return "%2E" + quoted[1:] if quoted.startswith(".") else quoted


def slug(name: str) -> str:
    """An identifier as a part of a folder name: everything unusual becomes an underscore.

    >>> slug("openai/clip-vit-base-patch32")
    'openai_clip-vit-base-patch32'
    """
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip("._") or "_"


def run_id(key: RunKey, protocol_hash: str) -> str:
    """The run's identifier, which is also its folder, relative to the store.

    Raises:
        StoreError: If the data set has a name that the store keeps for itself.
    """
    if key.dataset in RESERVED:
        raise StoreError(
            f"A data set can't be called {key.dataset!r}: results stores have a folder of that name.",
            "Rename the data set's folder.",
        )
    method = f"{slug(key.method)}-{slug(key.preset)}"
    folder = f"{method}-{key.shots}shot-seed{key.seed}-{slug(key.backbone)}-{protocol_hash}"
    return f"{folder_name(key.dataset)}/{folder}"


def run_folder(store: Path, identifier: str) -> Path:
    """The folder of a run."""
    return store / identifier


def unit_folder(store: Path, identifier: str, category: str) -> Path:
    """The folder of a unit."""
    return run_folder(store, identifier) / folder_name(category)


def thumbnail_file(store: Path, dataset: str, name: str) -> Path:
    """The file of a category's thumbnails, shared by all runs of the data set."""
    return store / folder_name(dataset) / THUMBNAIL_FOLDER / name


def read_run(folder: Path) -> RunRecord:
    """Read a run's record, without its units.

    Raises:
        StoreError: If it can't be read, or is damaged or of a newer version.
    """
    file, fix = folder / RUN_FILE, f"Remove the folder {folder} and compute it again."
    raw = read_json(file, fix)
    run = read_record(RunRecord, {**raw, "path": folder, "units": {}}, file, fix)
    check_seal(raw, file, fix)
    return run


def read_unit(folder: Path) -> UnitRecord:
    """Read a unit's mark and see that its files are there in full; their hashes are for ``read_unit_file``.

    Raises:
        StoreError: If the unit is not whole, or of a newer version.
    """
    mark = folder / UNIT_FILE
    if not mark.is_file():
        raise StoreError(f"{folder} is not a finished unit: it has no {UNIT_FILE}.", "Remove it.")
    raw = read_json(mark)
    unit = read_record(UnitRecord, raw, mark)
    check_seal(raw, mark)
    if folder_name(unit.category) != folder.name:
        raise StoreError(f"{mark} is damaged: {unit.category!r} is not the category of its folder.", RECOMPUTE)
    for name, noted in unit.files.items():
        if _size(folder / name) != noted["bytes"]:
            raise StoreError(
                f"The unit {folder} is damaged: {name} is missing or cut short.",
                "Start the run again to compute it anew.",
            )
    return unit


def read_unit_file(folder: Path, unit: UnitRecord, name: str) -> bytes:
    """A file of a unit, held against the hash that was noted when it was written.

    Raises:
        StoreError: If it can't be read, or is not as it was written.
    """
    noted, fix = unit.files[name], f"Start the run again to compute {unit.category} anew."
    content = read_file(folder / name, noted["bytes"], StoreError, fix)
    if hashlib.sha256(content).hexdigest() != noted["sha256"]:
        raise StoreError(f"{folder / name} is not as it was written.", fix)
    return content


def damaged_files(folder: Path, unit: UnitRecord) -> tuple[Path, ...]:
    """Files of a unit that are not as they were written; one that has not changed is hashed once a process."""
    found = []
    for name, noted in unit.files.items():
        try:
            status = (folder / name).stat()
            same = _sha256(folder / name, status.st_size, status.st_mtime_ns) == noted["sha256"]
        except OSError:
            same = False
        if not same:
            found.append(folder / name)
    return tuple(found)


def read_failures(folder: Path, identifier: str) -> dict[str, FailedUnit]:
    """The units of a run that could not be finished, by category.

    Args:
        folder: The run's folder.
        identifier: The run.

    Raises:
        StoreError: If the file is there, but can't be read, or is damaged or of a newer version.
    """
    file = folder / FAILED_FILE
    if not file.exists():
        return {}
    raw = read_json(file)
    units = raw.get("units")
    for category, noted in units.items() if isinstance(units, dict) else ():
        if isinstance(noted, dict):
            noted.update(run_id=identifier, category=category)
    return dict(read_record(FailedUnits, raw, file).units)


@lru_cache(maxsize=2**16)
def _sha256(file: Path, size: int, written: int) -> str:
    """Hash of a file; its size and the time it was written at are there for the cache."""
    found = hashlib.sha256()
    with open_regular(file) as content:
        while part := content.read(2**20):
            found.update(part)
    return found.hexdigest()


def _size(file: Path) -> int:
    """Bytes of a file; -1 if there is none."""
    try:
        status = file.stat()
    except OSError:
        return -1
    return status.st_size if stat.S_ISREG(status.st_mode) else -1
