from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from vlmad_core.datasets import load_dataset
from vlmad_core.datasets.sample import Dataset


def kinds(dataset: Dataset) -> Counter[str]:
    return Counter(problem.kind for problem in dataset.problems)


def test_samples_of_a_sound_data_set(mvtec_tree: Path) -> None:
    dataset = load_dataset(mvtec_tree)
    assert (dataset.name, dataset.layout, dataset.problems) == ("factory", "mvtec", ())
    assert dataset.categories == ("cog_wheel", "gear")
    assert [sample.id for sample in dataset.samples] == sorted(sample.id for sample in dataset.samples)
    assert len(dataset.select("gear", "train")) == 4
    test = dataset.select("gear", "test")
    assert Counter(sample.defect_type for sample in test) == {"good": 2, "dent": 2, "scratch": 2}
    dent = next(sample for sample in test if sample.id == "gear/test/dent/001.png")
    assert dent.label == 1
    assert dent.mask_path == mvtec_tree / "gear" / "ground_truth" / "dent" / "001_mask.png"
    assert all(s.mask_path is None and s.label == 0 for s in dataset.samples if s.defect_type == "good")


def test_faults_cost_only_their_item(mvtec_tree: Path, write_image: Callable[..., Path]) -> None:
    gear = mvtec_tree / "gear"
    (gear / "ground_truth" / "dent" / "000_mask.png").unlink()
    (gear / "test" / "scratch" / "001.png").unlink()
    (gear / "test" / "good" / "000.png").write_bytes(b"")
    (gear / "train" / "good" / "notes.txt").write_text("hello")
    write_image(gear / "train" / "dent" / "000.png")
    write_image(gear / "test" / "alone.png")
    dataset = load_dataset(mvtec_tree)
    assert kinds(dataset) == {
        "missing_mask": 1,
        "orphan_mask": 1,
        "unreadable_image": 1,
        "not_an_image": 1,
        "train_defects": 1,
        "stray_image": 1,
    }
    assert len(dataset.samples) == 20 - 2
    unmasked = next(sample for sample in dataset.samples if sample.id == "gear/test/dent/000.png")
    assert (unmasked.label, unmasked.mask_path) == (1, None)


def test_categories_without_masks_are_listed_without_problems(mvtec_tree: Path) -> None:
    for mask in (mvtec_tree / "gear" / "ground_truth").rglob("*.png"):
        mask.unlink()
    dataset = load_dataset(mvtec_tree)
    assert dataset.problems == ()
    assert all(sample.mask_path is None for sample in dataset.select("gear", "test"))


def test_masks_named_like_their_image_and_other_endings(
    tmp_path: Path, write_image: Callable[..., Path], write_mask: Callable[..., Path]
) -> None:
    root = tmp_path / "visa_converted"
    write_image(root / "candle" / "train" / "good" / "1.png")
    write_image(root / "candle" / "test" / "bad" / "7.JPG")
    mask = write_mask(root / "candle" / "ground_truth" / "bad" / "7.png")
    (sample,) = load_dataset(root).select("candle", "test")
    assert sample.mask_path == mask
    assert sample.defect_type == "bad"


def test_metadata_of_the_data_set_is_read(mvtec_tree: Path) -> None:
    categories = {"gear": {"kind": "object", "reserved": True}, "cog_wheel": {"kind": "object", "reserved": False}}
    stated = {"name": "factory", "licence": "CC0-1.0", "redistributable": True, "synthetic": True}
    (mvtec_tree / "dataset.json").write_text(json.dumps({**stated, "categories": categories}))
    dataset = load_dataset(mvtec_tree)
    assert (dataset.licence, dataset.redistributable, dataset.synthetic) == ("CC0-1.0", True, True)
    assert dataset.reserved == {"gear"}
    assert dataset.category_kinds == {"gear": "object", "cog_wheel": "object"}


def test_damaged_metadata_is_a_problem_not_an_end(mvtec_tree: Path) -> None:
    (mvtec_tree / "dataset.json").write_text("{")
    dataset = load_dataset(mvtec_tree)
    assert kinds(dataset) == {"bad_metadata": 1}
    assert len(dataset.samples) == 20
    assert not dataset.redistributable


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")
def test_what_is_no_file_is_a_problem_and_not_waited_for(mvtec_tree: Path) -> None:
    good = mvtec_tree / "gear" / "test" / "good"
    os.mkfifo(good / "pipe.png")
    (good / "zero.png").symlink_to("/dev/zero")
    (good / "gone.png").symlink_to("nowhere")
    os.mkfifo(mvtec_tree / "dataset.json")
    (mvtec_tree / "labels.csv").symlink_to("/dev/zero")
    problems = load_dataset(mvtec_tree).problems
    assert {(problem.kind, problem.path.name) for problem in problems} == {
        ("missing_image", name) for name in ("pipe.png", "zero.png", "gone.png")
    }
