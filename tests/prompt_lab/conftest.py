"""A tiny data set in the lab's memory, and made-up categories whose right words are known."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from vlmad_core.backbones import ClipBackbone, Features, load_backbone
from vlmad_core.datasets import Dataset, load_dataset
from vlmad_core.engine.session import Session
from vlmad_core.prompt_lab import LabCategory, LabData, PromptBank, lab_request, load_lab_data

DIMENSIONS = 24


@pytest.fixture(scope="session")
def backbone(tiny_clip: Path) -> ClipBackbone:
    return load_backbone(str(tiny_clip))


@pytest.fixture(scope="session")
def widgets(tiny_dataset: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return load_dataset(tiny_dataset(tmp_path_factory.mktemp("lab") / "widgets"))


@pytest.fixture(scope="session")
def data(backbone: ClipBackbone, widgets: Dataset) -> LabData:
    request = lab_request(backbone.info, "clip_cpe") | lab_request(backbone.info, "winclip")
    return load_lab_data(widgets, Session(backbone), request)


@pytest.fixture
def bank(backbone: ClipBackbone) -> PromptBank:
    return PromptBank(backbone.encode_text)


def _noise(text: str, scale: float) -> Tensor:
    generator = torch.Generator().manual_seed(zlib.crc32(text.encode()))
    return scale * torch.randn(DIMENSIONS, generator=generator)


@pytest.fixture
def telling_bank() -> PromptBank:
    """A bank in which 'cracked' points to defects, 'intact' away from them, and all other words nowhere."""

    def encode(prompts: Sequence[str]) -> Tensor:
        rows = []
        for prompt in prompts:
            row = _noise(prompt, 0.1)
            row[0] += 1.0 * ("cracked" in prompt) - 1.0 * ("intact" in prompt)
            rows.append(row)
        return torch.stack(rows)

    return PromptBank(encode)


@pytest.fixture
def made_up() -> Callable[..., LabData]:
    """A function that makes a data set of so many categories, with defects along the first axis if they can be told."""

    def make(count: int, *, told: bool = True, reserved: Sequence[str] = (), images: int = 40) -> LabData:
        categories = []
        for number in range(count):
            generator = torch.Generator().manual_seed(number)
            labels = np.arange(images) % 2 == 1
            vectors = torch.randn(images, DIMENSIONS, generator=generator)
            vectors[:, 0] += 2.0 * torch.from_numpy(labels) * told
            name = f"part{number:02d}"
            categories.append(
                LabCategory(
                    name=name,
                    noun=name,
                    image_ids=tuple(f"{name}/{i}" for i in range(images)),
                    labels=labels,
                    features=Features((1, 1), image_embedding=vectors),
                    masks=None,
                    masked=np.zeros(0, np.int64),
                    why_no_pixels="made up",
                )
            )
        return LabData("parts", ("parts",), tuple(categories), frozenset(reserved))

    return make
