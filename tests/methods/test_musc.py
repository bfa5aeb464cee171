"""MuSc against a literal form of its authors' code: unfold and pool, pairwise distances, one graph row at a time."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from vlmad_core.errors import MethodError
from vlmad_core.methods import create_method
from vlmad_core.methods.musc import mutual_scores, neighbourhood_tokens, rescore_by_neighbours


def literal_neighbourhoods(tokens, grid, side):
    count, _, width = tokens.shape
    maps = tokens.reshape(count, *grid, width).permute(0, 3, 1, 2)
    maps = nn.LayerNorm([width, *grid], elementwise_affine=False)(maps)
    patches = F.unfold(maps, side, padding=(side - 1) // 2)  # [N, d * side^2, P]
    patches = patches.reshape(count, width, side * side, -1).permute(0, 3, 1, 2).reshape(-1, 1, width * side * side)
    pooled = F.adaptive_avg_pool1d(patches, width).reshape(count, -1, width)
    return pooled / pooled.norm(dim=-1, keepdim=True)


def literal_scores(tokens, fraction):
    rows = []
    for i in range(len(tokens)):
        nearest = torch.stack(
            [torch.cdist(tokens[i], tokens[j]).amin(dim=1) for j in range(len(tokens)) if j != i], dim=1
        )
        keep = max(1, int(nearest.shape[1] * fraction))
        rows.append(nearest.topk(keep, dim=1, largest=False).values.mean(dim=1))
    return torch.stack(rows)


def literal_rescoring(scores, embeddings, ks):
    scores = (scores - scores.min()) / (scores.max() - scores.min())
    unit = F.normalize(embeddings, dim=-1)
    found = []
    for k in ks:
        weights = unit @ unit.T
        for row in weights:
            row[row.topk(len(row) - k, largest=False).indices] = 0.0
        found.append(weights / weights.sum(dim=1, keepdim=True) @ scores)
    return torch.stack(found).mean(dim=0)


@pytest.fixture
def tokens():
    return torch.randn(7, 12, 10, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("side", [1, 3, 5])
@pytest.mark.parametrize("grid", [(3, 4), (4, 3), (2, 6)])
def test_pooling_is_the_authors_unfolding(tokens, grid, side):
    torch.testing.assert_close(neighbourhood_tokens(tokens, grid, side), literal_neighbourhoods(tokens, grid, side))


@pytest.mark.parametrize("fraction", [0.01, 0.3, 0.5, 1.0])
def test_mutual_scores_are_the_pairwise_distances(tokens, fraction):
    unit = F.normalize(tokens, dim=-1)
    torch.testing.assert_close(
        mutual_scores(unit, fraction, 10**9), literal_scores(unit, fraction), atol=1e-5, rtol=1e-4
    )


def test_memory_bound_does_not_change_the_scores(tokens):
    unit = F.normalize(tokens, dim=-1)
    whole = mutual_scores(unit, 0.3, 10**9)
    for images_at_once in (1, 2, 3):
        torch.testing.assert_close(mutual_scores(unit, 0.3, images_at_once * 7 * 12), whole)


@pytest.mark.parametrize("ks", [(1,), (1, 2, 3), (7,)])
def test_rescoring_is_the_authors_graph(tokens, ks):
    scores = torch.rand(7, generator=torch.Generator().manual_seed(1))
    embeddings = tokens[:, 0].abs()
    torch.testing.assert_close(rescore_by_neighbours(scores, embeddings, ks), literal_rescoring(scores, embeddings, ks))


def test_one_neighbour_is_the_image_itself(tokens):
    scores = torch.tensor([3.0, 1.0, 2.0])
    torch.testing.assert_close(rescore_by_neighbours(scores, tokens[:3, 0], (1,)), torch.tensor([1.0, 0.0, 0.5]))


def test_the_odd_image_out_scores_highest(backbone, pixels):
    method = create_method("musc")
    alike = pixels[:1] + 0.05 * torch.randn(6, *pixels.shape[1:], generator=torch.Generator().manual_seed(2))
    alike[4, :, 8:16, 8:16] += 3.0
    features = backbone.encode_images(alike, method.needs(backbone.info, 0))
    found = method.prepare("nut", backbone).score_set(features)
    assert int(found.grids.flatten(1).amax(dim=1).argmax()) == 4
    assert int(found.grids[4].argmax()) in (5, 6, 9, 10)


def test_there_is_no_score_of_one_image(backbone, pixels):
    method = create_method("musc")
    features = backbone.encode_images(pixels, method.needs(backbone.info, 0))
    scorer = method.prepare("nut", backbone)
    with pytest.raises(MethodError, match="all test images"):
        scorer.score(features)
    with pytest.raises(MethodError, match="at least two"):
        scorer.score_set(features.select([0]))
    assert method.is_transductive(0)


def test_order_of_images_does_not_matter(backbone, pixels):
    method = create_method("musc")
    features = backbone.encode_images(pixels, method.needs(backbone.info, 0))
    scorer = method.prepare("nut", backbone)
    order = [3, 0, 4, 1, 2]
    torch.testing.assert_close(
        scorer.score_set(features.select(order)).image_score, scorer.score_set(features).image_score[order]
    )


def test_progress_rises_to_one(backbone, pixels):
    method = create_method("musc")
    features = backbone.encode_images(pixels, method.needs(backbone.info, 0))
    shares = []
    scorer = method.prepare("nut", backbone)
    assert torch.equal(scorer.score_set(features, shares.append).image_score, scorer.score_set(features).image_score)
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1.0)
    assert len(shares) == 5 * 3 * len(scorer.stages)


def test_operations_are_those_that_are_counted(backbone, pixels):
    from vlmad_core.backbones.arithmetic import count_flops

    method = create_method("musc", neighbours=())
    features = backbone.encode_images(pixels, method.needs(backbone.info, 0))
    scorer = method.prepare("nut", backbone)
    assert count_flops(lambda: scorer.patch_scores(features)) == method.set_operations(5, backbone.info)
