"""Photos sorted by hand into folders, or named in a table: labels, masks, and which are kept for references."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from vlmad_core.datasets import load_dataset
from vlmad_core.datasets.labelled import label_words, means
from vlmad_core.datasets.manifest import read as read_manifest
from vlmad_core.datasets.splits import draw_references, kept_for_references
from vlmad_core.errors import DatasetError

Write = Callable[..., Path]


@pytest.fixture
def plates(tmp_path: Path, write_image: Write) -> Path:
    """Twelve good and eight bad photos."""
    root = tmp_path / "metal_plate"
    for number in range(12):
        write_image(root / "good" / f"{number:03}.png")
    for number in range(8):
        write_image(root / "bad" / f"{number:03}.png")
    return root


def counts(root: Path) -> Counter[tuple[str, str]]:
    return Counter((sample.split, sample.defect_type) for sample in load_dataset(root).samples)


def test_some_good_photos_are_kept_for_references_and_the_rest_is_tested(plates: Path) -> None:
    dataset = load_dataset(plates)
    assert (dataset.name, dataset.layout, dataset.categories) == ("metal_plate", "labelled", ("metal_plate",))
    assert dataset.problems == ()
    assert counts(plates) == {("train", "good"): 4, ("test", "good"): 8, ("test", "bad"): 8}
    assert {sample.id.partition("/")[0] for sample in dataset.samples} == {"good", "bad"}
    assert "4 of 12 good photos" in dataset.notes[0]
    train = dataset.select("metal_plate", "train")
    assert {s.id for s in draw_references(train, 2, seed=0)} < {s.id for s in draw_references(train, 4, seed=0)}


def test_the_choice_is_the_same_wherever_the_folder_lies_and_whatever_it_is_called(plates: Path) -> None:
    before = {sample.id: sample.split for sample in load_dataset(plates).samples}
    other = plates.parent / "elsewhere" / "blech"
    shutil.copytree(plates, other)
    assert {sample.id: sample.split for sample in load_dataset(other).samples} == before


@pytest.mark.parametrize("count", range(40))
def test_at_most_a_third_is_kept(count: int) -> None:
    names = [f"good/{number}.png" for number in range(count)]
    kept = kept_for_references(names)
    assert kept <= set(names)
    assert len(kept) in (0, 1, 2, 4, 8)
    assert 3 * len(kept) <= count
    assert kept_for_references(reversed(names)) == kept


@pytest.mark.parametrize(
    ("good", "bad"), [("ok", "ng"), ("OK", "Not OK"), ("normal", "defective"), ("Gut", "Schlecht"), ("good", "Kratzer")]
)
def test_folders_go_by_many_names(plates: Path, good: str, bad: str) -> None:
    (plates / "good").rename(plates / "first")
    (plates / "first").rename(plates / good)
    (plates / "bad").rename(plates / bad)
    assert counts(plates) == {("train", "good"): 4, ("test", "good"): 8, ("test", bad): 8}


def test_a_folder_per_type_of_defect_beside_the_good_ones_or_below_the_bad_ones(
    plates: Path, write_image: Write
) -> None:
    write_image(plates / "scratch" / "1.png")
    write_image(plates / "bad" / "dent" / "1.png")
    write_image(plates / "good" / "monday" / "1.png")
    found = counts(plates)
    assert (found["test", "scratch"], found["test", "dent"], found["test", "bad"]) == (1, 1, 8)
    assert found["train", "good"] + found["test", "good"] == 13


@pytest.mark.parametrize(
    "place", ["ground_truth/bad/003_mask.png", "ground_truth/003_mask.png", "masks/bad/003.png", "bad/003_mask.png"]
)
def test_masks_lie_in_a_folder_of_masks_or_beside_the_photo(plates: Path, write_mask: Write, place: str) -> None:
    write_mask(plates / place)
    dataset = load_dataset(plates)
    (masked,) = (sample for sample in dataset.samples if sample.mask_path is not None)
    assert (masked.id, masked.mask_path) == ("bad/003.png", plates / place)
    assert len(dataset.samples) == 20
    assert dataset.problems == ()


def test_masks_of_good_photos_are_no_photos_and_one_without_a_photo_is_said(plates: Path, write_mask: Write) -> None:
    write_mask(plates / "good" / "003_mask.png")
    write_mask(plates / "ground_truth" / "bad" / "999_mask.png")
    dataset = load_dataset(plates)
    assert len(dataset.samples) == 20
    assert [(problem.kind, problem.path.name) for problem in dataset.problems] == [("orphan_mask", "999_mask.png")]


@pytest.mark.parametrize("table", ["labels.csv", "labels.json", "semicolons"])
def test_one_folder_with_a_table_of_labels(plates: Path, table: str, write_image: Write) -> None:
    flat = plates.parent / "flat"
    rows = {}
    for sample in load_dataset(plates).samples:
        name = sample.id.replace("/", "-")
        write_image(flat / name)
        rows[name] = "ok" if sample.label == 0 else "dent"
    if table == "labels.json":
        (flat / table).write_text(json.dumps(rows))
    else:
        comma = ";" if table == "semicolons" else ","
        lines = [f"File{comma}Label", *(f"{name}{comma}{label}" for name, label in rows.items())]
        (flat / "labels.csv").write_text("\ufeff" + "\r\n".join(lines), encoding="utf-8")
    assert counts(flat) == {("train", "good"): 4, ("test", "good"): 8, ("test", "dent"): 8}


def test_what_a_table_has_wrong_costs_that_row(plates: Path, write_image: Write, write_mask: Write) -> None:
    flat = plates.parent / "flat"
    for name in ("a.png", "b.png", "c.png", "d.png", "e.png", "forgotten.png"):
        write_image(flat / name)
    write_mask(flat / "e_mask.png")
    outside = write_image(plates.parent / "outside.png")
    (flat / "labels.csv").write_text(
        "file,label,mask\na.png,good\nb.png,good,\nc.png,good,\nd.png,bad,\ne.png,bad,e_mask.png\n../outside.png,good,\n"
        f"{outside},bad,\ngone.png,bad,\n,bad,\nd.png,,\n"
    )
    dataset = load_dataset(flat)
    assert {sample.id for sample in dataset.samples} == {"a.png", "b.png", "c.png", "d.png", "e.png"}
    assert [sample.id for sample in dataset.samples if sample.mask_path] == ["e.png"]
    kinds = Counter(problem.kind for problem in dataset.problems)
    assert kinds == {"outside": 2, "missing_image": 1, "bad_label": 2, "unlabelled": 1}


@pytest.mark.parametrize("content", ['{"a.png": ', "{", '{"a": "\\ud800"}', "[" * 100_000])
def test_a_damaged_table_is_said(tmp_path: Path, write_image: Write, content: str) -> None:
    write_image(tmp_path / "good" / "a.png")
    (tmp_path / "labels.json").write_text(content)
    if content.startswith("{"):
        with pytest.raises(DatasetError, match="holds no image that can be used"):
            load_dataset(tmp_path)
    else:  # no table of labels by its first letter
        assert len(load_dataset(tmp_path).samples) == 1


def test_other_layouts_are_read_as_before(mvtec_tree: Path) -> None:
    assert load_dataset(mvtec_tree).layout == "mvtec"
    assert load_dataset(mvtec_tree / "gear").layout == "mvtec"


def test_words_are_told_apart_and_mean_the_same_in_a_manifest(plates: Path) -> None:
    kinds = [label_words(kind) for kind in ("normal", "defective", "masks")]
    assert sum(map(len, kinds)) == len(frozenset().union(*kinds))
    rows = [f"good/{number:03}.png,{word}" for number, word in enumerate(["gut", "scrap", "0", "true", "purple"])]
    (plates / "manifest.csv").write_text("\n".join(["image,label", *rows]))
    dataset = read_manifest(plates, "plates")
    assert [sample.label for sample in dataset.samples] == [0, 1, 0, 1]
    assert [problem.kind for problem in dataset.problems] == ["bad_label"]


def test_the_words_the_readme_lists_are_known() -> None:
    text = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    for title, kind in (("good", "normal"), ("defective", "defective"), ("masks", "masks")):
        row = next(line for line in text.splitlines() if line.startswith(f"| {title} |"))
        words = row.split("|")[2].partition(";")[0].split(",")
        assert len(words) >= 5
        assert [word for word in words if not means(word, kind)] == []
