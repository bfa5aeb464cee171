"""The folders of a store as records: what is a run, which of its units are finished, what could not be.

Whatever lies there costs itself only: what can't be looked into, was renamed or copied by hand, or belongs to another
run is a listed problem.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path

from vlmad_core.errors import StoreError
from vlmad_core.reading import is_file, is_folder, printable
from vlmad_core.store import layout
from vlmad_core.store.schema import FailedUnit, NewerSchemaError, RunRecord, StoreProblem


@dataclass(frozen=True)
class Opened:
    """What a results folder holds.

    Attributes:
        runs: Its runs, with their finished units.
        failed: Units that could not be finished.
        problems: What was left out.
    """

    runs: list[RunRecord] = field(default_factory=list)
    failed: list[FailedUnit] = field(default_factory=list)
    problems: list[StoreProblem] = field(default_factory=list)


def open_folder(root: Path) -> Opened:
    """Read the records of a results folder; no table is read."""
    found = Opened()
    for dataset in _inside(root, found.problems):
        if dataset.name in layout.RESERVED | layout.KNOWN_FILES:
            continue
        if not is_folder(dataset):
            found.problems.append(_foreign(dataset))
            continue
        for folder in _inside(dataset, found.problems):
            run = None if folder.name == layout.THUMBNAIL_FOLDER else _open_run(folder, found.problems)
            if run is not None:
                found.runs.append(run)
                found.failed.extend(_open_failures(run, found.problems))
    return found


def _open_run(folder: Path, problems: list[StoreProblem]) -> RunRecord | None:
    file = folder / layout.RUN_FILE
    if not is_file(file):
        if not is_folder(folder) or _inside(folder, problems):
            problems.append(_foreign(folder))
        return None  # an empty folder: a process was killed, or is about to start the run
    try:
        run = layout.read_run(folder)
        _check_name(run, folder)
    except StoreError as error:
        problems.append(_problem("damaged_run", file, error))
        return None
    units = {}
    for place in _inside(folder, problems):
        if place.name in (layout.RUN_FILE, layout.FAILED_FILE):
            continue
        try:
            unit = layout.read_unit(place)
            if unit.run_id != run.id:
                raise StoreError(f"The unit {place} is of another run, {unit.run_id!r}.", "Put it back, or remove it.")
            units[unit.category] = unit
        except (StoreError, OSError) as error:
            problems.append(_problem("damaged_unit" if is_folder(place) else "foreign", place, error))
    return dataclasses.replace(run, units=dict(sorted(units.items())))


def _check_name(run: RunRecord, folder: Path) -> None:
    """See that a run is what its folder is called: of two copies one would be ranked beside itself.

    Raises:
        StoreError: If it is another.
    """
    place = f"{folder.parent.name}/{folder.name}"
    if run.id != place:
        raise StoreError(
            f"The folder {folder} was renamed or copied: it holds the run {run.id!r}.",
            "Give it back its name, or remove the copy.",
        )
    if layout.run_id(run.key, run.id.rpartition("-")[2]) != run.id:
        raise StoreError(
            f"{folder / layout.RUN_FILE} was changed: what it is of is not what its name says.",
            f"Remove the folder {folder} and compute it again.",
        )


def _open_failures(run: RunRecord, problems: list[StoreProblem]) -> list[FailedUnit]:
    """Units of a run that could not be finished, and have not been since."""
    try:
        noted = layout.read_failures(run.path, run.id)
    except StoreError as error:
        problems.append(_problem("damaged_file", run.path / layout.FAILED_FILE, error))
        return []
    return [failure for category, failure in noted.items() if category not in run.units]


def _inside(folder: Path, problems: list[StoreProblem]) -> list[Path]:
    """What lies in a folder but for hidden files, sorted; nothing, and a problem, if it can't be looked into."""
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        problems.append(_problem("damaged_file", folder, error))
        return []


def _problem(kind: str, path: Path, error: StoreError | OSError) -> StoreProblem:
    if isinstance(error, OSError):
        return StoreProblem(kind, path, f"{printable(path)} can't be read ({error.strerror or error}).")
    return StoreProblem("newer_schema" if isinstance(error, NewerSchemaError) else kind, path, printable(error))


def _foreign(path: Path) -> StoreProblem:
    return StoreProblem("foreign", path, f"{printable(path)} is not a result of this program and was left out.")
