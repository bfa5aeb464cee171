from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

from vlmad_core.cli import main
from vlmad_core.datasets import load_dataset
from vlmad_core.datasets.sample import Dataset
from vlmad_core.errors import StoreError
from vlmad_core.results.importers.anomalib import find_anomalib
from vlmad_core.results.importers.maps import check_sizes, find_maps, missing_images, read_map
from vlmad_core.results.importers.matching import SampleIndex
from vlmad_core.results.importers.problems import ImportRefusedError
from vlmad_core.results.importers.stores import import_store
from vlmad_core.results.importers.tables import Columns, read_scores
from vlmad_core.results.store import Missing, open_store

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


def write_table(path: Path, ids: Sequence[str], *, head: str = "image_id,score", separator: str = ",") -> Path:
    rows = [head, *(f"{image_id}{separator}{score_of(image_id)!r}" for image_id in ids)]
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def call(*arguments: object) -> int:
    return main(["import", *(str(argument) for argument in arguments)])


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
        ("line 8", "unknown_image"),
        ("line 9", "ambiguous_image"),
    }
    assert table.scores == {"bolt/test/good/000.png": 0.5}
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


# --- whole imports


def test_scores_become_a_run_like_any_other(tmp_path: Path, parts: Path, dataset: Dataset) -> None:
    table = write_table(tmp_path / "scores.csv", image_ids(dataset))
    store = tmp_path / "store"
    assert call("scores", table, "--dataset", parts, "--method", "mine", "--store", store, "--origin", "a friend") == 0
    found = open_store(store)
    (run,) = found.runs
    assert found.problems == ()
    assert run.title == "mine (imported)"
    assert run.provenance.data["imported"]["origin"] == "a friend"
    assert run.categories == ("bolt", "felt")
    metrics = found.metrics().set_index(["category", "metric"])
    labels = [int("scratch" in image_id) for image_id in image_ids(dataset) if image_id.startswith("bolt")]
    scores = [score_of(image_id) for image_id in image_ids(dataset) if image_id.startswith("bolt")]
    assert metrics.loc[("bolt", "image_auroc"), "value"] == pytest.approx(roc_auc_score(labels, scores))
    blank = metrics.loc[("bolt", "pixel_auroc")]
    assert pd.isna(blank["value"])
    assert "no anomaly maps" in blank["reason"]
    assert isinstance(found.grids(run.id, "bolt"), Missing)
    assert found.verify(run.id) == ()
    assert list(store.glob(".tmp*")) == []


