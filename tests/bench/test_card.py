"""The prepared check of a graphics card, run on the CPU on small things: all of it works without a card."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from vlmad_core.backbones.arithmetic import CPU
from vlmad_core.bench import architectures, card
from vlmad_core.bench.architectures import Architecture
from vlmad_core.bench.methods import Request, bench
from vlmad_core.bench.subjects import Scene
from vlmad_core.datasets import load_dataset


@pytest.fixture
def scene(tmp_path: Path, tiny_dataset: Callable[..., Path]) -> Scene:
    data = tiny_dataset(tmp_path / "widgets", categories=("bolt",), normal=2, defective=2)
    return Scene(load_dataset(str(data)), "bolt")


def test_scores_are_compared_with_those_of_the_cpu(scene: Scene) -> None:
    names = ["clip_ac", "winclip", "patch_memory", "musc"]
    report = card.parity(CPU, names, (0, 1), scene)
    assert {(row["method"], row["shots"]) for row in report["rows"]} == {
        ("clip_ac:canonical", 0), ("winclip:canonical", 0), ("winclip:canonical", 1), ("patch_memory:canonical", 1),
        ("musc:canonical", 0),
    }  # fmt: skip
    assert all(row["score"] == 0 for row in report["rows"])
    assert (report["share"], report["ok"]) == (1.0, True)


def test_a_method_that_fails_there_costs_itself_only(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(card, "_apart", lambda *given: (_ for _ in ()).throw(RuntimeError("no kernel")))
    report = card.parity(CPU, ["clip_ac"], (0,), scene)
    assert report["rows"][0]["error"] == "RuntimeError: no kernel"
    assert (report["share"], report["ok"]) == (0.0, False)


def test_the_set_of_musc_is_judged_in_both_arithmetics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(card, "SET_WIDTH", 32)
    report = card.whole_set(CPU, images=5, grid=(4, 4))
    assert set(report["seconds"]) == {"float32", "tf32"}
    assert report["tf32_moves"] == 0  # the CPU has no TF32
    assert report["ok"]


def test_what_there_is_no_time_for_is_left_out(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(card, "CEILING_SIDE", 64)
    report = card.check(CPU, ["clip_ac"], (0,), scene, until=time.monotonic() - 1)
    assert report["parity"] == report["musc"] == {"error": "Time was up."}
    assert report["ok"] is False
    assert set(report["ceilings"]) == {"float32", "tf32", "bfloat16", "float16"}
    assert len(card.text_of(report)) == 4


@pytest.mark.slow
def test_the_whole_command_runs_on_a_folder_with_random_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(architectures.ARCHITECTURES, "tiny", Architecture(32, 8, 64, 4, 64, 32, "gelu"))
    report = card.whole_command(CPU, time.monotonic() + 300, "tiny", "smoke")
    assert report["images"] > 0
    assert sum(report["stages"].values()) <= report["seconds"]

    assert card.whole_command(CPU, time.monotonic(), "tiny", "smoke") == {"error": "It was given up after 1 s."}


def test_without_a_backbone_the_whole_check_of_a_card_is_made(
    tmp_path: Path, tiny_dataset: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tiny_dataset(tmp_path / "widgets", categories=("bolt",), normal=2, defective=2)
    monkeypatch.setitem(architectures.ARCHITECTURES, "tiny", Architecture(32, 8, 64, 4, 64, 32, "gelu"))
    monkeypatch.setattr(card, "CEILING_SIDE", 64)
    monkeypatch.setattr(card, "whole_set", lambda device: {"seconds": {}})
    monkeypatch.setattr(card, "whole_command", lambda device, until: {"seconds": 1.0})
    request = Request(
        (("random:tiny", ("float32",)),), ("clip_ac",), (0,), str(data), images=1, batches=(1,),
        until=time.monotonic() + 600,
    )  # fmt: skip
    report = bench(request, prepared=True)
    assert set(report["check"]) == {"ceilings", "parity", "musc", "precompute", "ok"}
    assert report["check"]["ok"]
    assert [row["backbone"] for row in report["methods"]] == ["random:tiny"]
    late = bench(dataclasses.replace(request, until=time.monotonic() + 30), prepared=True)
    assert late["methods"] == []  # the rest of the time is left to the whole command
    assert late["left_out"][-1] == {"what": "random:tiny in float32", "reason": "Time was up."}
    assert late["check"]["precompute"] == {"seconds": 1.0}


def test_the_benchmark_needs_no_dashboard() -> None:
    code = (
        "import sys; sys.modules['streamlit'] = sys.modules['plotly'] = None\n"
        "import vlmad_core.bench.methods, vlmad_core.bench.card\n"
        "assert 'torchvision' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
