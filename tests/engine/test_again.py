"""A run that kept no maps, asked again, says what it would have kept."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vlmad_core.datasets import load_dataset
from vlmad_core.engine.again import Again, Recall, ask_again, load_again, plan_again
from vlmad_core.engine.options import make_options
from vlmad_core.engine.plan import build_plan
from vlmad_core.engine.progress import Reporter
from vlmad_core.engine.runner import run_plan
from vlmad_core.errors import VlmadError
from vlmad_core.store.reader import Missing, Store, open_store
from vlmad_core.store.schema import RunRecord

IMAGES = ("bolt/test/scratch/001.png", "bolt/test/good/002.png")
BUNDLED = Path(__file__).parents[2] / "results" / "bundled"


@pytest.fixture(scope="module")
def made(
    quick_disk: None,
    tiny_clip: Path,
    tiny_dataset: Callable[..., Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, Store, Store]:
    """A data set, a store with everything of it, and one with scores and metrics only."""
    folder = tmp_path_factory.mktemp("again")
    data = tiny_dataset(folder / "widgets", categories=("bolt",))
    stores = []
    for kept in ("all", "none"):
        values = {"methods": ["clip_ac", "clip_cpe", "winclip", "patch_memory"], "shots": [0, 2], "grids": kept}
        common = {"datasets": [str(data)], "backbone": str(tiny_clip), "store": folder / kept, "latency_images": 0}
        with Reporter() as reporter:
            run_plan(build_plan(make_options({**values, **common, "threads": 1, "batch_size": 4})), reporter)
        stores.append(open_store(folder / kept))
    return data, stores[0], stores[1]


@pytest.fixture
def recall(made: tuple[Path, Store, Store], tiny_clip: Path, monkeypatch: pytest.MonkeyPatch) -> Recall:
    monkeypatch.setenv("VLMAD_BACKBONE", str(tiny_clip))
    return load_again(made[1].runs[0].protocol.backbone)


def stored(store: Store, run: RunRecord, **changes: float) -> dict[str, Mapping[str, float]]:
    scores = store.images(run.id, "bolt").set_index("image_id")["score"]
    return {run.id: {name: float(scores[name]) + changes.get("by", 0.0) for name in IMAGES}}


def test_maps_and_reasons_are_those_that_would_have_been_kept(made: Any, recall: Recall) -> None:
    data, full, bare = made
    runs = [run for run in bare.runs if not run.protocol.method["transductive"]]
    planned = [plan_again(run, load_dataset(str(data)), recall) for run in runs]
    assert {(run.key.method, run.key.shots) for run in runs} >= {("winclip", 0), ("winclip", 2), ("patch_memory", 2)}
    for shots in (0, 2):
        group = [one for one in planned if one.record.key.shots == shots]
        scores = {k: v for one in group for k, v in stored(bare, one.record).items()}
        found, seconds = ask_again(group, recall, "bolt", scores)
        assert seconds > 0
        for one in group:
            name, answer = one.record.id, found[one.record.id]
            assert isinstance(answer, Again), answer
            assert not bare.keeps_maps(name, "bolt")
            assert (answer.grids is None) == (one.record.key.method == "clip_ac")
            for image in IMAGES if answer.grids else ():
                kept = full.anomaly_map(name, "bolt", image, (64, 64))
                np.testing.assert_allclose(answer.grids.anomaly_map(image, (64, 64)), kept, rtol=1e-5, atol=1e-6)
            own = full.explain(name, "bolt")
            own = own[own["image_id"].isin(IMAGES)].sort_values(["image_id", "rank"])
            now = answer.reasons.sort_values(["image_id", "rank"])
            assert now["text"].tolist() == own["text"].tolist()
            np.testing.assert_allclose(now["value"].astype(float), own["value"].astype(float), rtol=1e-4, atol=1e-5)


def test_another_score_than_the_stored_one_gives_no_map(made: Any, recall: Recall) -> None:
    data, _, bare = made
    run = next(run for run in bare.runs if run.key.method == "winclip" and run.key.shots == 0)
    planned = plan_again(run, load_dataset(str(data)), recall)
    found, _ = ask_again([planned], recall, "bolt", stored(bare, run, by=0.05))
    assert isinstance(found[run.id], Missing)
    assert "has changed since the run" in found[run.id].reason


def test_an_image_that_changed_on_disk_is_noticed(made: Any, recall: Recall, tmp_path: Path) -> None:
    data, _, bare = made
    other = Path(shutil.copytree(data, tmp_path / "widgets"))
    Image.new("RGB", (40, 40), (0, 255, 0)).save(other / IMAGES[0])
    run = next(run for run in bare.runs if run.key.method == "patch_memory")
    planned = plan_again(run, load_dataset(str(other)), recall)
    found, _ = ask_again([planned], recall, "bolt", stored(bare, run))
    assert isinstance(found[run.id], Missing)


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        ("data", {"listing": "f" * 16}, "other images here"),
        ("method", {"prompts": {"ensemble": "winclip", "content_hash": "0"}}, "method is another here"),
        ("method", {"parameters": "f" * 16}, "trained parameters"),
        ("reading", {"image": {"reader": "another"}}, "rules of reading"),
        ("method", {"settings": {"colour": 1}}, "other settings"),
    ],
)
def test_a_protocol_that_does_not_hold_here_is_refused(
    made: Any, recall: Recall, part: str, change: dict[str, Any], message: str
) -> None:
    data, _, bare = made
    run = next(run for run in bare.runs if run.key.method == "winclip")
    protocol = dataclasses.replace(run.protocol, **{part: {**getattr(run.protocol, part), **change}})
    with pytest.raises(VlmadError, match=message):
        plan_again(dataclasses.replace(run, protocol=protocol), load_dataset(str(data)), recall)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights_hash": "0" * 16}, "weights_hash"),
        ({"feature_storage": "half"}, "feature_storage"),
        ({"id": "nobody_has_this"}, "not on this machine"),
    ],
)
def test_another_backbone_is_refused(made: Any, recall: Recall, change: dict[str, str], message: str) -> None:
    with pytest.raises(VlmadError, match=message):
        load_again({**made[1].runs[0].protocol.backbone, **change})


def test_trained_parameters_are_found_by_their_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(BUNDLED)
    runs = [run for run in store.runs if run.key.dataset == "bundled_a" and run.key.method == "april_gan"]
    recall = load_again(runs[0].protocol.backbone)
    hashes = {run.protocol.method["parameters"] for run in runs}
    assert len(hashes) == 2  # trained on the other data set, and on this one
    for digest in hashes:
        run = next(run for run in runs if run.protocol.method["parameters"] == digest)
        assert plan_again(run, load_dataset("bundled_a"), recall).parameters
