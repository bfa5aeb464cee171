"""How a photo is looked at: which part of it, and in how many tiles.

A backbone sees few pixels: a photo of 4000 pixels that goes into an input of 240 shows no defect smaller than about
270 pixels (one patch of 16). A region leaves out what is not the part; tiles show the rest at a larger scale, each
judged as an image of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from vlmad_core.errors import VlmadError

Box = tuple[float, float, float, float]
"""(left, top, right, bottom), each a fraction of its side."""

WHOLE_PHOTO: Box = (0.0, 0.0, 1.0, 1.0)

MOST_TILES = 64
"""Most tiles of a photo: each costs as much as an image."""

LARGE = 2.0
"""A photo whose shorter side is more than this many times the input is worth looking at in tiles."""


class ViewError(VlmadError):
    """A photo can't be looked at like that."""


@dataclass(frozen=True)
class View:
    """How photos are looked at; the same for references and test images.

    Attributes:
        region: The part of the photo that is looked at.
        tiles: (columns, rows) into which the region is cut.
        overlap: Share of a tile's side that it has in common with its neighbour; rounded to whole patches.
    """

    region: Box = WHOLE_PHOTO
    tiles: tuple[int, int] = (1, 1)
    overlap: float = 0.0

    def __post_init__(self) -> None:
        left, top, right, bottom = self.region
        if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
            raise ViewError(
                f"The region {' '.join(f'{side:g}' for side in self.region)} is not inside the photo.",
                "Give left, top, right and bottom as fractions from 0 to 1, e.g. 0.1 0.1 0.9 0.9.",
            )
        if min(self.tiles) < 1 or self.count > MOST_TILES:
            raise ViewError(
                f"{self.tiles[0]} x {self.tiles[1]} tiles can't be made.", f"Ask for 1 to {MOST_TILES} in all."
            )
        if not 0 <= self.overlap <= 0.5:
            raise ViewError(f"Tiles can't overlap by {self.overlap:g} of their side.", "Give a share from 0 to 0.5.")

    @property
    def count(self) -> int:
        """Tiles of a photo."""
        return self.tiles[0] * self.tiles[1]

    @property
    def plain(self) -> bool:
        """Whether whole photos are looked at in one piece."""
        return self.region == WHOLE_PHOTO and self.count == 1

    def to_json(self) -> dict[str, Any]:
        """What a protocol says of it."""
        return {"region": list(self.region), "tiles": list(self.tiles), "overlap": self.overlap}

    @classmethod
    def from_json(cls, value: Mapping[str, Any] | None) -> View:
        """Read what ``to_json`` wrote; None is a whole photo in one piece."""
        if value is None:
            return cls()
        left, top, right, bottom = value["region"]
        columns, rows = value["tiles"]
        return cls((left, top, right, bottom), (columns, rows), value["overlap"])

    def lattice(self, grid: tuple[int, int]) -> tuple[int, int]:
        """Patches (rows, columns) of the region as a whole.

        Args:
            grid: Patches (rows, columns) of one tile.
        """
        (columns, rows), (step_down, step_right) = self.tiles, self.steps(grid)
        return (rows - 1) * step_down + grid[0], (columns - 1) * step_right + grid[1]

    def cut_region(self, image: Image.Image) -> Image.Image:
        """The region of a photo; the photo itself if that is the region."""
        return image if self.region == WHOLE_PHOTO else image.crop(self._pixels(image.size))

    def cut_mask(self, mask: np.ndarray) -> np.ndarray:
        """The region of a mask [height, width]."""
        if self.region == WHOLE_PHOTO:
            return mask
        left, top, right, bottom = self._pixels((mask.shape[1], mask.shape[0]))
        return mask[top:bottom, left:right]

    def cut_tiles(self, region: Image.Image, grid: tuple[int, int]) -> list[Image.Image]:
        """The tiles of a region, row by row.

        Args:
            region: As ``cut_region`` gives it.
            grid: Patches (rows, columns) of a tile; tiles begin where patches do, so that maps fit together.
        """
        if self.count == 1:
            return [region]
        rows, columns = self.lattice(grid)
        high, wide = region.height / rows, region.width / columns
        return [
            region.crop((round(x * wide), round(y * high), round((x + grid[1]) * wide), round((y + grid[0]) * high)))
            for y, x in self.corners(grid)
        ]

    def tile_name(self, tile: int) -> str:
        """What tells a tile from others of all photos and views; empty for a whole photo."""
        if self.plain:
            return ""
        shape = "x".join(map(str, self.tiles))
        return f"{','.join(f'{side:g}' for side in self.region)} {shape} {self.overlap:g} {tile}"

    def _pixels(self, size: tuple[int, int]) -> tuple[int, int, int, int]:
        """The region in pixels of a picture of (width, height); at least one each way."""
        (width, height), (left, top, right, bottom) = size, self.region
        x, y = min(round(left * width), width - 1), min(round(top * height), height - 1)
        return x, y, max(round(right * width), x + 1), max(round(bottom * height), y + 1)

    def steps(self, grid: tuple[int, int]) -> tuple[int, int]:
        """Patches (down, to the right) from a tile to the next."""
        down, right = (side - round(self.overlap * side) for side in grid)
        return max(down, 1), max(right, 1)

    def corners(self, grid: tuple[int, int]) -> list[tuple[int, int]]:
        """The first patch (row, column) of each tile in the region's lattice, row by row."""
        (columns, rows), (down, right) = self.tiles, self.steps(grid)
        return [(row * down, column * right) for row in range(rows) for column in range(columns)]


@dataclass(frozen=True)
class Resolution:
    """How finely a photo is seen.

    Attributes:
        patch: (width, height) of the photo's pixels that one patch covers: about the smallest defect that can be seen.
        passes: Images that go through the backbone for one photo.
    """

    patch: tuple[float, float]
    passes: int


def resolution(view: View, photo: tuple[int, int], grid: tuple[int, int]) -> Resolution:
    """How finely photos are seen.

    Args:
        view: How they are looked at.
        photo: (width, height) in pixels.
        grid: Patches (rows, columns) of the backbone.
    """
    left, top, right, bottom = view.region
    rows, columns = view.lattice(grid)
    return Resolution(((right - left) * photo[0] / columns, (bottom - top) * photo[1] / rows), view.count)


def suggested_tiles(photo: tuple[int, int], side: int, region: Box = WHOLE_PHOTO) -> tuple[int, int]:
    """(columns, rows) that show a photo's region at about its own scale; (1, 1) where it is not large.

    Args:
        photo: (width, height) in pixels.
        side: Of the backbone's input, in pixels.
        region: What is looked at.
    """
    left, top, right, bottom = region
    width, height = (right - left) * photo[0], (bottom - top) * photo[1]
    if min(width, height) <= LARGE * side:
        return 1, 1
    columns, rows = max(1, round(width / (LARGE * side))), max(1, round(height / (LARGE * side)))
    while columns * rows > MOST_TILES:
        columns, rows = max(1, columns // 2), max(1, rows // 2)
    return columns, rows
