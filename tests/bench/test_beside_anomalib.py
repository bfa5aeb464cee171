"""WinCLIP beside anomalib's: a stand-in for anomalib, with our towers behind its names, is the other process."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from vlmad_core.backbones.arithmetic import CPU
from vlmad_core.bench import architectures, beside_anomalib
from vlmad_core.bench.architectures import Architecture
from vlmad_core.errors import VlmadError

STAND_IN = """
import torch
from types import SimpleNamespace
from vlmad_core.backbones.open_clip import convert_state
from vlmad_core.bench import architectures
from vlmad_core.bench.architectures import Architecture, random_backbone
from vlmad_core.bench.beside_anomalib import OurSide

PRETRAINED = "something to download"
architectures.ARCHITECTURES["tiny"] = Architecture(32, 8, 64, 2, 64, 32, "gelu")


class WinClipModel(torch.nn.Module):
    def __init__(self):
        super().__init__()
        assert PRETRAINED is None
        self.backbone = random_backbone("tiny")
        for parameter in self.backbone.model.parameters():
            parameter.zero_()
        self.clip = SimpleNamespace(load_state_dict=self.load)

    def load(self, state):
        self.backbone.model.load_state_dict(convert_state(state))

    def forward(self, pixels):
        print("noise on standard output")
        predictions, maps = OurSide(self.backbone, pixels, self._text_embeddings).judged(len(pixels))
        return SimpleNamespace(pred_score=predictions.image_score, anomaly_map=maps + SHIFT)
"""


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(architectures.ARCHITECTURES, "tiny", Architecture(32, 8, 64, 2, 64, 32, "gelu"))
    monkeypatch.setattr(beside_anomalib, "ARCHITECTURE", "tiny")


def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shift: float) -> Path:
    folder = tmp_path / "anomalib" / "models" / "image" / "winclip"
    folder.mkdir(parents=True)
    (folder / "torch_model.py").write_text(f"SHIFT = {shift}\n{STAND_IN}")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{Path(__file__).parents[2]}")
    return Path(sys.executable)


def test_pairs_of_runs_give_ratios_and_the_maps_agree(tmp_path, monkeypatch, tiny) -> None:
    python = environment(tmp_path, monkeypatch, 0.0)
    report = beside_anomalib.beside_anomalib(python, CPU, ("float32", "bfloat16"), batches=(1, 2), pairs=2)
    rows = {(row["precision"], row["autocast"], row["batch"]): row for row in report["rows"]}
    assert set(rows) == {
        (precision, autocast, batch)
        for precision, autocast in (("float32", None), ("bfloat16", None), ("bfloat16", "bfloat16"))
        for batch in (1, 2)
    }
    assert rows["float32", None, 2]["map_difference"] < 1e-6  # all weights went over under OpenCLIP's names
    assert rows["bfloat16", None, 2]["map_difference"] > 0
    assert all(len(row["ratios"]) == 2 for row in rows.values())
    assert report["ok"]
    assert report["packages"]["torch"] == torch.__version__
    assert "anomalib bfloat16 (autocast)" in beside_anomalib.text_of(report)


def test_maps_that_differ_are_said(tmp_path, monkeypatch, tiny) -> None:
    python = environment(tmp_path, monkeypatch, 0.5)
    report = beside_anomalib.beside_anomalib(python, CPU, ("float32",), batches=(1,), pairs=1)
    assert report["rows"][0]["map_difference"] == pytest.approx(0.5, abs=1e-3)
    assert not report["ok"]
    assert "not the same method" in beside_anomalib.text_of(report)


def test_an_environment_without_anomalib_says_how_to_make_one(tmp_path, tiny) -> None:
    with pytest.raises(VlmadError, match=r"No module named 'anomalib'.*pip install anomalib==2\.7\.0"):
        beside_anomalib.beside_anomalib(Path(sys.executable), CPU, ("float32",))
    with pytest.raises(VlmadError, match="can't be run"):
        beside_anomalib.beside_anomalib(tmp_path / "python", CPU, ("float32",))