def test_the_same_import_twice_is_refused_and_another_is_not(
    tmp_path: Path, parts: Path, dataset: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "store"
    table = write_table(tmp_path / "scores.csv", image_ids(dataset))
    arguments = ("scores", table, "--dataset", parts, "--method", "mine", "--store", store, "--categories", "bolt")
    assert call(*arguments) == 0
    assert call(*arguments) == 1
    assert "has this already" in capsys.readouterr().err
    table.write_text(table.read_text().replace("0.2\n", "0.9\n"))
    assert call(*arguments) == 0
    assert len(open_store(store).runs) == 2


def test_with_any_problem_nothing_is_imported(
    tmp_path: Path, parts: Path, dataset: Dataset, small_maps: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "store"
    folder = small_maps(tmp_path / "maps", parts)
    bad = np.load(folder / "felt/test/good/000.npy")
    bad[0, 0] = np.nan
    np.save(folder / "felt/test/good/000.npy", bad)
    (folder / "felt/test/scratch/001.npy").unlink()
    np.save(folder / "felt/test/good/001.npy", np.zeros((5, 5), np.float32))
    arguments = ("maps", folder, "--dataset", parts, "--method", "mine", "--store", store)
    assert call(*arguments, "--json") == 1
    answer = json.loads(capsys.readouterr().out)
    assert answer["imported"] is False
    assert {(problem["kind"], Path(problem["item"]).name) for problem in answer["problems"]} == {
        ("bad_map", "000.npy"),
        ("missing_image", "001.png"),
        ("wrong_size", "001.png"),
    }
    assert list(store.rglob("*")) == []
    assert call(*arguments) == 1
    assert "Nothing was imported" in capsys.readouterr().err


def test_maps_get_scores_metrics_and_a_place_beside_a_run_of_declared_conditions(
    tmp_path: Path, parts: Path, small_maps: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "store"
    folder = small_maps(tmp_path / "maps", parts, side=16)
    common = ("--dataset", parts, "--store", store, "--categories", "bolt")
    assert call("maps", folder, *common, "--method", "WinCLIP", "--backbone", "ViT-B/16+") == 0
    found = open_store(store)
    (run,) = found.runs
    assert run.key.method == "winclip"
    assert run.title == "WinCLIP (imported)"
    images = found.images(run.id).set_index("image_id")
    one = np.load(folder / "bolt/test/scratch/000.npy")
    assert images.loc["bolt/test/scratch/000.png", "score"] == pytest.approx(float(one.max()))
    metrics = found.metrics().set_index(["metric", "eval_size"])
    assert metrics.loc[("pixel_auroc", 256), "value"] > 0.8
    assert metrics.loc[("pixel_auroc", 16), "value"] > 0.8
    assert np.array_equal(found.anomaly_map(run.id, "bolt", "bolt/test/scratch/000.png", (16, 16)), one)
    other = small_maps(tmp_path / "others", parts, side=16, seed=5)
    assert call("maps", other, *common, "--method", "other", "--conditions-of", "winclip") == 0
    conditions = {run.protocol.conditions for run in open_store(store).runs}
    assert len(conditions) == 1
    capsys.readouterr()


def test_large_maps_are_stored_small_and_measured_at_their_own_size(
    tmp_path: Path, small_dataset: Make, small_maps: Make
) -> None:
    parts = small_dataset(tmp_path / "parts", categories=("bolt",), count=1, size=(300, 300))
    folder = small_maps(tmp_path / "maps", parts, side=300, kind="tiff")
    store = tmp_path / "store"
    assert call("maps", folder, "--dataset", parts, "--method", "mine", "--store", store) == 0
    found = open_store(store)
    grids = found.grids(found.runs[0].id, "bolt")
    assert not isinstance(grids, Missing)
    assert grids.grids.shape == (2, 1, 256, 256)
    metrics = found.metrics().query("level == 'pixel'")
    assert set(metrics["eval_size"]) == {256, 300}
    assert metrics["value"].notna().all()


def test_declared_conditions_must_fit_the_data(
    tmp_path: Path, parts: Path, dataset: Dataset, made_up_store: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    store = made_up_store(tmp_path / "store", images=4, methods=("winclip",), thumbnails=False)
    table = write_table(tmp_path / "scores.csv", image_ids(dataset))
    code = call("scores", table, "--dataset", parts, "--method", "mine", "--store", store, "--conditions-of", "winclip")
    assert code == 1
    assert "was measured on other images" in capsys.readouterr().err
    assert len(open_store(store).runs) == 1


# --- anomalib


def test_anomalib_folders_give_maps_and_scores_of_the_latest_version(
    tmp_path: Path, parts: Path, dataset: Dataset, small_maps: Make
) -> None:
    root = tmp_path / "results" / "Patchcore" / "Parts"
    for version, seed in (("v0", 1), ("v1", 2)):
        maps = small_maps(tmp_path / f"maps{seed}", parts, seed=seed)
        for category in ("bolt", "felt"):
            shutil.copytree(maps / category / "test", root / category / version / "maps")
            for kind in ("good", "scratch"):
                picture = root / category / version / "images" / kind / "000.png"
                picture.parent.mkdir(parents=True)
                Image.new("RGB", (4, 4)).save(picture)
    ids = [image_id for image_id in image_ids(dataset) if image_id.startswith("bolt")]
    rows = [f"/elsewhere/{image_id},{score_of(image_id)!r}" for image_id in ids]
    (root / "bolt" / "v1" / "predictions.csv").write_text("image_path,pred_score\n" + "\n".join(rows))
    found = find_anomalib(tmp_path / "results", dataset)
    assert found.model == "Patchcore"
    assert found.categories == ["bolt", "felt"]
    assert all("/v1/" in path.as_posix() for path in found.maps)
    assert "4 pictures" in found.notes[0]
    store = tmp_path / "store"
    code = call("anomalib", tmp_path / "results", "--dataset", parts, "--store", store, "--categories", "bolt")
    assert code == 0
    (run,) = open_store(store).runs
    assert run.key.method == "patchcore"
    assert run.provenance.data["imported"]["origin"] == "anomalib"
    images = open_store(store).images(run.id).set_index("image_id")
    assert images.loc[ids[0], "score"] == score_of(ids[0])


def test_anomalib_pictures_are_no_maps(tmp_path: Path, dataset: Dataset) -> None:
    picture = tmp_path / "Patchcore" / "Parts" / "bolt" / "v0" / "images" / "good" / "000.png"
    picture.parent.mkdir(parents=True)
    Image.new("RGB", (4, 4)).save(picture)
    with pytest.raises(StoreError, match=r"1 pictures, but neither maps nor scores.*engine\.predict"):
        find_anomalib(tmp_path, dataset)
    with pytest.raises(StoreError, match="no results folder of anomalib"):
        find_anomalib(tmp_path / "Patchcore" / "Parts" / "bolt" / "v0" / "images", dataset)


# --- another machine's store


def test_another_store_is_copied_once_and_marked(tmp_path: Path, made_up_store: Make) -> None:
    theirs = made_up_store(tmp_path / "theirs", images=4)
    ours = tmp_path / "ours"
    copied = import_store(ours, theirs, origin="the machine next door")
    assert [run.copied for run in copied] == [("bolt", "felt")] * 2
    before, after = open_store(theirs), open_store(ours)
    assert [run.id for run in after.runs] == [run.id for run in before.runs]
    assert after.metrics().equals(before.metrics())
    for run in after.runs:
        assert after.verify(run.id) == ()
        assert run.provenance.data["imported"]["origin"] == "the machine next door"
    image_id = after.images(after.runs[0].id, "bolt")["image_id"].iloc[0]
    assert isinstance(after.thumbnail(after.runs[0].id, "bolt", image_id), bytes)
    again = import_store(ours, theirs, origin="the machine next door")
    assert [(run.copied, run.kept) for run in again] == [((), ("bolt", "felt"))] * 2


def test_missing_categories_are_added_to_a_run(tmp_path: Path, made_up_store: Make) -> None:
    theirs = made_up_store(tmp_path / "theirs", images=4, methods=("winclip",))
    ours = made_up_store(tmp_path / "ours", images=4, methods=("winclip",), unfinished=[("winclip", "felt")])
    (copied,) = import_store(ours, theirs, origin="x")
    assert (copied.copied, copied.kept) == (("felt",), ("bolt",))
    assert open_store(ours).runs[0].categories == ("bolt", "felt")


def test_damage_conflicts_and_links_are_refused_and_nothing_is_copied(tmp_path: Path, made_up_store: Make) -> None:
    theirs = made_up_store(tmp_path / "theirs", images=4, methods=("winclip",), thumbnails=False)
    ours = made_up_store(tmp_path / "ours", images=6, methods=("winclip",), thumbnails=False)
    with pytest.raises(ImportRefusedError) as refused:
        import_store(ours, theirs, origin="x")
    assert {problem.kind for problem in refused.value.problems} == {"conflict"}
    unit = next(theirs.glob("*/*/felt"))
    metrics = unit / "metrics.parquet"
    content = bytearray(metrics.read_bytes())
    content[100] ^= 255
    metrics.write_bytes(bytes(content))
    (unit.parent / "bolt" / "images.parquet").rename(tmp_path / "away.parquet")
    (unit.parent / "bolt" / "images.parquet").symlink_to(tmp_path / "away.parquet")
    fresh = tmp_path / "fresh"
    with pytest.raises(ImportRefusedError) as refused:
        import_store(fresh, theirs, origin="x")
    assert {problem.kind for problem in refused.value.problems} == {"unsafe_path"}
    (unit.parent / "bolt" / "images.parquet").unlink()
    (tmp_path / "away.parquet").rename(unit.parent / "bolt" / "images.parquet")
    with pytest.raises(ImportRefusedError, match=r"metrics\.parquet is not as it was written"):
        import_store(fresh, theirs, origin="x")
    assert not fresh.exists()


def test_a_run_that_calls_itself_otherwise_is_refused(tmp_path: Path, made_up_store: Make) -> None:
    theirs = made_up_store(tmp_path / "theirs", images=4, methods=("winclip",), thumbnails=False)
    file = next(theirs.glob("*/*/run.json"))
    record = json.loads(file.read_text())
    record["id"] = "../../elsewhere"
    file.write_text(json.dumps(record))
    with pytest.raises(ImportRefusedError, match=r"calls itself '\.\./\.\./elsewhere'"):
        import_store(tmp_path / "ours", theirs, origin="x")


def test_an_empty_folder_holds_no_runs(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(StoreError, match="holds no runs"):
        import_store(tmp_path / "ours", tmp_path / "empty", origin="x")


def test_long_lists_of_problems_are_cut_and_counted() -> None:
    from vlmad_core.results.importers.problems import ImportProblem

    error = ImportRefusedError("x", [ImportProblem("no_score", f"line {i}", "there is no score.") for i in range(99)])
    assert "99 problems" in str(error)
    assert "and 59 more (59 x no_score)" in str(error)
    assert len(error.problems) == 99
