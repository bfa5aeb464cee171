from __future__ import annotations

import dataclasses
import errno
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from vlmad_core.backbones.loading import BackboneSpec
from vlmad_core.engine.frozen import Backbones
from vlmad_core.engine.options import make_options
from vlmad_core.engine.plan import Plan, build_plan
from vlmad_core.engine.progress import Reporter
from vlmad_core.engine.runner import Summary, keep_command, run_plan
from vlmad_core.methods.winclip import WinClipScorer
from vlmad_core.store import layout, writer
from vlmad_core.store.reader import open_store
from vlmad_core.store.verifying import verify_run

pytestmark = pytest.mark.usefixtures("quick_disk")


@pytest.fixture
def data(tmp_path: Path, tiny_dataset: Callable[..., Path]) -> Path:
    return tiny_dataset(tmp_path / "widgets", categories=("bolt", "felt"))


@pytest.fixture
def plan_for(tiny_clip: Path, data: Path, tmp_path: Path) -> Callable[..., Plan]:
    def make(store: str = "store", loader: Any = BackboneSpec.load, **changes: Any) -> Plan:
        values = {
            "datasets": [str(data)],
            "methods": ["clip_ac", "winclip"],
            "backbone": str(tiny_clip),
            "store": tmp_path / store,
            "batch_size": 4,
            "threads": 1,
            "latency_images": 0,
        }
        return build_plan(make_options({**values, **changes}), backbones=Backbones(loader))

    return make


def do(plan: Plan) -> Summary:
    with Reporter() as reporter:
        return run_plan(plan, reporter)


@pytest.mark.parametrize("looks", [0, 1, 4, 7])
def test_who_cancels_keeps_what_is_done_and_the_next_start_does_the_rest(plan_for, content_of, looks):
    plan, whole = plan_for(methods=["clip_ac", "musc"]), plan_for("whole", methods=["clip_ac", "musc"])
    asked = iter(range(looks))
    with Reporter() as reporter:
        given_up = run_plan(plan, reporter, cancelled=lambda: next(asked, None) is None)
    done = given_up.count("computed")
    assert (given_up.cancelled, given_up.troubled, done < 4) == (True, (), True)
    store = open_store(plan.options.store)
    assert (store.problems, store.failed, sum(len(run.units) for run in store.runs)) == ((), (), done)
    rest = do(plan)
    assert (rest.cancelled, rest.count("kept"), rest.count("computed")) == (False, done, 4 - done)
    do(whole)
    assert content_of(plan.options.store) == content_of(whole.options.store)


def metric(plan: Plan, method: str, name: str, category: str) -> Any:
    frame = open_store(plan.options.store).metrics()
    chosen = (frame["method"] == method) & (frame["metric"] == name) & (frame["category"] == category)
    return frame[chosen & (frame["eval_size"].isna() | (frame["eval_size"] == 256))].iloc[0]


def test_every_unit_holds_what_it_should(plan_for):
    plan = plan_for(shots=[0, 2], seeds=2)
    summary = do(plan)
    assert (summary.count("computed"), summary.exit_code) == (8, 0)
    store = open_store(plan.options.store)
    assert store.problems == ()
    assert all(verify_run(store, run.id).problems == () for run in store.runs)
    few = next(r for r in store.runs if r.key.shots == 2 and r.key.seed == 1)
    assert few.title == "WinCLIP+"
    images = store.images(few.id, "bolt")
    assert len(images) == 10
    assert images["score"].notna().all()
    assert (images["latency_ms"] > 0).all()
    assert images.loc[images["label"] == 0, "defect_area"].eq(0).all()
    assert images.loc[images["label"] == 1, "defect_area"].tolist() == pytest.approx([(13 / 40) ** 2] * 6)
    regions = store.regions(few.id, "bolt")
    assert len(regions) == 6
    assert {"recall_f1max", "recall_fpr05", "recall_fpr01"} <= set(regions.columns)
    assert regions["x0"].between(0.18, 0.22).all()
    assert set(store.curves(few.id, "bolt")["curve"]) == {"image_roc", "image_pr", "pixel_roc", "pixel_pr", "pixel_pro"}
    drawn = store.replicates(few.id, "bolt")
    values = store.metrics([few.id]).query("category == 'bolt' and metric != 'aupro_legacy200'")
    places = zip(
        values["metric"], values["eval_size"].astype(object).where(values["eval_size"].notna(), None), strict=True
    )
    assert list(drawn) == list(places)
    assert [one.value for one in drawn.values()] == values["value"].tolist()
    assert {one.draws.shape for one in drawn.values()} == {(200,)}
    assert len({one.design for run in store.runs for one in store.replicates(run.id, "bolt").values()}) == 1
    explained = store.explain(few.id, "bolt")
    assert {"prompt", "window", "reference"} <= set(explained["kind"])
    assert store.thumbnail(few.id, "bolt", "bolt/test/scratch/000.png")[:4] == b"RIFF"
    assert "normal image" in store.mask(few.id, "bolt", "bolt/test/good/000.png").reason
    metrics = store.metrics([few.id])
    assert set(metrics.loc[metrics["level"] == "pixel", "eval_size"]) == {32, 256}
    measured = metrics[metrics["metric"] != "aupro_legacy200"]
    assert measured[["value", "low", "high"]].notna().all(axis=None)
    unit = few.units["bolt"]
    assert set(unit.thresholds) == {"image_f1max", "pixel_f1max", "pixel_fpr05", "pixel_fpr01"}
    assert {"scoring", "explain", "upsampling", "metrics"} <= set(unit.profile["seconds"])
    assert {"read", "preprocess", "vision", "references"} <= set(unit.profile["shared"]["seconds"])


