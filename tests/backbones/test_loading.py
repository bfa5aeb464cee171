from __future__ import annotations

import json
import shutil
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file
from scipy.stats import spearmanr

from vlmad_core.backbones import FeatureRequest, hub, load_backbone
from vlmad_core.backbones.info import hash_tensors
from vlmad_core.errors import BackboneError


@pytest.fixture
def copy(tiny_clip, tmp_path):
    return shutil.copytree(tiny_clip, tmp_path / "clip")


def test_what_is_known_of_it(backbone):
    info = backbone.info
    assert (info.id, info.source, info.activation, info.precision) == ("tiny_clip", "folder", "gelu", "float32")
    assert (info.depth, info.text_depth, info.width, info.embed_dim, info.grid) == (2, 2, 32, 16, (4, 4))
    assert json.loads(json.dumps(info.to_json()))["weights_hash"] == info.weights_hash
    assert info.training_data is None
    assert not info.demonstration


def test_nothing_is_trainable(backbone):
    assert not backbone.model.training
    assert not any(parameter.requires_grad for parameter in backbone.model.parameters())


def test_activation_can_be_overridden_and_changes_both_towers(tiny_clip, backbone, pixels):
    other = load_backbone(str(tiny_clip), activation="quick_gelu")
    assert other.info.activation == "quick_gelu"
    assert other.info.weights_hash == backbone.info.weights_hash
    request = FeatureRequest(image_embedding=True)
    first, second = (b.encode_images(pixels, request).image_embedding for b in (backbone, other))
    assert (first - second).abs().max() > 1e-4
    assert (backbone.encode_text(["nut"]) - other.encode_text(["nut"])).abs().max() > 1e-4


def test_hash_sees_every_weight(copy, backbone):
    path = copy / "model.safetensors"
    tensors = load_file(path)
    tensors["text_projection.weight"][0, 0] += 1e-3
    save_file(tensors, path, metadata={"format": "pt"})
    assert load_backbone(str(copy)).info.weights_hash != backbone.info.weights_hash


def test_bfloat16_ranks_as_float32(tiny_clip, backbone):
    """A loose gate: the towers round to eight bits, what follows them stays in float32."""
    half = load_backbone(str(tiny_clip), precision="bfloat16")
    images = torch.randn(24, 3, 32, 32, generator=torch.Generator().manual_seed(5))
    request = FeatureRequest(image_embedding=True, patch_embeddings=True, windows=frozenset({2}))
    exact, rounded = (b.encode_images(images, request) for b in (backbone, half))
    direction = torch.randn(16, generator=torch.Generator().manual_seed(6))
    for name in ("patch_embeddings", "windows.2"):
        first, second = (torch.nn.functional.normalize(f.tensors()[name], dim=-1) for f in (exact, rounded))
        assert second.dtype == torch.float32
        rank = spearmanr((first @ direction).flatten(), (second @ direction).flatten()).statistic
        assert rank > 0.99, name
    assert not torch.equal(exact.image_embedding, rounded.image_embedding)
    with pytest.raises(BackboneError, match="float32, bfloat16, float16"):
        load_backbone(str(tiny_clip), precision="float8")


def test_training_record_is_read(copy):
    (copy / "training.json").write_text(json.dumps({"training_data": ["mvtec_ad"]}))
    assert load_backbone(str(copy)).info.training_data == ("mvtec_ad",)


def test_normalisation_is_the_models_own(copy):
    (copy / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.5] * 3, "image_std": [0.25] * 3}))
    assert load_backbone(str(copy)).preprocess.mean == (0.5, 0.5, 0.5)


def test_missing_weights_are_never_invented(copy):
    path = copy / "model.safetensors"
    tensors = load_file(path)
    del tensors["visual_projection.weight"]
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(BackboneError, match=r"lacks 1 tensors.*visual_projection"):
        load_backbone(str(copy))


def test_other_activations_are_refused(copy):
    config = json.loads((copy / "config.json").read_text())
    config["vision_config"]["hidden_act"] = "relu"
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(BackboneError, match="'relu'"):
        load_backbone(str(copy))


def test_folders_that_hold_nothing(tmp_path):
    with pytest.raises(BackboneError, match=r"neither config\.json"):
        load_backbone(str(tmp_path))
    with pytest.raises(BackboneError, match="no backbone folder"):
        load_backbone(str(tmp_path / "absent"))
    with pytest.raises(BackboneError, match="no backbone folder 'no-such-name'"):
        load_backbone("no-such-name")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(BackboneError, match="can't be loaded as a CLIP model"):
        load_backbone(str(tmp_path))


def offline(*args, **kwargs):
    raise OSError("We couldn't connect to 'https://huggingface.co'\nmore lines")


@pytest.fixture
def no_connection(monkeypatch):
    """Nothing in the cache, and nothing can be fetched."""
    monkeypatch.setattr(hub, "snapshot_download", offline)
    monkeypatch.setattr(hub, "hf_hub_download", offline)
    monkeypatch.setattr(hub.HfApi, "model_info", offline)
    monkeypatch.setattr(hub.HfApi, "list_repo_files", offline)


