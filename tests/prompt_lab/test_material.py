from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vlmad_core.backbones.feature_cache import CachingBackbone, FeatureFolder
from vlmad_core.datasets import load_dataset
from vlmad_core.engine.session import Session
from vlmad_core.errors import VlmadError
from vlmad_core.prompt_lab import count_cached, lab_bytes, lab_request, lab_samples, load_lab_data


class Counting:
    """A backbone that counts the images that pass it."""

    passed = 0

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def encode_images(self, images: Any, request: Any, clock: Any = None) -> Any:
        self.passed += len(images)
        return self.inner.encode_images(images, request, clock)


def test_all_test_images_with_labels_and_truth(data, widgets):
    assert data.category_names == widgets.categories
    assert data.problems == ()
    for category in data.categories:
        samples = widgets.select(category.name, "test")
        assert category.image_ids == tuple(sample.id for sample in samples)
        assert category.labels.tolist() == [sample.label == 1 for sample in samples]
        assert len(category.features) == len(category.masks) == len(samples)
        found = np.array([mask.any() for mask in category.masks.unpacked()])
        assert found.tolist() == category.labels.tolist()
    assert data.category("nut").noun == "nut"


def test_features_come_from_the_cache_the_second_time(backbone, widgets, tmp_path):
    request = lab_request(backbone.info, "clip_cpe")
    cache, counting = FeatureFolder(tmp_path), Counting(backbone)
    total = len(lab_samples(widgets))
    assert count_cached(widgets, backbone.info, request, cache) == 0
    steps: list[int] = []
    session = Session(CachingBackbone(counting, cache))
    first = load_lab_data(widgets, session, request, steps.append)
    assert (sum(steps), counting.passed) == (total, total)
    assert count_cached(widgets, backbone.info, request, cache) == total
    again = load_lab_data(widgets, session, request)
    assert counting.passed == total
    for one, other in zip(first.categories, again.categories, strict=True):
        for name, tensor in one.features.tensors().items():
            torch.testing.assert_close(other.features.tensors()[name], tensor, rtol=0, atol=0)


def test_what_cannot_be_read_costs_itself_and_is_named(backbone, widgets, tmp_path):
    root = Path(shutil.copytree(widgets.root, tmp_path / "widgets"))
    (root / "bolt/test/good/000.png").write_bytes(b"%PDF-1.4")
    masks = sorted((root / "bolt/ground_truth").glob("*/*.png"))
    masks[0].write_bytes(b"no mask")
    for mask in (root / "felt/ground_truth").glob("*/*.png"):
        mask.unlink()
    data = load_lab_data(load_dataset(root), Session(backbone), lab_request(backbone.info, "clip_cpe"))
    bolt, felt, nut = data.categories
    assert len(bolt.image_ids) == len(nut.image_ids) - 1
    assert len(bolt.masks) == len(bolt.masked) == len(bolt.image_ids) - 1
    assert felt.masks is None
    assert "No defective image has a mask" in felt.why_no_pixels
    assert any("bolt/test/good/000.png is left out" in problem for problem in data.problems)
    assert any("counts for image metrics only" in problem for problem in data.problems)


def test_more_than_fits_leaves_the_patches_out(backbone, widgets):
    request = lab_request(backbone.info, "clip_cpe")
    exact = sum(tensor.numel() * 4 for c in load_lab_data(widgets, Session(backbone), request).categories
                for tensor in c.features.tensors().values())  # fmt: skip
    assert lab_bytes(widgets, backbone.info, request) == exact
    small = load_lab_data(widgets, Session(backbone), request, most_bytes=exact - 1)
    assert all(set(c.features.tensors()) == {"image_embedding"} and c.masks is None for c in small.categories)
    assert "Image metrics only" in small.problems[0]


def test_nothing_to_score_is_said(backbone, widgets, tmp_path):
    root = Path(shutil.copytree(widgets.root, tmp_path / "widgets"))
    for image in root.glob("*/test/*/*.png"):
        image.write_bytes(b"broken")
    with pytest.raises(VlmadError, match="Nothing of widgets can be scored"):
        load_lab_data(load_dataset(root), Session(backbone), lab_request(backbone.info, "clip_cpe"))
