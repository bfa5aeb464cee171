"""Damaged and made-up stores: every item is read as it was written, or is a listed problem and nothing else is lost."""

from __future__ import annotations

import dataclasses
import io
import json
import random
import resource
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file

from tests.mutations import mutated
from tests.store.conftest import BUNDLED
from vlmad_core import paths
from vlmad_core.analysis.comparable import comparisons, runs_table
from vlmad_core.analysis.leaderboard import leaderboard
from vlmad_core.analysis.slices import calibrations, category_kinds, points_of_curve
from vlmad_core.analysis.speed import cost_table, stage_table, throughput_table
from vlmad_core.analysis.transfer import cells_frame, trained_methods, transfer_cells
from vlmad_core.analysis.verdicts import image_thresholds
from vlmad_core.io import json_bytes
from vlmad_core.methods.predictions import MapRule
from vlmad_core.report.content import collect
from vlmad_core.store import layout, tables
from vlmad_core.store.reader import Store, open_store
from vlmad_core.store.schema import RunRecord
from vlmad_core.store.verifying import Verified, verify_run
from vlmad_core.store.writer import write_thumbnails

VALUES = (None, True, -1, 2.5, 10**12, "x", "", "=1+1\n<b>`|`</b>", [], [[1]], {}, {"a": {"b": [None]}})
"""What is put in the place of a record's entries."""


def read_all(store: Store) -> None:
    """Everything that pages, reports and exports make of a store."""
    runs_table(store)
    category_kinds(store.runs)
    for comparison in comparisons(store):
        entries = comparison.entries()
        board = leaderboard(store, dataset=comparison.dataset)
        for make in (cost_table, stage_table, throughput_table):
            make(entries)
        for method in trained_methods([comparison]):
            cells_frame(transfer_cells([comparison], {comparison.dataset: board}, method, "image_auroc"))
        for entry in entries:
            for run in entry.runs:
                for category in run.categories:
                    image_thresholds(run, category, store.images(run.id, category))
                    points_of_curve(store, run.id, category, "image_roc")
                    calibrations(store, [entry], category)
                    store.explain(run.id, category), store.regions(run.id), store.replicates(run.id, category)
                    store.grids(run.id, category)
                    for image in store.images(run.id, category)["image_id"][:2]:
                        store.thumbnail(run.id, category, image), store.mask(run.id, category, image)
    if comparisons(store):
        collect(store, title="all")


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a json value, the value itself left out."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, own in inner:
        yield (*path, name)
        yield from places(own, (*path, name))


def changed(record: Any, place: tuple[Any, ...], value: Any) -> Any:
    """A copy of a json value with another one at a place."""
    whole = json.loads(json.dumps(record))
    inner = whole
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = value
    return whole


@pytest.mark.parametrize(
    ("name", "place", "value"),
    [
        (layout.UNIT_FILE, ("profile", "speed", "stages_ms"), 10**12),
        (layout.UNIT_FILE, ("profile", "speed", "stages_ms"), {"read": [1]}),
        (layout.RUN_FILE, ("title",), "=1+1\n<b>`|`</b>"),
    ],
)
def test_what_was_found_to_stop_a_page(
    small: Path, tmp_path: Path, name: str, place: tuple[Any, ...], value: Any
) -> None:
    store = shutil.copytree(small, tmp_path / "store")
    records = {file: json.loads(file.read_text()) for file in store.rglob(name)}
    hit = [file for file, record in records.items() if place in places(record)]
    for file in hit:
        file.write_text(json.dumps(changed(records[file], place, value)))
    assert hit
    read_all(open_store(store))


@pytest.mark.parametrize("seed", range(3))
def test_whatever_a_record_says_the_rest_is_read(small: Path, tmp_path: Path, seed: int) -> None:
    store = shutil.copytree(small, tmp_path / "store")
    chance = random.Random(seed)
    files = [*store.rglob(layout.RUN_FILE), *store.rglob(layout.UNIT_FILE)]
    before = {run.id: set(run.categories) for run in open_store(store).runs}
    read = 0
    for _ in range(60):
        file = chance.choice(sorted(files))
        whole = file.read_bytes()
        record = json.loads(whole)
        file.write_text(json.dumps(changed(record, chance.choice(list(places(record))), chance.choice(VALUES))))
        found = open_store(store)
        kept = {run.id: set(run.categories) for run in found.runs}
        assert found.problems or kept == before, file
        others = {name: units for name, units in before.items() if not file.is_relative_to(store / name)}
        assert others.items() <= kept.items()
        if not found.problems and read < 6:
            read += 1
            read_all(found)
        file.write_bytes(whole)
    assert read


