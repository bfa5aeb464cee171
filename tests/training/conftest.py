"""A few rendered pairs and a tokenizer, made once for the tests of training."""

from __future__ import annotations

import numpy as np
import pytest
from transformers import CLIPTokenizer

from vlmad_core.datasets.synthetic.pairs import DEFECT_PHRASES, TRAINING_NOUNS, render_pair
from vlmad_core.training.bundled_model import CONTEXT_LENGTH
from vlmad_core.training.captions import all_captions
from vlmad_core.training.pair_bank import PAIR_SIZE, PairBank
from vlmad_core.training.tokenizer import train_tokenizer


@pytest.fixture(scope="session")
def few_pairs() -> PairBank:
    """Twelve pairs, rendered in the test."""
    pairs = [render_pair(0, index, PAIR_SIZE) for index in range(12)]
    return PairBank(
        images=np.stack([np.stack([pair.normal, pair.abnormal]) for pair in pairs]),
        masks=np.stack([pair.mask for pair in pairs]),
        nouns=tuple(pair.noun for pair in pairs),
        defects=tuple(pair.defect for pair in pairs),
        content_hash="",
    )


@pytest.fixture(scope="session")
def small_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> CLIPTokenizer:
    """The tokenizer of the bundled CLIP, learnt anew."""
    folder = tmp_path_factory.mktemp("tokenizer")
    return train_tokenizer(all_captions(TRAINING_NOUNS, DEFECT_PHRASES), folder, context_length=CONTEXT_LENGTH)
