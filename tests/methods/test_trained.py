from __future__ import annotations

import hashlib
import json
import zipfile
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from vlmad_core.backbones.weights import LONGEST_HEADER
from vlmad_core.errors import BackboneError, MethodError, VlmadError
from vlmad_core.methods import TrainingRecord, create_method, find_parameters, load_parameters
from vlmad_core.methods.trained import read_record, verify_parameters
from vlmad_core.paths import SHIPPED_PARAMETERS
from vlmad_core.records import read_as


@pytest.fixture
def save(tmp_path, backbone, trained):
    def write(data, method="april_gan", info=backbone.info, **changes):
        path = tmp_path / method / f"{'+'.join(data)}-{info.weights_hash}.safetensors"
        path.parent.mkdir(exist_ok=True)
        save_file(trained[method], path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        record = TrainingRecord(method, tuple(data), info.to_json(), losses=(2.0, 1.0), sha256=digest)
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
        assert read_as(TrainingRecord, json.loads(json.dumps(record.to_json()))) == record


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
    path = save(["bundled_a"], sha256=None)
    path.write_bytes(b"nonsense")
    with pytest.raises(MethodError, match="can't be read"):
        load_parameters(path, "april_gan", backbone.info)
    path.with_suffix(".json").unlink()
    with pytest.raises(MethodError, match="no such file"):
        load_parameters(path, "april_gan", backbone.info)


def test_a_flipped_bit_is_seen(save, backbone):
    path = save(["bundled_a"])
    content = bytearray(path.read_bytes())
    content[-3] ^= 4
    path.write_bytes(content)
    with pytest.raises(MethodError, match=r"bundled_a.*is damaged or another file: its SHA-256"):
        load_parameters(path, "april_gan", backbone.info)
    (problem,) = verify_parameters(path.parent.parent)
    assert (problem.kind, problem.path) == ("damaged", path)


def test_a_record_without_a_hash_is_taken_and_said(save, backbone):
    path = save(["bundled_a"], sha256=None)
    assert load_parameters(path, "april_gan", backbone.info)[0]
    (problem,) = verify_parameters(path.parent.parent)
    assert problem.kind == "unhashed"
    assert "holds no SHA-256" in problem.message


def test_either_file_alone_is_damage(save):
    save(["bundled_a"]).unlink()
    save(["bundled_b"]).with_suffix(".json").unlink()
    found = verify_parameters(save(["mvtec_ad"]).parent.parent)
    assert [problem.kind for problem in found] == ["damaged", "damaged"]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_named(save, backbone, trained, value):
    bias = trained["april_gan"]["linear.0.bias"].clone()
    bias[0] = value
    broken = {**trained["april_gan"], "linear.0.bias": bias}
    save_file(broken, path := save(["bundled_a"], sha256=None))
    with pytest.raises(MethodError, match=r"bundled_a.*holds a tensor 'linear.0.bias' with values that are not finite"):
        load_parameters(path, "april_gan", backbone.info)
    torch.save({"trainable_linearlayer": broken}, checkpoint := path.with_suffix(".pth"))
    with pytest.raises(MethodError, match=r"linear\.0\.bias"):
        load_parameters(checkpoint, "april_gan", backbone.info)


def _header(text: bytes, length: int | None = None) -> bytes:
    return (len(text) if length is None else length).to_bytes(8, "little") + text


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff" * 8,
        _header(b"{}", 2**62),
        _header(b" " * (LONGEST_HEADER + 1)),
        _header(b'{"a":' * 100_000),
        _header(b'{"linear.0.bias":{"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,4]}}') + b"abcd",
        _header(b'{"linear.0.bias":{"dtype":"F32","shape":[1],"data_offsets":[0,9007199254740992]}}') + b"abcd",
        _header(b'{"linear.0.bias":{"dtype":"F99","shape":[1],"data_offsets":[0,4]}}') + b"abcd",
        _header(b'{"linear.0.bias":{"dtype":"C64","shape":[1],"data_offsets":[0,8]}}') + b"abcdefgh",
    ],
)
def test_crafted_tensors_are_refused(save, backbone, content):
    path = save(["bundled_a"], sha256=hashlib.sha256(content).hexdigest())
    path.write_bytes(content)
    with pytest.raises(MethodError, match=r"bundled_a.*(can't be read|no plain tensor)"):
        load_parameters(path, "april_gan", backbone.info)


@pytest.mark.parametrize(
    "change",
    [
        {"hyperparameters": 3},
        {"training_data": "bundled_a"},
        {"training_data": [{}]},
        {"backbone": "bundled"},
        {"losses": None},
        {"images": {"nut": "many"}},
        {"sha256": "0"},
        {"version": "one"},
        {"more": 1},
    ],
)
def test_crafted_records_are_refused(save, change):
    path = save(["bundled_a"], **change)
    with pytest.raises(MethodError, match=rf"no training record.*bundled_a.*{next(iter(change))}"):
        read_record(path.with_suffix(".json"))


@pytest.mark.parametrize("text", ["[" * 200_000, '{"version": 1' + "0" * 5000 + "}", "[]", "\ud800", "NaN"])
def test_crafted_json_is_no_record(save, text):
    path = save(["bundled_a"]).with_suffix(".json")
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(MethodError, match=r"no training record.*bundled_a"):
        read_record(path)


@pytest.mark.parametrize("state", [[torch.zeros(1)], {"trainable_linearlayer": [1]}, {1: 2}, torch.zeros(3), {}])
def test_crafted_checkpoints_are_refused(tmp_path, backbone, state):
    torch.save(state, path := tmp_path / "epoch_3.pth")
    for method in ("april_gan", "anomaly_clip"):
        with pytest.raises(VlmadError, match=r"epoch_3.pth (is no checkpoint|holds no tensors)"):
            load_parameters(path, method, backbone.info)


def test_an_archive_that_unpacks_to_more_is_not_unpacked(tmp_path, backbone):
    torch.save({"trainable_linearlayer": {"fc.0.weight": torch.zeros(100_000)}}, whole := tmp_path / "whole.pth")
    packed = tmp_path / "packed.pth"
    with zipfile.ZipFile(whole) as stored, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as deflated:
        for name in stored.namelist():
            deflated.writestr(name, stored.read(name))
    with pytest.raises(BackboneError, match="unpacks to more than it has"):
        load_parameters(packed, "april_gan", backbone.info)


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
    assert verify_parameters(SHIPPED_PARAMETERS) == ()
    for path in SHIPPED_PARAMETERS.glob("*/*.safetensors"):
        record = read_record(path.with_suffix(".json"))
        assert record.method == path.parent.name
        assert record.training_data
        assert record.losses[-1] < record.losses[0]
        assert path.name == f"{'+'.join(sorted(record.training_data))}-{record.backbone['weights_hash']}.safetensors"
