"""A photo on which a region can be drawn."""

from __future__ import annotations

import pytest
from PIL import Image

from vlmad_core.datasets.views import View
from vlmad_core.figures.region import LONGEST, region_figure, tile_boxes

GRID = (4, 4)


def test_tiles_lie_in_the_region():
    boxes = tile_boxes(View((0.5, 0.0, 1.0, 1.0), (2, 1)), GRID)
    assert boxes == [(0.5, 0.0, 0.75, 1.0), (0.75, 0.0, 1.0, 1.0)]
    assert tile_boxes(View((0.5, 0.0, 1.0, 1.0)), GRID) == []


def test_the_figure_shows_the_photo_small_with_its_region_and_something_to_draw_around():
    figure = region_figure(Image.new("RGB", (3000, 1500)), View((0.1, 0.2, 0.5, 0.6), (2, 2)), GRID)
    shape = figure.layout.shapes[-1]
    assert (shape.x0, shape.y0, shape.x1, shape.y1) == (0.1, 0.2, 0.5, 0.6)
    assert len(figure.layout.shapes) == 5
    assert len(figure.data[0].x) > 100
    assert figure.layout.yaxis.scaleratio == pytest.approx(0.5)
    assert len(figure.layout.images[0].source) < LONGEST * LONGEST
