"""What can be wrong with the files that are imported, item by item."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from vlmad_core.datasets import load_dataset
from vlmad_core.datasets.sample import Dataset
from vlmad_core.errors import StoreError
from vlmad_core.exchange.items import SampleIndex
from vlmad_core.exchange.maps import check_sizes, find_maps, map_shape, missing_images, read_map
from vlmad_core.exchange.tables import Columns, read_scores

Make = Callable[..., Path]
pytestmark = pytest.mark.usefixtures("quick_disk")


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory, small_dataset: Make) -> Path:
    return small_dataset(tmp_path_factory.mktemp("data") / "parts", count=3)


@pytest.fixture(scope="module")
def dataset(parts: Path) -> Dataset:
    return load_dataset(parts)


def image_ids(dataset: Dataset) -> list[str]:
    return [sample.id for sample in dataset.samples if sample.split == "test"]


def score_of(image_id: str) -> float:
    return 0.2 + 0.1 * int(Path(image_id).stem) + (0.15 if "scratch" in image_id else 0.0)


# --- which image a path means


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("bolt/test/good/001.png", "bolt/test/good/001.png"),
        ("/somewhere/else/bolt/test/good/001.tiff", "bolt/test/good/001.png"),
        ("D:\\data\\bolt\\test\\scratch\\002.png", "bolt/test/scratch/002.png"),
        ("felt/scratch/000", "felt/test/scratch/000.png"),
        ("bolt/train/good/000.png", "bolt/train/good/000.png"),
        ("bolt/good/000.npy", "bolt/test/good/000.png"),
    ],
)
def test_a_path_means_its_image(dataset: Dataset, path: str, expected: str) -> None:
    assert [sample.id for sample in SampleIndex(dataset.samples).find(path)] == [expected]


def test_a_path_that_says_too_little_or_something_else_means_none(dataset: Dataset) -> None:
    index = SampleIndex(dataset.samples)
    assert len(index.find("scratch/001.png")) == 2
    assert [s.id for s in index.find("scratch/001.png", "felt")] == ["felt/test/scratch/001.png"]
    assert index.find("nut/test/good/001.png") == ()
    assert index.find("bolt/test/good/999.png") == ()
    assert index.find("") == ()


# --- tables of scores


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("image_id,score\n{}", "utf-8"),
        ("image_path;pred_score;gt_label\n{}", "utf-8"),
        ("path\tanomaly_score\n{}", "utf-8-sig"),
        ("größe|image_id|score\n{}", "cp1252"),
        ("image_id,score\n{}", "utf-16"),
    ],
)
def test_tables_of_many_kinds_are_read(tmp_path: Path, dataset: Dataset, text: str, encoding: str) -> None:
    separator = next(s for s in (";", "\t", "|", ",") if s in text)
    rows = []
    for image_id in image_ids(dataset):
        number = repr(score_of(image_id))
        cells = [image_id, number.replace(".", ",") if separator == ";" else number]
        cells = ["groß", *cells] if "größe" in text else [*cells, "1"]
        rows.append(separator.join(cells))
    path = tmp_path / "scores.csv"
    path.write_bytes(text.format("\n".join(rows)).encode(encoding))
    table = read_scores(path, dataset)
    assert table.problems == []
    assert table.scores == {image_id: score_of(image_id) for image_id in image_ids(dataset)}
    assert bool(table.notes) == (encoding == "cp1252")


def test_parquet_is_read_by_its_content(tmp_path: Path, dataset: Dataset) -> None:
    ids = image_ids(dataset)
    frame = pd.DataFrame({"file": ids, "s": [score_of(image_id) for image_id in ids]})
    frame.to_parquet(tmp_path / "scores.bin")
    table = read_scores(tmp_path / "scores.bin", dataset, Columns(score="s"))
    assert table.scores == {image_id: score_of(image_id) for image_id in ids}


def test_parquet_with_a_text_that_is_none_is_refused(tmp_path: Path, dataset: Dataset) -> None:
    path = tmp_path / "scores.parquet"
    pd.DataFrame({"file": image_ids(dataset), "score": 0.5}).to_parquet(path, compression=None)
    path.write_bytes(path.read_bytes().replace(b"bolt/test/good/001", b"bolt/test/good/\xff01"))
    with pytest.raises(StoreError, match="damaged parquet file"):
        read_scores(path, dataset)


def test_every_wrong_row_is_named(tmp_path: Path, dataset: Dataset) -> None:
    path = tmp_path / "scores.csv"
    rows = [
        "image_id,score",
        "bolt/test/good/000.png,0.5",
        "bolt/test/good/000.png,0.6",
        "bolt/test/good/001.png,nan",
        "bolt/test/good/002.png,inf",
        "bolt/test/scratch/000.png,high",
        "bolt/test/scratch/001.png,",
        "felt/test/good/000.png,1_0",
        "felt/test/good/001.png,１０",
        "felt/test/good/002.png,0x1p3",
        "felt/test/scratch/000.png,Infinity",
        "felt/test/scratch/001.png,1e999",
        "felt/test/scratch/002.png, +1.5E-1 ",
        "nut/test/good/000.png,0.1",
        "good/001.png,0.1",
        "bolt/train/good/000.png,0.1",
        "",
    ]
    path.write_text("\n".join(rows))
    table = read_scores(path, dataset)
    found = {(problem.item, problem.kind) for problem in table.problems}
    assert found == {
        ("line 3", "duplicate_image"),
        ("line 4", "not_finite"),
        ("line 5", "not_finite"),
        ("line 6", "no_score"),
        ("line 7", "no_score"),
        ("line 8", "no_score"),
        ("line 9", "no_score"),
        ("line 10", "no_score"),
        ("line 11", "not_finite"),
        ("line 12", "not_finite"),
        ("line 14", "unknown_image"),
        ("line 15", "ambiguous_image"),
    }
    assert table.scores == {"bolt/test/good/000.png": 0.5, "felt/test/scratch/002.png": 0.15}
    assert "1 rows are of training images" in table.notes[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no column that is known to hold the images"),
        (b"a,b\n1,2\n", "no column that is known to hold the images; it has: 'a', 'b'"),
        (b"image_id,auroc\nx,1\n", "known to hold the scores"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "is no text file"),
        (b"PAR1 but nothing else", "damaged parquet"),
        (b"image_id,score\n", "no rows with scores"),
        (b"image_id,score\n" + b"x" * 200_000, "a line of 100,000 characters or more"),
    ],
)
def test_a_file_that_is_no_table_is_refused(tmp_path: Path, dataset: Dataset, content: bytes, message: str) -> None:
    path = tmp_path / "scores.csv"
    path.write_bytes(content)
    with pytest.raises(StoreError, match=message):
        read_scores(path, dataset)


def test_a_huge_table_is_refused_after_its_first_rows(tmp_path: Path, dataset: Dataset) -> None:
    path = tmp_path / "scores.csv"
    row = b"bolt/test/good/000.png,0.5\n"
    with path.open("wb") as file:
        file.write(b"image_id,score\n" + row * 2_700_000)
        file.truncate(2 * 1024**3)  # two gigabytes, most of it a hole in the disk
    with pytest.raises(StoreError, match="more than 10,000 rows"):
        read_scores(path, dataset)


# --- maps


@pytest.mark.parametrize("kind", ["npy", "tiff", "png"])
def test_maps_are_found_and_read(tmp_path: Path, parts: Path, dataset: Dataset, small_maps: Make, kind: str) -> None:
    folder = small_maps(tmp_path / "maps", parts, kind=kind)
    found = find_maps(folder, dataset)
    assert found.problems == []
    assert set(found.files) == set(image_ids(dataset))
    one = read_map(found.files["bolt/test/scratch/001.png"])
    assert one.dtype == np.float32
    assert one.shape == (12, 12)


def test_the_folder_of_one_category_is_enough(tmp_path: Path, parts: Path, dataset: Dataset, small_maps: Make) -> None:
    folder = small_maps(tmp_path / "maps", parts)
    found = find_maps(folder / "bolt", dataset)
    assert set(found.files) == {image_id for image_id in image_ids(dataset) if image_id.startswith("bolt")}


def test_misplaced_missing_and_double_maps_are_named(
    tmp_path: Path, parts: Path, dataset: Dataset, small_maps: Make
) -> None:
    folder = small_maps(tmp_path / "maps", parts)
    (folder / "bolt/test/good/001.npy").rename(folder / "bolt/test/good/01.npy")
    shutil.copy(folder / "bolt/test/good/002.npy", folder / "bolt/test/good/002.tiff")
    (folder / "bolt/test/._000.npy").write_bytes(b"made by another system")
    found = find_maps(folder, dataset)
    assert {(p.kind, p.item) for p in found.problems} == {
        ("unknown_image", "bolt/test/good/01.npy"),
        ("duplicate_image", "bolt/test/good/002.tiff"),
    }
    missing = missing_images(dataset, found.files, ["bolt"], "map")
    assert [problem.item for problem in missing] == ["bolt/test/good/001.png"]


def save(path: Path, value: np.ndarray) -> Path:
    np.save(path, value)
    return path


def test_bad_maps_say_what_they_are(tmp_path: Path) -> None:
    nan = np.ones((8, 8), np.float32)
    nan[3, 5] = np.nan
    nan[4, 4] = np.inf
    with pytest.raises(StoreError, match="1 pixels are NaN and 1 are infinite, the first in row 3, column 5"):
        read_map(save(tmp_path / "nan.npy", nan))
    with pytest.raises(StoreError, match="infinite"):
        read_map(save(tmp_path / "large.npy", np.full((8, 8), 1e60)))
    with pytest.raises(StoreError, match=r"shape \(8, 8, 3\)"):
        read_map(save(tmp_path / "three.npy", np.zeros((8, 8, 3))))
    with pytest.raises(StoreError, match="not numbers"):
        read_map(save(tmp_path / "text.npy", np.full((8, 8), "high")))
    np.save(tmp_path / "objects.npy", np.array([{"a": 1}], dtype=object))
    with pytest.raises(StoreError, match="can't be read as a map"):
        read_map(tmp_path / "objects.npy")
    Image.new("RGB", (8, 8)).save(tmp_path / "colours.png")
    with pytest.raises(StoreError, match="picture with colours"):
        read_map(tmp_path / "colours.png")
    bomb = b"{'descr': '<f4', 'fortran_order': False, 'shape': (%d, %d), }\n" % (2**30, 2**30)
    for number, head in enumerate((bomb, b"[" * 5000, b"(" * 150 + b"\n", b"{'descr': ")):
        path = tmp_path / f"hostile-{number}.npy"
        path.write_bytes(b"\x93NUMPY\1\0" + len(head).to_bytes(2, "little") + head)
        with pytest.raises(StoreError, match="can't be read as a map: it"):
            read_map(path)
        assert map_shape(path) in (None, (2**30, 2**30))
    os.mkfifo(tmp_path / "pipe.tiff")
    (tmp_path / "endless.npy").symlink_to("/dev/zero")
    for name in ("pipe.tiff", "endless.npy"):
        with pytest.raises(StoreError, match="it is a folder, pipe or device"):
            read_map(tmp_path / name)
        assert map_shape(tmp_path / name) is None
    (tmp_path / "cut.tiff").write_bytes(b"II*\0")
    with pytest.raises(StoreError, match="can't be read as a map"):
        read_map(tmp_path / "cut.tiff")
    assert read_map(save(tmp_path / "batch.npy", np.zeros((1, 1, 8, 9)))).shape == (8, 9)


def test_sizes_that_can_not_be_right_are_found(tmp_path: Path, small_dataset: Make) -> None:
    wide = load_dataset(small_dataset(tmp_path / "wide", categories=("bolt",), count=2, size=(80, 40)))
    samples = {sample.id: sample for sample in wide.select("bolt", "test")}
    ids = sorted(samples)
    assert check_sizes(dict.fromkeys(ids, (40, 80)), samples) == []
    assert check_sizes(dict.fromkeys(ids, (32, 32)), samples) == []
    assert check_sizes(dict.fromkeys(ids, (20, 40)), samples) == []
    turned = check_sizes(dict.fromkeys(ids, (80, 40)), samples)
    assert len(turned) == 4
    assert "It may be transposed" in turned[0].message
    odd = check_sizes({**dict.fromkeys(ids, (32, 32)), ids[1]: (31, 32)}, samples)
    assert [problem.item for problem in odd] == [ids[1]]
    assert "32 x 31 pixels, the image 80 x 40, and most maps of the category 32 x 32" in odd[0].message
