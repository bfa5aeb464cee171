"""What was left to the machine is settled once: whoever goes on uses it, whatever would be measured now."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from vlmad_core.analysis.study.plan import study_plan
from vlmad_core.analysis.study.running import study_parts
from vlmad_core.backbones import settling
from vlmad_core.backbones.info import default_batch_size
from vlmad_core.backbones.loading import BackboneSpec
from vlmad_core.backbones.settling import Settled
from vlmad_core.cli import main
from vlmad_core.datasets import load_dataset
from vlmad_core.engine import frozen as freezing
from vlmad_core.engine import plan as planning
from vlmad_core.engine.again import Again, ask_again, load_again, plan_again
from vlmad_core.engine.estimate import estimate
from vlmad_core.engine.frozen import Backbones, calibration_images
from vlmad_core.engine.options import MethodChoice, PlanOptions, make_options
from vlmad_core.engine.plan import Plan, build_plan
from vlmad_core.engine.progress import Reporter
from vlmad_core.engine.runner import Summary, run_plan
from vlmad_core.errors import BackboneError
from vlmad_core.store.reader import open_store
from vlmad_core.store.schema import sealed
from vlmad_core.store.writer import start_run

pytestmark = pytest.mark.usefixtures("quick_disk")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, tiny_dataset: Callable[..., Path]) -> list[str]:
    folder = tmp_path_factory.mktemp("frozen")
    widgets = tiny_dataset(folder / "widgets", categories=("bolt", "felt"))
    return [str(widgets), str(tiny_dataset(folder / "gadgets", categories=("cog",)))]


@pytest.fixture
def plan_for(tiny_clip: Path, data: list[str], tmp_path: Path) -> Callable[..., Plan]:
    def make(store: str = "store", backbones: Backbones | None = None, **changes: Any) -> Plan:
        values = {"datasets": data[:1], "methods": ["clip_ac", "clip_cpe"], "backbone": str(tiny_clip), "threads": 1}
        more = {"store": tmp_path / store, "latency_images": 0, **changes}
        return build_plan(make_options({**values, **more}), backbones=backbones)

    return make


@pytest.fixture
def bfloat16_is(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """A function that makes bfloat16 so many times as quick as float32, in products and in passes."""

    def make(gain: float) -> None:
        def calibrated(backbone: Any, pixels: Any) -> Any:
            return 1.0 if backbone.info.precision == "float32" else 1 / gain, (torch.zeros(1), torch.zeros(1))

        monkeypatch.setattr(settling, "product_gain", lambda *given: gain)
        monkeypatch.setattr(settling, "_calibrated", calibrated)

    return make


def do(plan: Plan) -> Summary:
    with Reporter(0) as reporter:
        return run_plan(plan, reporter)


def test_a_resumed_auto_equals_an_undisturbed_one_whatever_is_measured_then(plan_for, data, bfloat16_is, content_of):
    bfloat16_is(3.0)
    undisturbed = plan_for("undisturbed", precision="auto", datasets=data)
    assert do(undisturbed).exit_code == 0
    do(plan_for(precision="auto", datasets=data[:1], categories=["bolt"]))
    bfloat16_is(0.007)
    resumed = plan_for(precision="auto", datasets=data)
    assert [run.record.id for run in resumed.runs] == [run.record.id for run in undisturbed.runs]
    assert {run.backbone.info.precision for run in resumed.runs} == {"bfloat16"}
    assert any("precision bfloat16 (bfloat16: 3 times float32 in the product" in note for note in resumed.notes)
    summary = do(resumed)
    assert (summary.count("kept"), summary.count("computed"), summary.exit_code) == (2, 4, 0)
    assert content_of(resumed.options.store) == content_of(undisturbed.options.store)
    elsewhere = plan_for("elsewhere", precision="auto")
    assert {run.record.plan["precision"] for run in elsewhere.runs} == {"float32"}
    assert elsewhere.runs[0].record.plan["settled"] == {"precision": "bfloat16: 0.007 times float32 in the product"}


def test_what_was_named_binds_no_later_auto(plan_for, bfloat16_is):
    do(plan_for(precision="bfloat16", categories=["bolt"]))
    bfloat16_is(0.007)
    assert {run.record.plan["precision"] for run in plan_for(precision="auto").runs} == {"float32"}


def test_nothing_is_settled_where_nothing_is_left_to_the_machine(plan_for, monkeypatch):
    monkeypatch.setattr(settling, "product_gain", lambda *given: pytest.fail("measured"))
    run = plan_for().runs[0]
    plan = run.record.plan
    assert (plan["device"], plan["precision"]) == ("cpu", "float32")
    assert plan["batch_size"] == default_batch_size(run.backbone.info)
    assert "settled" not in plan


def test_the_plan_is_frozen_when_it_first_starts(plan_for):
    do(plan_for(categories=["bolt"], batch_size=4))
    later = plan_for(batch_size=2)
    assert {run.record.plan["batch_size"] for run in later.runs} == {4}
    assert any("batch_size 4" in note for note in later.notes)
    assert do(later).exit_code == 0
    assert {run.plan["batch_size"] for run in open_store(later.options.store).runs} == {4}


def test_a_settled_batch_size_is_frozen_for_the_whole_store(plan_for, data, monkeypatch, content_of):
    tried: list[tuple[int, str] | None] = []

    def settle_as(size: int) -> None:
        def settled(backbone: Any, request: Any, known: tuple[int, str] | None) -> tuple[int, str]:
            assert {"image_embedding", "patch_embeddings"} <= request.names(), "what all methods read together"
            tried.append(known)
            return known or (size, "tried in a pass")

        monkeypatch.setattr(planning, "settle_batch_size", settled)

    settle_as(3)
    undisturbed = plan_for("undisturbed", datasets=data)
    assert do(undisturbed).exit_code == 0
    assert any("3 images per pass (tried in a pass)" in note for note in undisturbed.notes)
    do(plan_for(categories=["bolt"]))
    settle_as(5)
    resumed = plan_for(datasets=data)
    assert {run.record.plan["batch_size"] for run in resumed.runs} == {3}
    assert tried == [None, None, (3, "tried in a pass")], "what is not started yet begins with what its neighbours have"
    assert do(resumed).exit_code == 0
    assert content_of(resumed.options.store) == content_of(undisturbed.options.store)


def test_a_run_goes_on_where_it_was_started_or_says_why_not(plan_for, tiny_clip):
    do(plan_for(categories=["bolt"]))
    store = plan_for().options.store
    file = next(store.glob("widgets/clip_ac*/run.json"))
    value = json.loads(file.read_text())
    value["plan"]["device"] = "xpu"
    file.write_bytes(sealed(value))
    plan = plan_for()
    assert any(note.endswith("goes on as it was started: device xpu.") for note in plan.notes)
    summary = do(plan)
    assert (summary.count("failed"), summary.count("computed"), summary.count("kept")) == (1, 1, 2)
    assert "was started on xpu, which is not here. Go on with it on such a machine" in summary.troubled[0].reason


def test_the_backbone_stands_where_the_plan_was_started():
    loaded: list[str] = []

    def load(spec: BackboneSpec) -> Any:
        loaded.append(spec.device)
        if spec.device == "xpu":
            raise BackboneError("There is none.")
        return SimpleNamespace(device=torch.device(spec.device))

    backbones = Backbones(load)
    here = Settled(BackboneSpec("any"), load(BackboneSpec("any")))
    there = backbones.for_plan(here, {"device": "cuda"})
    assert there.device.type == "cuda"
    assert backbones.for_plan(here, {"device": "cuda"}) is there
    assert backbones.for_plan(here, {"device": "cpu"}) is here.backbone
    assert backbones.for_plan(here, {}) is here.backbone, "plans from before devices were noted"
    assert backbones.for_plan(here, {"device": "xpu"}) is here.backbone
    assert loaded == ["cpu", "cuda", "xpu"]


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory. Tried 2 GiB.\nmore"), MemoryError()])
def test_memory_that_runs_out_later_says_what_to_do(plan_for, error):
    passes = 0

    class Full:
        """Holds the first category and not the second."""

        def __init__(self, inner: Any) -> None:
            self._inner = inner

        def __getattr__(self, name: str) -> Any:
            return getattr(self._inner, name)

        def encode_images(self, *given: Any) -> Any:
            nonlocal passes
            passes += 1
            if passes == 2:
                raise error
            return self._inner.encode_images(*given)

    plan = plan_for(backbones=Backbones(lambda spec: Full(spec.load())))
    summary = do(plan)
    assert (summary.count("failed"), summary.count("computed")) == (2, 2)
    reason = summary.troubled[0].reason
    assert reason is not None
    assert reason.startswith(f"Memory ran out ({(str(error) or 'MemoryError').splitlines()[0].rstrip('.')}). ")
    assert "--batch-size" in reason
    assert do(plan_for(batch_size=1)).exit_code == 0
    assert len({run.plan["batch_size"] for run in open_store(plan.options.store).runs}) == 1, "as it was started"


def test_a_study_settles_once_for_methods_and_ablations(tmp_path, bfloat16_is, monkeypatch):
    bfloat16_is(3.0)
    settled: list[BackboneSpec] = []
    settle = settling.settle_precision

    def counted(exact: Settled, *given: Any) -> Any:
        settled.append(exact.spec)
        return settle(exact, *given)

    monkeypatch.setattr(settling, "settle_precision", counted)
    options = PlanOptions(("bundled_a",), (MethodChoice("clip_ac"),), store=tmp_path, precision="auto")
    parts = study_parts(study_plan(), ["bundled_a"], options, "made up")
    assert len(parts) == 2
    assert {run.record.plan["precision"] for part in parts for run in part.plan.runs} == {"bfloat16"}
    assert len(settled) == 1


def test_estimates_and_outcomes_say_what_auto_took(plan_for, data, tiny_clip, bfloat16_is, tmp_path, capsys):
    bfloat16_is(3.0)
    report = estimate(plan_for(precision="auto", device="auto"))
    assert any("precision bfloat16" in note for note in report.notes)
    assert not (tmp_path / "store").exists()
    words = ["precompute", "--dataset", data[0], "--method", "clip_ac", "--backbone", str(tiny_clip)]
    words += ["--store", str(tmp_path / "store"), "--precision", "auto", "--latency", "0"]
    assert main([*words, "--json"]) == 0
    (taken,) = json.loads(capsys.readouterr().out)["settled"]
    figures = "bfloat16: 3 times float32 in the product, 3 times in a pass, scores within 0"
    assert (taken["precision"], taken["reasons"]) == ("bfloat16", {"precision": figures})
    assert main(words) == 0
    assert f"settled for tiny_clip: precision bfloat16 ({figures})" in capsys.readouterr().out


def test_a_run_in_a_coarser_precision_can_be_asked_again(plan_for, data, tiny_clip, monkeypatch):
    monkeypatch.setenv("VLMAD_BACKBONE", str(tiny_clip))
    do(plan_for(precision="bfloat16", batch_size=4, categories=["bolt"]))
    store = open_store(plan_for().options.store)
    run = next(run for run in store.runs if run.key.method == "clip_cpe")
    recall = load_again(run.protocol.backbone)
    scores = store.images(run.id, "bolt").set_index("image_id")["score"].iloc[:3].to_dict()
    found, _ = ask_again([plan_again(run, load_dataset(data[0]), recall)], recall, "bolt", {run.id: scores})
    assert isinstance(found[run.id], Again)


def test_images_to_calibrate_with_are_the_data_sets_own(data, tmp_path, tiny_dataset):
    own = calibration_images(load_dataset(data[0]))
    assert [image.size for image in own] == [(40, 40)] * settling.CALIBRATION_IMAGES
    broken = tiny_dataset(tmp_path / "broken", categories=("bolt",))
    for file in (broken / "bolt" / "test").rglob("*.png"):
        file.write_bytes(b"no image")
    assert calibration_images(load_dataset(broken))[0].size == (settling.MADE_UP_SIDE,) * 2


def test_the_form_of_windows_is_settled_once_and_never_in_float32(plan_for, monkeypatch):
    asked = []

    def settle(form: str) -> None:
        def settled(encode: Callable[[str], object], device: Any, precision: str, passes: float) -> tuple[str, str]:
            encode("plain")
            asked.append((device.type, precision, passes))
            return form, "as measured"

        monkeypatch.setattr(freezing, "settle_form", settled)

    settle("compiled")
    exact = plan_for(methods=["winclip"])
    assert "windows" not in exact.runs[0].record.plan
    assert plan_for(methods=["clip_ac"], precision="bfloat16").runs[0].backbone.window_form == "plain"
    assert asked == []
    first = plan_for(methods=["winclip", "clip_ac"], precision="bfloat16", batch_size=2)
    images = sum(len(data.select(name, "test")) for data in [first.runs[0].dataset] for name in ("bolt", "felt"))
    assert asked == [("cpu", "bfloat16", images / 2)]
    assert {run.record.plan["windows"] for run in first.runs} == {"compiled"}
    assert len({id(run.backbone) for run in first.runs}) == 1, "they share passes"
    assert first.runs[0].backbone.window_form == "compiled"
    assert any("the form of windows is compiled (as measured)" in note for note in first.notes)
    start_run(first.options.store, first.runs[0].record)
    settle("plain")
    again = plan_for(methods=["winclip", "winclip:fast"], precision="bfloat16", batch_size=2)
    assert [run.record.plan["windows"] for run in again.runs] == ["compiled", "compiled"]
    assert {run.backbone.window_form for run in again.runs} == {"compiled"}
    assert len(asked) == 1
