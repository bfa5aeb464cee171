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
from vlmad_core.exchange.items import ImportRefusedError
from vlmad_core.exchange.maps import find_anomalib
from vlmad_core.exchange.stores import import_store
from vlmad_core.store.reader import Missing, open_store
from vlmad_core.store.schema import sealed
from vlmad_core.store.verifying import verify_run

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
    assert verify_run(found, run.id).problems == ()
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
    both = open_store(store)
    assert len({run.protocol.conditions for run in both.runs}) == 1
    # Two programs on the same test images share the draws, so that they are compared image by image.
    drawn = [both.replicates(run.id, "bolt")["aupro_30", 256] for run in both.runs]
    assert drawn[0].design == drawn[1].design
    assert not np.array_equal(drawn[0].draws, drawn[1].draws)
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
    assert {size for _, size in found.replicates(found.runs[0].id, "bolt")} == {None, 256, 300}


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
        assert verify_run(after, run.id).problems == ()
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
    file.write_bytes(sealed(record))
    with pytest.raises(ImportRefusedError, match=r"holds the run '\.\./\.\./elsewhere'"):
        import_store(tmp_path / "ours", theirs, origin="x")


def test_an_empty_folder_holds_no_runs(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(StoreError, match="holds no runs"):
        import_store(tmp_path / "ours", tmp_path / "empty", origin="x")


def test_long_lists_of_problems_are_cut_and_counted() -> None:
    from vlmad_core.exchange.items import ImportProblem

    error = ImportRefusedError("x", [ImportProblem("no_score", f"line {i}", "there is no score.") for i in range(99)])
    assert "99 problems" in str(error)
    assert "and 59 more (59 x no_score)" in str(error)
    assert len(error.problems) == 99
