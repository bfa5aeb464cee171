"""Reading a results store. Damage costs the item that is damaged and nothing else; nothing is unpickled."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa

from vlmad_core.errors import StoreError
from vlmad_core.reading import is_folder, read_file
from vlmad_core.store import layout, tables
from vlmad_core.store.layout import read_unit_file
from vlmad_core.store.opening import open_folder
from vlmad_core.store.plausible import check_grids, check_table
from vlmad_core.store.schema import FailedUnit, RunKey, RunRecord, StoreProblem, short_hash
from vlmad_core.store.tables import (
    LARGEST_TABLE,
    READ_ERRORS,
    Drawn,
    Grids,
    empty_table,
    read_grids,
    read_replicates,
    read_table,
    read_thumbnails,
)

T = TypeVar("T")

MOST_GRID_BYTES = 2**28
"""Bytes of grids that are kept in memory; they are by far the largest of what is read."""


@dataclass(frozen=True, slots=True)
class Missing:
    """Something that isn't there, with the reason; counts as false.

    Attributes:
        reason: Why, as a sentence that can be shown.
    """

    reason: str

    def __bool__(self) -> bool:
        """Always false."""
        return False


class Store:
    """One or several results folders, read as one. Tables are read when asked for, and kept.

    Attributes:
        roots: The folders.
        runs: All runs that could be read, sorted by id.
        failed: Units that could not be finished.
        known: An open store of the same files, unchanged since; what it has read is not read again.
    """

    def __init__(
        self,
        roots: Sequence[Path],
        runs: Iterable[RunRecord],
        problems: Iterable[StoreProblem] = (),
        failed: Iterable[FailedUnit] = (),
        known: Store | None = None,
    ) -> None:
        self.roots = tuple(roots)
        self.runs = tuple(sorted(runs, key=lambda run: run.id))
        self.failed = tuple(failed)
        self._problems = {(p.kind, p.path): p for p in problems}
        self._by_id = {run.id: run for run in self.runs}
        self._cache: dict[tuple[Any, ...], Any] = {} if known is None else known._cache

    @property
    def problems(self) -> tuple[StoreProblem, ...]:
        """What could not be read so far, and was left out."""
        return tuple(self._problems.values())

    def run(self, run_id: str) -> RunRecord:
        """The run of that id.

        Raises:
            StoreError: If there is none.
        """
        if run_id not in self._by_id:
            places = ", ".join(str(root) for root in self.roots)
            raise StoreError(f"There is no run {run_id!r} in {places}.", "List them: results list.")
        return self._by_id[run_id]

    def metrics(self, run_ids: Iterable[str] | None = None) -> pd.DataFrame:
        """Metrics of all finished units: ``run_id`` and the columns of ``tables.METRICS``."""
        wanted = self.runs if run_ids is None else [self.run(run_id) for run_id in run_ids]
        frames = [frame for run in wanted if len(frame := self._metrics_of(run))]
        columns = ["run_id", *tables.METRICS.names]
        if not frames:
            return empty_table(tables.METRICS).assign(run_id=pd.Series(dtype="str"))[columns]
        return pd.concat(frames, ignore_index=True)[columns]

    def remembers(self, key: tuple[Any, ...]) -> bool:
        """Whether something is kept under a key."""
        return key in self._cache

    def remember(self, key: tuple[Any, ...], make: Callable[[], T]) -> T:
        """What ``make`` gives; under the same key it is made once as long as the store is open."""
        if key not in self._cache:
            self._cache[key] = make()
        kept: T = self._cache[key]
        return kept

    def _metrics_of(self, run: RunRecord) -> pd.DataFrame:
        """All metrics of a run, put together once."""

        def put_together() -> pd.DataFrame:
            parts = [self._table(run, category, "metrics.parquet", tables.METRICS) for category in run.units]
            filled = [table for table in parts if len(table)]
            return pd.concat(filled, ignore_index=True).assign(run_id=run.id) if filled else pd.DataFrame()

        return self.remember(("metrics of a run", run.path, run.id), put_together)

    def images(self, run_id: str, category: str | None = None) -> pd.DataFrame:
        """Scores and labels of a run's images: ``category`` and the columns of ``tables.IMAGES``."""
        return self._over_categories(run_id, category, "images.parquet", tables.IMAGES)

    def curves(self, run_id: str, category: str) -> pd.DataFrame:
        """Points of a unit's curves; empty if none were kept."""
        return self._table(self.run(run_id), category, "curves.parquet", tables.CURVES)

    def regions(self, run_id: str, category: str | None = None) -> pd.DataFrame:
        """Defect regions with their recall at the stored thresholds; empty if there are no masks."""
        return self._over_categories(run_id, category, "regions.parquet", tables.REGIONS)

    def explain(self, run_id: str, category: str) -> pd.DataFrame:
        """What the method said about why; empty if it says nothing."""
        return self._table(self.run(run_id), category, "explain.parquet", tables.EXPLAIN)

    def replicates(self, run_id: str, category: str) -> Drawn:
        """A unit's metrics on resampled test images, by metric and map size; empty if none were kept."""
        run = self.run(run_id)
        unit = run.units.get(category)
        if unit is None or "replicates.parquet" not in unit.files:
            return {}
        return self._read(run, category, "replicates.parquet", read_replicates) or {}

    def grids(self, run_id: str, category: str) -> Grids | Missing:
        """The native grids of a unit, or why there are none."""
        run = self.run(run_id)
        unit = run.units.get(category)
        if unit is None:
            return Missing(f"{category} is not finished in {run_id}.")
        if "grids.npz" not in unit.files:
            return Missing(_why_no_grids(run, self._shots_with_maps(run, category)))

        def decode(content: bytes) -> Grids:
            read = read_grids(content)
            check_grids(read.image_ids, self._image_ids(run, category))
            return read

        found = self._read(run, category, "grids.npz", decode)
        return found or Missing(f"{self._unit_path(run, category) / 'grids.npz'} is damaged.")

    def anomaly_map(self, run_id: str, category: str, image_id: str, size: tuple[int, int]) -> np.ndarray | Missing:
        """The anomaly map of one image, recreated from its native grids.

        Args:
            run_id: The run.
            category: The category.
            image_id: The image.
            size: (height, width) in pixels.

        Returns:
            [height, width] float32, or why there is none.
        """
        grids = self.grids(run_id, category)
        if isinstance(grids, Missing):
            return grids
        found = grids.anomaly_map(image_id, size)
        return Missing(f"{image_id} has no anomaly map in this run.") if found is None else found

    def read_all(self, run_id: str) -> None:
        """Read every file of a run's units once, so that ``problems`` names those that can't be used."""
        self.metrics([run_id]), self.images(run_id), self.regions(run_id)
        for category in self.run(run_id).units:
            self.curves(run_id, category), self.explain(run_id, category)
            self.replicates(run_id, category), self.grids(run_id, category)

    def keeps_maps(self, run_id: str, category: str) -> bool:
        """Whether the native grids of a unit were kept, so that its anomaly maps can be looked at."""
        unit = self.run(run_id).units.get(category)
        return unit is not None and "grids.npz" in unit.files

    def thumbnail(self, run_id: str, category: str, image_id: str) -> bytes | Missing:
        """A small copy of the image as WebP, or why there is none."""
        return self._small_picture(run_id, category, image_id, "thumbnail")

    def mask(self, run_id: str, category: str, image_id: str) -> bytes | Missing:
        """The ground truth of the thumbnail's size as PNG (0 and 255), or why there is none."""
        return self._small_picture(run_id, category, image_id, "mask")

    def _thumbnails(self, run: RunRecord, name: str) -> Path:
        return run.path.parent / layout.THUMBNAIL_FOLDER / name

    def _shots_with_maps(self, run: RunRecord, category: str) -> tuple[int, ...]:
        """Other numbers of references with which the same method's maps of a category were kept, sorted."""

        def but_for_shots(one: RunRecord) -> RunKey:
            return dataclasses.replace(one.key, shots=0, seed=0)

        same = [other for other in self.runs if but_for_shots(other) == but_for_shots(run)]
        kept = {other.key.shots for other in same if self.keeps_maps(other.id, category)}
        return tuple(sorted(kept - {run.key.shots}))

    def _unit_path(self, run: RunRecord, category: str) -> Path:
        return run.path / layout.folder_name(category)

    def _over_categories(self, run_id: str, category: str | None, name: str, columns: pa.Schema) -> pd.DataFrame:
        run = self.run(run_id)
        wanted = run.categories if category is None else (category,)
        frames = [self._table(run, one, name, columns).assign(category=one) for one in wanted]
        filled = [frame for frame in frames if len(frame)]
        if not filled:
            return empty_table(columns).assign(category=pd.Series(dtype="str"))
        return pd.concat(filled, ignore_index=True)

    def _table(self, run: RunRecord, category: str, name: str, columns: pa.Schema) -> pd.DataFrame:
        unit = run.units.get(category)
        if unit is None or name not in unit.files:
            return empty_table(columns)

        def decode(content: bytes) -> pd.DataFrame:
            read = read_table(content, columns)
            check_table(
                name, read, run, unit, self._image_ids(run, category) if name != "images.parquet" else frozenset()
            )
            return read

        frame = self._read(run, category, name, decode)
        return empty_table(columns) if frame is None else frame.copy()

    def _image_ids(self, run: RunRecord, category: str) -> frozenset[str]:
        """The images of a unit; none if their table can't be read."""
        return frozenset(self._table(run, category, "images.parquet", tables.IMAGES)["image_id"])

    def _small_picture(self, run_id: str, category: str, image_id: str, column: str) -> bytes | Missing:
        run = self.run(run_id)
        unit = run.units.get(category)
        if unit is None:
            return Missing(f"{category} is not finished in {run_id}.")
        if unit.thumbnails is None:
            return Missing(unit.thumbnails_reason or "No thumbnails were stored.")
        path = self._thumbnails(run, unit.thumbnails)
        frame = self._read_once(path, lambda: read_thumbnails(read_file(path, LARGEST_TABLE, StoreError)))
        if frame is None:
            return Missing(f"{path} is missing or damaged.")
        if image_id not in frame.index:
            return Missing(f"{image_id} has no thumbnail.")
        row = frame.loc[image_id]
        picture: Any = row[column]
        if isinstance(picture, bytes):
            return picture
        return Missing(str(row["reason"]) if isinstance(row["reason"], str) else "There is none.")

    def _read(self, run: RunRecord, category: str, name: str, decode: Callable[[bytes], T]) -> T | None:
        """What a file of a unit holds, once it is seen to be as it was written; None, and a problem, if it is not."""
        folder = self._unit_path(run, category)
        return self._read_once(folder / name, lambda: decode(read_unit_file(folder, run.units[category], name)))

    def _read_once(self, path: Path, read: Callable[[], T]) -> T | None:
        """Read a file once; a damaged one becomes a problem and None."""
        key = (path.name, path)
        known = self._cache.get(key, self)
        if known is not self:
            kept: T | None = known
            return kept
        value: T | None = None
        try:
            value = read()
        except READ_ERRORS as error:
            said = str(error) if isinstance(error, StoreError) else f"{path} can't be read: {str(error)[:200]}."
            message = f"{said} The rest is shown; compute it again."
            self._problems[("damaged_file", path)] = StoreProblem("damaged_file", path, message)
        self._cache[key] = value
        if path.name == "grids.npz":
            self._let_grids_go()
        return value

    def _let_grids_go(self) -> None:
        """Forget the grids that were read first, beyond what may be kept."""
        grids = [(key, self._cache.get(key)) for key in list(self._cache) if key[0] == "grids.npz"]
        sizes = [value.grids.nbytes if isinstance(value, Grids) else 0 for _, value in grids]
        while len(sizes) > 1 and sum(sizes) > MOST_GRID_BYTES:
            sizes.pop(0)
            self._cache.pop(grids.pop(0)[0], None)


