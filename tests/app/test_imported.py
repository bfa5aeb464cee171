"""Imported runs appear in every view, marked as imported; beside what was measured, and ranked with it if asked."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from pages._ui import frame
from vlmad_core.cli import main

PAGES = (
    "overview", "leaderboard", "categories", "accuracy", "segmentation", "efficiency", "shots", "failures",
    "reproduction", "runs",
)  # fmt: skip


def import_maps(place: Path, store: Path) -> None:
    """Write images and the files of another program, and import its maps."""
    rng = np.random.default_rng(0)
    for split, kind, number in (("train", "good", 1), ("test", "good", 6), ("test", "scratch", 6)):
        for index in range(number):
            path = place / "parts" / "bolt" / split / kind / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(90, 160, (32, 32, 3), dtype=np.uint8)).save(path)
            if kind != "good":
                mask = np.zeros((32, 32), dtype=np.uint8)
                mask[8:16, 8:16] = 255
                target = place / "parts" / "bolt" / "ground_truth" / kind / f"{index}_mask.png"
                target.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(mask).save(target)
            if split == "test":
                target = place / "maps" / "bolt" / "test" / kind / f"{index}.npy"
                target.parent.mkdir(parents=True, exist_ok=True)
                one = rng.uniform(0.0, 0.5, (8, 8)).astype(np.float32)
                one[2:4, 2:4] += np.float32(0.4 * (kind != "good"))
                np.save(target, one)
    rows = [f"bolt/test/{kind}/{k}.png,{k + 5 * (kind != 'good')}" for kind in ("good", "scratch") for k in range(6)]
    (place / "scores.csv").write_text("\n".join(["image_path,score", *rows]))
    arguments = ["--dataset", str(place / "parts"), "--store", str(store), "--origin", "a lab next door"]
    assert main(["import", "maps", str(place / "maps"), *arguments, "--method", "their method"]) == 0


def measure_beside(imported: Path, store: Path, size: str) -> Path:
    """The imported maps, and scores alone, beside two methods measured by this program on all or some images."""
    shutil.copytree(imported, store)
    place = ["--dataset", str(imported.parent / "parts"), "--store", str(store)]
    table = str(imported.parent / "scores.csv")
    assert main(["import", "scores", table, *place, "--origin", "a lab next door", "--method", "only scores"]) == 0
    arguments = ["--method", "clip_ac", "winclip", "--shots", "0", "--backbone", "bundled", "--size", size]
    assert main(["precompute", *place, *arguments]) == 0
    return store


@pytest.fixture(scope="module")
def imported(quick_disk: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with nothing but an imported run of twelve images."""
    place = tmp_path_factory.mktemp("imported")
    import_maps(place, place / "store")
    return place / "store"


@pytest.fixture(scope="module")
def beside(imported: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same beside what this program measured on these images."""
    return measure_beside(imported, tmp_path_factory.mktemp("beside") / "store", "full")


@pytest.fixture(scope="module")
def sampled(imported: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same beside what this program measured on some of these images."""
    return measure_beside(imported, tmp_path_factory.mktemp("sampled") / "store", "smoke")


def ranking(app: AppTest, level: str) -> pd.DataFrame:
    """The table of a task, by method."""
    column = {"image": "image_auroc", "pixel": "pixel_auroc"}[level]
    return next(t.value for t in app.dataframe if {column, "whose"} <= set(t.value.columns)).set_index("name")


def texts(app: AppTest) -> str:
    """All texts of a page in one."""
    return "\n".join(str(element.value) for kind in (app.markdown, app.caption) for element in kind)


@pytest.mark.parametrize("page", PAGES)
def test_imported_runs_appear_in_every_view(open_app: Callable[..., AppTest], imported: Path, page: str) -> None:
    app = open_app(imported, page)
    assert not app.exception
    shown = "\n".join(str(element.value) for element in [*app.markdown, *app.caption, *app.subheader])
    shown += "\n".join(table.value.to_csv() for table in app.dataframe)
    assert "a lab next door" in shown  # the origin stands where the backbone of own runs stands
    if page in ("overview", "leaderboard", "shots", "runs"):
        assert "their method (imported)" in shown


def test_they_stand_in_the_grid_of_what_was_measured_and_are_ranked_if_asked(
    open_app: Callable[..., AppTest], beside: Path
) -> None:
    app = open_app(beside, "leaderboard")
    assert not app.exception
    assert [box.label for box in app.selectbox if box.key == "choose_conditions"] == []  # one grid for all
    board = ranking(app, "image")
    theirs = board.loc[["their method (imported)", "only scores (imported)"]]
    assert set(theirs["whose"]) == {"imported"}
    assert theirs["rank"].isna().all()
    assert theirs["image_auroc"].notna().all()
    assert board.drop(index=theirs.index)["whose"].eq("measured").all()
    assert set(board.loc[board["whose"] == "measured", "rank"]) <= {1, 2}
    pixels = ranking(app, "pixel")
    assert pixels.loc["their method (imported)", "pixel_auroc"] > 50
    assert pd.isna(pixels.loc["only scores (imported)", "pixel_auroc"])
    assert "holds image scores, but no anomaly maps" in texts(app)
    (toggle,) = (one for one in app.toggle if one.key == "imported")
    assert toggle.label == "Rank imported results too (2)"
    app = toggle.set_value(True).run()
    assert ranking(app, "image")["rank"].notna().all()
    assert ranking(open_app(beside, "leaderboard", {"imported": "true"}), "image")["rank"].notna().all()


def test_where_they_were_judged_on_other_images_they_are_not_ranked_and_it_says_why(
    open_app: Callable[..., AppTest], sampled: Path
) -> None:
    app = open_app(sampled, "leaderboard", {"imported": "true"})
    assert not app.exception
    assert [one for one in app.toggle if one.key == "imported"] == []
    board = ranking(app, "image")
    assert board.loc["their method (imported)", "image_auroc"] > 50
    assert pd.isna(board.loc["their method (imported)", "rank"])
    assert "how many of the test images were judged (smoke and full)" in texts(app)


def test_categories_and_failures_show_them_beside_the_others(open_app: Callable[..., AppTest], beside: Path) -> None:
    app = open_app(beside, "categories", {"view": "table"})
    (table,) = (one.value for one in app.dataframe if "clip_ac" in one.value.columns)
    assert list(table.columns) == ["category", "clip_ac", "winclip", "only scores:imported", "their method:imported"]
    app = open_app(beside, "failures", {"category": "bolt", "method": "winclip"})
    assert not app.exception
    shown = "\n".join(one.value.to_csv() for one in app.table)
    assert "their method (imported)" in shown
    assert "only scores (imported)" in shown
    app = open_app(beside, "failures", {"category": "bolt", "method": "their method:imported"})
    assert "their method (imported) on bolt" in texts(app)
    app = open_app(beside, "efficiency")
    assert not app.exception
    assert not app.warning  # nothing imported was timed on another machine


@pytest.mark.parametrize("page", ["overview", "leaderboard", "categories", "failures"])
def test_alone_nothing_calls_them_measured(open_app: Callable[..., AppTest], imported: Path, page: str) -> None:
    app = open_app(imported, page)
    assert not app.exception
    said = "\n".join([texts(app), *(str(one.value) for one in app.subheader)])
    assert "measured by this program**" not in said
    assert frame.EVIDENCE["imported"] in said
    assert frame.EVIDENCE["measured"] not in said
    assert "Measured with" not in {box.label for box in app.selectbox}
    tables = [one.value for one in app.dataframe]
    assert not any("measured" in set(table["whose"]) for table in tables if "whose" in table)
