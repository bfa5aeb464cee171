from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from vlmad_core.backbones import load_backbone
from vlmad_core.backbones.open_clip import WEIGHT_NAMES, clip_config, convert_state, to_open_clip
from vlmad_core.errors import BackboneError

GOLDEN = Path(__file__).parents[1] / "golden"
WEIGHTS = "open_clip_model.safetensors"


@pytest.fixture
def folder(tmp_path):
    """A copy of the smallest reference model."""
    target = tmp_path / "model"
    target.mkdir()
    for name in ("open_clip_config.json", WEIGHTS):
        shutil.copy(GOLDEN / "winclip" / name, target / name)
    return target


def change_weights(folder, change):
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS)


def change_config(folder, change):
    path = folder / "open_clip_config.json"
    content = json.loads(path.read_text())
    change(content["model_cfg"])
    path.write_text(json.dumps(content))


def test_activation_is_the_configurations():
    assert load_backbone(str(GOLDEN / "winclip")).info.activation == "gelu"
    assert load_backbone(str(GOLDEN / "april_gan")).info.activation == "quick_gelu"


def test_every_field_is_set(folder):
    model_cfg = {
        "embed_dim": 640,
        "vision_cfg": {"image_size": 240, "layers": 12, "width": 896, "patch_size": 16},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 640, "heads": 10, "layers": 12},
    }
    config = clip_config(model_cfg, folder)
    vision, text = config.vision_config, config.text_config
    assert (vision.num_attention_heads, vision.intermediate_size, vision.hidden_act) == (14, 3584, "gelu")
    assert (text.num_attention_heads, text.intermediate_size, text.vocab_size) == (10, 2560, 49408)
    assert config.projection_dim == 640
    assert vision.layer_norm_eps == text.layer_norm_eps == 1e-5


def test_attention_is_split_into_queries_keys_values():
    packed = torch.arange(6.0).reshape(6, 1).expand(6, 2)
    state = convert_state({"visual.transformer.resblocks.3.attn.in_proj_weight": packed})
    layer = "vision_model.encoder.layers.3.self_attn"
    assert [int(state[f"{layer}.{p}_proj.weight"][0, 0]) for p in "qkv"] == [0, 2, 4]
    projection = torch.arange(6.0).reshape(2, 3)
    assert torch.equal(convert_state({"visual.proj": projection})["visual_projection.weight"], projection.T)


def test_sparse_token_table_is_filled_up():
    state = {
        "token_embedding.shape": torch.tensor([10, 2]),
        "token_embedding.used_ids": torch.tensor([1, 7]),
        "token_embedding.used_rows": torch.tensor([[1.0, 2.0], [3.0, 4.0]]),
    }
    table = convert_state(state)["text_model.embeddings.token_embedding.weight"]
    assert table.shape == (10, 2)
    assert table[7].tolist() == [3.0, 4.0]
    assert table.abs().sum() == 10.0


def test_prefixes_and_buffers_of_other_versions(folder):
    expected = load_backbone(str(folder)).info.weights_hash
    tensors = load_file(folder / WEIGHTS)
    text = ("transformer.", "token_embedding", "positional_embedding", "ln_final", "text_projection")
    renamed = {(f"text.{name}" if name.startswith(text) else name): tensor for name, tensor in tensors.items()}
    wrapped = {"state_dict": {f"module.{name}": tensor for name, tensor in renamed.items()}}
    wrapped["state_dict"]["module.text.attn_mask"] = torch.zeros(2, 2)
    (folder / WEIGHTS).unlink()
    torch.save(wrapped, folder / "open_clip_pytorch_model.bin")
    assert load_backbone(str(folder)).info.weights_hash == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("visual.proj"), "lacks 1 tensors, among them 'visual_projection.weight'"),
        (lambda t: t.update({"visual.head.weight": torch.zeros(1)}), "'visual.head.weight' that plain CLIP"),
        (
            lambda t: t.update({"visual.transformer.resblocks.9.ln_1.bias": torch.zeros(64)}),
            "has no place for 1 tensors",
        ),
        (lambda t: t.update({"visual.conv1.weight": torch.zeros(8, 3, 16, 16)}), "has another shape for 1 tensors"),
    ],
)
def test_weights_are_loaded_strictly(folder, change, message):
    change_weights(folder, change)
    with pytest.raises(BackboneError, match=message):
        load_backbone(str(folder))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("embed_dim"), "lacks the field 'embed_dim'"),
        (lambda c: c["vision_cfg"].update(timm_model_name="convnext"), "other than CLIP's own"),
        (lambda c: c["vision_cfg"].update(layers=[3, 4, 6, 3]), "other than CLIP's own"),
        (lambda c: c["text_cfg"].update(hf_model_name="roberta"), "other than CLIP's own"),
    ],
)
def test_configurations_that_are_not_plain_clip(folder, change, message):
    change_config(folder, change)
    with pytest.raises(BackboneError, match=message):
        load_backbone(str(folder))


def test_missing_and_damaged_files(folder):
    (folder / WEIGHTS).write_bytes(b"not weights")
    with pytest.raises(BackboneError, match="can't be read as weights"):
        load_backbone(str(folder))
    (folder / WEIGHTS).unlink()
    with pytest.raises(BackboneError, match="but no weights") as raised:
        load_backbone(str(folder))
    assert all(name in str(raised.value) for name in WEIGHT_NAMES)
    (folder / "open_clip_config.json").write_text("[")
    with pytest.raises(BackboneError, match=r"open_clip_config\.json can't be read"):
        load_backbone(str(folder))


class Trap:
    def __reduce__(self):
        return (print, ("unpickled",))


def test_pickles_are_never_run(folder, capsys):
    (folder / WEIGHTS).unlink()
    torch.save({"visual.proj": Trap()}, folder / "open_clip_pytorch_model.bin")
    with pytest.raises(BackboneError, match="can't be read as weights"):
        load_backbone(str(folder))
    assert "unpickled" not in capsys.readouterr().out


def test_names_can_be_turned_both_ways():
    state = load_file(GOLDEN / "winclip" / WEIGHTS)
    ours = convert_state(state)
    again = to_open_clip(ours)
    assert set(again) == {name for name in state if not name.startswith("token_embedding.")} | {
        "token_embedding.weight"
    }
    assert all(torch.equal(tensor, ours[name]) for name, tensor in convert_state(again).items())
    with pytest.raises(BackboneError, match=r"no name for a tensor 'other\.weight'"):
        to_open_clip({"other.weight": torch.zeros(1)})
