from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from vlmad_core.backbones import teacher as teacher_module
from vlmad_core.backbones.teacher import teacher_is_installed
from vlmad_core.backbones.vision import DEFAULT_TOKEN_BUDGET
from vlmad_core.datasets import load_dataset
from vlmad_core.datasets.splits import planned_images
from vlmad_core.engine.estimate import estimate
from vlmad_core.engine.options import SIZES, PlanError, make_options, read_plan
from vlmad_core.engine.plan import Plan, build_plan, store_path
from vlmad_core.errors import BackboneError, VlmadError
from vlmad_core.store.writer import start_run


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, tiny_dataset: Callable[..., Path]) -> Path:
    return tiny_dataset(tmp_path_factory.mktemp("plan") / "widgets", normal=9, defective=6)


@pytest.fixture
def plan_for(tiny_clip: Path, data: Path, tmp_path: Path) -> Callable[..., Plan]:
    def make(**changes: Any) -> Plan:
        values = {"datasets": str(data), "methods": ["clip_ac", "winclip"], "backbone": str(tiny_clip)}
        return build_plan(make_options({**values, "store": tmp_path / "store", **changes}))

    return make


def test_runs_in_a_fixed_order(plan_for):
    plan = plan_for(shots=[0, 1, 4], seeds=2)
    keys = [(run.record.key.method, run.record.key.shots, run.record.key.seed) for run in plan.runs]
    few = [("winclip", shots, seed) for shots in (1, 4) for seed in (0, 1)]
    assert keys == [("clip_ac", 0, 0), ("winclip", 0, 0), *few]
    assert [category for category, _ in plan.groups()] == ["bolt", "felt", "nut"]
    assert [item.what for item in plan.not_applicable] == [
        "clip_ac:canonical with 1 shots",
        "clip_ac:canonical with 4 shots",
    ]


def test_the_folder_says_what_the_run_is(plan_for):
    run = plan_for(methods="winclip:accurate", shots=2).runs[0].record
    assert run.id == f"widgets/winclip-accurate-2shot-seed0-tiny_clip-{run.protocol.hash}"


@pytest.mark.parametrize(
    "change",
    [
        {"image_size": 64},
        {"activation": "quick_gelu"},
        {"precision": "bfloat16"},
        {"size": "smoke"},
        {"methods": [{"id": "winclip", "settings": {"temperature": 0.01}}]},
        {"methods": ["winclip:accurate"]},
    ],
)
def test_what_moves_a_number_moves_the_hash(plan_for, change):
    plain = plan_for(methods=["winclip"]).runs[0].record
    changed = plan_for(**{"methods": ["winclip"], **change}).runs[0].record
    assert changed.protocol.hash != plain.protocol.hash
    same_conditions = "methods" in change
    assert (changed.protocol.conditions == plain.protocol.conditions) == same_conditions


@pytest.mark.parametrize("change", [{"threads": 1}, {"batch_size": 3}, {"grids": "none"}, {"categories": "nut"}])
def test_what_moves_no_number_leaves_the_hash(plan_for, change):
    assert plan_for(**change).runs[0].record.id == plan_for().runs[0].record.id


def test_another_list_of_images_is_another_run(plan_for, tiny_dataset, tmp_path):
    other = tiny_dataset(tmp_path / "widgets", normal=9, defective=5)
    first, second = (plan_for(**change).runs[0].record for change in ({}, {"datasets": str(other)}))
    assert first.key == second.key
    assert first.id != second.id


def test_reduced_sizes_meet_both_labels_and_all_defects(data):
    dataset = load_dataset(data)
    smoke = planned_images(dataset, "bolt", SIZES["smoke"])
    assert [sample.label for sample in smoke].count(0) == 4
    assert {sample.defect_type for sample in smoke} == {"good", "scratch", "stain"}
    assert planned_images(dataset, "bolt", SIZES["full"]) == dataset.select("bolt", "test")


def test_dry_run_says_what_is_left_and_writes_nothing(plan_for, tmp_path):
    report = estimate(plan_for())
    assert [unit[2] for unit in report.units] == ["missing"] * 6
    assert report.images == 3 * 21
    assert report.seconds > 0
    assert report.seconds_from == "one pass", "nothing was measured with this backbone yet"
    assert report.disk_bytes > 0
    assert "6 missing" in report.text()
    assert not (tmp_path / "store").exists()


def test_as_published_needs_the_authors_backbone(plan_for, monkeypatch):
    with pytest.raises(PlanError, match="as_published"):
        plan_for(mode="as_published", image_size=64)
    plan = plan_for(mode="as_published", methods=["winclip", "patch_memory"])
    assert [run.record.protocol.backbone["image_size"] for run in plan.runs] == [240]
    assert plan.runs[0].record.mode == "as_published"
    assert any("patch_memory" in item.what for item in plan.not_applicable)


def test_methods_that_train_need_parameters(plan_for):
    with pytest.raises(VlmadError, match="train april_gan"):
        plan_for(methods=["april_gan"])
    both = plan_for(methods=["april_gan", "clip_ac"])
    assert [run.method.name for run in both.runs] == ["clip_ac"]
    (left_out,) = both.not_applicable
    assert left_out.what == "april_gan:canonical on widgets"
    assert "train april_gan --data NAME" in left_out.reason