def test_stored_metrics_are_those_of_the_stored_maps(plan_for):
    from sklearn.metrics import roc_auc_score

    from vlmad_core.datasets import load_dataset
    from vlmad_core.datasets.masks import resize_mask, sample_mask

    plan = plan_for(methods=["winclip"])
    do(plan)
    store = open_store(plan.options.store)
    run = store.runs[0]
    samples = load_dataset(plan.options.datasets[0]).select("bolt", "test")
    maps = [store.anomaly_map(run.id, "bolt", sample.id, (256, 256)) for sample in samples]
    masks = [resize_mask(sample_mask(sample, (40, 40)), (256, 256)) for sample in samples]
    expected = roc_auc_score(np.ravel(masks), np.ravel(maps))
    assert metric(plan, "winclip", "pixel_auroc", "bolt")["value"] == pytest.approx(expected, abs=1e-9)
    images = store.images(run.id, "bolt")
    expected = roc_auc_score(images["label"].astype(int), images["score"])
    assert metric(plan, "winclip", "image_auroc", "bolt")["value"] == pytest.approx(expected, abs=1e-9)


def test_one_pass_per_image_serves_all_runs(plan_for):
    passed: list[int] = []

    class Counting:
        def __init__(self, inner: Any) -> None:
            self.inner = inner

        def __getattr__(self, name: str) -> Any:
            return getattr(self.inner, name)

        def encode_images(self, images: Any, request: Any, clock: Any = None) -> Any:
            passed.append(len(images))
            return self.inner.encode_images(images, request, clock)

    plan = plan_for(
        loader=lambda spec: Counting(spec.load()),
        methods=["clip_ac", "clip_cpe", "winclip", "patch_memory", "musc"],
        shots=[0, 1, 2],
        seeds=3,
    )
    summary = do(plan)
    test_images, references = 2 * 10, 2 * 3
    assert summary.exit_code == 0
    assert sum(passed) == summary.images == test_images + references


def test_the_same_twice_and_whatever_else_is_planned(plan_for, content_of):
    do(plan_for("first", shots=[0, 2], seeds=2))
    do(plan_for("second", shots=[0, 2], seeds=2))
    first, second = (content_of(plan_for(name).options.store) for name in ("first", "second"))
    assert first == second
    do(plan_for("alone", methods=["winclip"], shots=[2], seeds=1))
    alone = content_of(plan_for("alone").options.store)
    assert len(alone) > 10
    assert {name: first[name] for name in alone} == alone


def test_a_second_start_computes_nothing(plan_for, content_of):
    do(plan_for())
    before = content_of(plan_for().options.store)
    summary = do(plan_for())
    assert (summary.count("kept"), summary.count("computed"), summary.images) == (4, 0, 0)
    assert content_of(plan_for().options.store) == before


def test_an_unreadable_image_costs_only_itself_and_is_tried_again(plan_for, data, content_of):
    do(plan_for("whole"))
    broken = data / "bolt" / "test" / "stain" / "001.png"
    kept = broken.read_bytes()
    broken.write_bytes(b"not an image")
    summary = do(plan_for())
    assert (summary.exit_code, summary.count("partial"), summary.count("computed")) == (2, 2, 2)
    store = open_store(plan_for().options.store)
    assert store.failed == ()  # the unit is there, without that image
    for run in store.runs:
        assert run.units["bolt"].status == "partial"
        noted = layout.read_failures(run.path, run.id)["bolt"].reason
        assert noted.startswith("1 of 10 images could not be used; the first: ")
        assert "001.png" in noted
        images = store.images(run.id, "bolt").set_index("image_id")
        assert images["error"].notna().sum() == 1
        assert "001.png" in images.loc["bolt/test/stain/001.png", "error"]
        assert images["score"].isna().sum() == 1
    assert metric(plan_for(), "winclip", "pixel_auroc", "bolt")["n"] == 9
    again = do(plan_for())
    assert (again.exit_code, again.images) == (2, 0)
    broken.write_bytes(kept)
    repaired = do(plan_for())
    assert (repaired.exit_code, repaired.count("computed"), repaired.count("kept")) == (0, 2, 2)
    assert not list(store.roots[0].rglob("failed.json"))
    units = [
        {name: value for name, value in content_of(plan_for(store).options.store).items() if "thumbnails/" not in name}
        for store in ("store", "whole")
    ]
    assert units[0] == units[1]


