"""A small bank of views, a stand-in for the teacher and a tokenizer, made once for the tests of training."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import CLIPTokenizer

from vlmad_core.backbones.info import Preprocessing
from vlmad_core.factory.clip import view_bank
from vlmad_core.factory.clip.captions import all_captions
from vlmad_core.factory.clip.model import CONTEXT_LENGTH
from vlmad_core.factory.clip.tokenizer import train_tokenizer
from vlmad_core.factory.clip.view_bank import PatchTeacher, ViewBank, build_views
from vlmad_core.factory.renderer.pairs import DEFECT_PHRASES, TRAINING_NOUNS


class RandomTeacher:
    """Stands in for the teacher: random filters of one patch, as many channels as it has."""

    preprocessing = Preprocessing(256)
    content_hash = "0000000000000000"

    def patches(self, pixels: Tensor, grid: int) -> Mapping[int, Tensor]:
        small = F.adaptive_avg_pool2d(pixels.float(), 4 * grid)
        generator = torch.Generator().manual_seed(0)
        tokens = {}
        for block, width in {4: 8, 8: 12, 10: 12}.items():
            filters = torch.randn(width, 3, 4, 4, generator=generator)
            values = F.conv2d(small, filters, stride=4)
            tokens[block] = F.normalize(values.flatten(2).transpose(1, 2), dim=-1)
        return tokens


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Sums of several threads differ in the last digit from run to run."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def stand_in_teacher() -> Callable[[], PatchTeacher]:
    """Gives a teacher for which nothing need be installed."""
    return RandomTeacher


@pytest.fixture(scope="session")
def few_views(tmp_path_factory: pytest.TempPathFactory) -> ViewBank:
    """Eight pairs and eight generic pictures."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(view_bank, "PAIRS_PER_SHARD", 4)
        patch.setattr(view_bank, "GENERIC_PER_SHARD", 8)
        folder: Path = tmp_path_factory.mktemp("views")
        return build_views(folder, 8, 8, 4, 0, RandomTeacher, "float32", workers=1)


@pytest.fixture(scope="session")
def small_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> CLIPTokenizer:
    """The tokenizer of the bundled CLIP, learnt anew."""
    folder = tmp_path_factory.mktemp("tokenizer")
    return train_tokenizer(all_captions(TRAINING_NOUNS, DEFECT_PHRASES), folder, context_length=CONTEXT_LENGTH)
