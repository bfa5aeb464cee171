"""From what a method says of a photo's tiles to what it says of the photo.

The photo's score is that of its most anomalous tile; the tiles' maps are joined, with the mean where tiles overlap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from PIL import Image

from vlmad_core.backbones.tower import Backbone
from vlmad_core.datasets.views import Box, View
from vlmad_core.libraries import torch
from vlmad_core.methods import Predictions, Reason

if TYPE_CHECKING:
    from torch import Tensor


def tile_pixels(backbone: Backbone, view: View, image: Image.Image) -> list[Tensor]:
    """The tiles of a photo as a backbone takes them: [3, S, S] float32 each."""
    return [backbone.preprocess(tile) for tile in view.cut_tiles(view.cut_region(image), backbone.info.grid)]


def join_tiles(view: View, predictions: Predictions) -> Predictions:
    """One answer per photo from those of its tiles.

    Args:
        view: How photos are looked at, with T tiles.
        predictions: Of N x T tiles, a photo's T tiles one after the other, row by row.

    Returns:
        Of N photos: the largest score, and grids joined. What explanations read is left behind.
    """
    if view.count == 1:
        return predictions
    score = predictions.image_score.reshape(-1, view.count).amax(dim=1)
    grids, rule = predictions.grids, predictions.map_rule
    if grids is None or rule is None:
        return Predictions(score)
    joined = _join_grids(view, grids)
    # A filter that covers a part of a tile is to cover the same pixels of the photo.
    larger = round(rule.gaussian_size * max(joined.shape[-2] / grids.shape[-2], joined.shape[-1] / grids.shape[-1]))
    return Predictions(score, joined, replace(rule, gaussian_size=larger))


def join_reasons(
    view: View, reasons: Sequence[tuple[Reason, ...]], scores: Tensor, grid: tuple[int, int]
) -> tuple[tuple[Reason, ...], ...]:
    """Each photo's reasons: those of the tile that gave its score, with places in the region.

    Args:
        view: How photos are looked at, with T tiles.
        reasons: Of N x T tiles.
        scores: [N x T] of the tiles.
        grid: Patches (rows, columns) of a tile.
    """
    if view.count == 1:
        return tuple(reasons)
    winners = scores.reshape(-1, view.count).argmax(dim=1).tolist()
    return tuple(
        tuple(replace(one, box=_in_region(view, one.box, tile, grid)) for one in reasons[n * view.count + tile])
        for n, tile in enumerate(winners)
    )


def _join_grids(view: View, grids: Tensor) -> Tensor:
    """[N x T, S, rows, columns] -> [N, S, rows of the lattice, columns of the lattice]."""
    size = grids.shape[-2], grids.shape[-1]
    tiles = grids.reshape(-1, view.count, *grids.shape[1:])
    joined = torch.zeros(len(tiles), grids.shape[1], *view.lattice(size), device=grids.device)
    met = torch.zeros(view.lattice(size), device=grids.device)
    for tile, (row, column) in enumerate(view.corners(size)):
        where = slice(row, row + size[0]), slice(column, column + size[1])
        joined[:, :, *where] += tiles[:, tile]
        met[*where] += 1
    return joined / met


def _in_region(view: View, box: Box | None, tile: int, grid: tuple[int, int]) -> Box | None:
    if box is None:
        return None
    (row, column), (rows, columns) = view.corners(grid)[tile], view.lattice(grid)
    left, top, right, bottom = box
    return (
        (column + left * grid[1]) / columns,
        (row + top * grid[0]) / rows,
        (column + right * grid[1]) / columns,
        (row + bottom * grid[0]) / rows,
    )
