"""What methods share that compare patches: which blocks they read, their nearest references, places as reasons."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from vlmad_core.errors import MethodError
from vlmad_core.methods.base import Reason

ROWS_AT_ONCE = 4096
"""Queries compared at once; with a memory of 10,000 rows the similarities then take 160 MB."""


def quarter_stages(depth: int) -> tuple[int, ...]:
    """The ends of the four quarters of a tower, blocks counted from 1, rounded up.

    >>> quarter_stages(24), quarter_stages(12), quarter_stages(6)
    ((6, 12, 18, 24), (3, 6, 9, 12), (2, 3, 5, 6))

    A tower of fewer than four blocks has fewer stages.
    """
    return tuple(sorted({-(-depth * k // 4) for k in range(1, 5)}))


def middle_stages(depth: int) -> tuple[int, ...]:
    """The ends of the second and third quarter of a tower: past edges, short of the text.

    >>> middle_stages(24), middle_stages(12), middle_stages(6)
    ((12, 18), (6, 9), (3, 5))
    """
    return tuple(sorted({-(-depth * k // 4) for k in (2, 3)}))


def check_stages(method: str, setting: str, stages: Sequence[int] | None) -> tuple[int, ...] | None:
    """A setting that lists blocks, as a tuple; None stays None.

    Raises:
        MethodError: If it is empty, repeats a block, or holds anything but positive integers.
    """
    if stages is None:
        return None
    found = tuple(stages)
    if not found or len(set(found)) < len(found) or any(not isinstance(block, int) or block < 1 for block in found):
        raise MethodError(
            f"The setting {setting!r} of {method} is {found}.",
            "List different blocks, counted from 1, e.g. (3, 6, 9, 12); leave it out for the default.",
        )
    return found


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


def patch_box(row: int, column: int, side: int, grid: tuple[int, int]) -> tuple[float, float, float, float]:
    """The box of ``side`` x ``side`` patches as (left, top, right, bottom), fractions of the image's sides."""
    rows, columns = grid
    return column / columns, row / rows, (column + side) / columns, (row + side) / rows


def least_familiar(queries: Tensor, memory: Tensor, grid: tuple[int, int]) -> tuple[Reason, ...]:
    """For each image the patch that is least like any patch of the references.

    Args:
        queries: [N, P, d] patch tokens, P = rows x columns.
        memory: [K*P, d] patch tokens of K references on the same grid.
        grid: Patch grid (rows, columns).
    """
    similarities, nearest = (found.cpu() for found in nearest_cosine(queries, memory))
    columns = grid[1]
    reasons = []
    for row, where in zip(similarities, nearest, strict=True):
        patch = int(row.argmin())
        reference, place = divmod(int(where[patch]), grid[0] * columns)
        text = f"nearest: reference {reference + 1}, row {place // columns + 1}, column {place % columns + 1}"
        box = patch_box(patch // columns, patch % columns, 1, grid)
        reasons.append(Reason("reference", text, float(row[patch]), "abnormal", box))
    return tuple(reasons)


def top_patches(values: Tensor, count: int = 3) -> tuple[tuple[Reason, ...], ...]:
    """For each image the patches with the greatest scores.

    Args:
        values: [N, rows, columns], higher means more anomalous.
        count: How many.
    """
    rows, columns = values.shape[1:]
    reasons = []
    for image in values.flatten(1).cpu():
        top = image.topk(min(count, len(image)))
        found = []
        for value, index in zip(top.values, top.indices, strict=True):
            row, column = divmod(int(index), columns)
            box = patch_box(row, column, 1, (rows, columns))
            found.append(Reason("window", f"patch row {row + 1}, column {column + 1}", float(value), "abnormal", box))
        reasons.append(tuple(found))
    return tuple(reasons)
