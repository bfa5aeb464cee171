from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from vlmad_core.figures.overlay import (
    colour_bar,
    cut_out,
    decode,
    encode,
    enlarge,
    framed,
    heat,
    mask_picture,
    outline,
    overlay,
    same_picture,
)
from vlmad_core.figures.scale import raw_scale
from vlmad_core.figures.style import heat_table


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (40, 60, 3)).astype(np.uint8)


def test_equal_values_have_equal_colours_whatever_else_is_in_the_map() -> None:
    scale = raw_scale(0.0, 1.0)
    calm = heat(scale.place(np.array([[0.1, 0.4]])))
    hot = heat(scale.place(np.array([[0.4, 0.99]])))
    assert np.array_equal(calm[0, 1], hot[0, 0])


def test_heat_ends() -> None:
    assert np.array_equal(heat(np.array([[0.0, 1.0, 7.0]]))[0], heat_table()[[0, 255, 255]])


def test_overlay_is_grey_image_without_opacity_and_map_with_full(image: np.ndarray) -> None:
    places = np.ones((40, 60))
    plain = overlay(image, places, opacity=0.0)
    assert np.ptp(plain, axis=2).max() == 0
    assert np.array_equal(overlay(image, places, opacity=1.0), np.broadcast_to(heat_table()[255], image.shape))


def test_overlay_covers_more_where_the_map_is_higher(image: np.ndarray) -> None:
    low, high = overlay(image, np.zeros((40, 60))), overlay(image, np.ones((40, 60)))
    assert np.std(high.astype(float)) < np.std(low.astype(float)) + 60
    assert high.mean() > low.mean()


def test_overlay_brings_the_map_to_the_image(image: np.ndarray) -> None:
    places = np.zeros((8, 12))
    places[:, 6:] = 1.0
    mixed = overlay(image, places, opacity=1.0).astype(int)
    assert mixed.shape == image.shape
    assert np.array_equal(mixed[20, -1], heat_table()[255])


def test_outline_surrounds_the_mask_and_keeps_its_inside(image: np.ndarray) -> None:
    mask = np.zeros((40, 60), bool)
    mask[10:25, 20:40] = True
    drawn = outline(image, mask, colour=(64, 224, 255))
    changed = np.any(drawn != image, axis=2)
    assert not changed[12:23, 22:38].any()
    assert changed[9, 20:40].all()
    assert changed[10:25, 19].all()
    assert not changed[:6].any()
    assert (drawn[9, 25] == (64, 224, 255)).all()


def test_outline_of_nothing_is_the_image(image: np.ndarray) -> None:
    assert np.array_equal(outline(image, np.zeros((40, 60), bool)), image)


def test_mask_picture_is_light_on_the_defect() -> None:
    picture = mask_picture(np.array([[True, False]]))
    assert picture.shape == (1, 2, 3)
    assert picture[0, 0].min() > 200 > picture[0, 1].max()


def test_enlarge_keeps_the_shape_and_leaves_large_pictures_alone(image: np.ndarray) -> None:
    assert enlarge(image, 80).shape == (80, 120, 3)
    assert enlarge(image, 40) is image


def test_encode_and_decode(image: np.ndarray) -> None:
    smooth = np.full((32, 48, 3), (200, 90, 40), np.uint8)
    content = encode(smooth)
    assert content[:4] == b"RIFF"
    assert np.abs(decode(content).astype(int) - smooth).max() < 12


def test_colour_bar_has_its_numbers_and_escapes_texts() -> None:
    drawing = ElementTree.fromstring(colour_bar(raw_scale(0.0, 2.0)))
    texts = [e.text for e in drawing.iter() if e.tag.endswith("text")]
    assert texts == ["0", "0.5", "1", "1.5", "2"]
    stops = [e for e in drawing.iter() if e.tag.endswith("stop")]
    assert len(stops) == 33
    assert stops[0].get("stop-color") != stops[-1].get("stop-color")


def test_boxes_are_drawn_around_places_and_leave_the_rest() -> None:
    image = np.full((64, 64, 3), 90, np.uint8)
    drawn = framed(image, [(16, 16, 32, 32)], numbered=False)
    assert (drawn[16, 16:32] == (255, 210, 64)).all()
    assert (drawn[20:28, 20:28] == 90).all()
    assert (drawn[40:, 40:] == 90).all()
    assert (image == 90).all()
    assert (framed(image, [(16, 16, 32, 32)])[17:30, 18:30] != 90).any()


def test_a_place_is_cut_out_with_its_surroundings_as_far_as_the_image_reaches() -> None:
    image = np.arange(100, dtype=np.uint8).reshape(10, 10, 1).repeat(3, axis=2)
    assert cut_out(image, (4, 4, 6, 6), around=1.0).shape == (6, 6, 3)
    corner = cut_out(image, (0, 0, 2, 2), around=1.0)
    assert corner.shape == (4, 4, 3)
    assert corner[0, 0, 0] == 0


def test_an_image_is_told_from_another_one_by_its_thumbnail() -> None:
    rows, columns = np.mgrid[:256, :256] / 255
    image = np.stack([40 + 150 * rows, 200 - 120 * columns, 60 + 100 * rows * columns], axis=2).astype(np.uint8)
    small = decode(encode(image[::2, ::2]))
    assert same_picture(image, small)
    assert not same_picture(image[::-1], small)
    assert not same_picture(image[:, :128], small)
    changed = image.copy()
    changed[64:96, 64:96] = 255 - changed[64:96, 64:96]  # a defect that was not there
    assert not same_picture(changed, small)