@pytest.mark.parametrize(
    ("mode", "side", "value", "said"),
    [("L", 7, 255, "mask is 7 x 7"), ("L", 40, 0, "no pixel is marked, though its"), ("F", 40, float("nan"), "NaN")],
)
def test_a_mask_that_can_not_be_right_blanks_only_its_image(plan_for, data, mode, side, value, said):
    mask = data / "bolt" / "ground_truth" / "stain" / "001_mask.png"
    Image.new(mode, (side, side), value).save(mask, "TIFF")
    plan = plan_for()
    assert do(plan).exit_code == 2
    store = open_store(plan.options.store)
    images = store.images(store.runs[0].id, "bolt").set_index("image_id")
    assert said in images.loc["bolt/test/stain/001.png", "error"]
    assert pd.isna(images.loc["bolt/test/stain/001.png", "defect_area"])
    assert images["score"].notna().all()
    value = metric(plan, "winclip", "pixel_auroc", "bolt")
    assert (value["n"], value["reason"]) == (9, "without 1 images whose masks are missing or unusable")
    assert metric(plan, "winclip", "image_auroc", "bolt")["n"] == 10


def test_without_masks_only_the_maps_are_not_judged(plan_for, tiny_dataset, tmp_path):
    bare = tiny_dataset(tmp_path / "bare", categories=("bolt",), masks=False, redistributable=False)
    plan = plan_for(datasets=[str(bare)])
    assert do(plan).exit_code == 0
    value = metric(plan, "winclip", "pixel_auroc", "bolt")
    assert np.isnan(value["value"])
    assert value["reason"] == "No defective image has a mask."
    assert 0 <= metric(plan, "winclip", "image_auroc", "bolt")["value"] <= 1
    store = open_store(plan.options.store)
    assert store.grids(store.runs[-1].id, "bolt")
    assert "licence" in store.thumbnail(store.runs[0].id, "bolt", "bolt/test/good/000.png").reason
    assert not list(plan.options.store.rglob("thumbnails"))


def test_a_vanished_category_fails_and_the_others_go_on(plan_for, data, tmp_path):
    plan = plan_for()
    shutil.move(data / "bolt", tmp_path / "away")
    summary = do(plan)
    assert (summary.exit_code, summary.count("failed"), summary.count("computed")) == (2, 2, 2)
    failed = open_store(plan.options.store).failed
    assert {f.category for f in failed} == {"bolt"}
    assert all("None of the 10 images of bolt can be read" in f.reason for f in failed)
    shutil.move(tmp_path / "away", data / "bolt")
    again = do(plan_for())
    assert (again.exit_code, again.count("computed"), again.count("kept")) == (0, 2, 2)
    assert open_store(plan.options.store).failed == ()
    assert not list(plan.options.store.rglob("failed.json"))


def test_a_failing_method_does_not_stop_the_others(plan_for, monkeypatch):
    score = WinClipScorer.score

    def fail(self: Any, features: Any) -> Any:
        raise ZeroDivisionError("made up")

    monkeypatch.setattr(WinClipScorer, "score", fail)
    plan = plan_for()
    summary = do(plan)
    assert (summary.exit_code, summary.count("failed"), summary.count("computed")) == (2, 2, 2)
    failed = open_store(plan.options.store).failed[0]
    assert failed.reason == "ZeroDivisionError: made up"
    assert "in fail" in failed.traceback
    do(plan)
    assert {f.attempts for f in open_store(plan.options.store).failed} == {2}
    monkeypatch.setattr(WinClipScorer, "score", score)
    assert do(plan).exit_code == 0


def test_too_few_references_fail_with_the_fix(plan_for):
    summary = do(plan_for(shots=[0, 9]))
    assert (summary.count("failed"), summary.count("computed")) == (2, 4)
    assert "Ask for at most 3 shots" in summary.troubled[0].reason


def test_a_full_disk_fails_the_unit_and_is_tried_again(plan_for, monkeypatch):
    write = writer.write_synced
    written: list[Path] = []

    def full(path: Path, content: bytes) -> None:
        written.append(path)
        if path.name == "curves.parquet" and len([p for p in written if p.name == path.name]) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, content)

    monkeypatch.setattr(writer, "write_synced", full)
    plan = plan_for()
    summary = do(plan)
    assert (summary.count("failed"), summary.count("computed")) == (1, 3)
    assert "No space left" in summary.troubled[0].reason
    store = open_store(plan.options.store)
    assert store.problems == ()
    assert len(store.failed) == 1
    assert not list(plan.options.store.rglob(".tmp-*"))
    monkeypatch.undo()
    assert do(plan_for()).exit_code == 0


