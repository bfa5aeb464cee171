"""From the plan to runs of the engine: methods in the store, ablations in a store of their own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from vlmad_core.analysis.study.plan import PLAN, PREFIX, StudyError, Variant, resolve, study_plan
from vlmad_core.analysis.study.running import study_parts
from vlmad_core.cli import main
from vlmad_core.engine.options import MethodChoice, PlanOptions


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory):
    options = PlanOptions(
        datasets=("bundled_a",), methods=(MethodChoice("clip_ac"),), store=tmp_path_factory.mktemp("store")
    )
    return study_parts(study_plan(), ["bundled_a"], options, "made up")


def test_every_variant_is_run_once(parts) -> None:
    methods, ablations = parts
    planned = {
        (run.record.key.method, run.record.key.preset, run.record.key.shots) for part in parts for run in part.plan.runs
    }
    for variant in study_plan().variants.values():
        assert (variant.method, variant.stored_preset, variant.shots) in planned, variant.name
    ids = [run.record.id for part in parts for run in part.plan.runs]
    assert len(ids) == len(set(ids))
    assert not methods.missing
    assert not ablations.missing


def test_ablations_never_stand_among_methods(parts) -> None:
    methods, ablations = parts
    assert all(run.record.key.preset.startswith(PREFIX) for run in ablations.plan.runs)
    assert not any(run.record.key.preset.startswith(PREFIX) for run in methods.plan.runs)
    assert ablations.plan.options.store == methods.plan.options.store / "study"


def test_methods_keep_replicates_and_ablations_do_not_unless_asked(parts, tmp_path: Path) -> None:
    methods, ablations = parts
    assert all(run.record.plan["replicates"] for run in methods.plan.runs)
    assert not any(run.record.plan["replicates"] for run in ablations.plan.runs)
    asked = PlanOptions(("bundled_a",), (MethodChoice("clip_ac"),), store=tmp_path, replicates=True)
    for part in study_parts(study_plan(), ["bundled_a"], asked, "made up"):
        assert all(run.record.plan["replicates"] for run in part.plan.runs)


def test_within_the_data_set_uses_what_was_trained_on_it(parts) -> None:
    trained = {}
    for run in parts[0].plan.runs:
        if run.record.key.method == "april_gan" and run.record.key.shots == 0:
            trained[tuple(run.record.provenance.data["trained"]["training_data"])] = run
    assert set(trained) == {("bundled_a",), ("bundled_b",)}


def test_maps_are_kept_of_every_method_without_references_and_with_four(parts) -> None:
    methods, ablations = parts
    kept = [run.record for run in methods.plan.runs if run.keeps_details]
    trained = [record for record in kept if record.provenance.data["trained"]]
    assert {record.key.shots for record in kept} == {0, 4}
    assert {record.key.seed for record in kept} == {0}
    assert {record.key.method for record in kept} == {run.record.key.method for run in methods.plan.runs}
    assert all("bundled_a" not in record.provenance.data["trained"]["training_data"] for record in trained)
    assert not any(run.keeps_details for run in ablations.plan.runs)


def test_methods_and_ablations_may_be_compared(parts) -> None:
    assert len({run.record.protocol.conditions for part in parts for run in part.plan.runs}) == 1


@pytest.mark.parametrize(("depth", "stages"), [(6, (2, 6)), (12, (3, 12)), (24, (6, 24))])
def test_quarters_fit_towers_of_any_depth(depth: int, stages: tuple[int, ...]) -> None:
    assert resolve({"stages": {"quarters": [1, 4]}}, depth) == {"stages": stages}


def test_a_variant_as_it_comes_is_no_ablation() -> None:
    assert Variant("x", "winclip", "x").stored_preset == "canonical"
    assert Variant("x", "winclip", "x", {"image_scale": False}).stored_preset == "study.x"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda raw: raw["questions"][0]["comparisons"][0].update(base="nothing"), "lacks its own base"),
        (lambda raw: raw["questions"][0]["comparisons"][0]["variants"].append("nobody"), "no variant"),
        (lambda raw: raw.pop("seeds"), r"can't be used: seeds is missing"),
        (lambda raw: raw["variants"]["patches"].update(colour="red"), r"variants\.patches\.colour is unknown"),
        (lambda raw: raw.update(shots="x"), "shots is 'x' where a list belongs"),
        (lambda raw: raw["questions"][1]["papers"].append(3), r"questions\[1\]\.papers\[3\] is 3 where"),
    ],
)
def test_a_wrong_plan_is_refused_by_name(tmp_path: Path, change, message: str) -> None:
    raw = yaml.safe_load(PLAN.read_text(encoding="utf-8"))
    change(raw)
    path = tmp_path / "plan.yaml"
    path.write_text(yaml.safe_dump(raw), encoding="utf-8")
    with pytest.raises(StudyError, match=message):
        study_plan(path)


def test_answers_of_nothing_say_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", "--dataset", "bundled_a", "--store", str(tmp_path), "--answers"]) == 1
    assert "holds nothing of bundled_a" in capsys.readouterr().err


@pytest.mark.slow
def test_the_study_runs_resumes_and_says_the_same_twice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["study", "--dataset", "bundled_a", "--size", "smoke", "--seeds", "2", "--json"]
    arguments += ["--categories", "wood", "carpet", "--latency", "1", "--threads", "1"]
    said = []
    for store in ("first", "second", "second"):
        assert main([*arguments, "--store", str(tmp_path / store)]) == 0
        said.append(json.loads(capsys.readouterr().out))
    for one in said:
        for question in one["bundled_a"]:
            question.pop("headline")
            # Latencies differ from run to run; everything else is the same to the last bit.
            question["findings"] = [f for f in question["findings"] if not f["sentence"].count(" ms")]
    assert said[0] == said[1] == said[2]
    assert len(said[0]["bundled_a"]) == 6
