from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from vlmad_core.cli import main
from vlmad_core.engine import estimate
from vlmad_core.prompts import load_ensemble, save_ensemble
from vlmad_core.store.commands import read_commands
from vlmad_core.store.reader import open_store

ROOT = Path(__file__).parents[1]

SETTINGS = ("--batch-size", "4", "--threads", "1", "--latency", "0")

WAIT = 1200
"""Seconds after which a process is taken to hang, on however busy a machine."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, tiny_dataset: Callable[..., Path]) -> Path:
    return tiny_dataset(tmp_path_factory.mktemp("precompute") / "widgets")


@pytest.fixture
def words(tiny_clip: Path, data: Path) -> Callable[..., list[str]]:
    def make(store: Path, *more: str) -> list[str]:
        plan = ["--dataset", str(data), "--method", "clip_ac", "winclip", "--shots", "0", "1", "--seeds", "2"]
        how = ["--backbone", str(tiny_clip), "--store", str(store), *SETTINGS]
        return ["precompute", *plan, *how, *more]

    return make


def start(words: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "vlmad_core", *words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, tiny_clip: Path, data: Path) -> tuple[Path, float]:
    """A store written without a disturbance by a process of its own, and the seconds the units took."""
    store = tmp_path_factory.mktemp("undisturbed") / "store"
    plan = ["--dataset", str(data), "--method", "clip_ac", "winclip", "--shots", "0", "1", "--seeds", "2"]
    how = ["--backbone", str(tiny_clip), "--store", str(store), *SETTINGS]
    process = start(["precompute", *plan, *how, "--json"])
    out, err = process.communicate(timeout=WAIT)
    assert process.returncode == 0, err
    return store, json.loads(out)["seconds"]


def test_in_one_process_the_same_as_in_another(words, undisturbed, tmp_path, content_of, capsys):
    assert main(words(tmp_path / "store")) == 0
    assert content_of(tmp_path / "store") == content_of(undisturbed[0])
    captured = capsys.readouterr()
    assert "not applicable: clip_ac:canonical with 1 shots" in captured.err
    assert "WinCLIP+ (winclip:canonical)" in captured.out
    assert "units: 12 computed" in captured.out


def test_only_what_makes_no_sense_is_done_in_no_time(words, tmp_path, capsys):
    assert main(words(tmp_path, "--method", "clip_ac", "--shots", "2", "--json")) == 0
    outcome = json.loads(capsys.readouterr().out)
    assert outcome["runs"] == []
    assert [item["what"] for item in outcome["not_applicable"]] == ["clip_ac:canonical with 2 shots"]


def test_the_outcome_as_json(words, tmp_path, capsys):
    log = tmp_path / "log.jsonl"
    more = ["--json", "--size", "smoke", "--categories", "nut", "--log", str(log), "--seeds", "1"]
    assert main(words(tmp_path / "store", *more)) == 0
    outcome = json.loads(capsys.readouterr().out)
    assert outcome["units"] == {"computed": 3, "kept": 0, "partial": 0, "failed": 0}
    assert outcome["images"] == 8 + 1
    assert outcome["peak_rss_bytes"] > 0
    means = {(row["method"], row["shots"], row["metric"]): row for row in outcome["means"]}
    assert 0 <= means["winclip", 1, "image_auroc"]["value"] <= 1
    assert "no anomaly map" in means["clip_ac", 0, "pixel_auroc"]["reason"]
    events = [json.loads(line) for line in log.read_text().splitlines()]
    assert [event["event"] for event in events].count("unit") == 3
    store = open_store(tmp_path / "store")
    assert {run.protocol.data["size"] for run in store.runs} == {"smoke"}
    (kept,) = read_commands([tmp_path / "store"])
    assert [vars(one) for one in kept.spent] == outcome["spent"]
    assert (kept.images, kept.datasets) == (9, ("widgets",))
    assert 0 < sum(one.seconds for one in kept.spent) <= kept.wall_seconds + 0.01
    told = {(one.who, one.stage) for one in kept.spent}
    expected = [("WinCLIP+, 1 reference", "scoring"), ("all methods together", "windows"), ("the command", "writing")]
    assert told.issuperset(expected)
    by_stage = {}
    for run in store.runs:
        for unit in run.units.values():
            for stage in unit.profile["shared"]["seconds"]:
                by_stage.setdefault(unit.profile["shared"]["pass"], set()).add(stage)
            assert "windows" not in unit.profile["seconds"]
            assert {"windows", "scoring"} <= set(unit.seconds)
    assert len(by_stage) == 1  # three runs shared one pass


def test_dry_run(words, tmp_path, capsys):
    assert main(words(tmp_path / "store", "--dry-run", "--json")) == 0
    report = json.loads(capsys.readouterr().out)
    assert [unit["state"] for unit in report["units"]] == ["missing"] * 12
    assert (report["images"], report["seconds_from"], report["cache_bytes"]) == (30, "one pass", 0)
    assert report["seconds"] > 0
    assert report["memory_bytes"] > report["disk_bytes"] > 0
    assert not (tmp_path / "store").exists()
    cached = ["--cache-dir", str(tmp_path / "cache"), "--categories", "nut"]
    assert main(words(tmp_path / "store", "--dry-run", *cached)) == 0
    assert "features at most" in capsys.readouterr().out
    assert not (tmp_path / "cache").exists()


def test_a_dry_run_counts_what_judges_whole_sets(tmp_path, tiny_clip, data, monkeypatch, capsys):
    monkeypatch.setattr(estimate, "product_speed", lambda precision, **_: 1e5)  # a slow machine
    seconds = []
    for images in ("smoke", "full"):
        arguments = ["precompute", "--dataset", str(data), "--method", "musc", "--backbone", str(tiny_clip)]
        arguments += [
            "--categories",
            "nut",
            "--size",
            images,
            "--store",
            str(tmp_path / "store"),
            "--dry-run",
            "--json",
        ]
        assert main([*arguments, "--json"]) == 0
        report = json.loads(capsys.readouterr().out)
        seconds.append(report["seconds"] / report["images"])
    assert seconds[1] > 1.2 * seconds[0]  # seconds per image grow with the set


def test_a_dry_run_learns_from_what_is_there(words, tmp_path, capsys):
    store = tmp_path / "store"
    assert main(words(store, "--method", "clip_ac", "--shots", "0", "--categories", "bolt")) == 0
    capsys.readouterr()
    assert main(words(store, "--method", "clip_ac", "--shots", "0", "--dry-run")) == 0
    text = capsys.readouterr().out
    assert "1 done, 2 missing; 20 images to pass" in text
    assert "(from earlier units)" in text


def test_a_failed_unit_is_exit_code_2(words, tmp_path, capsys):
    assert main(words(tmp_path / "store", "--shots", "99", "--method", "winclip")) == 2
    captured = capsys.readouterr()
    assert "FAILED" in captured.err
    assert "Start the same command again" in captured.out
    assert len(open_store(tmp_path / "store").failed) == 6


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--method", "winclop"], "There is no method 'winclop'"),
        (["--backbone", "./nowhere"], "There is no backbone folder"),
        (["--dataset", "./nowhere"], "no such file or folder"),
        (["--categories", "nail"], "has no category 'nail'"),
        (["--parameters", "april_gan"], "where METHOD=FILE, e.g. april_gan=my.safetensors, belongs"),
    ],
)
def test_wrong_use_writes_nothing(words, tmp_path, capsys, more, said):
    assert main(words(tmp_path / "store", *more)) == 1
    assert said in capsys.readouterr().err
    assert not (tmp_path / "store").exists()


def test_an_empty_folder_is_no_data_set(words, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert main(words(tmp_path / "store", "--dataset", str(tmp_path / "empty"))) == 1
    assert "is empty" in capsys.readouterr().err


def test_a_store_that_cannot_be_written(words, tmp_path, capsys):
    (tmp_path / "file").write_text("x")
    assert main(words(tmp_path / "file" / "store")) == 1
    assert "can't be written to" in capsys.readouterr().err


def test_words_of_ones_own_are_another_competitor(tmp_path, tiny_clip, data, monkeypatch, capsys):
    monkeypatch.setenv("VLMAD_PROMPTS_DIR", str(tmp_path / "prompts"))
    ensemble = dataclasses.replace(load_ensemble("states"), abnormal_states=("cracked {}", "bent {}"))
    save_ensemble(ensemble, "my_words")
    store = tmp_path / "store"
    plan = ["precompute", "--dataset", str(data), "--method", "clip_ac", "clip_cpe", "--backbone", str(tiny_clip)]
    assert main([*plan, "--store", str(store)]) == 0
    assert main([*plan, "--store", str(store), "--prompts", "my_words"]) == 0
    runs = open_store(store).runs
    assert [run.key.preset for run in runs] == ["canonical", "canonical", f"my_words-{ensemble.content_hash[:4]}"]
    assert runs[-1].protocol.method["prompts"] == {"ensemble": "my_words", "content_hash": ensemble.content_hash}
    assert {run.protocol.conditions for run in runs} == {runs[0].protocol.conditions}, "they may be ranked together"
    capsys.readouterr()
    assert main([*plan[:4], "clip_ac", "--prompts", "my_words", "--store", str(store)]) == 1
    assert "none of the methods reads an ensemble" in capsys.readouterr().err
    assert main([*plan, "--prompts", "../absent", "--store", str(store)]) == 1
    assert "no prompt ensemble '../absent'" in capsys.readouterr().err
