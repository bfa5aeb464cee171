"""Entries compared over images: from stored replicates, and the same from scores and maps where none were kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from vlmad_core.analysis import draws
from vlmad_core.analysis.best import Differences, differences_between
from vlmad_core.analysis.comparable import comparisons
from vlmad_core.analysis.statistics import DESIGNS
from vlmad_core.engine.options import make_options
from vlmad_core.engine.plan import build_plan
from vlmad_core.engine.progress import Reporter
from vlmad_core.engine.runner import run_plan
from vlmad_core.store.reader import Store, open_store, open_stores

pytestmark = pytest.mark.usefixtures("quick_disk")

METRICS = ("image_auroc", "aupro_30", "pixel_ap")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("draws")


@pytest.fixture
def measure(folder: Path, tiny_clip: Path, tiny_dataset: Callable[..., Path]) -> Callable[..., Path]:
    data = folder / "widgets"
    if not data.exists():
        tiny_dataset(data, categories=("bolt", "felt"))

    def run(name: str, **changes: object) -> Path:
        store = folder / name
        values = {
            "datasets": [str(data)],
            "methods": ["winclip", "winclip:accurate", "clip_ac"],
            "shots": [0, 1],
            "seeds": 2,
            "backbone": str(tiny_clip),
            "store": store,
            "batch_size": 8,
            "threads": 1,
            "latency_images": 0,
        }
        if not store.exists():
            with Reporter() as reporter:
                assert run_plan(build_plan(make_options({**values, **changes})), reporter).exit_code == 0
        return store

    return run


def held(store: Store, metric: str) -> Differences:
    (one,) = comparisons(store)
    return differences_between(store, one.entries(), metric, one.categories)


@pytest.mark.parametrize("metric", METRICS)
def test_any_two_entries_are_compared_over_images_and_without_replicates_alike(
    measure: Callable[..., Path], metric: str
) -> None:
    kept, anew = (held(open_store(measure(name, replicates=name == "kept")), metric) for name in ("kept", "anew"))
    assert kept.design == anew.design == "over images"
    assert "paired bootstrap over images of these categories, 200 resamples." in kept.note
    assert len(kept.found) == len(anew.found) >= 6
    for one, other in zip(kept.found, anew.found, strict=True):
        assert (one.first, one.second, one.value) == (other.first, other.second, pytest.approx(other.value))
        assert [one.low, one.high] == pytest.approx([other.low, other.high], abs=1e-3)


def test_old_and_new_runs_stand_in_one_comparison(measure: Callable[..., Path]) -> None:
    """Where the same was measured twice, in two stores, it is one entry: the run that keeps replicates."""
    store = open_stores([measure("kept", replicates=True), measure("anew", replicates=False)])
    (one,) = comparisons(store)
    assert len(one.entries()) == len(comparisons(open_store(measure("kept")))[0].entries())
    old_form = dataclasses.replace(
        one.runs[0].protocol,
        evaluation={**one.runs[0].protocol.evaluation, "bootstrap": {"over": "images", "level": 0.95}},
    )
    assert old_form.hash != one.runs[0].protocol.hash
    assert old_form.conditions == one.conditions
    assert old_form.competitor == one.runs[0].protocol.competitor


def test_without_maps_the_fallback_says_which_entry_is_the_reason(measure: Callable[..., Path]) -> None:
    store = open_store(measure("bare", replicates=False, grids="none"))
    assert held(store, "image_auroc").design == "over images"
    found = held(store, "aupro_30")
    assert found.design == "over categories"
    assert "WinCLIP" in found.note
    assert "It keeps neither replicates nor maps." in found.note


def test_of_too_many_units_maps_are_left_alone(measure: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draws, "MOST_MEASURED_AGAIN", 3)
    store = open_store(measure("anew", replicates=False))
    found = held(store, "aupro_30")
    assert found.design == "over categories"
    assert "too many to make them anew" in found.note


def test_entries_that_judged_other_images_are_named(
    measure: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A unit with an unreadable image has draws of its own: image metrics go by the images in common."""
    store = open_store(measure("kept", replicates=True))
    run = next(run for run in store.runs if run.key.preset == "accurate" and run.key.shots == 0)
    other = {key: dataclasses.replace(one, design="another") for key, one in store.replicates(run.id, "bolt").items()}
    kept = store.replicates
    changed = (run.id, "bolt")
    monkeypatch.setattr(store, "replicates", lambda *unit: other if unit == changed else kept(*unit))
    found = held(store, "aupro_30")
    assert found.design == "over categories"
    assert "It judged other images of bolt than most." in found.note
    assert held(store, "image_auroc").design == "over images"


def test_on_the_bundled_run_pixel_metrics_tell_more_methods_apart_over_images_than_over_categories() -> None:
    store = open_store(Path(__file__).parents[2] / "results" / "bundled")
    one = next(one for one in comparisons(store) if one.dataset == "bundled_a")
    if not all(run.plan.get("replicates") for run in one.runs):
        pytest.skip("The bundled run was made before units kept replicates.")
    over = {
        design: differences_between(store, one.entries(0), "aupro_30", one.categories, design=design)
        for design in DESIGNS
    }
    clear = {design: sum(gap.clear for gap in found.found) for design, found in over.items()}
    assert len(over["over images"].found) == len(over["over categories"].found) >= 15
    assert clear["over images"] >= 10 > clear["over categories"]
