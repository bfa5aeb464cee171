from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from vlmad_core.prompts import PromptError, load_ensemble
from vlmad_core.prompts.prototypes import average_embeddings, embed_ensemble

EMBEDDINGS = torch.tensor([[3.0, 0.0], [0.0, 1.0]])


def test_each_and_mean_differ_by_the_norms():
    torch.testing.assert_close(average_embeddings(EMBEDDINGS, "each"), F.normalize(torch.tensor([1.0, 1.0]), dim=0))
    torch.testing.assert_close(average_embeddings(EMBEDDINGS, "mean"), F.normalize(torch.tensor([3.0, 1.0]), dim=0))
    with pytest.raises(PromptError, match="'each' or 'mean'"):
        average_embeddings(EMBEDDINGS, "median")


class Letters:
    """A text tower whose embeddings count letters."""

    def encode_text(self, prompts):
        return torch.tensor([[prompt.count("a") + 1.0, prompt.count("e") + 1.0, len(prompt)] for prompt in prompts])


@pytest.mark.parametrize("rule", ["each", "mean"])
def test_classes_keep_apart_and_in_order(rule):
    ensemble = load_ensemble("winclip")
    found = embed_ensemble(Letters(), ensemble, "nut", rule)
    assert found.prompts == ensemble.normal_prompts("nut") + ensemble.abnormal_prompts("nut")
    assert found.classes == ("normal",) * 154 + ("abnormal",) * 88
    torch.testing.assert_close(found.embeddings.norm(dim=-1), torch.ones(242))
    normal = Letters().encode_text(ensemble.normal_prompts("nut"))
    torch.testing.assert_close(found.prototypes[0], average_embeddings(normal, rule))
    assert found.prototypes.shape == (2, 3)
