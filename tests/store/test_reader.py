from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vlmad_core.errors import StoreError
from vlmad_core.metrics.resampling import Replicates
from vlmad_core.store import layout
from vlmad_core.store.reader import open_store, open_stores, store_signature
from vlmad_core.store.schema import sealed
from vlmad_core.store.verifying import verify_run
from vlmad_core.store.writer import UnitContents, write_unit


@pytest.fixture
def store_path(tmp_path: Path, made_up_store) -> Path:
    return made_up_store(tmp_path / "store", shots=(0, 1), seeds=2, without_masks=("felt",))


def winclip(store):
    return next(run for run in store.runs if run.key.method == "winclip" and run.key.shots == 0)


def test_reads_back_what_was_written(store_path):
    store = open_store(store_path)
    assert store.problems == ()
    assert [(r.key.method, r.key.shots, r.key.seed) for r in store.runs] == [
        ("clip_ac", 0, 0),
        ("winclip", 0, 0),
        ("winclip", 1, 0),
        ("winclip", 1, 1),
    ]
    run = winclip(store)
    assert run.categories == ("bolt", "felt")
    assert run.id == f"widgets/{run.path.name}"
    assert run.path.name.endswith(run.protocol.hash)
    images = store.images(run.id)
    assert len(images) == 24
    assert set(images["category"]) == {"bolt", "felt"}
    assert images["label"].sum() == 12
    grids = store.grids(run.id, "bolt")
    assert grids.grids.shape == (12, 1, 8, 8)
    assert grids.grids.dtype == np.float32
    assert store.anomaly_map(run.id, "bolt", grids.image_ids[0], (20, 30)).shape == (20, 30)


def test_runs_of_equal_conditions_differ_only_in_the_method(store_path):
    runs = open_store(store_path).runs
    assert len({run.protocol.conditions for run in runs}) == 1
    assert len({run.protocol.hash for run in runs}) == 2


def test_blank_metrics_carry_their_reason(store_path):
    store = open_store(store_path)
    metrics = store.metrics()
    blank = metrics[metrics["value"].isna()]
    assert len(blank) > 0
    assert blank["reason"].notna().all()
    assert set(blank["level"]) == {"pixel"}
    no_map = store.grids(next(r.id for r in store.runs if r.key.method == "clip_ac"), "bolt")
    assert not no_map
    assert "no anomaly map" in no_map.reason


def test_thumbnails_and_masks(store_path, tmp_path, made_up_store):
    store = open_store(store_path)
    run = winclip(store)
    defective = "bolt/test/scratch/000.png"
    picture = Image.open(io.BytesIO(store.thumbnail(run.id, "bolt", defective)))
    mask = np.asarray(Image.open(io.BytesIO(store.mask(run.id, "bolt", defective))))
    assert picture.format == "WEBP"
    assert mask.shape == (picture.height, picture.width)
    assert set(np.unique(mask)) == {0, 255}
    assert store.mask(run.id, "bolt", "bolt/test/good/000.png").reason == "no defect"
    bare = open_store(made_up_store(tmp_path / "bare", thumbnails=False))
    assert "licence" in bare.thumbnail(winclip(bare).id, "bolt", defective).reason


@pytest.mark.parametrize("damage", ["cut", "missing", "mark", "no mark", "not json"])
def test_a_damaged_unit_is_named_and_skipped(store_path, damage):
    run = winclip(open_store(store_path))
    unit = run.path / "bolt"
    mark = unit / layout.UNIT_FILE
    if damage == "cut":
        (unit / "images.parquet").write_bytes((unit / "images.parquet").read_bytes()[:50])
    elif damage == "missing":
        (unit / "metrics.parquet").unlink()
    elif damage == "mark":
        mark.write_text(json.dumps({"schema_version": 1}))
    elif damage == "no mark":
        mark.unlink()
    else:
        mark.write_text("{")
    store = open_store(store_path)
    assert [p.kind for p in store.problems] == ["damaged_unit"]
    assert "bolt" in str(store.problems[0].path)
    assert store.run(run.id).categories == ("felt",)
    assert len(store.metrics()) > 0


def test_content_damaged_at_equal_length_is_found(store_path):
    run = winclip(open_store(store_path))
    file = run.path / "bolt" / "images.parquet"
    content = bytearray(file.read_bytes())
    content[: len(content)] = b"\0" * len(content)
    file.write_bytes(bytes(content))
    store = open_store(store_path)
    assert store.problems == ()
    assert [p.path for p in verify_run(store, run.id).problems] == [file]
    assert set(store.images(run.id)["category"]) == {"felt"}
    assert [p.kind for p in store.problems] == ["damaged_file"]


