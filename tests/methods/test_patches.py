from __future__ import annotations

import pytest
import torch

from vlmad_core.methods import patches
from vlmad_core.methods.patches import nearest_in_memory, nearest_of_others, unit_rows


@pytest.mark.parametrize(("queries_at_once", "memory_at_once"), [(7, 4096), (1024, 4), (3, 2), (1024, 4096)])
def test_nearest_is_the_brute_force_one(monkeypatch, queries_at_once, memory_at_once):
    monkeypatch.setattr(patches, "BLOCK", (queries_at_once, memory_at_once))
    generator = torch.Generator().manual_seed(0)
    queries, rows = torch.randn(2, 10, 6, generator=generator), torch.randn(9, 6, generator=generator)
    found = nearest_in_memory(queries, unit_rows(rows))
    expected = torch.cosine_similarity(queries[:, :, None], rows[None, None], dim=-1)
    torch.testing.assert_close(found.similarity, expected.amax(dim=-1))
    assert torch.equal(found.index, expected.argmax(dim=-1))


def test_of_equal_patches_the_first_is_named_in_whatever_block(monkeypatch):
    monkeypatch.setattr(patches, "BLOCK", (1024, 2))
    rows = unit_rows(torch.eye(3).repeat(3, 1))
    assert nearest_in_memory(torch.eye(3)[None], rows).index.tolist() == [[0, 1, 2]]


def test_length_does_not_matter_and_opposite_is_one():
    rows = torch.eye(3)
    assert torch.equal(nearest_in_memory(5 * rows, unit_rows(0.1 * rows)).distance, torch.zeros(3))
    torch.testing.assert_close(nearest_in_memory(-rows[:1], unit_rows(rows[:1])).distance, torch.ones(1))


def test_order_of_references_does_not_matter():
    generator = torch.Generator().manual_seed(1)
    queries, rows = torch.randn(4, 8, generator=generator), torch.randn(20, 8, generator=generator)
    forward, backward = (nearest_in_memory(queries, unit_rows(one)).distance for one in (rows, rows.flip(0)))
    torch.testing.assert_close(forward, backward)


def test_nearest_of_others_passes_over_an_images_own_patches():
    tokens = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(2))
    found = nearest_of_others(tokens, unit_rows(tokens))
    similarity = unit_rows(tokens) @ unit_rows(tokens).T
    for image in range(3):
        own = slice(4 * image, 4 * image + 4)
        similarity[own, own] = -2.0
    torch.testing.assert_close(found.similarity.flatten(), similarity.amax(dim=1))
    assert torch.equal(found.index.flatten(), similarity.argmax(dim=1))
