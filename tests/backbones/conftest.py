from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import CLIPConfig, CLIPModel

from vlmad_core.backbones import ClipBackbone, load_backbone
from vlmad_core.backbones.model import ClipModel


@pytest.fixture(scope="session")
def backbone(tiny_clip: Path) -> ClipBackbone:
    return load_backbone(str(tiny_clip))


@pytest.fixture(scope="session")
def pixels(backbone: ClipBackbone) -> Tensor:
    """Three made-up images, preprocessed: [3, 3, 32, 32]."""
    side = backbone.info.image_size
    return torch.randn(3, 3, side, side, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="session")
def transformers_twin() -> Callable[[ClipModel], CLIPModel]:
    """A function that gives transformers' own model with the same weights."""

    def twin(model: ClipModel) -> CLIPModel:
        config = model.config
        shape = CLIPConfig(
            vision_config=asdict(config.vision_config),
            text_config=asdict(config.text_config),
            projection_dim=config.projection_dim,
        )
        theirs = CLIPModel(shape).eval().requires_grad_(False)
        theirs.load_state_dict(model.state_dict())
        return theirs

    return twin
