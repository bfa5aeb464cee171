"""Records are read as they were written, and a bad one is a listed problem, whatever is wrong with it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from vlmad_core.errors import StoreError
from vlmad_core.io import LARGEST_JSON, json_bytes
from vlmad_core.store import layout, writer
from vlmad_core.store.reader import Store, open_store
from vlmad_core.store.schema import SCHEMA_VERSION, sealed

BUNDLED = Path(__file__).parents[2] / "results" / "bundled"


@pytest.fixture
def store_path(tmp_path: Path, made_up_store) -> Path:
    return made_up_store(tmp_path / "store", shots=(0,), unfinished=[("clip_ac", "felt")])


def first_run(store: Store):
    return next(run for run in store.runs if run.key.method == "winclip")


def changed(file: Path, where: str, value: Any) -> None:
    """Write ``value`` into a json file at a dotted place."""
    whole = json.loads(file.read_text())
    whole.pop("seal", None)  # as a record from before there were seals, which is believed as far as it can be
    *parents, last = where.split(".")
    inner = whole
    for name in parents:
        inner = inner[name]
    inner[last] = value
    file.write_text(json.dumps(whole))


def test_all_bundled_records_are_written_again_as_they_are() -> None:
    stores = [open_store(BUNDLED), open_store(BUNDLED / layout.STUDY_FOLDER)]
    for store in stores:
        assert store.problems == ()
        for run in store.runs:
            assert json_bytes(run.to_json()) == (run.path / layout.RUN_FILE).read_bytes()
            assert run.id.endswith(run.protocol.hash)
            for category, unit in run.units.items():
                place = layout.unit_folder(store.roots[0], run.id, category) / layout.UNIT_FILE
                assert json_bytes(unit.to_json()) == place.read_bytes()
    assert sum(len(run.units) for store in stores for run in store.runs) == len(list(BUNDLED.rglob(layout.UNIT_FILE)))


@pytest.mark.parametrize(
    ("name", "digit"), [(layout.UNIT_FILE, '"value": 0.5'), (layout.RUN_FILE, '"parameters": 1000')]
)
def test_a_record_of_which_one_digit_has_changed_is_a_listed_problem(store_path: Path, name: str, digit: str) -> None:
    run = first_run(open_store(store_path))
    file = run.path / "bolt" / name if name == layout.UNIT_FILE else run.path / name
    assert digit in file.read_text()
    file.write_text(file.read_text().replace(digit, digit[:-1] + "7"))
    store = open_store(store_path)
    (problem,) = store.problems
    assert problem.message.startswith(f"{file} is not as it was written.")
    assert all("bolt" not in one.units for one in store.runs if one.id == run.id)


def test_failures_are_written_again_as_they_are(store_path: Path) -> None:
    (run,) = [run for run in open_store(store_path).runs if run.key.method == "clip_ac"]
    file = run.path / layout.FAILED_FILE
    before = json.loads(file.read_text())
    writer.record_failure(store_path, run.id, "tin", "no light", "line 1")
    after = json.loads(file.read_text())
    assert list(after) == ["schema_version", "units"]
    assert after["units"]["felt"] == before["units"]["felt"]
    assert list(after["units"]["tin"]) == ["reason", "traceback", "at", "attempts"]
    writer.clear_failure(store_path, run.id, "tin")
    assert json.loads(file.read_text()) == before


@pytest.mark.parametrize(
    ("where", "value", "said"),
    [
        ("id", {}, "id is {} where text belongs"),
        ("title", {}, "title is {} where text belongs"),
        ("key", None, "key is nothing where a mapping of names to values belongs"),
        ("key.shots", "x", "key.shots is 'x' where a whole number belongs"),
        ("key.shots", "4", "key.shots is '4' where a whole number belongs"),
        ("key.shots", True, "key.shots is True where a whole number belongs"),
        ("key.seed", -1, "key.seed is -1 where a number of at least 0 belongs"),
        ("key.method", "", "key.method is '' where text that is not empty belongs"),
        ("key.colour", "red", "key.colour is unknown"),
        ("protocol", [], "protocol is [] where a mapping of names to values belongs"),
        ("protocol.data", "x", "protocol.data is 'x' where a mapping of names to values belongs"),
        ("protocol.twist", 1, "protocol.twist is unknown"),
        ("protocol.backbone.training_data", 5, "protocol.backbone.training_data is 5 where a list belongs"),
        ("protocol.reading.view", "x", "protocol.reading.view is 'x' where a mapping of names to values belongs"),
        ("protocol.reading.view", {"region": [0, 0, 2, 1], "tiles": [1, 1], "overlap": 0}, "is not inside the photo"),
        ("provenance.hardware", None, "provenance.hardware is nothing where a mapping of names to values belongs"),
        ("provenance.packages", {"torch": 2}, "provenance.packages.torch is 2 where text belongs"),
        ("provenance.data.trained", "x", "provenance.data.trained is 'x' where"),
        ("provenance.data.imported", ["x"], "provenance.data.imported is ['x'] where"),
        ("provenance.data.category_kinds", {"bolt": []}, "provenance.data.category_kinds.bolt is [] where text"),
        ("plan", None, "plan is nothing where"),
        ("plan.threads", "all", "plan.threads is 'all' where a whole number belongs"),
        ("protocol.evaluation.twist", 10**30, "a number beyond what can be computed with"),
        ("schema_version", "1", "no 'schema_version'"),
        ("schema_version", True, "no 'schema_version'"),
    ],
)
def test_a_bad_run_is_a_listed_problem(store_path: Path, where: str, value: Any, said: str) -> None:
    bad = first_run(open_store(store_path))
    changed(bad.path / layout.RUN_FILE, where, value)
    store = open_store(store_path)
    assert [run.key.method for run in store.runs] == ["clip_ac"]
    (problem,) = store.problems
    assert (problem.kind, problem.path) == ("damaged_run", bad.path / layout.RUN_FILE)
    assert said in problem.message
    assert str(bad.path) in problem.message


@pytest.mark.parametrize(
    ("where", "value", "said"),
    [
        ("files", None, "files is nothing where a mapping of names to values belongs"),
        ("files", {"images.parquet": None}, "files.images.parquet is nothing where"),
        ("files", {"images.parquet": {"bytes": 1}}, "files.images.parquet.sha256 is missing"),
        ("files", {"../run.json": {"bytes": 1, "sha256": ""}}, "where a plain file name belongs"),
        ("thumbnails", "../../x.parquet", "thumbnails is '../../x.parquet' where a plain file name belongs"),
        ("category", [1], "category is [1] where text belongs"),
        ("category", "felt", "'felt' is not the category of its folder"),
        ("status", "fine", "status is 'fine' where one of 'complete' or 'partial' belongs"),
        ("images", 2.5, "images is 2.5 where a whole number belongs"),
        ("profile", None, "profile is nothing where"),
        ("profile.seconds", {"read": "x"}, "profile.seconds.read is 'x' where a number belongs"),
        ("profile.latency_ms", 7, "profile.latency_ms is 7 where"),
        ("profile.speed", {"batch_1": 3}, "profile.speed.batch_1 is 3 where"),
        ("thresholds", None, "thresholds is nothing where"),
        ("thresholds", {"a": 1}, "thresholds.a is 1 where"),
        ("thresholds", {"a": {"value": "x"}}, "thresholds.a.value is 'x' where a number belongs"),
        ("run_id", None, "run_id is nothing where text belongs"),
    ],
)
def test_a_bad_unit_is_a_listed_problem(store_path: Path, where: str, value: Any, said: str) -> None:
    run = first_run(open_store(store_path))
    changed(run.path / "bolt" / layout.UNIT_FILE, where, value)
    store = open_store(store_path)
    assert store.run(run.id).categories == ("felt",)
    (problem,) = store.problems
    assert (problem.kind, problem.path) == ("damaged_unit", run.path / "bolt")
    assert said in problem.message


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 200_000,
        b'{"a":' * 200_000,
        b'{"schema_version": 1, "id": "\\ud800"}',
        b'{"schema_version": 1e999}',
        b'{"schema_version": NaN}',
        b'{"schema_version": ' + b"9" * 5000 + b"}",
        b'{"a": "' + b"x" * LARGEST_JSON + b'"}',
        b"\xff\xfe{\0}\0",
        b"",
        b"null",
    ],
    ids=["lists", "objects", "surrogate", "infinite", "nan", "digits", "large", "utf-16", "empty", "null"],
)
@pytest.mark.parametrize("name", [layout.RUN_FILE, layout.UNIT_FILE, layout.FAILED_FILE])
def test_what_is_no_record_is_a_listed_problem(store_path: Path, name: str, content: bytes) -> None:
    run = first_run(open_store(store_path))
    file = run.path / ("bolt" if name == layout.UNIT_FILE else "") / name
    file.write_bytes(content)
    store = open_store(store_path)
    (problem,) = store.problems
    assert str(file) in problem.message
    assert len(problem.message) < 1000
    assert len(store.runs) == (1 if name == layout.RUN_FILE else 2)


@pytest.mark.parametrize("units", [None, [1], {"bolt": 3}, {"bolt": {"reason": "x", "attempts": "y"}}])
def test_damaged_failures_are_listed_and_written_anew(store_path: Path, units: Any) -> None:
    run = first_run(open_store(store_path))
    file = run.path / layout.FAILED_FILE
    file.write_text(json.dumps({"schema_version": SCHEMA_VERSION, "units": units}))
    store = open_store(store_path)
    assert [(p.kind, p.path) for p in store.problems] == [("damaged_file", file)]
    assert [failure.category for failure in store.failed] == ["felt"]
    writer.record_failure(store_path, run.id, "tin", "no light")
    assert open_store(store_path).problems == ()


def test_what_a_newer_minor_version_adds_is_passed_over(store_path: Path) -> None:
    run = first_run(open_store(store_path))
    changed(run.path / layout.RUN_FILE, "colour", "red")
    changed(run.path / layout.RUN_FILE, "units", 5)
    changed(run.path / layout.RUN_FILE, "protocol.backbone.twist", 1)
    changed(run.path / "bolt" / layout.UNIT_FILE, "profile.colour", "red")
    store = open_store(store_path)
    assert store.problems == ()
    assert store.run(run.id).categories == ("bolt", "felt")
    assert store.run(run.id).protocol.backbone["twist"] == 1
    assert store.run(run.id).units["bolt"].profile["colour"] == "red"


def test_a_unit_of_a_newer_schema_is_said(store_path: Path) -> None:
    run = first_run(open_store(store_path))
    changed(run.path / "bolt" / layout.UNIT_FILE, "schema_version", 99)
    store = open_store(store_path)
    assert [p.kind for p in store.problems] == ["newer_schema"]
    assert "Update the program" in store.problems[0].message
    assert store.run(run.id).categories == ("felt",)


def test_a_run_that_cannot_be_read_is_not_started_again(store_path: Path) -> None:
    run = first_run(open_store(store_path))
    changed(run.path / layout.RUN_FILE, "key.shots", "x")
    with pytest.raises(StoreError, match=r"key\.shots is 'x'.*Remove the folder"):
        writer.start_run(store_path, run)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a json value, the value itself left out."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, own in inner:
        yield (*path, name)
        yield from places(own, (*path, name))


@pytest.mark.parametrize("name", [layout.RUN_FILE, layout.UNIT_FILE])
def test_whatever_stands_anywhere_in_a_record_it_is_read_or_refused(tmp_path: Path, name: str) -> None:
    source = next(BUNDLED.glob(f"bundled_a/*/{name}" if name == layout.RUN_FILE else f"bundled_a/*/*/{name}"))
    folder = tmp_path / source.parent.name
    shutil.copytree(source.parent, folder, ignore=shutil.ignore_patterns("*/*"))
    refused = []
    for place in list(places(json.loads(source.read_text()))):
        for value in (None, "x", -1.5, {"a": [[1]]}):
            whole = json.loads(source.read_text())
            inner = whole
            for step in place[:-1]:
                inner = inner[step]
            inner[place[-1]] = value
            (folder / name).write_bytes(sealed(whole))
            try:
                if name == layout.RUN_FILE:
                    run = layout.read_run(folder)
                    assert len(run.protocol.hash) == len(run.protocol.conditions) == 8
                else:
                    layout.read_unit(folder)
            except StoreError as error:
                refused.append(str(error))
    assert len(refused) > 100
    assert all(str(folder) in message for message in refused)
