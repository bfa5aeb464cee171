from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from vlmad_core.factory.renderer.camera import Camera, develop, difference_mask, photograph, record, take_pair
from vlmad_core.factory.renderer.defects import ALL_DEFECTS
from vlmad_core.factory.renderer.fields import cells, inside, make_frame, noise, sd_box, smoothstep
from vlmad_core.factory.renderer.materials import TRAINING_MATERIALS, VALIDATION_MATERIALS
from vlmad_core.factory.renderer.objects import TRAINING_OBJECTS, VALIDATION_OBJECTS
from vlmad_core.factory.renderer.surface import Light, place, shade, sheet

LIGHT = Light(azimuth=0.0, elevation=0.7, ambient=0.3)
CAMERA = Camera(blur=0.0, vignette=0.0)


@pytest.mark.parametrize("name", [*TRAINING_MATERIALS, *VALIDATION_MATERIALS])
def test_materials_follow_their_seeds(name: str) -> None:
    build = {**TRAINING_MATERIALS, **VALIDATION_MATERIALS}[name]
    frame = make_frame(48)

    def look(seed: int, item: int) -> np.ndarray:
        surface = build(np.random.default_rng(seed), np.random.default_rng(item), frame)
        assert np.isfinite(surface.albedo).all()
        assert np.isfinite(surface.height).all()
        assert surface.albedo.min() >= 0
        assert surface.albedo.max() <= 1
        return photograph(surface, LIGHT, CAMERA, frame)

    first = look(1, 2)
    assert first.shape == (48, 48, 3)
    np.testing.assert_array_equal(first, look(1, 2))
    assert np.abs(first - look(3, 4)).mean() > 1e-3


@pytest.mark.parametrize("name", [*TRAINING_OBJECTS, *VALIDATION_OBJECTS])
def test_objects_stand_clear_of_the_border(name: str) -> None:
    build = {**TRAINING_OBJECTS, **VALIDATION_OBJECTS}[name]
    _, cover = build(np.random.default_rng(0), np.random.default_rng(1), make_frame(64))
    assert 0.03 < cover.mean() < 0.8
    assert max(cover[0].max(), cover[-1].max(), cover[:, 0].max(), cover[:, -1].max()) == 0


@pytest.mark.parametrize("name", list(ALL_DEFECTS))
def test_defects_are_visible_and_local(name: str) -> None:
    frame = make_frame(96)
    item, cover = TRAINING_OBJECTS["tablet"](np.random.default_rng(0), np.random.default_rng(1), frame)
    surface = place(item, sheet(frame, np.float32([0.1, 0.1, 0.1])), cover, 0.0)
    clean = photograph(surface, LIGHT, CAMERA, frame)
    areas = []
    for seed in range(4):
        damaged = ALL_DEFECTS[name](surface, frame, np.random.default_rng(seed), 0.25, 0.9)
        mask, change = difference_mask(clean, photograph(damaged, LIGHT, CAMERA, frame))
        areas.append(mask.mean())
        assert not mask.any() or change > 0.03
    # A worn spot on a plain tablet may not be seen; most others must be.
    assert max(areas) > 0.0008
    assert max(areas) < 0.5


def test_pairs_that_cannot_be_seen_are_refused() -> None:
    frame = make_frame(48)
    surface = sheet(frame, np.float32([0.5, 0.5, 0.5]))
    rng = np.random.default_rng(0)
    assert take_pair(surface, surface, LIGHT, CAMERA, frame, rng) is None
    everywhere = replace(surface, albedo=surface.albedo * 0.2)
    assert take_pair(surface, everywhere, LIGHT, CAMERA, frame, rng) is None


def test_a_bump_is_bright_on_the_side_of_the_light() -> None:
    frame = make_frame(64)
    bump = 0.3 * np.exp(-(frame.u**2 + frame.v**2) / 0.1)
    lit = shade(sheet(frame, np.float32([0.5, 0.5, 0.5]), bump.astype(np.float32)), LIGHT, frame).mean(-1)
    # Azimuth 0 is light from the right.
    assert lit[32, 42] > lit[32, 22] + 0.05
    assert lit[42, 32] == pytest.approx(lit[21, 32], abs=1e-4)


def test_camera() -> None:
    frame = make_frame(64)
    grey = np.full((64, 64, 3), 0.4, np.float32)
    dimmed = develop(grey, replace(CAMERA, vignette=0.5), frame)
    assert dimmed[32, 32, 0] > dimmed[0, 0, 0] + 0.05
    mono = develop(grey * np.float32([1, 0.5, 0.2]), replace(CAMERA, monochrome=True), frame)
    assert np.ptp(mono, axis=2).max() < 1e-6
    noisy = record(grey, replace(CAMERA, shot_noise=0.1), np.random.default_rng(0)).astype(float) / 255
    assert noisy.std() == pytest.approx(np.hypot(0.1 * np.sqrt(0.4), 0.005), rel=0.05)
    compressed = record(grey, replace(CAMERA, quality=50), np.random.default_rng(0))
    assert compressed.shape == (64, 64, 3)


def test_fields() -> None:
    frame = make_frame(64)
    field = noise(np.random.default_rng(0), 64, 8)
    assert field.mean() == pytest.approx(0, abs=1e-5)
    assert field.std() == pytest.approx(1, abs=1e-5)
    long = noise(np.random.default_rng(0), 64, 20, 0.8, 10.0)
    assert np.abs(np.diff(long, axis=1)).mean() < 0.5 * np.abs(np.diff(long, axis=0)).mean()
    near, far, index = cells(np.random.default_rng(0), frame, 10)
    assert (near <= far).all()
    assert len(np.unique(index)) > 80
    assert smoothstep(0, 1, np.float32([-1, 0.5, 2])).tolist() == [0, 0.5, 1]
    box = inside(sd_box(frame.x, frame.y, 0.5, 0.25), frame)
    assert box.mean() == pytest.approx(0.125, abs=0.01)
