"""Imported runs appear in every view, marked as imported."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from vlmad_core.cli import main

PAGES = (
    "overview", "leaderboard", "categories", "accuracy", "segmentation", "efficiency", "shots", "failures",
    "reproduction", "runs",
)  # fmt: skip


@pytest.fixture(scope="module")
def imported(quick_disk: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with nothing but an imported run: scores and maps of six images."""
    place = tmp_path_factory.mktemp("imported")
    rng = np.random.default_rng(0)
    for split, kind, number in (("train", "good", 1), ("test", "good", 3), ("test", "scratch", 3)):
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
    arguments = ["--dataset", str(place / "parts"), "--store", str(place / "store"), "--origin", "a lab next door"]
    assert main(["import", "maps", str(place / "maps"), *arguments, "--method", "their method"]) == 0
    return place / "store"


@pytest.mark.parametrize("page", PAGES)
def test_imported_runs_appear_in_every_view(open_app: Callable[..., AppTest], imported: Path, page: str) -> None:
    app = open_app(imported, page)
    assert not app.exception
    shown = "\n".join(str(element.value) for element in [*app.markdown, *app.caption, *app.subheader])
    shown += "\n".join(frame.value.to_csv() for frame in app.dataframe)
    assert "a lab next door" in shown  # the origin stands where the backbone of own runs stands
    if page in ("overview", "leaderboard", "shots", "runs"):
        assert "their method (imported)" in shown