@pytest.mark.parametrize("damage", ["cut", "one bit"])
def test_a_damaged_unit_is_computed_again(plan_for, content_of, damage):
    do(plan := plan_for())
    before = content_of(plan.options.store)
    file = open_store(plan.options.store).runs[1].path / "bolt" / "grids.npz"
    whole = file.read_bytes()
    file.write_bytes(b"cut" if damage == "cut" else whole[:-1] + bytes([whole[-1] ^ 1]))
    summary = do(plan_for())
    assert (summary.exit_code, summary.count("computed"), summary.count("kept")) == (0, 1, 3)
    assert content_of(plan.options.store) == before


def test_a_damaged_run_fails_alone(plan_for):
    plan = plan_for()
    do(plan_for(categories=["bolt"]))
    (plan.runs[1].record.path / "run.json").write_text("{")
    summary = do(plan_for())
    assert (summary.exit_code, summary.count("failed"), summary.count("computed")) == (2, 1, 1)
    assert "run.json can't be read" in summary.troubled[0].reason
    assert [p.kind for p in open_store(plan.options.store).problems] == ["damaged_run"]


def test_grids_of_the_first_seed_only(plan_for):
    plan = plan_for(methods=["winclip"], shots=[1], seeds=2, grids="first_seed")
    do(plan)
    store = open_store(plan.options.store)
    first, second = store.runs
    assert store.grids(first.id, "bolt")
    assert store.grids(second.id, "bolt").reason == "Maps were kept for seed 0 only."
    assert store.curves(second.id, "bolt").empty
    assert store.metrics([second.id])["value"].notna().sum() == store.metrics([first.id])["value"].notna().sum()


def test_speed_is_measured_once_per_run(plan_for):
    do(plan_for(methods=["winclip"], shots=[1], seeds=2, latency_images=3))
    runs = open_store(plan_for().options.store).runs
    speeds = {
        (run.key.seed, category): unit.profile.get("speed") for run in runs for category, unit in run.units.items()
    }
    assert [place for place, speed in speeds.items() if speed] == [(0, "bolt")]
    profile = runs[0].units["bolt"].profile
    assert profile["latency_alone_ms"]["images"] == profile["speed"]["batch_1"]["images"] == 3
    assert 0 < profile["latency_alone_ms"]["median"] <= profile["latency_alone_ms"]["p95"]
    assert {"vision", "windows", "text", "references"} <= set(profile["shared"]["seconds"])


def test_speed_is_measured_once_for_all_data_sets_of_a_plan(plan_for, data, tmp_path, tiny_dataset, monkeypatch):
    from vlmad_core.engine import contents

    subjects, measure = [], contents.measure_speed

    def noted(subject: Any, *args: Any, **more: Any) -> Any:
        subjects.append(subject.entrant.id)
        return measure(subject, *args, **more)

    monkeypatch.setattr(contents, "measure_speed", noted)
    other = tiny_dataset(tmp_path / "gadgets", categories=("cog",))
    do(plan_for(datasets=[str(data), str(other)], methods=["clip_ac", "winclip"], shots=[0, 1], latency_images=1))
    runs = {run.id: run for run in open_store(plan_for().options.store).runs}
    assert len(subjects) == len(set(subjects)) == 3  # CLIP-AC, WinCLIP, WinCLIP+
    spoken = {
        run.id: unit.profile["speed"] for run in runs.values() for unit in run.units.values() if "speed" in unit.profile
    }
    assert set(spoken) == set(runs)
    for name, speed in spoken.items():
        source = speed.get("measured_with", name)
        assert source in subjects
        assert runs[source].title == runs[name].title
        assert {**speed, "measured_with": None} == {**spoken[source], "measured_with": None}


def test_a_plan_without_runs_keeps_no_account_of_its_command(plan_for):
    plan = dataclasses.replace(plan_for(), runs=())
    keep_command(plan, do(plan), "vlmad study", 0.0)
    assert not plan.options.store.exists()


def test_what_can_not_be_timed_costs_no_scores(plan_for, monkeypatch):
    def fail(*args: Any, **more: Any) -> Any:
        raise MemoryError("made up")

    monkeypatch.setattr("vlmad_core.engine.contents.measure_speed", fail)
    plan = plan_for(methods=["clip_ac"], latency_images=2, categories=["bolt"])
    assert do(plan).exit_code == 0
    profile = open_store(plan.options.store).runs[0].units["bolt"].profile
    assert profile["speed"] == {"reason": "It could not be measured: made up"}
    assert profile["latency_alone_ms"] is None
