from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from vlmad_core.analysis.exports import export_maps, leaderboard_text
from vlmad_core.analysis.leaderboard import leaderboard
from vlmad_core.cli import main
from vlmad_core.errors import StoreError
from vlmad_core.store.reader import open_store
from vlmad_core.store.schema import sealed

Make = Callable[..., Path]
pytestmark = pytest.mark.usefixtures("quick_disk")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, small_dataset: Make, small_maps: Make) -> Path:
    """A folder with a data set, a store with a run whose native grids are 12 x 12, and its maps exported."""
    place = tmp_path_factory.mktemp("export")
    parts = small_dataset(place / "parts", categories=("bolt",), count=4)
    grids = small_maps(place / "grids", parts, side=12)
    common = ["--dataset", str(parts), "--store", str(place / "store")]
    assert main(["import", "maps", str(grids), *common, "--method", "first"]) == 0
    store = open_store(place / "store")
    assert export_maps(store, store.runs[0], place / "maps") == 8
    return place


def test_a_run_survives_the_round_trip_through_tiff_files(exported: Path) -> None:
    store = exported / "store"
    maps = exported / "maps"
    files = ["import", "maps", str(maps), "--scores", str(maps / "scores.csv"), "--dataset", str(exported / "parts")]
    assert main([*files, "--store", str(store), "--method", "second", "--conditions-of", "first"]) == 0
    metrics = open_store(store).metrics()
    metrics = metrics[metrics["eval_size"].isna() | (metrics["eval_size"] == 256)]
    keys = ["category", "metric"]
    first, second = (metrics[metrics["method"] == name].set_index(keys) for name in ("first", "second"))
    assert len(first) == 9
    assert first["value"].notna().all()
    for column in ("value", "low", "high"):
        assert np.allclose(first[column].astype(float), second[column].astype(float), atol=1e-6, equal_nan=True)
    board = leaderboard(open_store(store), ["pixel_auroc"])
    assert list(board["rank"]) == [1, 1]


def test_the_layout_is_that_of_the_official_script(exported: Path) -> None:
    files = {path.relative_to(exported / "maps").as_posix() for path in (exported / "maps").rglob("*.tiff")}
    assert files == {f"bolt/test/{kind}/{i:03d}.tiff" for kind in ("good", "scratch") for i in range(4)}
    with Image.open(exported / "maps/bolt/test/good/000.tiff") as image:
        assert image.mode == "F"
        assert image.size == (256, 256)
    scores = pd.read_csv(exported / "maps" / "scores.csv")
    assert list(scores["label"]) == [0] * 4 + [1] * 4
    about = json.loads((exported / "maps" / "about.json").read_text())
    assert about["run"]["key"]["method"] == "first"


def test_maps_of_the_images_own_size(tmp_path: Path, exported: Path) -> None:
    store = open_store(exported / "store")
    sizes = dict.fromkeys((f"bolt/test/{kind}/{i:03d}.png" for kind in ("good", "scratch") for i in range(4)), (30, 40))
    run = next(run for run in store.runs if run.key.method == "first")
    export_maps(store, run, tmp_path / "out", sizes)
    with Image.open(tmp_path / "out/bolt/test/good/000.tiff") as image:
        assert image.size == (40, 30)
    with pytest.raises(StoreError, match="has no image"):
        export_maps(store, run, tmp_path / "other", {})
    assert not (tmp_path / "other").exists()
    assert list(tmp_path.glob(".tmp*")) == []


def test_a_taken_folder_and_a_run_without_maps_are_refused(tmp_path: Path, exported: Path, made_up_store: Make) -> None:
    store = open_store(exported / "store")
    with pytest.raises(StoreError, match="is not empty"):
        export_maps(store, store.runs[0], exported / "maps")
    other = open_store(made_up_store(tmp_path / "store", images=4, methods=("clip_ac",), thumbnails=False))
    with pytest.raises(StoreError, match="has no maps of bolt"):
        export_maps(other, other.runs[0], tmp_path / "out")


def test_leaderboards_in_three_formats(tmp_path: Path, made_up_store: Make) -> None:
    store = open_store(made_up_store(tmp_path / "store", images=8, shots=(0, 1), seeds=2, thumbnails=False))
    board = leaderboard(store, ["image_auroc"]).set_index(["method", "shots"])["value"]
    best = f"{100 * board.max():.1f}"
    markdown = leaderboard_text(store, "markdown", metrics=["image_auroc"])
    assert markdown.count(f"**{best}**") == 1
    assert "| WinCLIP+ | 1 | 2 |" in markdown
    latex = leaderboard_text(store, "latex", metrics=["image_auroc"])
    assert f"\\textbf{{{best}}}" in latex
    text = leaderboard_text(store, "csv", metrics=["image_auroc"])
    assert len(text.splitlines()) == 1 + len(board)
    with pytest.raises(StoreError, match="no results of unheard_of"):
        leaderboard_text(store, "csv", dataset="unheard_of")


def test_text_can_not_break_a_markdown_table(tmp_path: Path, made_up_store: Make) -> None:
    path = made_up_store(tmp_path / "store", images=4, methods=("clip_ac",), thumbnails=False)
    for file in path.glob("*/*/run.json"):
        record = json.loads(file.read_text())
        record["title"] = "a|b"
        file.write_bytes(sealed(record))
    assert "| a\\|b | 0 |" in leaderboard_text(open_store(path), "markdown")
