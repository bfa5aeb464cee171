"""A tiny backbone, made-up images and trained parameters for the tests of the methods."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor

from vlmad_core.backbones import ClipBackbone, FeatureRequest, Features, load_backbone
from vlmad_core.methods import Method, Predictions, create_method, list_methods

collect_ignore = ["example_method.py"]
TRAINED_SEED = 3


@dataclass(frozen=True)
class Case:
    """A method on the tiny backbone, at a number of shots it can be run with."""

    method: Method
    shots: int


@pytest.fixture(scope="session")
def backbone(tiny_clip: Path) -> ClipBackbone:
    return load_backbone(str(tiny_clip))


@pytest.fixture(scope="session")
def pixels(backbone: ClipBackbone) -> Tensor:
    """Five made-up images, preprocessed: [5, 3, 32, 32]."""
    side = backbone.info.image_size
    return torch.randn(5, 3, side, side, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="session")
def reference_pixels(backbone: ClipBackbone) -> Tensor:
    """Two made-up references."""
    side = backbone.info.image_size
    return torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(2))


@pytest.fixture(scope="session")
def trained(backbone: ClipBackbone) -> dict[str, dict[str, Tensor]]:
    """Made-up parameters of the methods that train, by name."""
    generator = torch.Generator().manual_seed(TRAINED_SEED)
    info = backbone.info
    width = backbone.model.config.text_config.hidden_size

    def values(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator) * 0.2

    linear = {f"linear.{i}.weight": values(info.embed_dim, info.width) for i in range(2)}
    linear |= {f"linear.{i}.bias": values(info.embed_dim) for i in range(2)}
    return {
        "april_gan": linear,
        "anomaly_clip": {"context": values(2, 3, width), "deep.0": values(2, width)},
    }


@pytest.fixture(scope="session")
def cases(backbone: ClipBackbone) -> tuple[Case, ...]:
    """Every method that runs on a CLIP model, zero-shot and with two references, as far as it can."""
    found = []
    for name in list_methods():
        method = create_method(name)
        if method.why_not_on(backbone.info) is not None:
            continue
        found += [Case(method, shots) for shots in (0, 2) if method.why_not_applicable(shots) is None]
    return (*found, Case(create_method("april_gan:authors"), 2))


Score = Callable[[Case, Tensor], Predictions]


@pytest.fixture(scope="session")
def score(backbone: ClipBackbone, trained: dict[str, dict[str, Tensor]], reference_pixels: Tensor) -> Score:
    """A function that runs a case over pixels, from the images to the predictions."""

    def run(case: Case, pixels: Tensor, category: str = "nut") -> Predictions:
        request = case.method.needs(backbone.info, case.shots)
        references = backbone.encode_images(reference_pixels, request) if case.shots else None
        parameters = trained.get(case.method.name)
        scorer = case.method.prepare(category, backbone, references, parameters)
        features = backbone.encode_images(pixels, request)
        return scorer.score_set(features) if case.method.is_transductive(case.shots) else scorer.score(features)

    return run


@pytest.fixture(scope="session")
def everything(backbone: ClipBackbone, pixels: Tensor, cases: tuple[Case, ...]) -> Features:
    """All features any method asks for, of the five images."""
    request = FeatureRequest()
    for case in cases:
        request |= case.method.needs(backbone.info, case.shots)
    return backbone.encode_images(pixels, request)
