"""The commands ``train april_gan`` and ``train anomaly_clip``, from a data set on disk to a scored image."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from vlmad_core import cli
from vlmad_core.backbones import FeatureRequest, load_backbone
from vlmad_core.datasets import load_dataset
from vlmad_core.errors import MethodError
from vlmad_core.methods import anomaly_maps, create_method, find_parameters, load_parameters
from vlmad_core.training import cli as training_cli
from vlmad_core.training import frozen_features, loop, objectives
from vlmad_core.training.frozen_features import encode, extract_once, list_training_images, read_pair, square_mask

METHODS = ("april_gan", "anomaly_clip")


@pytest.fixture(scope="module")
def data(tiny_dataset, tmp_path_factory):
    return tiny_dataset(tmp_path_factory.mktemp("data") / "widgets", categories=("bolt", "felt"), normal=3)


@pytest.fixture
def train(data, tiny_clip, tmp_path, capsys):
    def run(method, *options, out="out"):
        words = ["train", method, "--data", str(data), "--backbone", str(tiny_clip), "--out", str(tmp_path / out)]
        code = cli.main([*words, "--epochs", "3", "--json", *options])
        return code, capsys.readouterr()

    return run


def read(output) -> dict:
    return json.loads(output[1].out)


@pytest.mark.parametrize("method", METHODS)
def test_trained_parameters_are_found_loaded_and_better_than_the_start(train, method, tiny_clip, data, tmp_path):
    # The temperature a random text tower would ask for is too blunt for a few epochs.
    own = ("--temperature", "0.01") if method == "april_gan" else ()
    code, printed = train(method, "--epochs", "12", "--lr", "0.01", *own)
    assert code == 0
    record = json.loads(printed.out)
    assert record["training_data"] == ["widgets"]
    assert record["images"] == {"widgets/bolt": 9, "widgets/felt": 9}
    assert record["losses"][-1] < record["losses"][0]
    assert len(record["losses"]) == 12
    assert record["hyperparameters"]["betas"] == [0.5, 0.999]
    path = Path(record["parameters"])
    backbone = load_backbone(str(tiny_clip))
    assert record["backbone"]["weights_hash"] == backbone.info.weights_hash
    assert find_parameters(method, backbone.info, "other", [tmp_path / "out"]) == path
    assert find_parameters(method, backbone.info, "widgets", [tmp_path / "out"]) is None
    tensors, stored = load_parameters(path, method, backbone.info)
    assert stored.losses == tuple(record["losses"])

    scored = create_method(method)
    pairs = [read_pair(sample) for sample in load_dataset(data).samples if sample.label == 1]
    features = encode(backbone, [image for image, _ in pairs], scored.needs(backbone.info, 0))
    found = scored.prepare("bolt", backbone, None, tensors).score(features)
    maps = anomaly_maps(found.grids, found.map_rule, (32, 32))
    masks = torch.stack([square_mask(mask, 32) for _, mask in pairs])
    # The random text tower gives learned prompts little to work with; the projections are free of it.
    margin = {"april_gan": 0.05, "anomaly_clip": 0.0}[method]
    assert maps[masks].mean() > maps[~masks].mean() + margin, "the trained map marks the bright square"
    assert not loop.resume_path(path).exists()


@pytest.mark.parametrize("method", METHODS)
def test_same_seed_same_bytes(train, method):
    first, second = (Path(read(train(method, out=out))["parameters"]).read_bytes() for out in ("one", "two"))
    assert first == second
    assert Path(read(train(method, "--seed", "5", out="three"))["parameters"]).read_bytes() != first


@pytest.mark.parametrize("method", METHODS)
def test_interrupted_and_resumed_equals_undisturbed(train, method, monkeypatch, tmp_path):
    undisturbed = Path(read(train(method, out="whole"))["parameters"])
    save = loop.save_progress

    def die(path, progress, plan):
        save(path, progress, plan)
        if len(progress.losses) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(loop, "save_progress", die)
    assert train(method, out="cut")[0] == 130
    monkeypatch.setattr(loop, "save_progress", save)
    assert not list((tmp_path / "cut").rglob("*.safetensors"))
    record = read(train(method, "--resume", out="cut"))
    assert record["resumed_after_epoch"] == 2
    assert Path(record["parameters"]).read_bytes() == undisturbed.read_bytes()
    assert record["losses"] == json.loads(undisturbed.with_suffix(".json").read_text())["losses"]


def test_resuming_with_other_settings_is_refused(train, monkeypatch):
    save = loop.save_progress

    def die(path, progress, plan):
        save(path, progress, plan)
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "save_progress", die)
    assert train("april_gan")[0] == 130
    code, printed = train("april_gan", "--resume", "--lr", "0.5")
    assert code == 1
    assert "other data, backbone or settings" in printed.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--epochs", "0"), "epochs 0"),
        (("--preset", "nothing"), "no preset 'nothing'"),
        (("--backbone", "./nowhere"), "no backbone folder"),
        (("--data", "nowhere"), "nowhere"),
    ],
)
def test_wrong_use(train, options, message):
    code, printed = train("april_gan", *options)
    assert code == 1
    assert message in printed.err


def test_the_same_data_twice(train, data):
    code, printed = train("april_gan", "--data", str(data), str(data))
    assert code == 1
    assert "names a data set twice" in printed.err


def test_data_without_masks(tiny_dataset, tmp_path):
    bare = load_dataset(tiny_dataset(tmp_path / "bare", categories=("bolt",), masks=False))
    with pytest.raises(MethodError, match="Train on a data set with masks"):
        list_training_images([bare])


def test_only_the_test_split_is_read(data):
    images = list_training_images([load_dataset(data)])
    assert all(sample.split == "test" for sample in images.samples)
    assert images.labels.sum() == 12
    assert images.counts() == {"widgets/bolt": 9, "widgets/felt": 9}


def test_features_in_files_equal_those_in_memory(data, tiny_clip, monkeypatch):
    monkeypatch.setattr(frozen_features, "EXTRACTION_BATCH", 4)
    backbone, images = load_backbone(str(tiny_clip)), list_training_images([load_dataset(data)])
    request = FeatureRequest(stages=frozenset({1, 2}))
    done = []

    def extracted(bound):
        with extract_once(
            backbone, images, request, lambda f: objectives.stage_tokens(f, (1, 2)), done.append, bound
        ) as frozen:
            return {name: tensor.clone() for name, tensor in frozen.tensors.items()}, frozen.masks.clone()

    memory, files = extracted(10**9), extracted(0)
    assert sum(done) == 2 * 18
    assert torch.equal(memory[1], files[1])
    assert memory[1].any(dim=(1, 2)).tolist() == [bool(label) for label in images.labels]
    for name in ("stage.0", "stage.1"):
        assert torch.equal(memory[0][name], files[0][name])
        assert memory[0][name].shape == (18, 16, 32)


def test_mosaic_is_four_images_of_one_category(data):
    images = list_training_images([load_dataset(data)])
    index = next(i for i, sample in enumerate(images.samples) if sample.category == "felt")
    found = [objectives.mosaic(images, index, np.random.default_rng(seed)) for seed in range(12)]
    known = {np.asarray(read_pair(s)[0]).tobytes(): read_pair(s)[1] for s in images.samples if s.category == "felt"}
    abnormal = 0
    for picture, mask in found:
        assert picture.size == (80, 80)
        pixels = np.asarray(picture)
        for top in (0, 40):
            for left in (0, 40):
                truth = known[pixels[top : top + 40, left : left + 40].tobytes()]
                assert np.array_equal(mask[top : top + 40, left : left + 40], truth)
                abnormal += bool(truth.any())
    # Two of three defect types are defects, and types are drawn evenly.
    assert 20 <= abnormal <= 44


def test_mosaics_change_the_training(train):
    plain, mixed = (
        Path(read(train("april_gan", *extra, out=out))["parameters"])
        for out, extra in (("a", ()), ("b", ("--mosaic", "1")))
    )
    assert json.loads(mixed.with_suffix(".json").read_text())["hyperparameters"]["mosaic"] == 1.0
    assert not torch.equal(load_file(plain)["linear.0.weight"], load_file(mixed)["linear.0.weight"])


def test_the_temperature_is_the_backbones_own_or_the_given_one(train, tiny_clip):
    own = objectives.own_temperature(load_backbone(str(tiny_clip)))
    assert own == pytest.approx(float(load_backbone(str(tiny_clip)).model.logit_scale.neg().exp()), abs=1e-6)
    for options, expected in (((), own), (("--temperature", "0.3"), 0.3)):
        record = read(train("april_gan", "--epochs", "1", *options))
        assert record["settings"]["temperature"] == expected
        assert float(load_file(record["parameters"])["temperature"]) == expected
    code, printed = train("april_gan", "--temperature", "0")
    assert code == 1
    assert "'temperature' of APRIL-GAN is 0" in printed.err


def test_authors_defaults():
    plan = loop.Optimisation()
    assert (plan.epochs, plan.batch_size, plan.learning_rate, plan.betas, plan.seed) == (15, 8, 1e-3, (0.5, 0.999), 111)
    assert (training_cli.SHORT_SETS, training_cli.SHORT_EPOCHS, objectives.MOSAIC_SHARE) == (("mvtec_ad",), 3, 0.2)
