from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
from transformers import CLIPModel

from vlmad_core.training import bundled_cli, gates, pair_bank
from vlmad_core.training.pair_bank import PAIR_SIZE, build_bank


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    # Workers are forked, so they see this too.
    monkeypatch.setattr(pair_bank, "SHARD", 12)
    monkeypatch.setattr(gates, "SHOTS", 1)


def test_the_command_trains_measures_and_writes_a_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    smoke = {"pairs": 12, "validation": 24, "steps": 3, "pairs_per_batch": 3}
    monkeypatch.setattr(bundled_cli, "SMOKE", smoke)
    parser = argparse.ArgumentParser()
    bundled_cli.add_arguments(parser)
    out = tmp_path / "model"
    assert bundled_cli.run(parser.parse_args(["--smoke", "--json", "--out", str(out), "--seed", "4"])) == 0
    printed = json.loads(capsys.readouterr().out)
    stored = json.loads((out / "training.json").read_text())
    assert printed == stored
    assert stored["training_data"] == ["vlmad-synthetic-training"]
    assert stored["recipe"]["seed"] == 4
    assert stored["pairs"]["count"] == 12
    assert set(stored["gates"]) == {"trained", "untrained", "raw_pixels"}
    for figures in stored["gates"].values():
        assert all(0 <= value <= 1 for value in figures.values())
    assert "winclip_pixel_auroc" in stored["gates"]["trained"]
    CLIPModel.from_pretrained(out)


def test_a_bank_is_rendered_once_and_depends_on_its_seed(tmp_path: Path) -> None:
    first = build_bank(tmp_path, 12, seed=1, workers=1)
    assert len(first) == 12
    assert first.images.shape == (12, 2, PAIR_SIZE, PAIR_SIZE, 3)
    shard = next(tmp_path.rglob("*.npz"))
    written = shard.stat().st_mtime_ns
    again = build_bank(tmp_path, 12, seed=1, workers=1)
    assert shard.stat().st_mtime_ns == written
    assert again.content_hash == first.content_hash
    elsewhere = build_bank(tmp_path / "other", 12, seed=1, workers=2)
    assert elsewhere.content_hash == first.content_hash
    assert build_bank(tmp_path, 12, seed=2, workers=1).content_hash != first.content_hash
    images, masks = first.take([3, 5])
    assert images.shape == (2, 2, PAIR_SIZE, PAIR_SIZE, 3)
    assert masks.shape == (2, PAIR_SIZE, PAIR_SIZE)
    assert masks.flatten(1).any(dim=1).all()
