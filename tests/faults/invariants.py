"""What must hold after every fault, in one place; see ``check``."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from tests.conftest import read_content
from vlmad_core.io import TEMPORARY_PREFIX
from vlmad_core.store import layout
from vlmad_core.store.annotations import read_annotations, read_demos
from vlmad_core.store.reader import Missing, Store, open_store
from vlmad_core.store.schema import RunRecord

Look = Callable[[Path], None]
"""Opens pages on a store as a visitor would, and fails where one shows a traceback."""

TABLES = ("images", "curves", "regions", "explain")


@dataclass(frozen=True)
class Read:
    """All that a reader can get out of a store.

    Attributes:
        values: By run, category and what it is, something that is equal where the values are; without what times it
            took.
        missing: What the reader says is not there.
        problems: What it says is wrong.
        paths: All files and folders that were taken for something.
    """

    values: Mapping[tuple[str, ...], Any]
    missing: frozenset[tuple[str, ...]]
    problems: tuple[str, ...]
    paths: tuple[Path, ...]


class Undisturbed:
    """What no fault has touched, to hold against what one has.

    Attributes:
        store: The store.
    """

    def __init__(self, store: Path) -> None:
        self.store = store

    @cached_property
    def content(self) -> Mapping[str, Any]:
        """Every file, without the times in it."""
        return read_content(self.store)

    @cached_property
    def units(self) -> Mapping[str, Any]:
        """Finished units."""
        return finished(self.store)

    @cached_property
    def read(self) -> Read:
        """All that can be read."""
        return read_everything(self.store)


def finished(store: Path) -> dict[str, Any]:
    """The complete units of a store by their folder, with the content of all their files but for times."""
    units: dict[str, dict[str, Any]] = {}
    content = read_content(store) if store.is_dir() else {}
    for name, value in content.items():
        if Path(name).name == layout.UNIT_FILE and value["status"] == "complete" and TEMPORARY_PREFIX not in name:
            units[str(Path(name).parent)] = {}
    for name, value in content.items():
        if str(Path(name).parent) in units:
            units[str(Path(name).parent)][Path(name).name] = value
    return units


def check(
    store: Path,
    whole: Undisturbed,
    before: Collection[str] = (),
    *,
    look: Look | None = None,
    again: Callable[[], object] | None = None,
    damaged: bool = False,
) -> None:
    """The promise: no finished unit is lost, nothing half-written is read, no number is wrong, no page breaks.

    Args:
        store: What a fault has met.
        whole: The same, undisturbed.
        before: Folders of the units that were finished before the fault.
        look: Opens pages on it.
        again: Starts the work once more; the store must then be what it would have been without a fault.
        damaged: The fault has changed what was finished: what can't be read is then to be reported, every bit of it.
    """
    if not damaged:
        now = finished(store)
        assert not set(before) - now.keys(), f"finished units are lost: {sorted(set(before) - now.keys())}"
        wrong = [name for name, unit in now.items() if unit != whole.units.get(name)]
        assert not wrong, f"units differ from undisturbed ones: {wrong}"
    if store.is_dir():
        _check_reading(read_everything(store), whole.read, damaged)
    if look is not None:
        look(store)
    if again is not None:
        again()
        check_same(store, whole)


def check_same(folder: Path, whole: Undisturbed) -> None:
    """Holds what a start after a fault has made against what is made without one, byte for byte but for times.

    A file under a temporary name that a kill left is nobody's; a folder of that kind must have been tidied away.
    """
    content = {name: value for name, value in read_content(folder).items() if TEMPORARY_PREFIX not in name}
    names = content.keys() | whole.content.keys()
    different = sorted(name for name in names if content.get(name) != whole.content.get(name))
    assert not different, f"after another start these are not as without a fault: {different[:5]}"
    left = [path for path in folder.rglob(f"{TEMPORARY_PREFIX}*") if path.is_dir()]
    assert not left, f"left lying after another start: {left}"


def _check_reading(read: Read, whole: Read, damaged: bool) -> None:
    taken = [path for path in read.paths if any(part.startswith(TEMPORARY_PREFIX) for part in path.parts)]
    assert not taken, f"read though half-written: {taken}"
    wrong = [key for key, value in read.values.items() if whole.values.get(key) != value]
    assert not wrong, f"wrong values, silently: {wrong}"
    lacking = whole.values.keys() - read.values.keys()
    if damaged:
        assert not lacking or read.problems, f"gone without a word: {sorted(lacking)[:3]}"
    else:
        assert not read.problems, f"what no fault has damaged is called a problem: {read.problems}"


def read_everything(path: Path) -> Read:
    """Read all that a store holds with the functions that pages use."""
    store = open_store(path)
    values: dict[tuple[str, ...], Any] = {}
    missing: set[tuple[str, ...]] = set()
    paths = [run.path for run in store.runs]
    for run in store.runs:
        values[run.id, "", "run"] = (run.title, run.key, run.protocol.hash, run.mode)
        for category, unit in run.units.items():
            if unit.status == "partial":  # images that could not be read: said in the unit, and tried again
                told = int(store.images(run.id, category)["error"].notna().sum())
                assert told == unit.errors > 0, f"{run.id}, {category} is partial and does not say why"
                missing.add((run.id, category, "unit"))
                continue
            for what, value in _of_unit(store, run, category).items():
                if isinstance(value, Missing) or (isinstance(value, pd.DataFrame) and value.empty) or not _there(value):
                    missing.add((run.id, category, what))
                else:
                    values[run.id, category, what] = _comparable(value)
    notes, demos = read_annotations(path), read_demos(path)
    values |= {("", "", f"note {note.key}"): note for note in notes.items}
    for demo in demos.items:
        values["", "", f"demo {demo.id}"] = (demo.title, demo.content, demo.files)
    problems = [*store.problems, *notes.problems, *demos.problems]
    return Read(values, frozenset(missing), tuple(str(problem.message) for problem in problems), tuple(paths))


def _of_unit(store: Store, run: RunRecord, category: str) -> dict[str, Any]:
    """Everything of a unit, by what it is."""
    unit = run.units[category]
    read: dict[str, Any] = {
        "unit": (unit.status, unit.images, unit.errors, unit.data_hash, unit.thresholds, unit.thumbnails)
    }
    metrics = store.metrics([run.id])
    read["metrics"] = metrics[metrics["category"] == category]
    for name in TABLES:
        read[name] = getattr(store, name)(run.id, category)
    read["grids"] = store.grids(run.id, category)
    if read["grids"]:
        grids = read["grids"]
        read["grids"] = (grids.image_ids, grids.grids.tobytes(), grids.grids.shape, str(grids.rule.to_json()))
    drawn = store.replicates(run.id, category)
    read["replicates"] = tuple((str(key), one.value, one.n, one.draws.tobytes()) for key, one in sorted(drawn.items()))
    for image in read["images"]["image_id"]:
        for name in ("thumbnail", "mask"):
            read[f"{name} of {image}"] = getattr(store, name)(run.id, category, image)
    return read


def _there(value: Any) -> bool:
    return len(value) > 0


def _comparable(value: Any) -> Any:
    """The value, or a short text that is equal where the values are."""
    if isinstance(value, pd.DataFrame):
        frame = value.drop(columns=["latency_ms"], errors="ignore").reset_index(drop=True)
        return hashlib.sha256(frame.to_csv(float_format="%.17g").encode()).hexdigest()
    return value
