from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from vlmad_core.datasets import load_dataset
from vlmad_core.errors import DatasetError

Write = Callable[..., Path]


@pytest.fixture
def rows(tmp_path: Path, write_image: Write, write_mask: Write) -> list[dict[str, object]]:
    for number in range(4):
        write_image(tmp_path / "pictures" / f"{number}.png")
    write_mask(tmp_path / "truth" / "3.png")
    common: dict[str, object] = {"category": "nut", "mask": None, "defect_type": None}
    return [
        {"image": "pictures/0.png", "label": 0, "split": "train", **common},
        {"image": "pictures/1.png", "label": 0, "split": "test", **common},
        {"image": "pictures/2.png", "label": 1, "split": "test", **common},
        {
            **common,
            "image": "pictures/3.png",
            "label": 1,
            "split": "test",
            "mask": "truth/3.png",
            "defect_type": "dent",
        },
    ]


@pytest.mark.parametrize("ending", ["csv", "parquet"])
@pytest.mark.parametrize("give_folder", [True, False])
def test_csv_and_parquet(ending: str, give_folder: bool, tmp_path: Path, rows: list[dict[str, object]]) -> None:
    path = tmp_path / f"manifest.{ending}"
    table = pd.DataFrame(rows)
    if ending == "csv":
        table.to_csv(path, index=False)
    else:
        table.to_parquet(path)
    dataset = load_dataset(tmp_path if give_folder else path)
    assert (dataset.layout, dataset.root, dataset.problems) == ("manifest", tmp_path, ())
    assert [(s.id, s.split, s.label, s.defect_type) for s in dataset.samples] == [
        ("pictures/0.png", "train", 0, "good"),
        ("pictures/1.png", "test", 0, "good"),
        ("pictures/2.png", "test", 1, "defect"),
        ("pictures/3.png", "test", 1, "dent"),
    ]
    assert dataset.samples[3].mask_path == tmp_path / "truth" / "3.png"


def test_faulty_rows_cost_only_themselves(tmp_path: Path, rows: list[dict[str, object]]) -> None:
    faulty = [
        {"image": "", "label": 0},
        {"image": "pictures/9.png", "label": 0, "category": "nut"},
        {"image": "pictures/0.png", "label": 0, "category": "nut"},
        {"image": "pictures/1.png", "label": "perhaps", "category": "nut"},
        {"image": "pictures/1.png", "label": 0, "split": "holdout"},
        {"image": "pictures/1.png", "label": 0, "category": "../nut"},
        {"image": "pictures/2.png", "label": 1, "split": "train"},
        {"image": "9" * 5000, "label": 0},
        {"image": "~nobody-of-this-name/0.png", "label": 0},
    ]
    rows[3]["mask"] = "9" * 5000
    pd.DataFrame([*rows, *faulty]).to_csv(tmp_path / "list.csv", index=False)
    dataset = load_dataset(tmp_path / "list.csv")
    assert dataset.name == "list"
    assert len(dataset.samples) == 4
    assert Counter(problem.kind for problem in dataset.problems) == {
        "bad_manifest_row": 2,
        "missing_image": 3,
        "listed_twice": 1,
        "bad_label": 1,
        "bad_split": 1,
        "train_defects": 1,
        "missing_mask": 1,
    }


def test_words_for_labels_and_defaults(tmp_path: Path, rows: list[dict[str, object]]) -> None:
    lines = ["Image,Defect_Type", "pictures/0.png,good", "pictures/1.png,scratch", "pictures/2.png,OK"]
    (tmp_path / "nuts.csv").write_text("\n".join(lines))
    dataset = load_dataset(tmp_path / "nuts.csv")
    assert [(s.category, s.split, s.label, s.defect_type) for s in dataset.samples] == [
        ("nuts", "test", 0, "good"),
        ("nuts", "test", 1, "scratch"),
        ("nuts", "test", 0, "good"),
    ]


def test_images_outside_the_folder_of_the_manifest(tmp_path: Path, rows: list[dict[str, object]]) -> None:
    lists = tmp_path / "lists"
    lists.mkdir()
    path = lists / "nuts.csv"
    path.write_text(f"image,label\n../pictures/0.png,0\n{tmp_path / 'pictures' / '1.png'},normal\n")
    dataset = load_dataset(path)
    assert dataset.root == tmp_path
    assert [sample.id for sample in dataset.samples] == ["pictures/0.png", "pictures/1.png"]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", b"file,label\nx.png,0\n", "columns are file, label"),
        ("a.csv", b"image\nx.png\n", "columns are image"),
        ("a.csv", b"", "has no rows"),
        ("a.parquet", b"not parquet", "a damaged parquet file"),
    ],
)
def test_tables_that_are_no_manifest(name: str, content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DatasetError, match=words) as caught:
        load_dataset(tmp_path / name)
    assert "defect_type" in caught.value.fix
