from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from vlmad_core.bench import architectures
from vlmad_core.bench.architectures import Architecture, random_backbone
from vlmad_core.bench.subjects import random_parameters
from vlmad_core.cli import main
from vlmad_core.errors import BackboneError
from vlmad_core.methods import create_method
from vlmad_core.store.benches import parse_bench, read_benches

TINY = Architecture(32, 8, 64, 4, 64, 32, "gelu")


@pytest.fixture
def data(tmp_path: Path, tiny_dataset: Callable[..., Path]) -> Path:
    return tiny_dataset(tmp_path / "widgets", categories=("bolt",), normal=2, defective=1)


def figures(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert main(["bench", "methods", "--json", "--images", "2", "--batch", "2", *words]) == 0
    return json.loads(capsys.readouterr().out)


def test_every_method_on_a_true_architecture_with_random_weights(data, capsys, monkeypatch):
    monkeypatch.setitem(architectures.ARCHITECTURES, "tiny", TINY)
    names = ["clip_ac", "winclip", "april_gan", "anomaly_clip", "patch_memory", "musc"]
    words = ["--backbone", "random:tiny", "--dataset", str(data), "--shots", "0", "1", "--precision", "float32"]
    report = figures(capsys, *words, "--method", *names)
    rows = {(row["method"], row["shots"]): row for row in report["methods"]}
    zero_shot = {(name, 0) for name in names if name != "patch_memory"}
    assert zero_shot | {("winclip", 1), ("april_gan", 1), ("patch_memory", 1)} <= set(rows)
    assert any("patch_memory" in item["what"] and "reference" in item["reason"] for item in report["left_out"])
    for row in rows.values():
        assert row["flops_per_image"] > 0
        assert row["batch_n"]["images_per_second"] > 0
        assert (row["batch_1"] is None) == (row["method"] == "musc")
        assert row["plain_share"] == pytest.approx(
            row["batch_n"]["images_per_second"] / row["plain"]["images_per_second"], abs=1e-3
        )
        assert row["peak_bytes"] > 2**20
    assert rows["winclip", 0]["flops_per_image"] > 2 * rows["clip_ac", 0]["flops_per_image"]
    assert report["hardware"]["cores"] >= 1
    assert report["matmul_flops_per_second"]["float32"] > 0


def test_precisions_are_those_asked_for(data, tiny_clip, capsys):
    words = ["--backbone", str(tiny_clip), "--dataset", str(data), "--method", "clip_ac", "--shots", "0"]
    report = figures(capsys, *words, "--precision", "float32", "bfloat16")
    assert [row["precision"] for row in report["methods"]] == ["float32", "bfloat16"]
    assert main(["bench", "methods", "--images", "2", "--batch", "1", *words, "--precision", "float32"]) == 0
    text = capsys.readouterr().out
    assert "CLIP-AC" in text
    assert "ms by stage: read" in text
    assert "matrix products in GFLOP/s" in text


def test_figures_are_kept_for_the_dashboard(tmp_path, data, tiny_clip, capsys, monkeypatch):
    monkeypatch.setenv("VLMAD_STORE", str(tmp_path / "store"))
    words = ["--backbone", str(tiny_clip), "--dataset", str(data), "--method", "clip_ac", "musc", "--shots", "0"]
    report = figures(capsys, *words, "--precision", "float32", "--device", "auto", "--keep")
    (record,), problems = read_benches([tmp_path / "store"])
    assert problems == ()
    assert [row.title for row in record.methods] == [row["title"] for row in report["methods"]]
    assert record.methods[0].batch_1 is not None
    assert record.methods[1].batch_1 is None
    assert record.command.endswith("--device auto --keep")
    assert record == parse_bench(json.dumps(report).encode(), "printed.json")


def test_wrong_words_are_refused(data, capsys):
    assert main(["bench", "methods", "--backbone", "random:vit-x", "--dataset", str(data), "--method", "clip_ac"]) == 1
    assert "no architecture 'vit-x'" in capsys.readouterr().err
    assert main(["bench", "methods", "--images", "0"]) == 1


def test_random_weights_have_the_shape_of_the_real_ones(monkeypatch):
    monkeypatch.setitem(architectures.ARCHITECTURES, "tiny", TINY)
    backbone = random_backbone("tiny", image_size=64)
    assert (backbone.info.grid, backbone.info.width, backbone.info.native_image_size) == ((8, 8), 64, 32)
    assert torch.isfinite(backbone.encode_text(["a part"])).all()
    parameters = random_parameters(create_method("april_gan"), backbone)
    assert parameters is not None
    assert parameters["linear.3.weight"].shape == (32, 64)
    assert random_parameters(create_method("winclip"), backbone) is None
    with pytest.raises(BackboneError, match="no architecture"):
        random_backbone("vit-g")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "parameters"), [("vit-b-32", 151_277_313), ("vit-b-16", 149_620_737), ("vit-l-14-336", 427_944_193)]
)
def test_as_many_weights_as_the_published_models(name, parameters):
    assert random_backbone(name).info.parameters == parameters
