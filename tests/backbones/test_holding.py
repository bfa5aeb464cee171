from __future__ import annotations

import hashlib
import json
import os

import pytest
import torch
from safetensors.torch import load_file, save_file

from vlmad_core.backbones import hub, load_backbone
from vlmad_core.backbones.holding import held_weights
from vlmad_core.cli import main
from vlmad_core.errors import BackboneError


@pytest.fixture
def snapshot(monkeypatch, tmp_path, tiny_clip):
    """A hub model in a cache made as the hub's library makes it: names that link to files named by their SHA-256."""
    folder = tmp_path / "models--someone--tiny" / "snapshots" / "revision"
    blobs = tmp_path / "models--someone--tiny" / "blobs"
    for made in (folder, blobs):
        made.mkdir(parents=True)
    for file in tiny_clip.iterdir():
        content = file.read_bytes()
        blob = blobs / hashlib.sha256(content).hexdigest()
        blob.write_bytes(content)
        (folder / file.name).symlink_to(blob)
    monkeypatch.setattr(hub, "snapshot_download", lambda *args, **kwargs: str(folder))
    monkeypatch.setenv("VLMAD_CACHE_DIR", str(tmp_path / "cache"))
    return folder


def change(path):
    """Other weights, in a file of the same size and time."""
    before = path.stat()
    tensors = load_file(path)
    name = next(name for name in tensors if name.endswith("k_proj.weight"))
    tensors[name] = tensors[name] * 2
    save_file(tensors, path.resolve(), metadata={"format": "pt"})
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size


def test_changed_weights_of_the_hub_are_refused_until_they_are_accepted(snapshot, tmp_path, capsys):
    first = load_backbone("someone/tiny").info.weights_hash
    noted = held_weights()["someone/tiny"]
    assert noted.sha256.startswith(first)
    assert load_backbone("someone/tiny").info.weights_hash == first
    change(snapshot / "model.safetensors")
    with pytest.raises(BackboneError, match=r"have changed: .*model.safetensors .* it was") as caught:
        load_backbone("someone/tiny")
    assert noted.sha256 in caught.value.problem
    assert "--accept-weights someone/tiny" in caught.value.fix
    assert main(["doctor", "--accept-weights", "someone/tiny"]) == 0
    assert "someone/tiny" in capsys.readouterr().out
    with pytest.raises(BackboneError, match="on the hub it is"):
        load_backbone("someone/tiny")


def test_weights_that_are_not_the_hubs_are_refused_at_first_use(snapshot):
    change(snapshot / "model.safetensors")
    with pytest.raises(BackboneError, match=r"model.safetensors of 'someone/tiny' is damaged: its SHA-256 is"):
        load_backbone("someone/tiny")
    assert held_weights() == {}


def test_the_same_weights_in_another_file_are_the_same(snapshot):
    info = load_backbone("someone/tiny").info
    torch.save(load_file(snapshot / "model.safetensors"), snapshot / "pytorch_model.bin")
    (snapshot / "model.safetensors").unlink()
    assert load_backbone("someone/tiny").info == info


def test_a_folder_may_change_and_nothing_is_kept_where_nothing_may_be(snapshot, monkeypatch):
    load_backbone(str(snapshot))
    assert held_weights() == {}
    monkeypatch.setenv("VLMAD_CACHE_DIR", "none")
    load_backbone("someone/tiny")
    change(snapshot / "model.safetensors")
    load_backbone("someone/tiny")


@pytest.mark.parametrize("text", ["{", "[]", '{"a/b": {}}', '{"a/b": {"sha256": "x", "place": ""}}', "[" * 10**6])
def test_a_damaged_note_is_named(snapshot, tmp_path, text, capsys):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "weights.json").write_text(text)
    with pytest.raises(BackboneError, match=r"weights\.json.*(can't be|damaged)"):
        load_backbone("someone/tiny")
    assert main(["doctor", "--offline", "--json", "--store", str(tmp_path)]) == 1
    (finding,) = [one for one in json.loads(capsys.readouterr().out) if one["name"] == "held weights"]
    assert finding["verdict"] == "problem"


@pytest.mark.usefixtures("snapshot")
def test_a_folder_that_can_not_be_written_to_stops_nothing(tmp_path):
    (tmp_path / "cache").write_text("a file")
    assert load_backbone("someone/tiny").info.source == "hub"


def test_nothing_noted_can_not_be_accepted(snapshot, capsys):
    assert main(["doctor", "--accept-weights", "someone/else"]) == 1
    assert "Nothing is noted of the weights of 'someone/else'" in capsys.readouterr().err
