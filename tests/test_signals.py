from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from vlmad_core import cli, signals
from vlmad_core.cli import main
from vlmad_core.io import commit_folder
from vlmad_core.signals import Stopped, ending_in_order

ROOT = Path(__file__).parents[1]


def send(name: str) -> None:
    os.kill(os.getpid(), getattr(signal, name))
    time.sleep(5)


@pytest.mark.parametrize(
    ("words", "name", "code", "said"),
    [
        (["precompute"], "SIGTERM", 143, "Finished units are kept. Start the same command again"),
        (["precompute"], "SIGINT", 130, "Finished units are kept"),
        (["study", "x"], "SIGHUP", 129, "Finished units are kept"),
        (["train", "april_gan"], "SIGTERM", 143, "--resume"),
        (["import"], "SIGTERM", 143, "whole or not at all"),
        (["jobs"], "SIGINT", 130, "goes on in its own process"),
        (["doctor"], "SIGTERM", 143, "Start it again"),
    ],
)
def test_a_signal_ends_a_command_with_a_sentence(words, name, code, said, monkeypatch, capsys):
    monkeypatch.setattr(cli, "_mount", lambda *_: send(name))
    before = signal.getsignal(signal.SIGTERM)
    assert main(words) == code
    (line,) = capsys.readouterr().err.split("\n", 1)[1].splitlines()
    assert line.startswith(f"stopped by {name}. ")
    assert said in line
    assert signal.getsignal(signal.SIGTERM) == before


def twice() -> None:
    try:
        send("SIGTERM")
    finally:
        os.kill(os.getpid(), signal.SIGTERM)  # tidying up is not disturbed
        time.sleep(0.01)


def test_one_wish_may_come_twice_and_a_later_one_ends_at_once():
    with ending_in_order(), pytest.raises(Stopped):
        twice()
    code = "import os, signal, time\nfrom vlmad_core import signals\nsignals.PATIENCE = 0.0\n"
    code += "with signals.ending_in_order():\n try:\n  os.kill(os.getpid(), 15); time.sleep(9)\n"
    code += " finally:\n  time.sleep(0.1); os.kill(os.getpid(), 15); time.sleep(9)\n"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60, check=False)
    assert done.returncode == -signal.SIGTERM


def test_what_is_ignored_stays_ignored_and_other_threads_change_nothing():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ending_in_order():
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
            assert signal.getsignal(signal.SIGTERM) != signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)
    inside = []

    def look() -> None:
        with signals.ending_in_order():
            inside.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert inside == [signal.getsignal(signal.SIGTERM)]


def test_an_exchange_of_folders_that_is_interrupted_keeps_the_old_one(tmp_path, monkeypatch):
    old, new = tmp_path / "unit", tmp_path / ".tmp-unit-1-abcdefgh"
    for folder in (old, new):
        folder.mkdir()
        (folder / "name").write_text(folder.name)
    rename = Path.rename

    def interrupted(self: Path, target: Path) -> Path:
        if self == new:
            raise Stopped(signal.SIGTERM)
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(Stopped):
        commit_folder(new, old, replace=True)
    assert (old / "name").read_text() == "unit"


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_stopped_precompute_leaves_units_and_nothing_else(name, tmp_path, tiny_clip, tiny_dataset):
    data, store = tiny_dataset(tmp_path / "widgets"), tmp_path / "store"
    words = ["precompute", "--dataset", str(data), "--method", "clip_ac", "winclip", "musc", "--shots", "0", "1", "2"]
    words += ["--backbone", str(tiny_clip), "--store", str(store), "--batch-size", "1", "--seeds", "20"]
    command = [sys.executable, "-m", "vlmad_core", *words]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and not list(store.glob("*/*/[!.]*/unit.json")):
            time.sleep(0.02)
        process.send_signal(getattr(signal, name))
        _, said = process.communicate(timeout=300)
    assert process.returncode == 128 + getattr(signal, name), said
    assert said.splitlines()[-1].startswith(f"stopped by {name}. Finished units are kept.")
    assert "Traceback" not in said
    assert not (store / ".locks").exists()
    assert not list(store.rglob(".tmp-*"))
    assert list(store.rglob("unit.json"))