def under_other_prompts(store: Path, run: RunRecord, **entries: str) -> str:
    """A copy of a run as if it had been computed with other prompts; gives its id."""
    prompts = {**run.protocol.method["prompts"], **entries}
    protocol = dataclasses.replace(run.protocol, method={**run.protocol.method, "prompts": prompts})
    other = dataclasses.replace(run, id=layout.run_id(run.key, protocol.hash), protocol=protocol)
    folder = shutil.copytree(run.path, layout.run_folder(store, other.id))
    (folder / layout.RUN_FILE).write_bytes(json_bytes(other.to_json()))
    for mark in folder.glob(f"*/{layout.UNIT_FILE}"):
        mark.write_text(json.dumps({**json.loads(mark.read_text()), "run_id": other.id}))
    return other.id


def test_verifying_covers_thumbnails_parameters_and_prompts(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = shutil.copytree(small, tmp_path / "store")
    shutil.copytree(BUNDLED / layout.THUMBNAIL_FOLDER, path / "bundled_a" / layout.THUMBNAIL_FOLDER)
    store = open_store(path)
    trained, prompted = (next(r for r in store.runs if r.key.method == name) for name in ("april_gan", "clip_cpe"))
    assert all(verify_run(store, run.id) == Verified(()) for run in store.runs)
    pictures = next((path / "bundled_a" / layout.THUMBNAIL_FOLDER).glob("wood-*.parquet"))
    rows = pq.read_table(pictures).to_pylist()
    pictures.unlink()
    write_thumbnails(path, "bundled_a", pictures.name, rows)
    assert verify_run(open_store(path), trained.id) == Verified(())
    whole = pictures.read_bytes()
    at = whole.index(rows[0]["thumbnail"][40:60])
    pictures.write_bytes(whole[:at] + b"\0" + whole[at + 1 :])
    (problem,) = verify_run(open_store(path), trained.id).problems
    assert problem.path == pictures
    assert "its pictures are not as they were written" in problem.message
    assert not open_store(path).thumbnail(trained.id, "wood", rows[0]["image_id"])
    pictures.write_bytes(whole)

    name = trained.provenance.data["trained"]["file"]
    own = path / "parameters" / "april_gan" / name
    own.parent.mkdir(parents=True)
    monkeypatch.setattr(paths, "SHIPPED_PARAMETERS", tmp_path / "nowhere")
    found = verify_run(open_store(path), trained.id)
    assert not found.problems
    assert "are not on this machine" in found.notes[0]
    save_file({"a": torch.zeros(2)}, own)
    (problem,) = verify_run(open_store(path), trained.id).problems
    assert (problem.kind, problem.path) == ("changed_parameters", own)

    other = under_other_prompts(path, prompted, content_hash="0" * 16)
    (problem,) = verify_run(open_store(path), other).problems
    assert problem.kind == "changed_prompts"
    other = under_other_prompts(path, prompted, ensemble="nobodys")
    found = verify_run(open_store(path), other)
    assert not found.problems
    assert "The prompts 'nobodys'" in found.notes[0]


def content_of(store: Store, run_id: str, name: str) -> Any:
    """What the reader makes of a unit's file."""
    readers: dict[str, Callable[[], Any]] = {
        "images.parquet": lambda: store.images(run_id, "wood"),
        "metrics.parquet": lambda: store.metrics([run_id]).query("category == 'wood'"),
        "curves.parquet": lambda: store.curves(run_id, "wood"),
        "regions.parquet": lambda: store.regions(run_id, "wood"),
        "explain.parquet": lambda: store.explain(run_id, "wood"),
        "replicates.parquet": lambda: store.replicates(run_id, "wood"),
        "grids.npz": lambda: store.grids(run_id, "wood"),
    }
    return readers[name]()


@pytest.mark.parametrize(
    "name",
    ["images.parquet", "metrics.parquet", "curves.parquet", "regions.parquet", "explain.parquet", "replicates.parquet",
     "grids.npz"],
)  # fmt: skip
def test_a_flipped_bit_is_never_read_as_another_value(small: Path, tmp_path: Path, name: str) -> None:
    store = shutil.copytree(small, tmp_path / "store")
    run = next(one for one in open_store(store).runs if name in one.units["wood"].files)
    file = run.path / "wood" / name
    whole = file.read_bytes()
    chance = random.Random(name)
    for _ in range(25):
        at = chance.randrange(len(whole))
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << chance.randrange(8)]) + whole[at + 1 :])
        found = open_store(store)
        value = content_of(found, run.id, name)
        assert value.empty if isinstance(value, pd.DataFrame) else not value
        (problem,) = found.problems
        assert problem.path == file
        assert "is not as it was written" in problem.message


READERS: dict[str, Callable[[bytes], object]] = {
    "images.parquet": lambda content: tables.read_table(content, tables.IMAGES),
    "replicates.parquet": tables.read_replicates,
    "grids.npz": tables.read_grids,
    "thumbnails.parquet": tables.read_thumbnails,
}


@pytest.mark.parametrize("name", READERS)
def test_damaged_content_ends_in_one_list_of_errors(small: Path, name: str) -> None:
    """As if the hash were written anew as well: what a decoder makes of damaged bytes is values or a listed error."""
    if name == "thumbnails.parquet":
        whole = next((BUNDLED / "thumbnails").glob("wood-*.parquet")).read_bytes()
    else:
        whole = next(small.glob(f"*/*/wood/{name}")).read_bytes()
    refused = 0
    for seed in range(150):
        try:
            READERS[name](mutated(whole, seed))
        except tables.READ_ERRORS:
            refused += 1
    assert refused > 50