def test_replicates_are_read_back_rounded_and_a_damaged_file_costs_itself_only(store_path):
    run = winclip(open_store(store_path))
    draws = np.random.default_rng(0).uniform(size=300)
    draws[3] = np.nan
    kept = Replicates("aupro_30", 0.5, draws, 60, 30, "0123456789abcdef")
    none = Replicates("pixel_ap", None, np.zeros(0), 60, 30, "0123456789abcdef", "no defective pixels")
    contents = UnitContents((), (), "0", replicates={("aupro_30", 256): kept, ("pixel_ap", 256): none})
    write_unit(store_path, run, "pin", contents)
    store = open_store(store_path)
    assert verify_run(store, run.id).problems == ()
    (found,) = store.replicates(run.id, "pin").values()
    assert store.replicates(run.id, "bolt") == {}
    np.testing.assert_allclose(found.draws, draws[:200], atol=2**-17)
    assert (found.value, found.n, found.fewest, found.design) == (0.5, 60, 30, "0123456789abcdef")
    file = run.path / "pin" / "replicates.parquet"
    file.write_bytes(bytes(reversed(file.read_bytes())))
    damaged = open_store(store_path)
    assert damaged.replicates(run.id, "pin") == {}
    assert [problem.path for problem in damaged.problems] == [file]
    assert [problem.path for problem in verify_run(damaged, run.id).problems] == [file]


def test_nothing_is_unpickled(store_path):
    run = winclip(open_store(store_path))
    np.savez(run.path / "bolt" / "grids.npz", grids=np.array([{"a": 1}], dtype=object), image_ids=np.array(["x"]))
    mark = run.path / "bolt" / layout.UNIT_FILE
    value = json.loads(mark.read_text())
    value["files"]["grids.npz"]["bytes"] = (run.path / "bolt" / "grids.npz").stat().st_size
    mark.write_bytes(sealed(value))
    store = open_store(store_path)
    assert not store.grids(run.id, "bolt")
    assert any(p.kind == "damaged_file" for p in store.problems)


def test_a_newer_schema_is_said_at_its_run(store_path):
    run = winclip(open_store(store_path))
    file = run.path / layout.RUN_FILE
    value = json.loads(file.read_text())
    value["schema_version"] = 99
    file.write_text(json.dumps(value))
    store = open_store(store_path)
    assert [p.kind for p in store.problems] == ["newer_schema"]
    assert "newer version" in store.problems[0].message
    assert len(store.runs) == 3


def test_foreign_files_are_named_and_skipped(store_path):
    (store_path / "notes.txt").write_text("hello")
    (store_path / "widgets" / "photos").mkdir()
    (store_path / "widgets" / "photos" / "one.png").write_text("x")
    (store_path / "widgets" / "about-to-start").mkdir()
    (winclip(open_store(store_path)).path / "stray.csv").write_text("a")
    (store_path / "bundled").mkdir()
    (store_path / "annotations").mkdir()
    (store_path / "README.md").write_text("about")
    store = open_store(store_path)
    assert sorted(p.path.name for p in store.problems) == ["notes.txt", "photos", "stray.csv"]
    assert {p.kind for p in store.problems} == {"foreign"}
    assert len(store.runs) == 4


def test_a_run_without_readable_json_is_named(store_path):
    run = winclip(open_store(store_path))
    (run.path / layout.RUN_FILE).write_text("[]")
    store = open_store(store_path)
    assert [p.kind for p in store.problems] == ["damaged_run"]
    assert len(store.runs) == 3


def test_two_stores_as_one(store_path, tmp_path, made_up_store):
    other = made_up_store(tmp_path / "other", datasets=("widgets", "gears"), unfinished=[("winclip", "bolt")])
    both = open_stores([store_path, tmp_path / "nowhere", other])
    assert {run.key.dataset for run in both.runs} == {"widgets", "gears"}
    fuller = next(r for r in both.runs if r.key.dataset == "widgets" and r.key.method == "winclip")
    assert fuller.categories == ("bolt", "felt")
    assert {f.run_id.split("/")[0] for f in both.failed} == {"gears"}


def test_no_folder_and_unknown_run(tmp_path, store_path):
    with pytest.raises(StoreError, match="no results folder"):
        open_store(tmp_path / "nowhere")
    with pytest.raises(StoreError, match="no run 'x'"):
        open_store(store_path).run("x")


def test_signature_changes_with_the_units(store_path):
    before = store_signature(store_path)
    assert store_signature(store_path) == before
    shutil.rmtree(winclip(open_store(store_path)).path / "bolt")
    assert store_signature(store_path) != before


def test_only_so_many_grids_stay_in_memory(made_up_store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vlmad_core.store.reader.MOST_GRID_BYTES", 2 * 4 * 8 * 8 * 4)  # of two units
    categories = ("bolt", "felt", "nut", "pin")
    store = open_store(made_up_store(tmp_path, categories=categories, methods=("winclip",), images=4))
    (run,) = store.runs
    for category in categories:
        assert store.grids(run.id, category)
    assert sum(name == "grids.npz" for name, _ in store._cache) == 2
    assert store.grids(run.id, "bolt")
