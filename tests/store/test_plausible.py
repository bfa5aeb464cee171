"""Units and runs that agree with their hashes and not with one another: listed problems, never ranked."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.store.test_hostile import content_of, read_all
from vlmad_core.store import layout
from vlmad_core.store.reader import Store, open_store
from vlmad_core.store.verifying import verify_run


def rewritten(unit: Path, name: str, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    """Change a table of a unit, and what the unit's mark says of it."""
    table = pq.read_table(unit / name)
    frame = table.to_pandas()
    kept = change(frame)
    pq.write_table(
        pa.Table.from_pandas(frame if kept is None else kept, table.schema, preserve_index=False), unit / name
    )
    noted(unit)


def noted(unit: Path) -> None:
    """Let a unit's mark agree with its files, as if somebody had written them anew."""
    mark = json.loads((unit / layout.UNIT_FILE).read_text())
    for name in mark["files"]:
        content = (unit / name).read_bytes()
        mark["files"][name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (unit / layout.UNIT_FILE).write_text(json.dumps(mark))


def setting(column: str, value: object) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """A change that writes one value into a whole column."""
    return lambda frame: frame.assign(**{column: pd.Series([value] * len(frame), dtype=object)})


IMPOSSIBLE: dict[str, tuple[str, Callable[[pd.DataFrame], pd.DataFrame]]] = {
    "value above 1": ("metrics.parquet", setting("value", 1.7)),
    "infinite value": ("metrics.parquet", setting("value", np.inf)),
    "another method": ("metrics.parquet", setting("method", "winclip:other")),
    "another category": ("metrics.parquet", setting("category", "capsule")),
    "no number of images": ("metrics.parquet", setting("n", None)),
    "a metric without a name": ("metrics.parquet", setting("metric", None)),
    "a metric twice": ("metrics.parquet", lambda frame: pd.concat([frame, frame.assign(value=0.99)])),
    "an interval upside down": (
        "metrics.parquet",
        lambda frame: frame.assign(low=frame["high"], high=frame["low"] / 2),
    ),
    "a third label": ("images.parquet", setting("label", 2)),
    "an infinite score": ("images.parquet", setting("score", np.inf)),
    "scores that went": ("images.parquet", setting("score", None)),
    "one name for all images": ("images.parquet", setting("image_id", "a")),
    "an area below 0": ("images.parquet", setting("defect_area", -3.0)),
    "a curve that leaves the figure": ("curves.parquet", setting("y", 5.0)),
    "a region of no image": ("regions.parquet", setting("image_id", "elsewhere.png")),
    "a recall above 1": ("regions.parquet", setting("area", 2.0)),
    "an infinite reason": ("explain.parquet", setting("value", np.inf)),
    "a replicate of -1 images": ("replicates.parquet", setting("n", -1)),
}


@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_what_can_not_be_is_neither_ranked_nor_shown(small: Path, tmp_path: Path, case: str) -> None:
    store = shutil.copytree(small, tmp_path / "store")
    name, change = IMPOSSIBLE[case]
    run = next(one for one in open_store(store).runs if one.key.method == "winclip")
    assert not content_is_empty(open_store(store), run.id, name)
    rewritten(run.path / "wood", name, change)
    found = open_store(store)
    assert content_is_empty(found, run.id, name)
    assert [problem.path for problem in found.problems] == [run.path / "wood" / name]
    assert run.path / "wood" / name in [problem.path for problem in verify_run(open_store(store), run.id).problems]
    read_all(found)


def content_is_empty(store: Store, run_id: str, name: str) -> bool:
    value = content_of(store, run_id, name)
    return value.empty if isinstance(value, pd.DataFrame) else not value


def test_grids_of_another_unit_are_no_maps(small: Path, tmp_path: Path) -> None:
    store = shutil.copytree(small, tmp_path / "store")
    run = next(one for one in open_store(store).runs if one.key.method == "winclip")
    shutil.copy(run.path / "capsule" / "grids.npz", run.path / "wood" / "grids.npz")
    noted(run.path / "wood")
    found = open_store(store)
    assert not found.grids(run.id, "wood")
    assert "is no image of the unit" in found.problems[0].message


@pytest.mark.parametrize("how", ["renamed", "copied", "relabelled", "another's unit", "another data set"])
def test_what_was_moved_by_hand_is_no_other_result(small: Path, tmp_path: Path, how: str) -> None:
    store = shutil.copytree(small, tmp_path / "store")
    before = {run.id: run.categories for run in open_store(store).runs}
    run, other = (next(one for one in open_store(store).runs if one.key.method == m) for m in ("winclip", "clip_cpe"))
    expected = {**before}
    if how == "renamed":
        run.path.rename(run.path.with_name("the best one"))
        del expected[run.id]
    elif how == "copied":
        shutil.copytree(run.path, run.path.with_name("copy"))
    elif how == "relabelled":
        record = json.loads((run.path / layout.RUN_FILE).read_text())
        record["key"]["shots"] = 1
        (run.path / layout.RUN_FILE).write_text(json.dumps(record))
        del expected[run.id]
    elif how == "another's unit":
        shutil.rmtree(run.path / "wood")
        shutil.copytree(other.path / "wood", run.path / "wood")
        expected[run.id] = ("capsule",)
    else:
        shutil.copytree(store / "bundled_a", store / "bundled_c")
    found = open_store(store)
    assert {one.id: one.categories for one in found.runs} == expected
    assert len(found.runs) == len(expected)
    assert len(found.problems) == (3 if how == "another data set" else 1)
    read_all(found)


def test_links_pipes_and_names_of_all_kinds_cost_themselves_only(small: Path, tmp_path: Path) -> None:
    store = shutil.copytree(small, tmp_path / "store")
    before = {run.id: run.categories for run in open_store(store).runs}
    for folder in (store, store / "bundled_a", open_store(store).runs[0].path):
        (folder / "loop").symlink_to("loop")
        (folder / "up").symlink_to(store)
        (folder / "out").symlink_to("/proc/1")
        os.mkfifo(folder / "pipe")
        for name in (b"\xff\xfe", b"a\nb", b"<script>", b"x" * 255):
            (folder / os.fsdecode(name)).mkdir()
            (folder / os.fsdecode(name) / "file").touch()
    found = open_store(store)
    assert {run.id: run.categories for run in found.runs} == before
    assert all(problem.message.isprintable() or "\n" in problem.message for problem in found.problems)
    verify_run(found, found.runs[0].id)
    read_all(found)
