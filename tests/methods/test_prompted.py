from __future__ import annotations

import torch
from torch.nn import functional as F

from vlmad_core.methods.prompted import nearest_prompts, two_class_logits
from vlmad_core.prompts.prototypes import TextClasses


def test_sigmoid_of_the_difference_is_the_softmax():
    generator = torch.Generator().manual_seed(0)
    images, prototypes = torch.randn(6, 5, generator=generator), torch.randn(2, 5, generator=generator)
    prototypes = F.normalize(prototypes, dim=-1)
    for temperature in (0.01, 0.07, 1.0):
        cosines = F.normalize(images, dim=-1) @ prototypes.T / temperature
        expected = cosines.softmax(dim=-1)[:, 1]
        torch.testing.assert_close(two_class_logits(images, prototypes, temperature).sigmoid(), expected)


def test_logits_rank_where_probabilities_saturate():
    prototypes = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    images = torch.tensor([[0.1, 1.0], [0.05, 1.0]])
    logits = two_class_logits(images, prototypes, 0.005)
    assert logits[0] < logits[1]
    assert logits.sigmoid()[0] == logits.sigmoid()[1] == 1.0


def test_nearest_prompts_are_sorted_and_of_both_classes():
    embeddings = F.normalize(torch.tensor([[1.0, 0.1], [1.0, 0.5], [0.0, 1.0], [-1.0, 0.2]]), dim=-1)
    text = TextClasses(
        ("n1", "n2", "a1", "a2"), ("normal", "normal", "abnormal", "abnormal"), embeddings, embeddings[:2]
    )
    (reasons,) = nearest_prompts(torch.tensor([[1.0, 0.0]]), text, count=1)
    assert [(r.text, r.towards) for r in reasons] == [("n1", "normal"), ("a1", "abnormal")]
    assert reasons[0].value > reasons[1].value