def open_store(path: str | Path) -> Store:
    """Open a results folder; what can't be read is listed in ``problems``.

    Raises:
        StoreError: If there is no such folder.
    """
    root = Path(path)
    if not is_folder(root):
        raise StoreError(f"There is no results folder at {root}.", "Make one: python -m vlmad_core precompute.")
    found = open_folder(root)
    return Store([root], found.runs, found.problems, found.failed)


def open_stores(paths: Iterable[str | Path], known: Store | None = None) -> Store:
    """Open several results folders as one; folders that don't exist are skipped.

    A run that is in two of them is read from the one that has more units, the later one if they have as many.

    Args:
        paths: The folders.
        known: A store opened on some of them, unchanged since; what it has read is not read again.
    """
    stores = [open_store(path) for path in paths if is_folder(Path(path))]
    best: dict[str, RunRecord] = {}
    for store in stores:
        for run in store.runs:
            other = best.get(run.id)
            if other is None or len(run.units) >= len(other.units):
                best[run.id] = run
    return Store(
        [root for store in stores for root in store.roots],
        best.values(),
        [problem for store in stores for problem in store.problems],
        [f for store in stores for f in store.failed if f.category not in best[f.run_id].units],
        known,
    )


def find_run(store: Store, name: str) -> RunRecord:
    """The run whose id is, or contains, a text.

    Raises:
        StoreError: If there is none, or several.
    """
    found = [r for r in store.runs if r.id == name] or [r for r in store.runs if name in r.id]
    if len(found) != 1:
        what = "several runs have" if found else "no run has"
        raise StoreError(f"In {store.roots[0]}, {what} {name!r} in their id.", "List them: results list.")
    return found[0]


def store_signature(path: str | Path) -> str:
    """A short text that changes when a run, a unit or a file of one comes, goes or is replaced; a key for caches."""
    root, marks = Path(path), []
    for pattern in (f"*/*/{layout.RUN_FILE}", f"*/*/*/{layout.UNIT_FILE}", f"*/*/{layout.FAILED_FILE}"):
        for path in root.glob(pattern):
            with contextlib.suppress(OSError):  # gone between the two looks
                inside = path.parent.stat().st_mtime_ns if path.name == layout.UNIT_FILE else 0
                marks.append((str(path.relative_to(root)), path.stat().st_mtime_ns, inside))
    return short_hash(sorted(marks), 16)


def _why_no_grids(run: RunRecord, elsewhere: Sequence[int]) -> str:
    if run.plan.get("grids") == "first_seed" and run.key.seed > 0:
        return "Maps were kept for seed 0 only."
    if run.plan.get("grids") == "none":
        *most, last = map(str, elsewhere) if elsewhere else ("",)
        shots = f"{', '.join(most)} and {last}" if most else last
        return f"Maps were not kept in this run{f', but with {shots} normal references' if shots else ''}."
    return f"{run.title} makes no anomaly map."
