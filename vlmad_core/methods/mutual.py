"""Mutual scoring of a set of images (Li et al., "MuSc", ICLR 2024): the numeric parts, on tensors only."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def neighbourhood_tokens(tokens: Tensor, grid: tuple[int, int], side: int) -> Tensor:
    """Patch tokens averaged over their neighbourhood (LNAMD, section 3.2), as unit vectors.

    Each image is normalised over all its channels and patches together; then each patch takes the mean over
    side x side patches, zeros beyond the border counted in. The authors unfold and pool, which is the same.

    Args:
        tokens: [N, P, d] raw patch tokens, P = rows x columns.
        grid: Patch grid (rows, columns).
        side: Side of the neighbourhood, odd.

    Returns:
        [N, P, d], unit length.
    """
    maps = tokens.transpose(1, 2).reshape(len(tokens), -1, *grid)
    maps = F.layer_norm(maps, maps.shape[1:])
    if side > 1:
        maps = F.avg_pool2d(maps, side, stride=1, padding=side // 2)
    return F.normalize(maps.flatten(2).transpose(1, 2), dim=-1)


def mutual_scores(tokens: Tensor, fraction: float, budget: int) -> Tensor:
    """How far each patch is from the images most like it (MSM, section 3.3).

    For each patch and each other image the Euclidean distance to that image's nearest patch; then the mean over
    the smallest ``fraction`` of the other images, at least one.

    Args:
        tokens: [N, P, d] unit vectors, N >= 2.
        fraction: Share of the other images, in (0, 1].
        budget: Bound on memory: most similarities of a patch to an image kept at once, N*P at least.

    Returns:
        [N, P] float32.
    """
    count, patches = tokens.shape[:2]
    keep = max(1, int((count - 1) * fraction))
    rows = max(1, budget // (count * patches))
    scores = []
    for first in range(0, count, rows):
        block = _nearest_in_each(tokens, first, min(first + rows, count))
        # Of unit vectors |a - b|^2 = 2 - 2 cos; the nearest patch has the greatest cosine. An image's
        # similarity to itself stays at minus infinity and sorts last.
        nearest = block.topk(keep, dim=1).values
        scores.append((2.0 - 2.0 * nearest).clamp_min(0.0).sqrt().mean(dim=1))
    return torch.cat(scores)


def _nearest_in_each(tokens: Tensor, first: int, last: int) -> Tensor:
    """[last - first, N, P]: the greatest cosine of each patch of images first..last-1 to each image's patches."""
    count, patches = tokens.shape[:2]
    best = tokens.new_full((last - first, count, patches), float("-inf"))
    for i in range(first, last):
        for j in range(count):
            # A pair inside the block is computed once and read along both axes.
            if j == i or first <= j < i:
                continue
            similarities = tokens[i] @ tokens[j].T
            best[i - first, j] = similarities.amax(dim=1)
            if i < j < last:
                best[j - first, i] = similarities.amax(dim=0)
    return best


def rescore_by_neighbours(scores: Tensor, embeddings: Tensor, neighbours: Sequence[int]) -> Tensor:
    """Image scores averaged over the most similar images of the set (RsCIN, section 3.4).

    Args:
        scores: [N]; rescaled to [0, 1] over the set first.
        embeddings: [N, e] image embeddings, of any length.
        neighbours: For each k the k most similar images, the image itself among them, weighted by cosine
            similarity; the results of all k are averaged. A k above N means all.

    Returns:
        [N] float32 in [0, 1] as long as similarities are positive.
    """
    span = scores.max() - scores.min()
    scaled = (scores - scores.min()) / span if span > 0 else torch.zeros_like(scores)
    unit = F.normalize(embeddings, dim=-1)
    similarities = unit @ unit.T
    found = []
    for k in neighbours:
        nearest = similarities.topk(min(k, len(scores)), dim=1)
        weights = nearest.values / nearest.values.sum(dim=1, keepdim=True)
        found.append((weights * scaled[nearest.indices]).sum(dim=1))
    return torch.stack(found).mean(dim=0)
