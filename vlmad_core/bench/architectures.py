"""CLIP models of the true architectures with random weights: their speed is that of the real ones.

For machines without access to the weights. Scores of such a model mean nothing, so only ``bench`` offers them.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import save_file

from vlmad_core.backbones import BackboneInfo, ClipBackbone, load_backbone
from vlmad_core.backbones.arithmetic import CPU
from vlmad_core.backbones.info import Precision, Preprocessing
from vlmad_core.backbones.loading import BUNDLED_FOLDER
from vlmad_core.backbones.model import ClipConfig, ClipModel, TextTowerConfig, VisionTowerConfig
from vlmad_core.backbones.vision import set_image_size
from vlmad_core.errors import BackboneError

PREFIX = "random:"


@dataclass(frozen=True)
class Architecture:
    """Shape of a public CLIP model.

    Attributes:
        image_size: Side of its input, in pixels.
        patch_size: Side of a patch, in pixels.
        width: Of the vision tower; heads are 64 wide and the hidden layer is four times as wide.
        depth: Blocks of the vision tower.
        text_width: Of the text tower, which has 12 blocks.
        embed_dim: Width of the joint space.
        activation: As it was trained.
    """

    image_size: int
    patch_size: int
    width: int
    depth: int
    text_width: int
    embed_dim: int
    activation: Literal["gelu", "quick_gelu"]


ARCHITECTURES: Mapping[str, Architecture] = {
    "vit-b-32": Architecture(224, 32, 768, 12, 512, 512, "quick_gelu"),
    "vit-b-16": Architecture(224, 16, 768, 12, 512, 512, "quick_gelu"),
    "vit-b-16-plus-240": Architecture(240, 16, 896, 12, 640, 640, "gelu"),
    "vit-l-14": Architecture(224, 14, 1024, 24, 768, 768, "quick_gelu"),
    "vit-l-14-336": Architecture(336, 14, 1024, 24, 768, 768, "quick_gelu"),
    "vit-l-14-518": Architecture(518, 14, 1024, 24, 768, 768, "quick_gelu"),
}
"""By the name that follows ``random:``; the last is what most methods were published with, OpenAI's at 518 pixels."""


def bench_backbone(
    name: str, precision: Precision, image_size: int | None = None, device: torch.device = CPU
) -> ClipBackbone:
    """A backbone to be timed: ``random:NAME``, or any that ``load_backbone`` takes.

    Raises:
        BackboneError: If there is none of that name, or it has no text tower.
    """
    if name.startswith(PREFIX):
        return random_backbone(name.removeprefix(PREFIX), precision, image_size, device)
    backbone = load_backbone(name, image_size=image_size, precision=precision, device=str(device))
    if not isinstance(backbone, ClipBackbone):
        raise BackboneError(f"{name} is not a CLIP model.", "Name a CLIP model; methods bring other backbones along.")
    return backbone


def random_backbone(
    name: str,
    precision: Precision = "float32",
    image_size: int | None = None,
    device: torch.device = CPU,
) -> ClipBackbone:
    """A CLIP model of a true architecture with random weights.

    Prompts are cut into tokens by the bundled tokenizer, whose words are a little shorter than CLIP's.

    Args:
        name: One of ``ARCHITECTURES``.
        precision: Arithmetic of the towers.
        image_size: Side of the input; None for its own.
        device: Where it computes; the weights are the same everywhere.

    Raises:
        BackboneError: If there is no such architecture, or the size does not fit it.
    """
    shape = ARCHITECTURES.get(name)
    if shape is None:
        raise BackboneError(f"There is no architecture {name!r}.", f"Known are: {', '.join(ARCHITECTURES)}.")
    model = random_model(shape)
    if image_size is not None and image_size != shape.image_size:
        set_image_size(model, image_size, "bicubic_antialias")
    if precision != "float32":
        model.vision_model.encoder.to(getattr(torch, precision))
        model.text_model.encoder.to(getattr(torch, precision))
    side = image_size or shape.image_size
    info = BackboneInfo(
        id=PREFIX + name,
        title=f"{name} with random weights",
        source="folder",
        weights_hash="random",
        activation=shape.activation,
        image_size=side,
        native_image_size=shape.image_size,
        patch_size=shape.patch_size,
        position_rule="native" if side == shape.image_size else "bicubic_antialias",
        precision=precision,
        depth=shape.depth,
        text_depth=12,
        width=shape.width,
        embed_dim=shape.embed_dim,
        context_length=77,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        demonstration=True,
    )
    return ClipBackbone(model.to(device), info, Preprocessing(side), load_backbone("bundled").tokenize)


def random_model(shape: Architecture) -> ClipModel:
    """A model of a shape, the same weights each time."""
    torch.manual_seed(0)
    vision = VisionTowerConfig(
        hidden_size=shape.width,
        intermediate_size=4 * shape.width,
        num_hidden_layers=shape.depth,
        num_attention_heads=shape.width // 64,
        image_size=shape.image_size,
        patch_size=shape.patch_size,
        hidden_act=shape.activation,
    )
    text = TextTowerConfig(
        hidden_size=shape.text_width,
        intermediate_size=4 * shape.text_width,
        num_attention_heads=shape.text_width // 64,
        hidden_act=shape.activation,
    )
    return ClipModel(ClipConfig(vision, text, shape.embed_dim)).eval().requires_grad_(False)


def write_random_model(name: str, folder: Path) -> Path:
    """Write such a model as a folder that every command takes for a backbone; gives the folder.

    Args:
        name: One of ``ARCHITECTURES``.
        folder: Made if it isn't there.
    """
    model = random_model(ARCHITECTURES[name])
    folder.mkdir(parents=True, exist_ok=True)
    save_file(model.state_dict(), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(asdict(model.config)), encoding="utf-8")
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(BUNDLED_FOLDER / file, folder / file)
    return folder
