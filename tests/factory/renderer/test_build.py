from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vlmad_core.datasets import load_dataset
from vlmad_core.datasets.check import verify_pixels
from vlmad_core.datasets.images import pixel_hash
from vlmad_core.datasets.loading import bundled_root
from vlmad_core.errors import DatasetError
from vlmad_core.factory.renderer.build import (
    SEED,
    Counts,
    build_bundled,
    render_defective,
    render_normal,
)
from vlmad_core.factory.renderer.domains import DOMAINS, STRUCTURAL

BOTH = ("bundled_a", "bundled_b")


@pytest.mark.parametrize("name", BOTH)
def test_shipped_pixels_are_those_stated(name: str) -> None:
    dataset = load_dataset(name)
    assert not dataset.problems
    assert verify_pixels(dataset) == ()
    stated = json.loads((dataset.root / "dataset.json").read_text())
    assert set(stated["pixels"]) == {sample.id for sample in dataset.samples}


@pytest.mark.parametrize("name", BOTH)
def test_shipped_counts_and_masks(name: str) -> None:
    dataset = load_dataset(name)
    categories = json.loads((dataset.root / "dataset.json").read_text())["categories"]
    assert len(categories) == {"bundled_a": 6, "bundled_b": 8}[name]
    assert {c["kind"] for c in categories.values()} == {"texture", "object"}
    assert len({d for c in categories.values() for d in c["defect_types"]}) >= 8
    for category in categories:
        test = dataset.select(category, "test")
        assert len(dataset.select(category, "train")) >= 16
        assert sum(sample.label == 0 for sample in test) >= 20
        assert sum(sample.label == 1 for sample in test) >= 30
        assert {s.defect_type for s in test if s.label} == set(categories[category]["defect_types"])
    for sample in dataset.samples[::37]:
        if sample.mask_path is None:
            continue
        with Image.open(sample.mask_path) as mask, Image.open(sample.image_path) as image:
            assert mask.mode == "L"
            assert mask.size == image.size
            values = np.asarray(mask)
        assert set(np.unique(values)) == {0, 255}


def test_domains_are_disjoint_and_something_is_reserved() -> None:
    names = [{category.name for category in DOMAINS[name].categories} for name in BOTH]
    assert not names[0] & names[1]
    reserved = [c for name in BOTH for c in DOMAINS[name].categories if c.reserved]
    assert sorted(c.kind for c in reserved) == ["object", "texture"]
    assert all(c in DOMAINS["bundled_b"].categories for c in reserved)
    first, second = ({d for c in DOMAINS[name].categories for d in c.defects} for name in BOTH)
    assert first & second
    assert first - second
    assert second - first


def test_shipped_files_are_small() -> None:
    total = sum(path.stat().st_size for name in BOTH for path in bundled_root(name).rglob("*") if path.is_file())
    assert total < 14e6


@pytest.mark.parametrize("name", BOTH)
def test_rendering_again_gives_the_shipped_pictures(name: str) -> None:
    root = bundled_root(name)
    for category in DOMAINS[name].categories[::3]:
        defect = category.defects[-1]
        _, again = render_defective(category, name, defect, SEED, 0)
        pairs = [
            (render_normal(category, name, SEED, 0), root / category.name / "train" / "good" / "000.webp"),
            (again, root / category.name / "test" / defect / "000.webp"),
        ]
        for picture, path in pairs:
            with Image.open(path) as shipped:
                difference = np.abs(np.asarray(shipped.convert("RGB"), float) - picture.image)
            # Lossy compression, and another processor's last digits.
            assert difference.mean() < 5
        mask_path = root / category.name / "ground_truth" / defect / "000_mask.png"
        with Image.open(mask_path) as shipped_mask:
            assert ((np.asarray(shipped_mask) > 0) != again.mask).mean() < 0.002


def test_building_a_small_set(tmp_path: Path) -> None:
    root = build_bundled(tmp_path, "bundled_a", seed=1, counts=Counts(1, 1, 1), size=64)
    dataset = load_dataset(root)
    assert not dataset.problems
    assert len(dataset.samples) == sum(2 + len(c.defects) for c in DOMAINS["bundled_a"].categories)
    stated = json.loads((root / "dataset.json").read_text())
    assert stated["seed"] == 1
    assert stated["synthetic"] is True
    relative, expected = next(iter(stated["pixels"].items()))
    with Image.open(root / relative) as image:
        assert pixel_hash(image) == expected


def test_building_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second = (build_bundled(tmp_path / k, "bundled_a", 2, Counts(1, 0, 1), 80) for k in ("one", "two"))
    files = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
    assert len(files) == 1 + sum(1 + 2 * len(c.defects) for c in DOMAINS["bundled_a"].categories)
    assert all((first / path).read_bytes() == (second / path).read_bytes() for path in files)


@pytest.mark.parametrize("fault", STRUCTURAL)
def test_structural_faults_change_nothing_else(fault: str) -> None:
    for domain in DOMAINS.values():
        for category in domain.categories:
            if fault in category.defects:
                normal, faulty = render_defective(category, domain.name, fault, 3, 0, 96)
                change = np.abs(normal.image.astype(float) - faulty.image.astype(float)).max(-1)
                assert change[faulty.mask].mean() > 2 * change[~faulty.mask].mean()


def test_unknown_domain(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no synthetic domain 'bundled_c'"):
        build_bundled(tmp_path, "bundled_c")
