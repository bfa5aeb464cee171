from __future__ import annotations

import dataclasses
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from vlmad_core.cli import main
from vlmad_core.engine import estimate
from vlmad_core.prompts import load_ensemble, save_ensemble
from vlmad_core.store.commands import read_commands
from vlmad_core.store.reader import open_store
from vlmad_core.store.verifying import verify_run

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


FORKS = """
import json, os, sys
import vlmad_core.engine.runner, vlmad_core.precompute, vlmad_core.analysis.leaderboard
from vlmad_core.cli import main
for line in sys.stdin:
    order = json.loads(line)
    if "words" in order:
        pid = os.fork()
        if pid == 0:
            for number, name in ((1, "out"), (2, "err")):
                os.dup2(os.open(order[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
            code = main(order["words"])
            sys.stdout.flush()
            os._exit(code)
        print(pid, flush=True)
    else:
        pid, status = os.waitpid(order["pid"], 0 if order["wait"] else os.WNOHANG)
        print(os.waitstatus_to_exitcode(status) if pid else "", flush=True)
"""
"""A process that has loaded everything and forks one that runs a command: loading takes far longer than the work."""


class Forks:
    """Commands in processes of their own, quickly started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.count = 0
        command = [sys.executable, "-c", FORKS]
        env = {**os.environ, "OMP_NUM_THREADS": "1"}
        self.server = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env
        )

    def ask(self, **order: Any) -> str:
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        self.server.stdin.write(json.dumps(order) + "\n")
        self.server.stdin.flush()
        return self.server.stdout.readline().strip()

    def start(self, words: list[str]) -> Fork:
        self.count += 1
        out, err = (self.folder / f"{self.count}.{name}" for name in ("out", "err"))
        return Fork(self, int(self.ask(words=words, out=str(out), err=str(err))), out, err)


@dataclasses.dataclass
class Fork:
    """One running command."""

    forks: Forks
    pid: int
    out: Path
    err: Path
    code: int | None = None

    def poll(self, wait: bool = False) -> int | None:
        if self.code is None:
            answer = self.forks.ask(pid=self.pid, wait=wait)
            self.code = int(answer) if answer else None
        return self.code

    def kill(self) -> bool:
        """Kill it; False if it was done just before."""
        os.kill(self.pid, signal.SIGKILL)
        return self.poll(wait=True) == -signal.SIGKILL

    def outcome(self) -> dict[str, Any]:
        assert self.poll(wait=True) == 0, self.err.read_text()
        return json.loads(self.out.read_text())


@pytest.fixture(scope="module")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    if not hasattr(os, "fork"):
        pytest.skip("this system can't fork")
    running = Forks(tmp_path_factory.mktemp("forks"))
    yield running
    assert running.server.stdin is not None
    running.server.stdin.close()
    running.server.wait(WAIT)


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


def kill_at_random(forks: Forks, words: list[str], store: Path, seconds: float, rng: random.Random) -> bool:
    """Kill the command at a random moment of its work; True if it was still at it."""
    process = forks.start(words)
    while process.poll() is None and not list(store.rglob("run.json")):
        time.sleep(0.005)
    time.sleep(rng.uniform(0, seconds))
    return process.poll() is None and process.kill()


def check_killed(
    forks: Forks, count: int, seed: int, words: Any, undisturbed: Any, store: Path, content_of: Any
) -> None:
    rng = random.Random(seed)
    reference, seconds = undisturbed
    while not kill_at_random(forks, words(store), store, seconds, rng):
        shutil.rmtree(store)  # done before it could be killed: the machine is quicker now than it was
        seconds /= 2
    for attempt in range(1, count):
        kill_at_random(forks, words(store), store, seconds * (count - attempt) / count, rng)
        read = open_store(store)
        assert read.problems == ()
        assert read.failed == ()
        assert all(verify_run(read, run.id).problems == () for run in read.runs)
    before = sum(len(run.units) for run in open_store(store).runs)
    outcome = forks.start(words(store, "--json")).outcome()
    assert outcome["units"]["kept"] == before
    assert outcome["units"]["computed"] == 12 - before
    assert content_of(store) == content_of(reference)


def test_killed_three_times_it_ends_the_same(forks, words, undisturbed, tmp_path, content_of):
    check_killed(forks, 3, 0, words, undisturbed, tmp_path / "store", content_of)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 6))
def test_killed_twenty_times_it_ends_the_same(seed, forks, words, undisturbed, tmp_path, content_of):
    check_killed(forks, 4, seed, words, undisturbed, tmp_path / "store", content_of)


@pytest.mark.slow
def test_killed_with_a_cache_it_ends_the_same(forks, words, tmp_path, content_of):
    rng = random.Random(7)
    whole, killed = (tmp_path / name for name in ("whole", "killed"))
    seconds = forks.start(words(whole, "--cache-dir", str(tmp_path / "one"), "--json")).outcome()["seconds"]
    with_cache = words(killed, "--cache-dir", str(tmp_path / "two"))
    while not kill_at_random(forks, with_cache, killed, seconds, rng):
        shutil.rmtree(killed)
        shutil.rmtree(tmp_path / "two")
        seconds /= 2
    kill_at_random(forks, with_cache, killed, seconds / 2, rng)
    forks.start([*with_cache, "--json"]).outcome()
    assert content_of(killed) == content_of(whole)


def test_two_processes_share_the_work(forks, words, undisturbed, tmp_path, content_of):
    store = tmp_path / "store"
    processes = [forks.start(words(store, "--json")) for _ in range(2)]
    outcomes = [process.outcome()["units"] for process in processes]
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
