from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from vlmad_core.errors import BackboneError, MethodError
from vlmad_core.methods import TrainingRecord, create_method, find_parameters, load_parameters
from vlmad_core.methods.trained import read_record
from vlmad_core.paths import SHIPPED_PARAMETERS


@pytest.fixture
def save(tmp_path, backbone, trained):
    def write(data, method="april_gan", info=backbone.info, **changes):
        path = tmp_path / method / f"{'+'.join(data)}-{info.weights_hash}.safetensors"
        path.parent.mkdir(exist_ok=True)
        save_file(trained[method], path)
        record = TrainingRecord(method, tuple(data), info.to_json(), losses=(2.0, 1.0))
        path.with_suffix(".json").write_text(json.dumps({**record.to_json(), **changes}))
        return path

    return write


def test_read_back(save, backbone, trained):
    path = save(["bundled_a"])
    for given in (path, path.with_suffix(".json")):
        tensors, record = load_parameters(given, "april_gan", backbone.info)
        assert tensors.keys() == trained["april_gan"].keys()
        assert record.training_data == ("bundled_a",)
        assert record.losses == (2.0, 1.0)
    assert TrainingRecord.from_json(json.loads(json.dumps(record.to_json()))) == record


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights_hash": "0" * 16}, "not on tiny_clip .*train april_gan --data NAME --backbone"),
        ({"activation": "quick_gelu"}, "the activation gelu"),
    ],
)
def test_another_backbone_is_refused(save, backbone, change, message):
    path = save(["bundled_a"])
    with pytest.raises(MethodError, match=message):
        load_parameters(path, "april_gan", replace(backbone.info, **change))


def test_another_method_or_version_is_refused(save, backbone):
    with pytest.raises(MethodError, match="of 'april_gan', not of 'anomaly_clip'"):
        load_parameters(save(["bundled_a"]), "anomaly_clip", backbone.info)
    with pytest.raises(MethodError, match="newer version"):
        load_parameters(save(["bundled_a"], version=99), "april_gan", backbone.info)


def test_damage_is_named(save, backbone):
    path = save(["bundled_a"])
    path.write_bytes(b"nonsense")
    with pytest.raises(MethodError, match="can't be read"):
        load_parameters(path, "april_gan", backbone.info)
    path.with_suffix(".json").unlink()
    with pytest.raises(MethodError, match="training record"):
        load_parameters(path, "april_gan", backbone.info)


def test_found_are_those_not_trained_on_what_is_judged(save, backbone, tmp_path):
    a, b, both = save(["bundled_a"]), save(["bundled_b"]), save(["bundled_a", "bundled_b"])

    def find(dataset, **changes):
        return find_parameters("april_gan", replace(backbone.info, **changes), dataset, [tmp_path])

    assert find("bundled_b") == a
    assert find("bundled_a") == b
    assert find("mvtec") == both
    assert find(None) == both
    assert find("bundled_b", weights_hash="0" * 16) is None
    assert find_parameters("anomaly_clip", backbone.info, None, [tmp_path]) is None
    official = save(["mvtec_ad"])
    assert find("MVTec-AD") == both
    assert find_parameters("april_gan", backbone.info, "mvtec", [official.parent.parent]) != official


def test_the_first_folder_that_has_any_that_fit_is_used(save, backbone, tmp_path):
    own = save(["bundled_a"])
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    own = own.parent.rename(first / "april_gan") / own.name
    both = save(["bundled_a", "bundled_b"]).parent.rename
    second.mkdir()
    both(second / "april_gan")
    other = save(["bundled_b"])
    folders = [tmp_path / "none", first, second, tmp_path]
    assert find_parameters("april_gan", backbone.info, "other", folders) == own
    assert find_parameters("april_gan", backbone.info, "bundled_a", folders) == other


def test_a_damaged_record_hides_nothing(save, backbone, tmp_path):
    good = save(["bundled_b"])
    save(["bundled_a"]).with_suffix(".json").write_text("{")
    assert find_parameters("april_gan", backbone.info, "other", [tmp_path]) == good


def test_authors_checkpoint_of_april_gan(tmp_path, backbone, trained):
    layers = {name.replace("linear.", "fc."): tensor for name, tensor in trained["april_gan"].items()}
    path = tmp_path / "epoch_3.pth"
    torch.save({"trainable_linearlayer": layers}, path)
    tensors, record = load_parameters(path, "april_gan", backbone.info)
    assert tensors.keys() == trained["april_gan"].keys()
    assert record.training_data is None
    create_method("april_gan").prepare("nut", backbone, None, tensors)
    with pytest.raises(MethodError, match="no checkpoint of 'anomaly_clip'"):
        load_parameters(path, "anomaly_clip", backbone.info)


def test_authors_checkpoint_of_anomaly_clip(tmp_path, backbone, trained):
    context = trained["anomaly_clip"]["context"]
    learner = {
        "ctx_pos": context[0][None, None],
        "ctx_neg": context[1][None, None],
        "compound_prompts_text.0": trained["anomaly_clip"]["deep.0"],
        "compound_prompt_projections.0.weight": torch.zeros(4, 4),
        "token_prefix_pos": torch.zeros(1),
    }
    path = tmp_path / "epoch_15.pth"
    torch.save({"prompt_learner": learner}, path)
    tensors, _ = load_parameters(path, "anomaly_clip", backbone.info)
    assert tensors.keys() == {"context", "deep.0"}
    assert torch.equal(tensors["context"], context)


class Trap:
    def __reduce__(self):
        return (print, ("unpickled",))


def test_nothing_is_unpickled(tmp_path, backbone, capsys):
    path = tmp_path / "epoch_3.pth"
    torch.save({"trainable_linearlayer": Trap()}, path)
    with pytest.raises(BackboneError, match="can't be read as weights"):
        load_parameters(path, "april_gan", backbone.info)
    assert "unpickled" not in capsys.readouterr().out


def test_shipped_records_are_whole():
    for path in SHIPPED_PARAMETERS.glob("*/*.safetensors"):
        record = read_record(path.with_suffix(".json"))
        assert record.method == path.parent.name
        assert record.training_data
        assert record.losses[-1] < record.losses[0]
        assert path.name == f"{'+'.join(sorted(record.training_data))}-{record.backbone['weights_hash']}.safetensors"
