"""What methods share that compare patches: which blocks they read, their nearest references, places as reasons."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vlmad_core.backbones.products import linear
from vlmad_core.errors import MethodError
from vlmad_core.libraries import F, torch
from vlmad_core.methods.base import Reason
from vlmad_core.methods.predictions import NearestPatches

if TYPE_CHECKING:
    from torch import Tensor

QUERIES_AT_ONCE = 1024
MEMORY_AT_ONCE = 4096
"""Queries and rows of a memory compared at once: 16 MB of similarities, whatever the memory's size."""


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


def unit_rows(tokens: Tensor) -> Tensor:
    """Tokens as a memory: [m, d] float32 of unit length, from [..., d] of any length."""
    return F.normalize(tokens.reshape(-1, tokens.shape[-1]).float(), dim=-1)


def nearest_in_memory(queries: Tensor, memory: Tensor) -> NearestPatches:
    """The most similar row of a memory for each query: exact, by blocks of bounded size.

    Args:
        queries: [N, P, d], of any length.
        memory: [m, d] unit vectors, as ``unit_rows`` gives them.

    Returns:
        Similarities and indices [N, P].
    """
    found = [_nearest(part, memory) for part in unit_rows(queries).split(QUERIES_AT_ONCE)]
    similarity = torch.cat([values for values, _ in found]).reshape(queries.shape[:-1])
    return NearestPatches(similarity, torch.cat([places for _, places in found]).reshape(queries.shape[:-1]))


def _nearest(queries: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
    """Greatest cosine of each query and the row it belongs to, the first of equals: [q] each."""
    best, index = linear(queries, memory[:MEMORY_AT_ONCE]).max(dim=1)
    for start in range(MEMORY_AT_ONCE, len(memory), MEMORY_AT_ONCE):
        values, places = linear(queries, memory[start : start + MEMORY_AT_ONCE]).max(dim=1)
        nearer = values > best
        best, index = torch.where(nearer, values, best), torch.where(nearer, places + start, index)
    return best, index


def patch_box(row: int, column: int, side: int, grid: tuple[int, int]) -> tuple[float, float, float, float]:
    """The box of ``side`` x ``side`` patches as (left, top, right, bottom), fractions of the image's sides."""
    rows, columns = grid
    return column / columns, row / rows, (column + side) / columns, (row + side) / rows


def least_familiar(nearest: NearestPatches, grid: tuple[int, int]) -> tuple[Reason, ...]:
    """For each image the patch that is least like any patch of the references.

    Args:
        nearest: What the patches of N images were compared with, on the CPU.
        grid: Patch grid (rows, columns), of images and references alike.
    """
    columns = grid[1]
    reasons = []
    for row, where in zip(nearest.similarity, nearest.index, strict=True):
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