def test_a_method_brings_its_own_backbone(plan_for, monkeypatch):
    if not teacher_is_installed():
        pytest.skip("requirements-train.txt is not installed")
    plan = plan_for(methods=["patch_memory", "teacher_memory"], shots=[0, 1])
    found = {run.method.name: run for run in plan.runs}
    assert found["teacher_memory"].record.key.backbone == "teacher"
    assert found["teacher_memory"].record.protocol.backbone["image_size"] == 320
    assert found["patch_memory"].record.key.backbone == "tiny_clip"
    assert len(list(plan.groups())) == 2 * len(plan.runs[0].dataset.categories), "no pass is shared"
    alone = plan_for(methods=["clip_ac", "teacher_memory"], backbone="teacher", shots=[1], image_size=64)
    assert [run.method.name for run in alone.runs] == ["teacher_memory"]
    assert alone.runs[0].record.protocol.backbone["image_size"] == 64
    assert any("needs a vision-language backbone" in item.reason for item in alone.not_applicable)


def test_a_missing_package_costs_its_method_only(plan_for, monkeypatch):
    def missing():
        raise BackboneError("The ImageNet teacher needs the Python package x.", "Install it: pip install -r y")

    monkeypatch.setattr(teacher_module, "_packages", missing)
    teacher_module.load_teacher.cache_clear()
    plan = plan_for(methods=["patch_memory", "teacher_memory"], shots=[1])
    assert [run.method.name for run in plan.runs] == ["patch_memory"]
    assert any("requirements-train.txt" in item.reason for item in plan.not_applicable)
    with pytest.raises(BackboneError, match="pip install"):
        plan_for(methods=["teacher_memory"], shots=[1])


def test_the_bound_on_memory_is_frozen_with_the_run(plan_for):
    plain, bounded = plan_for(methods=["winclip"]), plan_for(methods=["winclip"], window_tokens=64)
    assert plain.runs[0].backbone.token_budget == DEFAULT_TOKEN_BUDGET
    assert bounded.runs[0].backbone.token_budget == 64
    assert bounded.runs[0].record.plan["window_tokens"] == 64
    assert plain.runs[0].record.id == bounded.runs[0].record.id, "it moves no number"
    start_run(bounded.options.store, bounded.runs[0].record)
    again = plan_for(methods=["winclip"], window_tokens=128)
    assert again.runs[0].backbone.token_budget == 64
    assert any("goes on as it was started: window_tokens 64" in note for note in again.notes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"datasets": []}, "names no datasets"),
        ({"shots": []}, "names no shots"),
        ({"methods": "winclop"}, "Did you mean 'winclip'"),
        ({"methods": [3]}, r"methods\[0\] is 3 where a name such as 'winclip:canonical', or a mapping with id"),
        ({"methods": [{"id": "winclip", "colour": 1}]}, r"methods\[0\].colour is unknown"),
        ({"methods": [{"id": "winclip", "shots": []}]}, r"methods\[0\].shots is \[\] where at least one entry"),
        ({"methods": [{"id": "winclip", "seeds": "two"}]}, r"methods\[0\].seeds is 'two' where a whole number"),
        ({"shots": [-1]}, r"shots\[0\] is -1 where a number of at least 0 belongs"),
        ({"shots": [True]}, r"shots\[0\] is True where a whole number belongs"),
        ({"image_size": "big"}, "image_size is 'big' where a whole number belongs"),
        ({"thumbnails": "no"}, "thumbnails is 'no' where true or false belongs"),
        ({"parameters": ["april_gan"]}, "parameters is .* where METHOD=FILE"),
        ({"seeds": 0}, "seeds is 0"),
        ({"mode": "other"}, "mode is 'other'"),
        ({"colour": "red"}, "unknown key 'colour'"),
        ({"categories": ["nut", "nail"]}, "no category 'nail'"),
        ({"datasets": "no_such_set"}, "No data set named"),
        ({"backbone": "./nowhere"}, "no backbone folder"),
    ],
)
def test_wrong_plans_are_refused_with_the_reason(plan_for, change, message):
    with pytest.raises(VlmadError, match=message):
        plan_for(**change)


def test_a_plan_from_yaml(tmp_path):
    file = tmp_path / "plan.yaml"
    file.write_text(
        "datasets: bundled_a\nmethods:\n- winclip\n- {id: clip_cpe, settings: {temperature: 0.1}}\nshots: [0, 1]\n"
    )
    options = read_plan(file, {"seeds": 3})
    assert options.datasets == ("bundled_a",)
    assert [choice.id for choice in options.methods] == ["winclip", "clip_cpe"]
    assert options.methods[1].settings == {"temperature": 0.1}
    assert (options.shots, options.seeds) == ((0, 1), 3)
    file.write_text("- 1")
    with pytest.raises(PlanError, match="no keys"):
        read_plan(file, {})
    with pytest.raises(PlanError, match="can't be read"):
        read_plan(tmp_path / "none.yaml", {})


def test_processes_that_start_at_once_do_not_take_each_others_trial_file(tmp_path):
    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(store_path, [tmp_path / "store"] * 400)) == {tmp_path / "store"}
    assert list((tmp_path / "store").iterdir()) == []
