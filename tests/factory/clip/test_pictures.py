from __future__ import annotations

import numpy as np
import pytest

from vlmad_core.factory.clip.pictures import (
    VIEW_SIZE,
    Zoom,
    change_freely,
    change_light,
    draw_free_zoom,
    draw_generic,
    draw_part_zoom,
    look,
)


def test_the_whole_picture_is_only_enlarged() -> None:
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[16:32, 40:60] = (200, 100, 50)
    view = look(picture, Zoom(1.0, 0.0, 0.0, 0.0, False), nearest=True)
    assert view.shape == (VIEW_SIZE, VIEW_SIZE, 3)
    np.testing.assert_array_equal(view[2::4, 2::4], picture)


def test_mirror_quarter_turn_and_zoom_go_where_they_say() -> None:
    picture = np.zeros((64, 64), np.uint8)
    picture[:16, :16] = 255
    corner = slice(4, VIEW_SIZE // 4 - 4)
    far = slice(VIEW_SIZE - VIEW_SIZE // 4 + 4, VIEW_SIZE - 4)
    assert look(picture, Zoom(1.0, 0.0, 0.0, 0.0, True), True)[corner, far].min() == 255
    turned = look(picture, Zoom(1.0, 0.0, 0.0, np.pi / 2, False), True)
    assert turned[corner, far].min() == 255 or turned[far, corner].min() == 255
    zoomed = look(picture, Zoom(0.25, -0.375, -0.375, 0.0, False), True)
    assert zoomed[2:-2, 2:-2].min() == 255


@pytest.mark.parametrize("draw", [draw_part_zoom, draw_free_zoom])
def test_a_view_never_shows_emptiness(draw: object) -> None:
    picture = np.full((64, 64, 3), 255, np.uint8)
    rng = np.random.default_rng(0)
    for _ in range(40):
        assert callable(draw)
        assert look(picture, draw(rng)).min() > 250


def test_picture_and_mask_move_together() -> None:
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[20:40, 10:30] = 255
    mask = picture[..., 0].copy()
    rng = np.random.default_rng(3)
    for _ in range(10):
        zoom = draw_part_zoom(rng)
        shown, marked = look(picture, zoom)[..., 0] > 127, look(mask, zoom, nearest=True) > 127
        assert (shown != marked).mean() < 0.02


def test_changes_follow_their_chance_and_light_keeps_the_scene() -> None:
    view = look(draw_generic(np.random.default_rng(1), 96), Zoom(1.0, 0.0, 0.0, 0.0, False))
    assert np.array_equal(change_freely(view, np.random.default_rng(5)), change_freely(view, np.random.default_rng(5)))
    assert not np.array_equal(
        change_freely(view, np.random.default_rng(5)), change_freely(view, np.random.default_rng(6))
    )
    for seed in range(8):
        changed = change_light(view, np.random.default_rng(seed))
        assert changed.shape == view.shape
        assert changed.dtype == np.uint8
        assert np.corrcoef(changed.mean(axis=-1).ravel(), view.mean(axis=-1).ravel())[0, 1] > 0.9


def test_generic_pictures_differ_and_fill_the_range() -> None:
    rng = np.random.default_rng(0)
    pictures = [draw_generic(rng, 48) for _ in range(30)]
    assert all(picture.shape == (48, 48, 3) and picture.dtype == np.uint8 for picture in pictures)
    spreads = np.array([picture.std() for picture in pictures])
    assert spreads.min() >= 0
    assert np.median(spreads) > 15
    assert len({picture.tobytes() for picture in pictures}) == 30
    np.testing.assert_array_equal(
        draw_generic(np.random.default_rng(9), 32), draw_generic(np.random.default_rng(9), 32)
    )
