"""Which data a run rests on: recorded with it, the same everywhere, other where split or files are."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from vlmad_core.cli import main
from vlmad_core.datasets import load_dataset
from vlmad_core.datasets.fingerprint import content_hashes, file_hash, files_hash, listing_hash, listing_record
from vlmad_core.store.reader import open_store


def files_of(root: Path) -> str:
    return files_hash((sample.id, content_hashes(sample)[1]) for sample in load_dataset(root).samples)


def test_listing_and_files_depend_on_the_data_not_on_the_place(mvtec_tree: Path) -> None:
    samples = load_dataset(mvtec_tree).samples
    listing, files = listing_hash(samples), files_of(mvtec_tree)
    assert listing_hash(reversed(samples)) == listing
    copy = mvtec_tree.parent / "elsewhere"
    shutil.copytree(mvtec_tree, copy)
    assert (listing_hash(load_dataset(copy).samples), files_of(copy)) == (listing, files)
    mask = copy / "gear" / "ground_truth" / "dent" / "000_mask.png"
    shutil.copy(copy / "gear" / "test" / "dent" / "000.png", mask)
    assert listing_hash(load_dataset(copy).samples) == listing
    changed = files_of(copy)
    assert changed != files
    mask.unlink()
    assert listing_hash(load_dataset(copy).samples) != listing
    assert files_of(copy) not in (files, changed)


def test_a_file_that_cannot_be_read_still_has_a_hash(tmp_path: Path) -> None:
    assert file_hash(tmp_path / "none.png") == "unreadable"


def test_provenance_counts_the_images_of_each_kind(mvtec_tree: Path) -> None:
    samples = load_dataset(mvtec_tree).samples
    record = listing_record(samples)
    assert record["listing"] == listing_hash(samples)
    assert record["train"] + record["test_normal"] + record["test_anomalous"] == len(samples)
    assert record["test_anomalous"] == sum(sample.label == 1 for sample in samples)


@pytest.fixture
def compute(tiny_dataset, tiny_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """A function that makes a data set, runs a method on it and gives the command's answer for the run."""

    def run(name: str, change: Any = None) -> dict[str, Any]:
        data = tiny_dataset(tmp_path / name / "widgets", categories=("bolt", "felt"), train=1, normal=2, defective=1)
        if change is not None:
            change(data)
        store = ["--store", str(tmp_path / name / "store")]
        words = ["--method", "clip_ac", "--backbone", str(tiny_clip), "--latency", "0", "--json"]
        assert main(["precompute", "--dataset", str(data), *words, *store]) == 0
        capsys.readouterr()
        assert main(["results", "show", "clip_ac", *store, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    return run


def test_every_run_records_its_fingerprint(compute, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = compute("first")
    stated = first["provenance"]["data"]["fingerprint"]
    assert stated == {
        "listing": first["protocol"]["data"]["listing"],
        "train": 2,
        "test_normal": 4,
        "test_anomalous": 4,
    }
    assert first["fingerprint"].startswith(stated["listing"])
    assert compute("again")["fingerprint"] == first["fingerprint"]

    def other_split(data: Path) -> None:
        (data / "bolt" / "test" / "good" / "001.png").rename(data / "bolt" / "train" / "good" / "999.png")

    def other_file(data: Path) -> None:
        shutil.copy(data / "felt" / "test" / "good" / "000.png", data / "felt" / "test" / "good" / "001.png")

    split, file = compute("split", other_split), compute("file", other_file)
    assert split["provenance"]["data"]["fingerprint"]["train"] == 3
    assert file["provenance"]["data"]["fingerprint"] == stated
    assert len({one["fingerprint"] for one in (first, split, file)}) == 3

    runs = [open_store(tmp_path / name / "store").runs[0] for name in ("first", "split", "file")]
    assert runs[0].fingerprint.differences(runs[1].fingerprint) == (
        "They list other images, splits or labels.",
        "The files of bolt differ.",
    )
    assert runs[0].fingerprint.differences(runs[2].fingerprint) == ("The files of felt differ.",)
    assert main(["results", "show", "clip_ac", "--store", str(tmp_path / "first" / "store")]) == 0
    assert f"data {first['fingerprint']}" in capsys.readouterr().out


def test_records_written_before_have_one_too() -> None:
    store = open_store(Path(__file__).parents[2] / "results" / "bundled")
    runs = [run for run in store.runs if run.key.dataset == "bundled_a" and len(run.units) == 6]
    assert len({str(run.fingerprint) for run in runs}) == 1
    data = {name: value for name, value in runs[0].provenance.data.items() if name != "fingerprint"}
    before = dataclasses.replace(runs[0], provenance=dataclasses.replace(runs[0].provenance, data=data))
    assert before.fingerprint.listing == runs[0].fingerprint.listing
    assert before.fingerprint.files == runs[0].fingerprint.files
