from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vlmad_core.backbones import load_backbone
from vlmad_core.backbones.loading import BackboneSpec
from vlmad_core.engine.frozen import Backbones
from vlmad_core.engine.options import PlanError, make_options
from vlmad_core.engine.plan import Plan, build_plan
from vlmad_core.engine.progress import Reporter
from vlmad_core.engine.runner import Summary, run_plan
from vlmad_core.store.reader import open_store

pytestmark = pytest.mark.usefixtures("quick_disk")


class Counting:
    """A backbone that counts the images that pass it."""

    passed = 0

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def encode_images(self, images: Any, request: Any, clock: Any = None) -> Any:
        self.passed += len(images)
        return self.inner.encode_images(images, request, clock)


@pytest.fixture
def backbone(tiny_clip: Path) -> Counting:
    return Counting(load_backbone(str(tiny_clip)))


@pytest.fixture
def plan_for(backbone: Counting, tmp_path: Path, tiny_dataset: Callable[..., Path]) -> Callable[..., Plan]:
    # Without masks nothing is measured on maps, which would take most of the time; the maps are stored all the same.
    data = tiny_dataset(tmp_path / "widgets", categories=("bolt",), masks=False)

    def make(store: str = "store", **changes: Any) -> Plan:
        values = {
            "datasets": [str(data)],
            "methods": ["clip_ac", "winclip"],
            "backbone": "any",
            "store": tmp_path / store,
            "batch_size": 4,
            "threads": 1,
            "cache": True,
            "cache_dir": tmp_path / "cache",
            "latency_images": 0,
        }

        def load(spec: BackboneSpec) -> Any:
            return backbone

        return build_plan(make_options({**values, **changes}), backbones=Backbones(load))

    return make


def do(plan: Plan) -> Summary:
    with Reporter() as reporter:
        return run_plan(plan, reporter)


def units(content: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in content.items() if not name.endswith("run.json")}


def test_a_second_run_with_other_methods_and_prompts_passes_no_image(plan_for, backbone, content_of):
    first = do(plan_for(methods=["winclip"], shots=[0, 2]))
    assert first.images == backbone.passed == 12
    cold = units(content_of(plan_for().options.store))
    backbone.passed = 0
    changed = {"id": "winclip", "settings": {"ensemble": "winclip_accurate"}}
    warm = do(plan_for("other", methods=["clip_ac", "winclip", changed], shots=[0, 2]))
    assert (warm.images, backbone.passed, warm.exit_code) == (0, 0, 0)
    again = units(content_of(plan_for("other").options.store))
    assert cold.items() <= again.items()  # the same bits from the cache as on the first pass
    profile = open_store(plan_for("other").options.store).runs[0].units["bolt"].profile
    assert profile["cache"] == {"storage": "half", "hits": 10, "computed": 0}
    assert profile["latency_ms"] == {"median": None, "p95": None}


def test_what_is_cached_does_not_depend_on_the_plan_that_cached_it(plan_for, content_of, tmp_path):
    do(plan_for("one", cache_dir=tmp_path / "first"))
    do(
        plan_for(
            "warm-up", cache_dir=tmp_path / "second", methods=["winclip"], size="smoke", shots=[0, 1], batch_size=3
        )
    )
    do(plan_for("two", cache_dir=tmp_path / "second"))
    stores = [units(content_of(plan_for(name).options.store)) for name in ("one", "two")]
    assert stores[0] == stores[1]


def test_full_storage_keeps_the_numbers_and_half_is_a_protocol_of_its_own(plan_for):
    do(plan_for("plain", cache=False))
    do(plan_for("full", cache_storage="full"))
    do(plan_for("half"))
    plain, full, half = (open_store(plan_for(name).options.store) for name in ("plain", "full", "half"))
    assert [run.id for run in plain.runs] == [run.id for run in full.runs]
    assert not {run.id for run in plain.runs} & {run.id for run in half.runs}
    assert {run.protocol.backbone["feature_storage"] for run in half.runs} == {"half"}
    for a, b, c in zip(plain.runs, full.runs, half.runs, strict=True):
        scores = [store.images(run.id, "bolt")["score"] for store, run in ((plain, a), (full, b), (half, c))]
        assert scores[1].tolist() == pytest.approx(scores[0].tolist(), abs=1e-5)
        assert scores[2].tolist() == pytest.approx(scores[0].tolist(), abs=5e-3)


def test_a_run_started_with_a_cache_goes_on_with_its_numbers_without_one(plan_for, content_of, tmp_path):
    options = {"cache_storage": "full", "methods": ["winclip"]}
    do(plan_for("whole", **options))
    plan = plan_for("pieces", **options)
    do(plan)
    damaged = open_store(plan.options.store).runs[0].path / "bolt" / "grids.npz"
    damaged.write_bytes(b"cut")
    resumed = plan_for("pieces", methods=["winclip"], cache=False, cache_dir=tmp_path / "unused")
    assert any("features full" in note for note in resumed.notes)
    assert do(resumed).count("computed") == 1
    stores = [units(content_of(plan_for(name).options.store)) for name in ("whole", "pieces")]
    assert stores[0] == stores[1]
    assert not (tmp_path / "unused").exists()


def test_an_image_that_changes_is_not_served_from_the_cache(plan_for, backbone):
    do(plan_for())
    backbone.passed = 0
    source = Path(plan_for().options.datasets[0]) / "bolt" / "test"
    (source / "good" / "000.png").write_bytes((source / "good" / "001.png").read_bytes())
    do(plan_for("second"))
    assert backbone.passed == 0  # known by its content, under whatever name
    (source / "good" / "000.png").write_bytes(b"no image")
    summary = do(plan_for("third"))
    assert (summary.exit_code, summary.count("partial")) == (2, 2)


def test_thumbnails_are_made_once(plan_for, content_of):
    do(plan_for(methods=["clip_ac"]))
    store = plan_for().options.store
    made = {path: path.stat().st_mtime_ns for path in store.rglob("thumbnails/*.parquet")}
    do(plan_for())
    assert {path: path.stat().st_mtime_ns for path in store.rglob("thumbnails/*.parquet")} == made
    runs = open_store(store).runs
    names = {run.units["bolt"].thumbnails for run in runs}
    assert (len(runs), len(made), names) == (2, 1, {next(iter(made)).name})


def test_wrong_cache_settings_are_named(plan_for):
    with pytest.raises(PlanError, match="cache_storage is 'quarter'"):
        plan_for(cache_storage="quarter")
    with pytest.raises(PlanError, match="cache_gb is -1"):
        plan_for(cache_gb=-1)
