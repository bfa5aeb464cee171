"""Photos looked at in part or in tiles: a tile is judged as an image of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from vlmad_core.datasets import load_dataset
from vlmad_core.datasets.views import View, ViewError
from vlmad_core.engine.again import Again, ask_again, load_again, plan_again
from vlmad_core.engine.options import make_options
from vlmad_core.engine.plan import Plan, build_plan
from vlmad_core.engine.progress import Reporter
from vlmad_core.engine.runner import run_plan
from vlmad_core.engine.tiles import join_reasons, join_tiles
from vlmad_core.methods import MapRule, Predictions, Reason
from vlmad_core.store.reader import Missing, Store, open_store

pytestmark = pytest.mark.usefixtures("quick_disk")


@pytest.fixture
def do(tiny_clip: Path, tmp_path: Path) -> Callable[..., Store]:
    def run(data: Path, store: str, **changes: Any) -> Store:
        values = {
            "datasets": [str(data)],
            "methods": ["clip_cpe", "patch_memory", "winclip"],
            "shots": [0, 2],
            "backbone": str(tiny_clip),
            "store": tmp_path / store,
            "batch_size": 4,
            "threads": 1,
            "latency_images": 2,
        }
        plan: Plan = build_plan(make_options({**values, **changes}))
        with Reporter(0) as reporter:
            summary = run_plan(plan, reporter)
        assert summary.exit_code == 0, summary.troubled
        return open_store(tmp_path / store)

    return run


def scores(store: Store, category: str) -> dict[str, dict[str, float]]:
    """By method and shots, scores by image."""
    found = {}
    for run in store.runs:
        images = store.images(run.id, category)
        found[f"{run.key.method} {run.key.shots}"] = dict(zip(images["image_id"], images["score"], strict=True))
    return found


def test_a_photo_scores_as_its_worst_tile(tmp_path, tiny_dataset, do):
    data = tiny_dataset(tmp_path / "widgets", categories=("bolt",))
    tiled = scores(do(data, "tiled", shots=[0], methods=["clip_cpe", "winclip"], tiles=[2, 1]), "bolt")
    halves = []
    for half in range(2):
        cut = tiny_dataset(tmp_path / f"half{half}" / "widgets", categories=("bolt",))
        for file in cut.rglob("*.png"):
            image = Image.open(file)
            image.load()
            width = image.width // 2
            image.crop((half * width, 0, (half + 1) * width, image.height)).save(file)
        halves.append(scores(do(cut, f"half{half}-store", shots=[0], methods=["clip_cpe", "winclip"]), "bolt"))
    for method, found in tiled.items():
        for image_id, score in found.items():
            assert score == pytest.approx(max(half[method][image_id] for half in halves), abs=1e-5)


def test_a_region_is_all_that_is_seen(tmp_path, tiny_dataset, do):
    data = tiny_dataset(tmp_path / "widgets", categories=("bolt",))
    region = (0.0, 0.0, 0.5, 1.0)
    seen = do(data, "seen", region=list(region))
    for file in data.rglob("*.png"):
        image = Image.open(file)
        image.load()
        View(region).cut_region(image).save(file)
    cut = do(data, "cut")
    assert scores(seen, "bolt") == scores(cut, "bolt")
    values = [store.metrics().sort_values(["method", "shots", "metric", "eval_size"]) for store in (seen, cut)]
    np.testing.assert_array_equal(values[0]["value"], values[1]["value"])
    run = seen.runs[0]
    image_id = str(seen.images(run.id, "bolt")["image_id"].iloc[0])
    pictures = [store.thumbnail(store.runs[0].id, "bolt", image_id) for store in (seen, cut)]
    assert pictures[0] == pictures[1]


def test_tiles_are_a_protocol_of_their_own_and_plain_views_none(tmp_path, tiny_dataset, do):
    data = tiny_dataset(tmp_path / "widgets", categories=("bolt",))
    store = do(data, "both", shots=[0], methods=["clip_ac"])
    store = do(data, "both", shots=[0], methods=["clip_ac"], tiles=[1, 1], region=[0.0, 0.0, 1.0, 1.0])
    assert len(store.runs) == 1
    assert "view" not in store.runs[0].protocol.reading
    store = do(data, "both", shots=[0], methods=["clip_ac"], tiles=[2, 2], tile_overlap=0.25)
    assert {str(run.protocol.reading.get("view")) for run in store.runs} == {
        "None",
        "{'region': [0.0, 0.0, 1.0, 1.0], 'tiles': [2, 2], 'overlap': 0.25}",
    }


def test_tiled_runs_keep_joined_maps_and_say_the_same_again(tmp_path, tiny_dataset, tiny_clip, do, monkeypatch):
    data = tiny_dataset(tmp_path / "widgets", categories=("bolt",))
    store = do(data, "tiled", tiles=[2, 1], tile_overlap=0.25)
    monkeypatch.setenv("VLMAD_BACKBONE", str(tiny_clip))
    recall = load_again(store.runs[0].protocol.backbone)
    planned = [plan_again(run, load_dataset(str(data)), recall) for run in store.runs]
    asked = {run.id: scores(store, "bolt")[f"{run.key.method} {run.key.shots}"] for run in store.runs}
    answers, _ = ask_again(planned, recall, "bolt", asked)
    for run in store.runs:
        kept, answer = store.grids(run.id, "bolt"), answers[run.id]
        assert not isinstance(kept, Missing)
        assert isinstance(answer, Again), answer
        assert answer.grids is not None
        rows, columns = kept.grids.shape[-2:]
        assert columns > rows
        np.testing.assert_allclose(answer.grids.grids, kept.grids, atol=1e-5)
        assert run.units["bolt"].profile["speed"]["batch_n"]["images_per_second"] > 0


def test_joined_grids_have_the_mean_where_tiles_overlap():
    view = View(tiles=(2, 1), overlap=0.5)
    tiles = torch.stack([torch.zeros(1, 2, 2), torch.ones(1, 2, 2)])
    rule = MapRule(gaussian_sigma=4.0, gaussian_size=240)
    joined = join_tiles(view, Predictions(torch.tensor([0.2, 0.7]), tiles, rule))
    assert joined.image_score.tolist() == pytest.approx([0.7])
    assert joined.grids is not None
    assert joined.grids[0, 0].tolist() == [[0.0, 0.5, 1.0], [0.0, 0.5, 1.0]]
    assert joined.map_rule is not None
    assert joined.map_rule.gaussian_size == 360


def test_reasons_are_the_winning_tiles_with_places_in_the_region():
    here, whole = (0.0, 0.0, 0.5, 1.0), Reason("prompt", "a photo", 0.3, "normal")
    reasons = [(Reason("window", str(n), 0.1, "abnormal", here), whole) for n in range(4)]
    found = join_reasons(View(tiles=(2, 1)), reasons, torch.tensor([0.1, 0.4, 0.9, 0.2]), (4, 4))
    assert [one[0].text for one in found] == ["1", "2"]
    assert [one[0].box for one in found] == [(0.5, 0.0, 0.75, 1.0), (0.0, 0.0, 0.25, 1.0)]
    assert found[0][1].box is None


def test_half_a_region_is_refused(tmp_path, tiny_dataset, do):
    data = tiny_dataset(tmp_path / "widgets", categories=("bolt",))
    with pytest.raises(ViewError, match="--region"):
        do(data, "store", region=[0.1, 0.2])
