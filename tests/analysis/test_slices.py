"""Curves of images follow from scores where a run kept none."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pandas as pd
import pytest

from vlmad_core.analysis.slices import points_of_curve
from vlmad_core.store.reader import Store, open_store

BUNDLED = Path(__file__).parents[2] / "results" / "bundled"


@pytest.mark.parametrize("curve", ["image_roc", "image_pr"])
def test_a_curve_that_was_not_kept_is_the_one_that_would_have_been(curve: str) -> None:
    store = open_store(BUNDLED)
    run = next(run for run in store.runs if run.key.method == "winclip" and store.keeps_maps(run.id, run.categories[0]))
    category = run.categories[0]
    kept = points_of_curve(store, run.id, category, curve)
    unit = run.units[category]
    bare = dataclasses.replace(unit, files={k: v for k, v in unit.files.items() if k != "curves.parquet"})
    other = Store(store.roots, [dataclasses.replace(run, units={category: bare})])
    made = points_of_curve(other, run.id, category, curve)
    columns = ["curve", "x", "y", "threshold"]
    assert len(kept) > 10
    pd.testing.assert_frame_equal(
        made[columns].reset_index(drop=True), kept[columns].reset_index(drop=True), check_dtype=False, rtol=1e-6
    )
    assert points_of_curve(other, run.id, category, "pixel_pro").empty


def test_without_defective_images_there_is_no_curve(made_up_store, tmp_path: Path) -> None:
    store = open_store(made_up_store(tmp_path, methods=("clip_ac",)))
    run = store.runs[0]
    images = store.images(run.id, "bolt")

    class NormalOnly(Store):
        def images(self, run_id: str, category: str | None = None) -> pd.DataFrame:
            return images[images["label"] == 0]

    unit = dataclasses.replace(run.units["bolt"], files={})
    bare = NormalOnly(store.roots, [dataclasses.replace(run, units={"bolt": unit})])
    assert points_of_curve(bare, run.id, "bolt", "image_roc").empty