RULE = json.dumps(MapRule().to_json())


def npz(**arrays: np.ndarray) -> bytes:
    """A npz file of arrays."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{"image_ids": np.array(["a", "b"]), "rule": np.array(RULE), **arrays})
    return buffer.getvalue()


def crafted(header: bytes, body: bytes = b"") -> bytes:
    """A npz whose planes are a npy with a header of somebody's own."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(npz())) as source, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as target:
        for entry in source.namelist():
            target.writestr(entry, source.read(entry))
        target.writestr("planes.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + body)
    return buffer.getvalue()


def encrypted() -> bytes:
    content = bytearray(npz(planes=np.zeros((4, 2, 1, 2, 2), np.uint8)))
    place = content.index(b"PK\x01\x02")
    while place >= 0:  # in the directory, which is what is read
        content[place + 8] |= 1
        place = content.find(b"PK\x01\x02", place + 1)
    return bytes(content)


def unknown_method() -> bytes:
    content = npz(planes=np.zeros((4, 2, 1, 2, 2), np.uint8))
    return content.replace(b"\x08\x00", b"\x63\x00")


def with_rule(**entries: Any) -> bytes:
    rule = json.dumps({**MapRule().to_json(), **entries})
    return npz(grids=np.zeros((2, 1, 2, 2), np.float32), rule=np.array(rule))


CRAFTED: dict[str, bytes] = {
    "encrypted": encrypted(),
    "unknown method": unknown_method(),
    "shape": crafted(b"{'descr': '|u1', 'fortran_order': False, 'shape': (1152921504606846976, 2, 1, 2, 2)}"),
    "negative": crafted(b"{'descr': '|u1', 'fortran_order': False, 'shape': (-1, -16)}", b"x" * 16),
    "brackets": crafted(b"(" * 3000),
    "comment": crafted(b"{'descr': '|u1', 'shape': ("),
    "objects": crafted(b"{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", b"x" * 8),
    "no width": crafted(b"{'descr': '|V0', 'fortran_order': False, 'shape': (1000000000000,)}"),
    "integers": npz(grids=np.zeros((2, 1, 2, 2), np.int64)),
    "halves": npz(grids=np.zeros((2, 1, 2, 2), np.float16)),
    "images": npz(grids=np.zeros((3, 1, 2, 2), np.float32)),
    "same image": npz(grids=np.zeros((2, 1, 2, 2), np.float32), image_ids=np.array(["a", "a"])),
    "stages": npz(grids=np.zeros((2, 5, 2, 2), np.float32)),
    "nan": npz(grids=np.full((2, 1, 2, 2), np.nan, np.float32)),
    "nested rule": npz(grids=np.zeros((2, 1, 2, 2), np.float32), rule=np.array("[" * 100_000)),
    "infinite rule": npz(grids=np.zeros((2, 1, 2, 2), np.float32), rule=np.array(RULE.replace("0.0", "1e999"))),
    "wide filter": with_rule(gaussian_sigma=1e9, gaussian_size=1),
    "activation": with_rule(activations=["exec"]),
    "rule of numbers": with_rule(combine=3),
    "nothing": npz(),
    "empty": b"",
}


@pytest.mark.parametrize("name", CRAFTED)
def test_made_up_grids_are_refused(name: str) -> None:
    with pytest.raises(tables.READ_ERRORS):
        tables.read_grids(CRAFTED[name])


def test_a_small_file_cannot_become_large_grids(monkeypatch: pytest.MonkeyPatch) -> None:
    many = npz(planes=np.zeros((4, 2, 1, 1_000, 1_000), np.uint8))
    assert len(many) < 2**20
    assert tables.read_grids(many).grids.shape == (2, 1, 1_000, 1_000)
    monkeypatch.setattr(tables, "LARGEST_GRIDS", 2**22)
    with pytest.raises(ValueError, match="it declares 8,000,000 values, more than 4,194,"):
        tables.read_grids(many)


def test_one_long_text_cannot_fill_the_memory() -> None:
    texts = pa.array(["x" * 1_000_000]).dictionary_encode()
    long = pa.DictionaryArray.from_arrays(pa.array(np.zeros(100_000, np.int32)), texts.dictionary)
    names = {
        name: pa.nulls(100_000, kind) for name, kind in zip(tables.EXPLAIN.names, tables.EXPLAIN.types, strict=True)
    }
    buffer = io.BytesIO()
    pq.write_table(pa.table({**names, "text": long}), buffer, compression="zstd")
    assert len(buffer.getvalue()) < 2**20
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match="more than 2,147,483,648 bytes in text"):
        tables.read_table(buffer.getvalue(), tables.EXPLAIN)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**20, "in KB"
