"""Places in an image that moved its score, as reasons."""

from __future__ import annotations

from torch import Tensor

from vlmad_core.methods.base import Reason
from vlmad_core.methods.memory import nearest_cosine


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
    similarities, nearest = nearest_cosine(queries, memory)
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
    for image in values.flatten(1):
        top = image.topk(min(count, len(image)))
        found = []
        for value, index in zip(top.values, top.indices, strict=True):
            row, column = divmod(int(index), columns)
            box = patch_box(row, column, 1, (rows, columns))
            found.append(Reason("window", f"patch row {row + 1}, column {column + 1}", float(value), "abnormal", box))
        reasons.append(tuple(found))
    return tuple(reasons)
