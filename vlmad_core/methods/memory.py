"""Nearest neighbours in a memory of reference embeddings."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

ROWS_AT_ONCE = 4096
"""Queries compared at once; with a memory of 10,000 rows the similarities then take 160 MB."""


def nearest_cosine(queries: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
    """The greatest cosine similarity of each query to any row of a memory.

    Args:
        queries: [..., d], of any length.
        memory: [m, d], of any length.

    Returns:
        Similarities [...] float32 and indices [...] int64 of the rows they belong to.
    """
    flat = F.normalize(queries.reshape(-1, queries.shape[-1]).float(), dim=-1)
    rows = F.normalize(memory.float(), dim=-1).T
    found = [(part @ rows).max(dim=1) for part in flat.split(ROWS_AT_ONCE)]
    similarities = torch.cat([part.values for part in found])
    indices = torch.cat([part.indices for part in found])
    return similarities.reshape(queries.shape[:-1]), indices.reshape(queries.shape[:-1])


def cosine_distance(queries: Tensor, memory: Tensor) -> Tensor:
    """Half the cosine distance to the nearest row of a memory: [...], from 0 (the same direction) to 1.

    Rounding makes the distance of equal vectors slightly negative; it is cut off at 0, which a harmonic mean
    over such distances depends on.
    """
    similarities, _ = nearest_cosine(queries, memory)
    return (0.5 * (1.0 - similarities)).clamp_min(0.0)
