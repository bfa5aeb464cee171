"""Faults as real ones look: masks that cover them, shares as in real sets, neither trivial nor hopeless."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from scipy.stats import rankdata

from vlmad_core.datasets import load_dataset
from vlmad_core.datasets.loading import bundled_root
from vlmad_core.datasets.sample import Dataset, Sample
from vlmad_core.factory.renderer.build import AREA, render_defective
from vlmad_core.factory.renderer.camera import Camera, take_pair
from vlmad_core.factory.renderer.defects import ALL_DEFECTS
from vlmad_core.factory.renderer.domains import DOMAINS, STRUCTURAL
from vlmad_core.factory.renderer.fields import make_frame
from vlmad_core.factory.renderer.surface import Light, shade, sheet

BOTH = ("bundled_a", "bundled_b")
SHOTS = 4
LIGHT = Light(azimuth=0.0, elevation=0.7, ambient=0.3, ring=0.0)


@pytest.mark.parametrize("name", BOTH)
def test_masks_cover_what_differs_from_the_clean_scene(name: str) -> None:
    for category in DOMAINS[name].categories:
        defect = category.defects[0]
        clean, faulty = render_defective(category, name, defect, 7, 0, 112)
        assert not clean.mask.any()
        assert AREA[0] <= faulty.mask.mean() <= AREA[1]
        change = np.abs(clean.image.astype(float) - faulty.image.astype(float)).max(-1)
        # Blurred, so that the noise, which is drawn anew, averages out.
        strong = ndimage.gaussian_filter(change, 1.0) > 60
        near = ndimage.binary_dilation(faulty.mask, iterations=2)
        assert (strong & near).sum() >= 0.95 * strong.sum(), (category.name, defect)
        assert change[faulty.mask].mean() > 1.5 * change[~near].mean() + 6, (category.name, defect)


def _share(sample: Sample) -> float:
    assert sample.mask_path is not None
    with Image.open(sample.mask_path) as mask:
        return float((np.asarray(mask) > 0).mean())


def test_shipped_faults_take_as_much_of_the_picture_as_real_ones() -> None:
    shares = np.array([_share(s) for name in BOTH for s in load_dataset(name).samples if s.mask_path is not None])
    assert len(shares) == 14 * 36
    assert shares.min() >= AREA[0]
    assert shares.max() <= AREA[1]
    low, middle, high = np.quantile(shares, [0.25, 0.5, 0.75])
    # Real sets with masks: medians from 0.5 % (magnetic tiles) over 2-3 % (nuts, cookies) to 6 % (bottles).
    assert 0.005 < low < 0.02
    assert 0.01 < middle < 0.04
    assert 0.025 < high < 0.1


def _patches(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB").resize((128, 128), Image.Resampling.BOX), np.float32) / 255
    windows = np.lib.stride_tricks.sliding_window_view(pixels, (8, 8), axis=(0, 1))[::8, ::8]
    return windows.reshape(-1, 192)


def _raw_pixel_auroc(dataset: Dataset, category: str) -> float:
    """Image AUROC of the distance to the nearest patch of four normal images; 9 normal and 12 faulty test images."""
    memory = np.concatenate([_patches(s.image_path) for s in dataset.select(category, "train")[:SHOTS]])
    norms = (memory**2).sum(1)
    test = dataset.select(category, "test")
    types = sorted({s.defect_type or "" for s in test if s.label == 1})
    chosen = [s for s in test if s.label == 0][:9]
    for defect in types:
        chosen += [s for s in test if s.label == 1 and s.defect_type == defect][:3]
    scores = []
    for sample in chosen:
        found = _patches(sample.image_path)
        squared = (found**2).sum(1)[:, None] + norms[None] - 2 * found @ memory.T
        scores.append(float(squared.min(1).max()))
    faulty = np.array([s.label == 1 for s in chosen])
    ranks = rankdata(scores)
    pairs = faulty.sum() * (~faulty).sum()
    return float((ranks[faulty].sum() - faulty.sum() * (faulty.sum() + 1) / 2) / pairs)


def test_difficulty_is_neither_trivial_nor_hopeless_for_raw_pixels() -> None:
    sets = [load_dataset(name) for name in BOTH]
    found = {category: _raw_pixel_auroc(dataset, category) for dataset in sets for category in dataset.categories}
    values = np.array(list(found.values()))
    assert 0.65 < values.mean() < 0.97, found
    assert (values > 0.99).mean() < 0.5, found
    assert np.ptp(values) > 0.15, found


def test_faint_differences_are_refused() -> None:
    frame = make_frame(64)
    surface = sheet(frame, np.full(3, 0.5, np.float32))
    spot = np.exp(-(frame.u**2 + frame.v**2) / 0.05)[..., None].astype(np.float32)
    camera = Camera(vignette=0.0)

    def attempt(depth: float) -> object:
        damaged = replace(surface, albedo=surface.albedo * (1 - depth * spot))
        return take_pair(surface, damaged, LIGHT, camera, frame, np.random.default_rng(0), contrast=(0.0, 1.0))

    assert attempt(0.15) is None
    assert attempt(0.6) is not None


@pytest.mark.parametrize("defect", ["scratch", "dent", "blister"])
def test_relief_is_lit_by_the_scene(defect: str) -> None:
    frame = make_frame(96)
    metal = sheet(frame, np.full(3, 0.5, np.float32), 0.0, 0.2, 0.0)
    changes = []
    for azimuth in (0.0, np.pi):
        light = replace(LIGHT, azimuth=azimuth)
        damaged = ALL_DEFECTS[defect](metal, frame, np.random.default_rng(3), 0.3, 0.8)
        changes.append((shade(damaged, light, frame) - shade(metal, light, frame)).mean(-1))
    # Light from the other side swaps lit and shaded flanks.
    lit, other = (change > 0.03 for change in changes)
    assert lit.any()
    assert other.any()
    assert (lit & other).sum() < 0.7 * min(lit.sum(), other.sum()) or defect == "scratch"
    assert np.abs(changes[0] - changes[1]).max() > 0.05


def test_the_held_out_categories_are_stated_in_the_data_set() -> None:
    stated = json.loads((bundled_root("bundled_b") / "dataset.json").read_text())
    assert stated["held_out"]["categories"] == ["brush_head", "mosaic"]
    assert "no choice" in stated["held_out"]["statement"]
    assert load_dataset("bundled_b").reserved == {"brush_head", "mosaic"}
    assert "held_out" not in json.loads((bundled_root("bundled_a") / "dataset.json").read_text())


def test_structural_faults_are_all_used() -> None:
    used = {defect for domain in DOMAINS.values() for category in domain.categories for defect in category.defects}
    assert used <= {*ALL_DEFECTS, *STRUCTURAL}
    assert set(STRUCTURAL) <= used
