"""APRIL-GAN on models and inputs of other shapes, stages and shots."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

from vlmad_core.errors import VlmadError
from vlmad_core.methods.reference.cli import check_reference

# patch, grid, depth, QuickGELU, grid of the input (None: the model's own), shots
APRIL_GAN: tuple[tuple[tuple[Any, ...], dict[str, Any]], ...] = (
    ((8, 4, 3, False, None, (1, 3)), {"stages": (1, 2, 3)}),
    ((14, 5, 6, True, 8, (1, 3)), {"stages": (2, 3, 5, 6)}),
    ((16, 4, 12, False, 7, (3,)), {"stages": (3, 6, 9, 12), "memory": (6, 12)}),
    ((32, 7, 4, True, 3, (1, 2, 4)), {"stages": (4,), "memory": (1, 2, 3, 4)}),
    ((8, 6, 5, False, None, (1,)), {"stages": (5, 2), "scale": 14.2857}),
)


@pytest.fixture
def april_gan_folder(make_oracle: Callable[..., Any], tmp_path: Path) -> Callable[..., Path]:
    """A function that writes an APRIL-GAN reference."""

    def make(
        shape: tuple[Any, ...], stages: Sequence[int], memory: Sequence[int] | None = None, scale: float = 100.0
    ) -> Path:
        oracle = make_oracle(shape, 2, {"mode": "bicubic", "antialias": True})
        side, size = oracle.shape.side // oracle.shape.patch, oracle.shape.side
        tokens = {"normal": oracle.tokens(5), "abnormal": oracle.tokens(4)}
        classes = torch.stack([F.normalize(oracle.text_features(ids), dim=-1).mean(dim=0) for ids in tokens.values()])
        states, known = oracle.states(oracle.pixels), oracle.states(oracle.references)
        text = oracle.probability(oracle.project(states[-1][:, 0]), classes, scale)
        tensors = {
            **{f"prompt_tokens.{name}": ids for name, ids in tokens.items()},
            "pixel_values": oracle.pixels,
            "reference_pixel_values": oracle.references,
            "text_embeddings": F.normalize(classes, dim=-1),
            "zero_shot.image_score": text,
            **{f"stage_tokens.{stage}": states[stage] for stage in {*stages, *(memory or ())}},
        }
        zero = torch.zeros(len(oracle.pixels), size, size)
        for i, stage in enumerate(stages):
            weight = torch.randn(24, 48, generator=oracle.random).half().float() * 0.2
            bias = torch.randn(24, generator=oracle.random) * 0.1
            tensors |= {f"linear.{i}.weight": weight, f"linear.{i}.bias": bias}
            unit = F.normalize(states[stage][:, 1:] @ weight.T + bias, dim=-1)
            logits = scale * unit @ F.normalize(classes, dim=-1).T
            grids = logits.transpose(1, 2).reshape(-1, 2, side, side)
            zero += oracle.enlarge(grids, size, align=True).softmax(dim=1)[:, 1]
        tensors["zero_shot.anomaly_map"] = zero
        for shots in oracle.shape.shots:
            near = torch.stack(
                [
                    oracle.nearest_distance(states[k][:, 1:], known[k][:shots, 1:].flatten(0, 1))
                    for k in memory or stages
                ],
                1,
            )
            few = oracle.enlarge(near.reshape(len(oracle.pixels), -1, side, side), size, align=True).sum(dim=1)
            maximum = (zero + few).flatten(1).amax(dim=1)
            scaled = (maximum - maximum.min()) / (maximum.max() - maximum.min())
            tensors[f"{shots}_shot.reference_map"] = few
            tensors[f"{shots}_shot.anomaly_map"] = zero + few
            tensors[f"{shots}_shot.image_score_transductive"] = 0.5 * (text + scaled)
        settings = {"features_list": list(stages), "logit_scale": scale, "align_corners": True}
        if memory is not None:
            settings["few_shot_features"] = list(memory)
        folder = oracle.write(tmp_path / "april_gan", "april_gan", settings, tensors)
        prompts = {name: [f"{name} prompt {i}" for i in range(len(ids))] for name, ids in tokens.items()}
        (folder / "prompts.json").write_text(json.dumps(prompts))
        return folder

    return make


@pytest.mark.parametrize(("shape", "settings"), APRIL_GAN)
def test_april_gan(agrees, april_gan_folder, shape, settings):
    agrees(april_gan_folder(shape, **settings))


@pytest.fixture
def folder(april_gan_folder: Callable[..., Path]) -> Path:
    return april_gan_folder((8, 4, 2, False, 5, (2,)), stages=(1, 2))


def test_settings_and_outputs_that_may_be_absent(folder, agrees, change_settings, change_tensors):
    change_settings(folder, lambda s: (s.pop("logit_scale"), s.pop("align_corners")))
    agrees(folder)
    change_tensors(folder, lambda t: [t.pop(name) for name in [*t] if "2_shot" in name or "reference" in name])
    outcome = check_reference(folder)
    assert outcome.ok
    assert not any(name.startswith("2_shot") for name in outcome.outputs)


def test_weights_in_half_precision_lose_nothing(folder, agrees):
    path = folder / "open_clip_model.safetensors"
    state = load_file(path)
    save_file({name: t.half() if t.is_floating_point() else t for name, t in state.items()}, path)
    agrees(folder)


def test_the_stored_rules_are_followed(folder, agrees, change_settings):
    change_settings(folder, lambda s: s.update(position_embedding_resize="bicubic, antialias=True"))
    agrees(folder)
    change_settings(folder, lambda s: s.update(position_embedding_resize="bilinear, antialias=False"))
    assert not check_reference(folder).ok
    change_settings(folder, lambda s: s.update(position_embedding_resize="nearest"))
    with pytest.raises(VlmadError, match="position_embedding_resize 'nearest'"):
        check_reference(folder)
    change_settings(folder, lambda s: s.update(align_corners=False))
    with pytest.raises(VlmadError, match="without aligned corners"):
        check_reference(folder)
