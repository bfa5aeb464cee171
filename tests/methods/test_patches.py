from __future__ import annotations

import torch

from vlmad_core.methods import patches
from vlmad_core.methods.patches import cosine_distance, nearest_cosine


def test_nearest_is_the_brute_force_one(monkeypatch):
    monkeypatch.setattr(patches, "ROWS_AT_ONCE", 7)
    generator = torch.Generator().manual_seed(0)
    queries, rows = torch.randn(2, 10, 6, generator=generator), torch.randn(9, 6, generator=generator)
    similarities, indices = nearest_cosine(queries, rows)
    expected = torch.cosine_similarity(queries[:, :, None], rows[None, None], dim=-1)
    torch.testing.assert_close(similarities, expected.amax(dim=-1))
    assert torch.equal(indices, expected.argmax(dim=-1))


def test_length_does_not_matter_and_opposite_is_one():
    rows = torch.eye(3)
    assert torch.equal(cosine_distance(5 * rows, 0.1 * rows), torch.zeros(3))
    torch.testing.assert_close(cosine_distance(-rows[:1], rows[:1]), torch.ones(1))


def test_order_of_references_does_not_matter():
    generator = torch.Generator().manual_seed(1)
    queries, rows = torch.randn(4, 8, generator=generator), torch.randn(20, 8, generator=generator)
    torch.testing.assert_close(cosine_distance(queries, rows), cosine_distance(queries, rows.flip(0)))
