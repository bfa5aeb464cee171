"""Small made-up trees with the file names of the published data sets."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from vlmad_core.datasets import load_dataset
from vlmad_core.datasets.sample import Dataset, Sample

Write = Callable[..., Path]


def table(samples: Iterable[Sample]) -> Counter[tuple[str, str, str]]:
    return Counter((s.category, s.split, s.defect_type) for s in samples)


def problem_kinds(dataset: Dataset) -> Counter[str]:
    return Counter(problem.kind for problem in dataset.problems)


@pytest.fixture
def visa_tree(tmp_path: Path, write_image: Write, write_mask: Write) -> Path:
    root = tmp_path / "VisA_20220922"
    rows = ["object,split,label,image,mask"]
    for category in ("candle", "pcb1"):
        data = root / category / "Data"
        for number in range(10):
            write_image(data / "Images" / "Normal" / f"{number:04}.JPG")
            split = "train" if number < 8 else "test"
            rows.append(f"{category},{split},normal,{category}/Data/Images/Normal/{number:04}.JPG,")
        for number in range(3):
            write_image(data / "Images" / "Anomaly" / f"{number:03}.JPG")
            write_mask(data / "Masks" / "Anomaly" / f"{number:03}.png", value=number + 1)
            image = f"{category}/Data/Images/Anomaly/{number:03}.JPG"
            rows.append(f"{category},test,anomaly,{image},{category}/Data/Masks/Anomaly/{number:03}.png")
    (root / "candle" / "image_anno.csv").write_text(
        "image,label,mask\ncandle/Data/Images/Normal/0000.JPG,normal,\n"
        'candle/Data/Images/Anomaly/000.JPG,"chunk missing,other",candle/Data/Masks/Anomaly/000.png\n'
    )
    (root / "split_csv").mkdir()
    (root / "split_csv" / "1cls.csv").write_text("\n".join(rows) + "\n")
    return root


def test_visa_with_the_official_split(visa_tree: Path) -> None:
    dataset = load_dataset(visa_tree)
    assert (dataset.layout, dataset.official, dataset.problems, dataset.notes) == ("visa", "visa", (), ())
    assert table(dataset.samples) == {
        ("candle", "train", "good"): 8,
        ("candle", "test", "good"): 2,
        ("candle", "test", "chunk missing,other"): 1,
        ("candle", "test", "anomaly"): 2,
        ("pcb1", "train", "good"): 8,
        ("pcb1", "test", "good"): 2,
        ("pcb1", "test", "anomaly"): 3,
    }
    sample = next(s for s in dataset.samples if s.id == "pcb1/Data/Images/Anomaly/002.JPG")
    assert sample.mask_path == visa_tree / "pcb1" / "Data" / "Masks" / "Anomaly" / "002.png"


def test_visa_in_its_original_folders_without_the_split_says_so(visa_tree: Path) -> None:
    (visa_tree / "split_csv" / "1cls.csv").unlink()
    dataset = load_dataset(visa_tree)
    numbers = table(dataset.samples)
    assert numbers["pcb1", "train", "good"] == 8
    assert numbers["pcb1", "test", "good"] == 2
    assert numbers["pcb1", "test", "anomaly"] == 3
    assert all(s.mask_path is not None for s in dataset.samples if s.label == 1)
    assert len(dataset.notes) == 2
    assert "not comparable" in dataset.notes[0]
    assert load_dataset(visa_tree).samples == dataset.samples


def test_visa_faults_cost_only_their_row(visa_tree: Path) -> None:
    (visa_tree / "candle" / "Data" / "Images" / "Normal" / "0003.JPG").unlink()
    (visa_tree / "candle" / "Data" / "Masks" / "Anomaly" / "001.png").unlink()
    with (visa_tree / "split_csv" / "1cls.csv").open("a") as file:
        file.write("candle,validation,normal,candle/Data/Images/Normal/0001.JPG,\n")
        file.write("candle,test,normal,../../outside.JPG,\n")
    dataset = load_dataset(visa_tree)
    assert problem_kinds(dataset) == {"missing_image": 1, "missing_mask": 1, "bad_split_row": 1, "outside": 1}
    assert len(dataset.samples) == 25


def test_visa_single_category_uses_the_split_above_it(visa_tree: Path) -> None:
    dataset = load_dataset(visa_tree / "candle")
    assert dataset.categories == ("candle",)
    assert dataset.notes == ()
    assert len(dataset.select("candle", "train")) == 8


def test_visa_unusable_split_file_is_a_problem(visa_tree: Path) -> None:
    (visa_tree / "split_csv" / "1cls.csv").write_text("a,b\n1,2\n")
    dataset = load_dataset(visa_tree)
    assert problem_kinds(dataset) == {"bad_split_file": 1}
    assert len(dataset.samples) == 26


def test_btad(tmp_path: Path, write_image: Write, write_mask: Write) -> None:
    root = tmp_path / "BTech_Dataset_transformed"
    for category, image, mask in (("01", "bmp", "png"), ("02", "png", "png"), ("03", "bmp", "bmp")):
        write_image(root / category / "train" / "ok" / f"0000.{image}")
        write_image(root / category / "test" / "ok" / f"0001.{image}")
        write_image(root / category / "test" / "ko" / f"0002.{image}")
        write_mask(root / category / "ground_truth" / "ko" / f"0002.{mask}")
    dataset = load_dataset(root)
    assert (dataset.layout, dataset.official, dataset.problems) == ("btad", "btad", ())
    assert table(dataset.samples) == {
        (category, split, kind): 1
        for category in ("01", "02", "03")
        for split, kind in (("train", "good"), ("test", "good"), ("test", "ko"))
    }
    assert all(s.mask_path is not None for s in dataset.samples if s.label == 1)


def test_mpdd(tmp_path: Path, write_image: Write, write_mask: Write) -> None:
    root = tmp_path / "mpdd"
    for category in ("bracket_black", "connector"):
        write_image(root / category / "train" / "good" / "000.png")
        write_image(root / category / "test" / "good" / "000.png")
        write_image(root / category / "test" / "parts_mismatch" / "000.png")
        write_mask(root / category / "ground_truth" / "parts_mismatch" / "000_mask.png")
    dataset = load_dataset(root)
    assert (dataset.layout, dataset.official, dataset.problems) == ("mpdd", "mpdd", ())
    assert [s.mask_path is not None for s in dataset.select("connector", "test")] == [False, True]


def test_magnetic_tile(tmp_path: Path, write_image: Write, write_mask: Write) -> None:
    root = tmp_path / "Magnetic-tile-defect-datasets."
    for number in range(10):
        write_image(root / "MT_Free" / "Imgs" / f"exp1_num_{number}.jpg")
        write_mask(root / "MT_Free" / "Imgs" / f"exp1_num_{number}.png", value=0)
    write_image(root / "MT_Crack" / "Imgs" / "exp1_num_77.jpg")
    write_mask(root / "MT_Crack" / "Imgs" / "exp1_num_77.png")
    write_image(root / "MT_Fray" / "Imgs" / "exp1_num_78.jpg")
    write_mask(root / "MT_Fray" / "Imgs" / "exp1_num_79.png")
    dataset = load_dataset(root)
    assert (dataset.layout, dataset.official) == ("magnetic_tile", "mtd")
    assert table(dataset.samples) == {
        ("tile", "train", "good"): 8,
        ("tile", "test", "good"): 2,
        ("tile", "test", "crack"): 1,
        ("tile", "test", "fray"): 1,
    }
    assert problem_kinds(dataset) == {"missing_mask": 1, "orphan_mask": 1}
    crack = next(s for s in dataset.samples if s.defect_type == "crack")
    assert crack.mask_path == root / "MT_Crack" / "Imgs" / "exp1_num_77.png"


def test_kolektor_takes_labels_from_masks_and_splits_by_item(
    tmp_path: Path, write_image: Write, write_mask: Write
) -> None:
    root = tmp_path / "KolektorSDD"
    for item in range(1, 6):
        for part in range(3):
            write_image(root / f"kos{item:02}" / f"Part{part}.jpg")
            write_mask(root / f"kos{item:02}" / f"Part{part}_label.bmp", value=255 if part == 2 else 0)
    (root / "kos01" / "Part0_label.bmp").write_bytes(b"broken")
    (root / "kos02" / "Part0_label.bmp").unlink()
    dataset = load_dataset(root)
    assert (dataset.layout, dataset.official) == ("kolektor", "sdd")
    assert problem_kinds(dataset) == {"unreadable_mask": 1, "missing_mask": 1}
    assert len(dataset.samples) == 15 - 2
    defective = [s for s in dataset.samples if s.label == 1]
    assert len(defective) == 5
    assert all(s.split == "test" and s.mask_path is not None for s in defective)
    normal_items = {
        split: {s.id.split("/")[0] for s in dataset.samples if s.label == 0 and s.split == split}
        for split in ("train", "test")
    }
    assert len(normal_items["test"]) == 1
    assert not normal_items["train"] & normal_items["test"]


def test_kolektor_second_edition_trains_on_normal_images_only(
    tmp_path: Path, write_image: Write, write_mask: Write
) -> None:
    root = tmp_path / "KolektorSDD2"
    for split in ("train", "test"):
        for number, value in ((10000, 0), (10001, 0), (10002, 255)):
            write_image(root / split / f"{number}.png")
            write_mask(root / split / f"{number}_GT.png", value=value)
    dataset = load_dataset(root)
    assert (dataset.layout, dataset.official, dataset.problems) == ("kolektor", "ksdd2", ())
    assert table(dataset.samples) == {
        ("surface", "train", "good"): 2,
        ("surface", "test", "good"): 2,
        ("surface", "test", "defect"): 1,
    }


def test_real_iad(tmp_path: Path, write_image: Write, write_mask: Write) -> None:
    root = tmp_path / "Real-IAD"
    images = root / "realiad_256" / "audiojack"
    ok = ["OK/S0001/audiojack_0001_OK_C1_20231021.jpg", "OK/S0002/audiojack_0002_OK_C1_20231021.jpg"]
    bad = "NG/BX/S0010/audiojack_0010_NG_BX_C1_20231021"
    for path in (*ok, f"{bad}.jpg"):
        write_image(images / path)
    write_mask(images / f"{bad}.png")

    def row(path: str, kind: str, mask: str | None) -> dict[str, str | None]:
        return {"category": "audiojack", "anomaly_class": kind, "image_path": path, "mask_path": mask}

    split = {
        "meta": {"prefix": "audiojack/", "normal_class": "OK", "pre_transform": None},
        "train": [row(ok[0], "OK", None), row(f"{bad}.jpg", "BX", None)],
        "test": [row(ok[1], "OK", None), row(f"{bad}.jpg", "BX", f"{bad}.png"), {"category": "audiojack"}],
    }
    folder = root / "realiad_jsons" / "realiad_jsons"
    folder.mkdir(parents=True)
    (folder / "audiojack.json").write_text(json.dumps(split))
    (folder / "zipper.json").write_text(json.dumps(split))
    dataset = load_dataset(root)
    assert (dataset.layout, dataset.official) == ("real_iad", "real_iad")
    assert table(dataset.samples) == {
        ("audiojack", "train", "good"): 1,
        ("audiojack", "test", "good"): 1,
        ("audiojack", "test", "BX"): 1,
    }
    assert problem_kinds(dataset) == {"train_defects": 1, "bad_split_row": 1, "missing_category": 1}
    (defective,) = [s for s in dataset.samples if s.label == 1]
    assert defective.mask_path == images / f"{bad}.png"
    (folder / "audiojack.json").write_text("[]")
    with pytest.raises(Exception, match="holds no image"):
        load_dataset(root)


def test_elpv(tmp_path: Path, write_image: Write) -> None:
    root = tmp_path / "cells"
    lines = []
    probabilities = ["0.0"] * 10 + ["0.3333333333333333", "0.6666666666666666", "1.0", "1.0"]
    for number, probability in enumerate(probabilities, start=1):
        write_image(root / "images" / f"cell{number:04}.png", mode="L")
        lines.append(f"images/cell{number:04}.png  {probability}  {'poly' if number == 14 else 'mono'}")
    lines += ["images/cell0099.png  1.0  mono", "gibberish"]
    (root / "labels.csv").write_text("\n".join(lines) + "\n")
    dataset = load_dataset(root)
    assert dataset.layout == "elpv"
    assert table(dataset.samples) == {
        ("mono", "train", "good"): 8,
        ("mono", "test", "good"): 2,
        ("mono", "test", "probable"): 1,
        ("mono", "test", "certain"): 1,
        ("poly", "test", "certain"): 1,
    }
    assert problem_kinds(dataset) == {"bad_label": 1, "missing_image": 1}
    assert "1 cells with probability 1/3 are left out" in dataset.notes[0]


def test_textile(tmp_path: Path, write_image: Write) -> None:
    root = tmp_path / "weave"
    for folder, number in (("nominal", 10), ("local", 3), ("global", 2)):
        for index in range(number):
            write_image(root / folder / f"textile_{index:04}.jpg")
    dataset = load_dataset(root)
    assert (dataset.layout, dataset.synthetic, dataset.problems) == ("textile", True, ())
    assert table(dataset.samples) == {
        ("textile", "train", "good"): 8,
        ("textile", "test", "good"): 2,
        ("textile", "test", "local"): 3,
        ("textile", "test", "global"): 2,
    }
