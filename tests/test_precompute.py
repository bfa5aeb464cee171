from __future__ import annotations

import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vlmad_core.cli import main
from vlmad_core.prompts import load_ensemble, save_ensemble
from vlmad_core.results.store import open_store

ROOT = Path(__file__).parents[1]

WAIT = 1200
"""Seconds after which a process is taken to hang, on however busy a machine."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, tiny_dataset: Callable[..., Path]) -> Path:
    return tiny_dataset(tmp_path_factory.mktemp("precompute") / "widgets")


@pytest.fixture
def words(tiny_clip: Path, data: Path) -> Callable[..., list[str]]:
    def make(store: Path, *more: str) -> list[str]:
        plan = ["--dataset", str(data), "--method", "clip_ac", "winclip", "--shots", "0", "1", "--seeds", "2"]
        how = ["--backbone", str(tiny_clip), "--store", str(store), "--batch-size", "4", "--threads", "1"]
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
    how = ["--backbone", str(tiny_clip), "--store", str(store), "--batch-size", "4", "--threads", "1"]
    process = start(["precompute", *plan, *how, "--json"])
    out, err = process.communicate(timeout=WAIT)
    assert process.returncode == 0, err
    return store, json.loads(out)["seconds"]


def kill_at_random(words: list[str], store: Path, seconds: float, rng: random.Random) -> bool:
    """Kill the command at a random moment of its work; True if it was still at it."""
    process = start(words)
    while process.poll() is None and not list(store.rglob("run.json")):
        time.sleep(0.005)
    time.sleep(rng.uniform(0, seconds))
    running = process.poll() is None
    if running:
        process.send_signal(signal.SIGKILL)
    process.communicate(timeout=WAIT)
    return running


def check_killed(count: int, seed: int, words: Any, undisturbed: Any, store: Path, content_of: Any) -> None:
    rng = random.Random(seed)
    reference, seconds = undisturbed
    killed = 0
    for attempt in range(count):
        killed += kill_at_random(words(store), store, seconds * (count - attempt) / count, rng)
        read = open_store(store)
        assert read.problems == ()
        assert read.failed == ()
        assert all(read.verify(run.id) == () for run in read.runs)
    assert killed > 0
    before = sum(len(run.units) for run in open_store(store).runs)
    process = start(words(store, "--json"))
    out, err = process.communicate(timeout=WAIT)
    assert process.returncode == 0, err
    outcome = json.loads(out)
    assert outcome["units"]["kept"] == before
    assert outcome["units"]["computed"] == 12 - before
    assert content_of(store) == content_of(reference)


def test_killed_three_times_it_ends_the_same(words, undisturbed, tmp_path, content_of):
    check_killed(3, 0, words, undisturbed, tmp_path / "store", content_of)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 6))
def test_killed_twenty_times_it_ends_the_same(seed, words, undisturbed, tmp_path, content_of):
    check_killed(4, seed, words, undisturbed, tmp_path / "store", content_of)


@pytest.mark.slow
def test_killed_with_a_cache_it_ends_the_same(words, tmp_path, content_of):
    rng = random.Random(7)
    whole, killed = (tmp_path / name for name in ("whole", "killed"))
    process = start(words(whole, "--cache-dir", str(tmp_path / "one"), "--json"))
    out, err = process.communicate(timeout=WAIT)
    assert process.returncode == 0, err
    seconds = json.loads(out)["seconds"]
    with_cache = words(killed, "--cache-dir", str(tmp_path / "two"))
    assert sum(kill_at_random(with_cache, killed, seconds, rng) for _ in range(3)) > 0
    assert main(with_cache) == 0
    assert content_of(killed) == content_of(whole)


def test_two_processes_share_the_work(words, undisturbed, tmp_path, content_of):
    store = tmp_path / "store"
    processes = [start(words(store, "--json")) for _ in range(2)]
    outcomes = []
    for process in processes:
        out, err = process.communicate(timeout=WAIT)
        assert process.returncode == 0, err
        outcomes.append(json.loads(out)["units"])
    assert sum(units["computed"] for units in outcomes) == 12
    assert all(units["computed"] + units["kept"] == 12 for units in outcomes)
    assert content_of(store) == content_of(undisturbed[0])


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
        (["--parameters", "april_gan"], "Write METHOD=FILE"),
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
