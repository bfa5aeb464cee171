"""Parts of photos: regions, tiles, and how finely a backbone then sees."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from vlmad_core.datasets.views import View, ViewError, resolution, suggested_tiles

GRID = (4, 4)


def photo(width: int = 80, height: int = 40) -> Image.Image:
    return Image.fromarray(np.arange(width * height, dtype=np.uint32).reshape(height, width).astype(np.uint8))


def test_a_plain_view_changes_nothing():
    image = photo()
    assert View().plain
    assert View().cut_region(image) is image
    assert View().cut_tiles(image, GRID) == [image]
    assert View().tile_name(0) == ""


def test_a_region_cuts_photo_and_mask_alike():
    view = View((0.25, 0.5, 0.75, 1.0))
    cut = view.cut_region(photo())
    assert cut.size == (40, 20)
    np.testing.assert_array_equal(np.asarray(cut), view.cut_mask(np.asarray(photo())))


def test_the_smallest_region_has_a_pixel():
    assert View((0.999, 0.999, 1.0, 1.0)).cut_region(photo()).size == (1, 1)


def test_tiles_cover_the_region_and_meet_where_patches_do():
    view = View(tiles=(3, 1), overlap=0.25)
    assert view.lattice(GRID) == (4, 10)
    tiles = view.cut_tiles(photo(), GRID)
    assert [tile.size for tile in tiles] == [(32, 40)] * 3
    np.testing.assert_array_equal(np.asarray(tiles[1])[:, :8], np.asarray(tiles[0])[:, -8:])
    np.testing.assert_array_equal(np.asarray(tiles[2])[:, -1], np.asarray(photo())[:, -1])


def test_names_tell_tiles_and_views_apart():
    views = View(tiles=(2, 1)), View(tiles=(1, 2)), View((0, 0, 0.5, 1), (2, 1)), View(tiles=(2, 1), overlap=0.5)
    names = [view.tile_name(tile) for view in views for tile in (0, 1)]
    assert len(set(names)) == 8


def test_a_protocol_brings_it_back():
    view = View((0.1, 0.0, 0.9, 1.0), (3, 2), 0.25)
    assert View.from_json(view.to_json()) == view
    assert View.from_json(None) == View()


@pytest.mark.parametrize(
    "asked",
    [
        {"region": (0.5, 0.0, 0.5, 1.0)},
        {"region": (0.0, 0.0, 1.1, 1.0)},
        {"tiles": (0, 2)},
        {"tiles": (9, 9)},
        {"overlap": 0.6},
    ],
)
def test_what_is_no_view_is_refused(asked):
    with pytest.raises(ViewError):
        View(**asked)


def test_resolution_is_in_pixels_of_the_photo():
    assert resolution(View(), (4000, 2000), (15, 15)).patch == pytest.approx((266.7, 133.3), abs=0.1)
    tiled = resolution(View((0.0, 0.0, 0.5, 1.0), (4, 4)), (4000, 2000), (15, 15))
    assert tiled.patch == pytest.approx((2000 / 60, 2000 / 60))
    assert tiled.passes == 16


@pytest.mark.parametrize(
    ("size", "tiles"), [((400, 400), (1, 1)), ((480, 4000), (1, 1)), ((1000, 1500), (2, 3)), ((60_000, 60_000), (7, 7))]
)
def test_tiles_are_suggested_for_large_photos_only(size, tiles):
    assert suggested_tiles(size, 240) == tiles
