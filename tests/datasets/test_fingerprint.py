from __future__ import annotations

import shutil
from pathlib import Path

from vlmad_core.datasets import load_dataset
from vlmad_core.datasets.fingerprint import dataset_fingerprint


def test_fingerprint_sees_content_labels_and_masks_but_not_the_place(mvtec_tree: Path) -> None:
    dataset = load_dataset(mvtec_tree)
    original = dataset_fingerprint(dataset.samples)
    assert dataset_fingerprint(reversed(dataset.samples)) == original
    copy = mvtec_tree.parent / "elsewhere"
    shutil.copytree(mvtec_tree, copy)
    assert dataset_fingerprint(load_dataset(copy).samples) == original
    mask = copy / "gear" / "ground_truth" / "dent" / "000_mask.png"
    shutil.copy(copy / "gear" / "test" / "dent" / "000.png", mask)
    changed = dataset_fingerprint(load_dataset(copy).samples)
    assert changed != original
    mask.unlink()
    assert dataset_fingerprint(load_dataset(copy).samples) not in (original, changed)
    assert dataset_fingerprint(dataset.samples[1:]) != original


def test_unreadable_file_still_gives_a_fingerprint(mvtec_tree: Path) -> None:
    dataset = load_dataset(mvtec_tree)
    before = dataset_fingerprint(dataset.samples)
    dataset.samples[0].image_path.unlink()
    assert dataset_fingerprint(dataset.samples) != before
