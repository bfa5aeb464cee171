from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from vlmad_core.backbones import ClipBackbone, load_backbone


@pytest.fixture(scope="session")
def backbone(tiny_clip: Path) -> ClipBackbone:
    return load_backbone(str(tiny_clip))


@pytest.fixture(scope="session")
def pixels(backbone: ClipBackbone) -> Tensor:
    """Three made-up images, preprocessed: [3, 3, 32, 32]."""
    side = backbone.info.image_size
    return torch.randn(3, 3, side, side, generator=torch.Generator().manual_seed(1))