@pytest.mark.usefixtures("no_connection")
def test_hub_out_of_reach_is_a_clear_error():
    with pytest.raises(BackboneError, match=r"'openai/clip-vit-base-patch16' can't be fetched .*--backbone FOLDER"):
        load_backbone("openai/clip-vit-base-patch16")


@pytest.mark.usefixtures("no_connection")
def test_hub_model_that_is_no_clip(monkeypatch):
    monkeypatch.setattr(hub, "_listing", lambda hub_id: {"README.md", "model.onnx"})
    with pytest.raises(BackboneError, match="no CLIP configuration and weights"):
        load_backbone("someone/something")


def test_a_hub_model_is_described_before_it_is_fetched(monkeypatch):
    files = {"README.md": 9, "config.json": 2, "merges.txt": 4, "model.safetensors": 1000, "pytorch_model.bin": 1000}
    siblings = [SimpleNamespace(rfilename=name, size=size) for name, size in files.items()]
    card = SimpleNamespace(to_dict=lambda: {"license": "mit"})
    answer = SimpleNamespace(siblings=siblings, card_data=card)
    monkeypatch.setattr(hub.HfApi, "model_info", lambda *args, **more: answer)
    model = hub.look_up("someone/tiny")
    assert (list(model.files), model.bytes) == (["config.json", "merges.txt", "model.safetensors"], 1006)
    assert model.licence == "mit"
    answer.card_data = None
    assert hub.look_up("someone/tiny").licence is None


@pytest.mark.usefixtures("no_connection")
def test_a_hub_out_of_reach_describes_nothing():
    with pytest.raises(BackboneError, match="'someone/tiny' can't be fetched"):
        hub.look_up("someone/tiny")


@pytest.mark.usefixtures("no_connection")
def test_the_cache_is_used_without_a_connection(monkeypatch, tiny_clip):
    monkeypatch.setattr(hub, "snapshot_download", lambda *args, **kwargs: str(tiny_clip))
    info = load_backbone("someone/tiny").info
    assert (info.id, info.source, info.title) == ("someone/tiny", "hub", "someone/tiny")


@pytest.mark.usefixtures("no_connection")
def test_missing_tokenizer_costs_only_the_text(copy, pixels):
    for name in ("tokenizer.json", "vocab.json"):
        (copy / name).unlink(missing_ok=True)
    bare = load_backbone(str(copy))
    assert bare.encode_images(pixels, FeatureRequest(image_embedding=True)).image_embedding.shape == (3, 16)
    with pytest.raises(BackboneError, match=r"brings no tokenizer, .*--tokenizer FOLDER"):
        bare.encode_text(["nut"])


def test_tokenizer_of_ones_own(tiny_clip, copy, backbone):
    (copy / "tokenizer.json").unlink()
    borrowed = load_backbone(str(copy), tokenizer=str(tiny_clip))
    assert torch.equal(borrowed.encode_text(["nut"]), backbone.encode_text(["nut"]))
    function = load_backbone(str(copy), tokenizer=lambda prompts: [[1, 70, 2] for _ in prompts])
    assert function.encode_text(["a", "b"]).unique(dim=0).shape == (1, 16)


def test_hash_depends_on_names_shapes_and_values():
    tensors = {"a": torch.zeros(2, 3), "b": torch.ones(1)}
    assert hash_tensors(tensors) == hash_tensors(dict(reversed(tensors.items())))
    assert hash_tensors(tensors) != hash_tensors({**tensors, "a": torch.zeros(3, 2)})
    assert hash_tensors(tensors) != hash_tensors({**tensors, "b": torch.zeros(1)})


def test_a_device_that_is_not_there_is_named_with_what_to_do(tiny_clip):
    wrong = ["no such device", *([] if torch.cuda.is_available() else ["cuda"])]
    for device in wrong:
        with pytest.raises(BackboneError, match=f"'{device}' can't be used here") as caught:
            load_backbone(str(tiny_clip), device=device)
        assert "cpu" in str(caught.value)


def test_the_tower_stands_where_it_was_asked_for_and_features_come_back(tiny_clip):
    backbone = load_backbone(str(tiny_clip), device="cuda" if torch.cuda.is_available() else "cpu")
    pixels = torch.zeros(2, 3, backbone.info.image_size, backbone.info.image_size)
    request = FeatureRequest(image_embedding=True, windows=frozenset({2}), stages=frozenset({1}))
    features = backbone.encode_images(pixels, request)
    assert {tensor.device.type for tensor in features.tensors().values()} == {"cpu"}
    known = load_backbone(str(tiny_clip)).encode_images(pixels, request)
    for name, tensor in known.tensors().items():
        torch.testing.assert_close(features.tensors()[name], tensor, atol=1e-4, rtol=1e-4)
