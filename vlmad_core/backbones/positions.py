"""Resampling of the position table to another input size, once, at load time, by a named rule.

The public codes differ here (bicubic with antialias in OpenCLIP and what was built on it, bilinear in
AnomalyCLIP, bicubic without antialias in transformers), by up to a fifth of the table's norm.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vlmad_core.backbones.info import PositionRule
from vlmad_core.errors import BackboneError

_INTERPOLATION: dict[PositionRule, dict[str, Any]] = {
    "bicubic_antialias": {"mode": "bicubic", "antialias": True},
    "bicubic": {"mode": "bicubic"},
    "bilinear": {"mode": "bilinear"},
}


def resample_positions(table: Tensor, grid: tuple[int, int], rule: PositionRule) -> Tensor:
    """Resample a vision transformer's position table to another patch grid.

    Args:
        table: [1 + G*G, d]; the first row belongs to the class token and is kept.
        grid: The new grid (rows, columns).
        rule: How to interpolate; corners are not aligned.

    Returns:
        [1 + rows*columns, d], float32; the table itself if the grid is its own.

    Raises:
        BackboneError: If another grid is asked for with the rule ``native``.
    """
    side = round((len(table) - 1) ** 0.5)
    if grid == (side, side):
        return table.float()
    if rule == "native":
        raise BackboneError(
            f"The position table is for a {side} x {side} grid, not {grid[0]} x {grid[1]}.",
            f"Choose a position rule: {', '.join(_INTERPOLATION)}.",
        )
    patches = table[1:].float().T.reshape(1, -1, side, side)
    resampled = F.interpolate(patches, size=grid, align_corners=False, **_INTERPOLATION[rule])
    return torch.cat([table[:1].float(), resampled[0].flatten(1).T])


def set_image_size(model: Any, image_size: int, rule: PositionRule) -> None:
    """Make a CLIPModel's vision tower take square images of another size.

    Args:
        model: A transformers ``CLIPModel``; its position table and configuration are replaced.
        image_size: Side of the input in pixels, a multiple of the patch size.
        rule: How the position table is resampled.

    Raises:
        BackboneError: If the size is no multiple of the patch size.
    """
    embeddings = model.vision_model.embeddings
    patch = embeddings.patch_size
    if image_size < patch or image_size % patch:
        raise BackboneError(
            f"An input of {image_size} pixels does not divide into patches of {patch}.",
            f"Choose a multiple of {patch}, e.g. {max(1, round(image_size / patch)) * patch}.",
        )
    side = image_size // patch
    table = resample_positions(embeddings.position_embedding.weight.data, (side, side), rule)
    embeddings.position_embedding = nn.Embedding.from_pretrained(table)
    embeddings.position_ids = torch.arange(len(table)).expand(1, -1)
    embeddings.image_size = image_size
    embeddings.num_patches = len(table) - 1
    embeddings.num_positions = len(table)
    model.config.vision_config.image_size = image_size
