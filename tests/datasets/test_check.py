from __future__ import annotations

import argparse
import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vlmad_core.datasets import load_dataset
from vlmad_core.datasets.check import CheckReport, check_dataset, verify_pixels
from vlmad_core.datasets.cli import add_arguments, run
from vlmad_core.datasets.images import pixel_hash, read_image

Write = Callable[..., Path]


def command(*words: str) -> int:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return run(parser.parse_args(list(words)))


def found(report: CheckReport) -> set[tuple[str, str]]:
    root = report.dataset.root
    return {(finding.kind, finding.path.relative_to(root).as_posix()) for finding in report.findings}


def test_sound_data_set_is_found_sound(mvtec_tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = check_dataset(load_dataset(mvtec_tree))
    assert report.findings == ()
    assert report.counts == {"gear": (4, 2, 4), "cog_wheel": (4, 2, 4)}
    assert report.masks == {"gear": 4, "cog_wheel": 4}
    assert command("check", str(mvtec_tree)) == 0
    assert "0 errors" in capsys.readouterr().out


def test_every_planted_fault_is_found_with_its_file_in_one_run(
    mvtec_tree: Path, write_image: Write, write_mask: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    gear, cog = mvtec_tree / "gear", mvtec_tree / "cog_wheel"
    (gear / "ground_truth" / "dent" / "000_mask.png").unlink()
    write_mask(gear / "ground_truth" / "dent" / "001_mask.png", size=(12, 8))
    write_mask(gear / "ground_truth" / "scratch" / "000_mask.png", mode="1")
    write_mask(gear / "ground_truth" / "scratch" / "001_mask.png", value=0)
    write_mask(cog / "ground_truth" / "dent" / "000_mask.png", mode="RGB")
    write_mask(cog / "ground_truth" / "dent" / "001_mask.png", mode="P")
    (cog / "ground_truth" / "scratch" / "000_mask.png").write_bytes(b"GIF89a")
    Image.new("L", (24, 16), 255).save(cog / "ground_truth" / "scratch" / "001_mask.png")
    (gear / "test" / "good" / "000.png").write_bytes(b"%PDF-1.4")
    (gear / "test" / "good" / "001.png").write_bytes(b"")
    whole = (gear / "test" / "scratch" / "000.png").read_bytes()
    (gear / "test" / "scratch" / "000.png").write_bytes(whole[: len(whole) // 2])
    shutil.copy(cog / "train" / "good" / "000.png", cog / "test" / "good" / "000.png")
    shutil.copy(cog / "train" / "good" / "001.png", cog / "train" / "good" / "copy.png")
    Image.open(cog / "train" / "good" / "002.png").save(cog / "train" / "good" / "reencoded.bmp")
    shutil.copy(cog / "test" / "dent" / "000.png", cog / "test" / "good" / "twin.png")
    write_mask(cog / "ground_truth" / "dent" / "099_mask.png")
    write_image(cog / "test" / "stray.png")
    for number in range(2):
        write_image(gear / "test" / "rust" / f"{number:03}.png")

    report = check_dataset(load_dataset(mvtec_tree))
    assert found(report) == {
        ("missing_mask", "gear/test/dent/000.png"),
        ("mask_size", "gear/ground_truth/dent/001_mask.png"),
        ("mask_mode", "gear/ground_truth/scratch/000_mask.png"),
        ("empty_mask", "gear/ground_truth/scratch/001_mask.png"),
        ("mask_mode", "cog_wheel/ground_truth/dent/000_mask.png"),
        ("mask_mode", "cog_wheel/ground_truth/dent/001_mask.png"),
        ("unreadable_mask", "cog_wheel/ground_truth/scratch/000_mask.png"),
        ("full_mask", "cog_wheel/ground_truth/scratch/001_mask.png"),
        ("unreadable_image", "gear/test/good/000.png"),
        ("unreadable_image", "gear/test/good/001.png"),
        ("unreadable_image", "gear/test/scratch/000.png"),
        ("train_in_test", "cog_wheel/test/good/000.png"),
        ("duplicate", "cog_wheel/train/good/copy.png"),
        ("duplicate", "cog_wheel/train/good/reencoded.bmp"),
        ("duplicate", "cog_wheel/test/good/twin.png"),
        ("orphan_mask", "cog_wheel/ground_truth/dent/099_mask.png"),
        ("stray_image", "cog_wheel/test/stray.png"),
        ("missing_mask", "gear/test/rust/000.png"),
        ("missing_mask", "gear/test/rust/001.png"),
    }
    twin = next(f for f in report.findings if f.path.name == "twin.png")
    assert "another label" in twin.message
    modes = {
        f.path.parent.parent.parent.name + f.path.name: f.message for f in report.findings if f.kind == "mask_mode"
    }
    assert [word in message for word, message in zip(("1-bit", "RGB", "palette"), modes.values(), strict=True)]
    assert not report.ok

    assert command("check", str(mvtec_tree), "--json") == 1
    printed = json.loads(capsys.readouterr().out)
    assert printed["ok"] is False
    assert len(printed["datasets"][0]["problems"]) == len(report.findings)
    assert command("check", str(mvtec_tree)) == 1
    text = capsys.readouterr().out
    assert all(str(finding.path) in text for finding in report.findings)


def test_categories_without_masks_are_named_with_the_reason(mvtec_tree: Path) -> None:
    shutil.rmtree(mvtec_tree / "gear" / "ground_truth")
    report = check_dataset(load_dataset(mvtec_tree))
    (finding,) = report.findings
    assert (finding.kind, finding.path.name) == ("no_masks", "gear")
    assert "classification works, segmentation is blank because" in finding.message
    assert report.ok


def test_one_class_and_no_training_images_are_named(mvtec_tree: Path) -> None:
    shutil.rmtree(mvtec_tree / "gear" / "test" / "good")
    shutil.rmtree(mvtec_tree / "gear" / "train" / "good")
    assert found(check_dataset(load_dataset(mvtec_tree))) == {("one_class", "gear"), ("no_train", "gear")}


def test_counts_are_held_against_the_published_ones(
    tmp_path: Path, write_image: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "mvtec"
    for path in ("train/good/0.png", "test/good/1.png"):
        write_image(root / "bottle" / path)
        write_image(root / "barrel" / path)
    report = check_dataset(load_dataset(root))
    messages = [finding.message for finding in report.findings if finding.severity == "difference"]
    assert messages[0].startswith("barrel is no category of MVTec AD")
    assert "published 209 train, 20 normal and 63 defective test" in messages[1]
    assert "zipper" in messages[2]
    assert command("check", str(root), "--json") == 1
    (entry,) = json.loads(capsys.readouterr().out)["datasets"]
    assert entry["categories"]["bottle"]["official"] == [209, 20, 63]


def test_hand_sorted_photos_are_checked_in_plain_words(
    tmp_path: Path, write_image: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "plates"
    for number in range(12):
        write_image(root / "good" / f"{number}.png")
    for number in range(8):
        write_image(root / "bad" / f"{number}.png", size=(48, 32))
    kept = load_dataset(root).select("plates", "train")
    shutil.copy(kept[0].image_path, root / "bad" / "copy.png")
    (root / "bad" / "0.png").write_bytes(b"%PDF-1.4")
    (root / "bad" / "notes.txt").write_text("hello")
    report = check_dataset(load_dataset(root))
    assert [remark.sentence.partition(" (")[0] for remark in report.remarks] == [
        "1 photo that can't be read.",
        "1 test photo with the pixels of one that is kept for references.",
        "1 file left out: no photo by the ending.",
        "Classification works, segmentation is blank because none of its 9 defective images has a mask.",
    ]
    assert report.remarks[0].items[0].startswith("bad/0.png: not an image that can be read; found a PDF document.")
    assert report.sizes == {(24, 16): 13, (48, 32): 7}
    assert command("check", str(root)) == 1
    text = capsys.readouterr().out
    assert "Photos have 2 sizes, from 24 x 16 to 48 x 32 pixels." in text
    assert "4 of 12 good photos" in text
    assert "With 9 defective test photos, finding all of them shows that at least 72% of such defects are found" in text


def test_metrics_that_lack_an_interval_are_named(tmp_path: Path, write_image: Write, write_mask: Write) -> None:
    root = tmp_path / "plates"
    for place in ("good/1", "good/2", "good/3", "bad/1", "ground_truth/bad/1_mask"):
        (write_mask if "mask" in place else write_image)(root / f"{place}.png")
    outlook = check_dataset(load_dataset(root)).outlook
    assert "only one defective test photo: image AUROC, AP and F1-max get no interval" in outlook[0]
    assert "only one defective photo has a mask: pixel AUROC, AP, F1-max and AUPRO get no interval" in outlook[1]


def test_enough_images_need_no_word(tmp_path: Path, write_image: Write) -> None:
    for number in range(70):
        write_image(tmp_path / "plates" / "good" / f"{number}.png")
        write_image(tmp_path / "plates" / "bad" / f"{number}.png")
    assert check_dataset(load_dataset(tmp_path / "plates")).outlook == ()


def test_folder_of_data_sets_is_checked_one_by_one(
    mvtec_tree: Path, write_image: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    write_image(mvtec_tree.parent / "other" / "nut" / "train" / "good" / "1.png")
    write_image(mvtec_tree.parent / "other" / "nut" / "test" / "good" / "1.png")
    assert command("check", str(mvtec_tree.parent), "--json") == 0
    names = [entry["name"] for entry in json.loads(capsys.readouterr().out)["datasets"]]
    assert names == ["factory", "other"]


def test_what_is_no_data_set_is_said_and_exits_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("check", str(tmp_path)) == 1
    assert "is empty" in capsys.readouterr().err
    assert command("check", str(tmp_path), "--json") == 1
    assert "train/good" in json.loads(capsys.readouterr().out)["fix"]


def test_list_names_what_is_there(
    mvtec_tree: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VLMAD_DATA_DIR", str(mvtec_tree.parent))
    assert command("list", "--json") == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert {"bundled_a", "bundled_b", "elpv", "textile", "factory"} <= set(rows)
    assert rows["factory"]["available"] is True
    assert command("list") == 0
    assert "factory" in capsys.readouterr().out


def test_stated_pixels_are_verified(mvtec_tree: Path) -> None:
    samples = load_dataset(mvtec_tree).samples
    pixels = {sample.id: pixel_hash(read_image(sample.image_path)) for sample in samples}
    (mvtec_tree / "dataset.json").write_text(json.dumps({"pixels": pixels}))
    assert verify_pixels(load_dataset(mvtec_tree)) == ()
    Image.fromarray(np.zeros((16, 24, 3), dtype=np.uint8)).save(samples[0].image_path)
    samples[1].image_path.unlink()
    del pixels[samples[2].id]
    (mvtec_tree / "dataset.json").write_text(json.dumps({"pixels": pixels}))
    kinds = Counter(problem.kind for problem in verify_pixels(load_dataset(mvtec_tree)))
    assert kinds == {"pixels_differ": 1, "unreadable_image": 1, "pixels_unlisted": 1}


def test_real_data_has_no_errors(data_dir: Path) -> None:
    root = data_dir / "mvtec"
    if not root.is_dir():
        pytest.skip(f"no {root}")
    report = check_dataset(load_dataset(root))
    assert {finding.severity for finding in report.findings} <= {"difference"}


def test_real_1_bit_masks_are_named_and_read(data_dir: Path) -> None:
    root = data_dir / "mvtec_reduced256"
    if not root.is_dir():
        pytest.skip(f"no {root}")
    report = check_dataset(load_dataset(root))
    kinds = Counter(finding.kind for finding in report.findings if finding.severity != "difference")
    assert kinds == {"mask_mode": 8}
