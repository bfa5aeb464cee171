from __future__ import annotations

import json
import os
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from vlmad_core.backbones import load_backbone
from vlmad_core.backbones.open_clip import convert_state, to_open_clip
from vlmad_core.errors import BackboneError


@pytest.fixture
def copy(tiny_clip, tmp_path):
    return shutil.copytree(tiny_clip, tmp_path / "copy")


def test_weights_that_are_not_finite_are_named(copy):
    state = load_file(copy / "model.safetensors")
    state["visual_projection.weight"][0, 0] = torch.nan
    save_file(state, copy / "model.safetensors")
    with pytest.raises(
        BackboneError, match=r"copy holds a tensor 'visual_projection\.weight' with values .* not finite"
    ):
        load_backbone(str(copy))


CONFIG = [
    b"",
    b"[]",
    b"{" * 10**6,
    "{}".encode("utf-16"),
    b'{"vision_config": [1]}',
    b'{"vision_config": {"hidden_size": "x"}}',
    b'{"vision_config": {"num_hidden_layers": 1000000000}}',
    b'{"vision_config": {"num_attention_heads": 0}}',
    b'{"vision_config": {"num_attention_heads": 7}}',
    b'{"vision_config": {"hidden_size": 1099511627776}}',
    b'{"vision_config": {"patch_size": 0}}',
    b'{"vision_config": {"layer_norm_eps": NaN}}',
    b'{"vision_config": {"hidden_act": ["gelu"]}}',
    b'{"projection_dim": null}',
    b'{"text_config": {"vocab_size": -1}}',
]


@pytest.mark.parametrize("content", CONFIG)
def test_crafted_configurations_are_refused(copy, content):
    (copy / "config.json").write_bytes(content)
    with pytest.raises(BackboneError, match=r"copy"):
        load_backbone(str(copy))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("preprocessor_config.json", b"["),
        ("preprocessor_config.json", b'{"image_mean": "abc"}'),
        ("preprocessor_config.json", b'{"image_mean": [1, 2]}'),
        ("preprocessor_config.json", b'{"image_std": [1, 0, 1]}'),
        ("preprocessor_config.json", b'{"image_std": {}}'),
        ("training.json", b"[[["),
        ("training.json", b'{"training_data": "mvtec_ad"}'),
        ("training.json", b'{"training_data": [1]}'),
    ],
)
def test_what_lies_beside_weights_is_checked(copy, name, content):
    (copy / name).write_bytes(content)
    with pytest.raises(BackboneError, match=name):
        load_backbone(str(copy))


@pytest.mark.parametrize(
    "named", ["[]", '{"a": 1}', '{"weight_map": {"a": "../model.bin"}}', '{"weight_map": {"a": ["b"]}}']
)
def test_an_index_names_files_of_its_folder_only(copy, named):
    (copy / "model.safetensors").rename(copy / "part.safetensors")
    (copy / "model.safetensors.index.json").write_text(named)
    with pytest.raises(BackboneError, match=r"index.json|can't be read as weights"):
        load_backbone(str(copy))


def test_a_pipe_is_no_weights(copy):
    (copy / "model.safetensors").unlink()
    os.mkfifo(copy / "part.safetensors")
    (copy / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "part.safetensors"}}))
    with pytest.raises(BackboneError, match="no regular file"):
        load_backbone(str(copy))


def test_crafted_open_clip_tensors_are_refused(tiny_clip):
    state = to_open_clip(load_file(tiny_clip / "model.safetensors"))
    attention = next(name for name in state if name.endswith("in_proj_weight"))
    sparse = {"token_embedding.used_ids": torch.tensor([0]), "token_embedding.used_rows": torch.zeros(1, 4)}
    for change in (
        {attention: torch.tensor(1.0)},
        {attention: torch.zeros(2, 4)},
        sparse,
        {**sparse, "token_embedding.shape": torch.tensor([2**40, 2**20])},
        {**sparse, "token_embedding.shape": torch.tensor([-1, 4])},
        {**sparse, "token_embedding.shape": torch.tensor([2, 3])},
        {**sparse, "token_embedding.shape": torch.tensor(3)},
    ):
        with pytest.raises(BackboneError, match="The checkpoint's"):
            convert_state({**state, **change})
