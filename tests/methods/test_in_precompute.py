"""Settings of methods from the command line, and what the engine gives methods that ask for more than references."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from safetensors.torch import save_file

from vlmad_core import cli, precompute
from vlmad_core.backbones.info import Preprocessing
from vlmad_core.datasets import load_dataset
from vlmad_core.engine.options import PlanError
from vlmad_core.engine.profiling import Stopwatch
from vlmad_core.engine.reading import ImageLoader
from vlmad_core.errors import DatasetError
from vlmad_core.methods import TrainingRecord
from vlmad_core.store.reader import open_store


@pytest.fixture(scope="module")
def data(tiny_dataset, tmp_path_factory) -> Path:
    return tiny_dataset(tmp_path_factory.mktemp("data") / "widgets", categories=("bolt",), train=9)


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    precompute.add_arguments(parser)
    return parser.parse_args(["--dataset", "bundled_a", *words])


def test_settings_from_the_command_line():
    changes = ["winclip.temperature=0.01", "winclip.scales=[2, 4]", "winclip:accurate.image_scale=false"]
    options = precompute.options_of(parse("--method", "winclip", "winclip:accurate", "--set", *changes))
    plain, accurate = (choice.settings for choice in options.methods)
    assert plain == {"temperature": 0.01, "scales": [2, 4]}
    assert accurate == {"temperature": 0.01, "scales": [2, 4], "image_scale": False}


@pytest.mark.parametrize("change", ["winclip.temperature", "temperature=1", "musc.fraction=0.1", "winclip.scales=[2"])
def test_changes_of_nothing_are_refused(change):
    with pytest.raises(PlanError, match="--set was given"):
        precompute.options_of(parse("--method", "winclip", "--set", change))


def run(data: Path, clip: Path, store: Path, *more: str) -> int:
    words = ["precompute", "--dataset", str(data), "--backbone", str(clip), "--store", str(store), "--threads", "1"]
    return cli.main([*words, "--no-thumbnails", *more])


def test_an_unknown_setting_is_named_before_anything_runs(data, tiny_clip, tmp_path, capsys):
    assert run(data, tiny_clip, tmp_path / "store", "--method", "winclip", "--set", "winclip.temp=1") == 1
    assert "no setting 'temp'" in capsys.readouterr().err
    assert run(data, tiny_clip, tmp_path / "store", "--method", "winclip", "--set", "winclip.scales=two") == 1
    assert "Give a list of whole numbers" in capsys.readouterr().err
    assert not (tmp_path / "store").exists()


def test_calibration_images_are_normal_and_no_references(data, tiny_clip, backbone, trained, tmp_path, capsys):
    path = tmp_path / "linear.safetensors"
    save_file(trained["april_gan"], path)
    record = TrainingRecord("april_gan", ("elsewhere",), backbone.info.to_json())
    path.with_suffix(".json").write_text(json.dumps(record.to_json()))
    options = ["--method", "april_gan", "--parameters", f"april_gan={path}", "--shots", "1"]
    calibrated = ["--set", "april_gan.image_fusion=calibrated"]
    store = tmp_path / "store"
    assert run(data, tiny_clip, store, *options) == 0
    assert run(data, tiny_clip, store, *options, *calibrated) == 0
    titles = {found.title for found in open_store(store).runs}
    assert titles == {"AprilLab (APRIL-GAN), non-transductive", "AprilLab (APRIL-GAN), calibrated"}
    capsys.readouterr()
    assert run(data, tiny_clip, store, *options[:-1], "2", *calibrated) == 2
    assert "9 normal training images" in (said := capsys.readouterr().out)
    assert "8 of them are for calibration" in said


def test_an_image_smaller_than_a_patch_is_named(data, backbone):
    small = Image.new("RGB", (40, 9))
    assert Preprocessing(32, patch_size=9)(small).shape == (3, 32, 32)
    with pytest.raises(DatasetError, match=r"40 x 9 pixels is smaller than a patch of 16 x 16.*full resolution"):
        Preprocessing(32, patch_size=16)(small)
    sample = load_dataset(data).samples[0]
    coarse = replace(backbone, preprocess=Preprocessing(64, patch_size=64))
    loaded = ImageLoader(coarse, (64,), thumbnails=False, stopwatch=Stopwatch())(sample)
    assert not loaded.inputs
    assert "smaller than a patch of 64 x 64" in loaded.error


def test_the_backbones_patch_is_the_least(backbone):
    assert backbone.preprocess.patch_size == backbone.info.patch_size
