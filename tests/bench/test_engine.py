from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from vlmad_core.bench.engine import made_up_images, memory
from vlmad_core.cli import main
from vlmad_core.datasets import load_dataset


@pytest.mark.usefixtures("quick_disk")
def test_what_sharing_and_the_cache_save(tmp_path, tiny_dataset: Callable[..., Path], tiny_clip: Path, capsys):
    data = tiny_dataset(tmp_path / "widgets", categories=("bolt",), train=4)
    words = ["--dataset", str(data), "--backbone", str(tiny_clip), "--part", "sharing", "cache", "storage", "images"]
    # On so small a network the targets mean nothing; only that the figures are there and fit together.
    assert main(["bench", "engine", *words, "--json"]) in (0, 1)
    report = json.loads(capsys.readouterr().out)
    shared = report["sharing"]
    assert shared["methods_added"] == ["clip_ac", "clip_cpe", "april_gan", "anomaly_clip", "patch_memory"]
    assert shared["methods_left_out"] == {}
    assert len(shared["ratios"]) == 3
    assert shared["ok"] == (shared["median"] <= shared["limit"])
    assert shared["processor_ratio"] == pytest.approx(
        shared["together"]["processor"] / shared["alone"]["processor"], abs=1e-3
    )
    assert {"read", "vision", "windows", "scoring"} <= set(report["cache"]["first"]["stages"])
    assert not {"metrics", "bootstrap", "truth_at_map_size"} & set(report["cache"]["first"]["stages"])
    assert "windows" not in report["cache"]["again"]["stages"]  # nothing passed the tower again
    assert report["cache"]["bytes"] > 0
    steps = report["images"]["milliseconds"]
    assert {name for name, spent in steps.items() if spent is not None and spent > 0} == {
        "decode", "resize", "mask", "thumbnail", "metrics", "image_metrics",
    }  # fmt: skip
    assert report["images"]["images_per_second"]["1"] > 0
    rows = {(row["method"], row["shots"]): row for row in report["storage"]["methods"]}
    assert rows["clip_ac", 0]["map"] is None
    assert 0 <= rows["winclip", 0]["score"] < 0.01
    assert rows["patch_memory", 4]["map"] < 1e-4  # raw tokens stay in 32 bits; only batches differ


def test_made_up_images_are_a_data_set(tmp_path):
    dataset = load_dataset(str(made_up_images(tmp_path / "parts", categories=2, images=6)))
    assert dataset.categories == ("part00", "part01")
    samples = dataset.select("part01", "test")
    assert [sample.label for sample in samples].count(1) == 3
    assert all((sample.mask_path is not None) == bool(sample.label) for sample in samples)
    assert dataset.problems == ()


@pytest.mark.slow
def test_memory_does_not_grow_with_categories(tmp_path, tiny_clip):
    report = memory(tmp_path, (4, 40), images=20, threads=1, backbone=str(tiny_clip))
    assert report["ok"], report
