"""The towers against transformers' own, and the folders they are read from."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from vlmad_core.backbones import FeatureRequest, load_backbone, products
from vlmad_core.backbones.clip import extract_features
from vlmad_core.backbones.loading import BUNDLED_FOLDER
from vlmad_core.backbones.model import ClipConfig
from vlmad_core.backbones.text import embed_prompts

WORDS = ["A photo of a  Nut, isn't it?", "héllo wörld 12 [x] <|endoftext|> a", "", "nut's 3.5mm", "日本語 ß"]
REQUEST = FeatureRequest(image_embedding=True, patch_tokens=True, windows={2}, stages={1, 2}, value_paths={(1, 2)})


@pytest.fixture
def one_library(monkeypatch):
    """Products as torch computes them, which are transformers' on every processor."""
    monkeypatch.setattr(products, "onednn_is_quicker", lambda: False)


def test_towers_compute_what_transformers_computes_bit_for_bit(transformers_twin, one_library):
    ours = load_backbone()
    theirs = transformers_twin(ours.model)
    pixels = torch.randn(2, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    own, other = (extract_features(model, pixels, REQUEST).tensors() for model in (ours.model, theirs))
    assert {name for name, tensor in own.items() if not torch.equal(tensor, other[name])} == set()
    tokens = ours.tokenize(["a photo of a nut", "a damaged capsule in the field"])
    assert torch.equal(embed_prompts(ours.model, tokens), embed_prompts(theirs, tokens))


def test_openais_activation_is_transformers_own(transformers_twin, one_library):
    ours = load_backbone(activation="quick_gelu").model
    hidden = torch.randn(3, 7, 128, generator=torch.Generator().manual_seed(0))
    own, other = (model.text_model.encoder.layers[0] for model in (ours, transformers_twin(ours)))
    assert torch.equal(own(hidden), other(hidden, attention_mask=None))


def test_the_tokenizer_cuts_as_transformers_does():
    tokenizer = AutoTokenizer.from_pretrained(BUNDLED_FOLDER, local_files_only=True)
    assert load_backbone().tokenize(WORDS) == tokenizer(WORDS, truncation=False, padding=False)["input_ids"]


def test_a_tokenizer_of_words_and_merges_is_read_too(tmp_path):
    folder = shutil.copytree(BUNDLED_FOLDER, tmp_path / "clip")
    content = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.json").write_text(json.dumps(content["vocab"]), encoding="utf-8")
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in content["merges"]]
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]), encoding="utf-8")
    assert load_backbone(str(folder)).tokenize(WORDS[:1]) == load_backbone().tokenize(WORDS[:1])


def test_weights_in_several_files_or_of_an_older_form_are_the_same_model(tmp_path, tiny_clip):
    known = load_backbone(str(tiny_clip)).info.weights_hash
    tensors = load_file(tiny_clip / "model.safetensors")
    names = sorted(tensors)
    for kind in ("parts", "pickled"):
        shutil.copytree(tiny_clip, tmp_path / kind)
        (tmp_path / kind / "model.safetensors").unlink()
    parts = {"one.safetensors": names[::2], "two.safetensors": names[1::2]}
    for file, chosen in parts.items():
        save_file({name: tensors[name] for name in chosen}, tmp_path / "parts" / file)
    index = {"weight_map": {name: file for file, chosen in parts.items() for name in chosen}}
    (tmp_path / "parts" / "model.safetensors.index.json").write_text(json.dumps(index))
    older = tensors | {"text_model.embeddings.position_ids": torch.arange(3)}
    torch.save(older, tmp_path / "pickled" / "pytorch_model.bin")
    assert {load_backbone(str(tmp_path / kind)).info.weights_hash for kind in ("parts", "pickled")} == {known}


def test_what_a_configuration_leaves_out_is_as_transformers_has_it():
    given = {"vision_config_dict": {"hidden_size": 1024}, "text_config": None, "other": 1}
    config = ClipConfig.from_json(given, Path("config.json"))
    vision, text = config.vision_config, config.text_config
    assert (vision.hidden_size, vision.patch_size, vision.hidden_act) == (1024, 32, "quick_gelu")
    assert (text.hidden_size, text.num_attention_heads, config.projection_dim) == (512, 8, 512)
