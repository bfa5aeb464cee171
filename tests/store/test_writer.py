from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from vlmad_core.errors import StoreError
from vlmad_core.methods import MapRule
from vlmad_core.store import layout, schema, tables
from vlmad_core.store.reader import open_store
from vlmad_core.store.tables import grid_bytes, read_grids, table_bytes
from vlmad_core.store.writer import UnitContents, start_run, write_unit

CRASHES = """
import os, sys
from pathlib import Path
from vlmad_core.store.verifying import verify_run
from vlmad_core import io as atomic
from vlmad_core.store import writer
from vlmad_core.store.layout import run_id
from vlmad_core.store.schema import RunKey, RunRecord, Protocol, Provenance
from vlmad_core.store.reader import open_store

key = RunKey("d", "m", "p", 0, 0, "b")
protocol = Protocol("matched", {}, {}, {}, {}, {})
origin, plan = Provenance("1", {}, {}, None, {}, "", ""), {"grids": "all"}
record = RunRecord(run_id(key, protocol.hash), key, "M", protocol, origin, plan, Path())
rows = [{"image_id": "a", "split": "test", "label": 0, "score": 1.0}]
contents = writer.UnitContents(images=rows, metrics=[], data_hash="0")
steps = 0

def count(function, crash_at):
    def counted(*args, **kwargs):
        global steps
        steps += 1
        if steps == crash_at:
            os._exit(9)  # as SIGKILL: nothing is cleaned up
        return function(*args, **kwargs)
    return counted

def child(store, crash_at):
    os.fsync = count(os.fsync, crash_at)
    Path.rename = count(Path.rename, crash_at)
    Path.replace = count(Path.replace, crash_at)
    Path.mkdir = count(Path.mkdir, crash_at)
    run = writer.start_run(store, record)
    writer.write_unit(store, run, "c", contents)
    os._exit(0)

def attempt(store, crash_at):
    pid = os.fork()
    if pid == 0:
        child(store, crash_at)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    read = open_store(store)
    assert read.problems == (), read.problems
    assert all(verify_run(read, run.id).problems == () for run in read.runs)
    return code, [category for run in read.runs for category in run.units]

base = Path(sys.argv[1])
for crash_at in range(1, 1000):
    store = base / str(crash_at)
    store.mkdir(parents=True)
    crashed, units = attempt(store, crash_at)
    assert units in ([], ["c"])
    code, units = attempt(store, 10**6)
    assert (code, units) == (0, ["c"])
    left = [p for p in store.rglob(".*")]
    assert all(p.parent.name == ".locks" or p.name == ".locks" for p in left), left
    if not crashed:
        break
print(crash_at - 1)
"""


@pytest.mark.skipif(os.name == "nt", reason="uses fork")
def test_a_crash_at_any_step_leaves_all_or_nothing(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", CRASHES, str(tmp_path / "store")],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 10


def started(store: Path, made_up_store) -> tuple[Path, schema.RunRecord]:
    made_up_store(store, methods=("winclip",), categories=("bolt",))
    return store, open_store(store).runs[0]


CONTENTS = UnitContents(images=[{"image_id": "a", "split": "test", "label": 0}], metrics=[], data_hash="1")


def test_a_finished_unit_never_changes(tmp_path, made_up_store):
    store, run = started(tmp_path, made_up_store)
    before = {p.name: p.read_bytes() for p in (run.path / "bolt").iterdir()}
    assert write_unit(store, run, "bolt", CONTENTS) is None
    assert {p.name: p.read_bytes() for p in (run.path / "bolt").iterdir()} == before
    assert not list(store.rglob(".tmp-*"))


def test_a_damaged_unit_can_be_replaced(tmp_path, made_up_store):
    store, run = started(tmp_path, made_up_store)
    assert write_unit(store, run, "bolt", CONTENTS, replace=True).data_hash == "1"
    assert open_store(store).runs[0].units["bolt"].data_hash == "1"
    assert not list(store.rglob(".tmp-*"))


def test_a_run_is_not_mistaken_for_another(tmp_path, made_up_store):
    store, run = started(tmp_path, made_up_store)
    assert start_run(store, run).provenance == run.provenance
    (run.path / layout.RUN_FILE).write_text("{")
    with pytest.raises(StoreError, match="can't be read"):
        start_run(store, run)


def test_reserved_names(tmp_path):
    key = schema.RunKey("bundled", "m", "p", 0, 0, "b")
    with pytest.raises(StoreError, match="can't be called 'bundled'"):
        layout.run_id(key, "0" * 8)


@pytest.mark.parametrize("name", ["metal_nut", "a/b", "..", ".hidden", "Schraube 3 (groß)", "50%"])
def test_any_category_has_a_safe_folder(tmp_path, made_up_store, name):
    made_up_store(tmp_path, categories=(name,), methods=("clip_ac",))
    store = open_store(tmp_path)
    assert store.problems == ()
    assert store.runs[0].categories == (name,)
    assert layout.unit_folder(tmp_path, store.runs[0].id, name).parent == store.runs[0].path


@pytest.mark.parametrize("older", [False, True])
def test_grids_come_back_bit_for_bit(tmp_path: Path, older: bool) -> None:
    drawn = np.random.default_rng(0).normal(size=(5, 2, 3, 4)).astype(np.float32)
    drawn[0, 0, 0] = [0.0, -0.0, np.finfo(np.float32).tiny, 1e-45]
    rule, file = MapRule(("none", "sigmoid"), combine="sum"), tmp_path / "grids.npz"
    content = grid_bytes([str(i) for i in range(5)], drawn, rule)
    if older:
        np.savez(file, grids=drawn, image_ids=np.arange(5).astype(str), rule=np.array(json.dumps(rule.to_json())))
    else:
        file.write_bytes(content)
    found = read_grids(file.read_bytes())
    assert found.grids.dtype == np.float32
    assert found.grids.tobytes() == drawn.tobytes()
    assert (found.image_ids, found.rule) == (("0", "1", "2", "3", "4"), rule)


def test_equal_content_gives_equal_bytes():
    rows = [{"image_id": "a", "label": 1, "score": 0.25}, {"image_id": "b", "error": "broken"}]
    assert table_bytes(rows, tables.IMAGES) == table_bytes(rows, tables.IMAGES)
    grids = np.ones((2, 1, 3, 4), dtype=np.float32)
    assert grid_bytes(["a", "b"], grids, MapRule()) == grid_bytes(["a", "b"], grids, MapRule())
    with pytest.raises(StoreError, match="float32"):
        grid_bytes(["a"], grids, MapRule())
