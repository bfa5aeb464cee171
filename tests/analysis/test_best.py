"""Lines that can't be told apart, from stored results; kinds of categories."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from vlmad_core.analysis.best import differences_between
from vlmad_core.analysis.comparable import comparisons
from vlmad_core.analysis.slices import category_kinds, of_kind
from vlmad_core.store.reader import open_store


@pytest.fixture(scope="module")
def path(made_up_store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_up_store(
        tmp_path_factory.mktemp("groups"),
        categories=("bolt", "felt", "nut", "pin"),
        methods=("clip_ac", "clip_cpe", "winclip"),
        shots=(0, 2),
        seeds=2,
        unfinished=(("clip_cpe", "nut"),),
    )


def test_every_finished_line_has_letters_and_an_unfinished_one_has_none(path: Path) -> None:
    store = open_store(path)
    (one,) = comparisons(store)
    found = differences_between(store, one.entries(), "image_auroc", one.categories)
    finished = {line.key for line in one.entries() if line.method != "clip_cpe"}
    assert set(found.letters) == finished
    assert found.design == "over images"
    assert found.tested
    assert "paired bootstrap over images" in found.note
    for pair in found.found:
        first, second = found.keys[pair.first], found.keys[pair.second]
        assert found.together(first, second) == (not pair.clear)


def test_pixel_metrics_without_replicates_are_compared_over_categories(path: Path) -> None:
    store = open_store(path)
    (one,) = comparisons(store)
    found = differences_between(store, one.entries(), "aupro_30", one.categories)
    assert found.design == "over categories"
    assert "clip_ac" not in {key[0] for key in found.letters}
    assert {("winclip", 0), ("winclip", 2)} == {(key[0], key[2]) for key in found.letters}
    assert "paired t-test over categories, 4 of them" in found.note
    assert "Over images WinCLIP" in found.note
    assert "no replicates, and its data set is not at hand" in found.note


def test_one_category_is_too_few_for_a_pixel_metric(path: Path) -> None:
    store = open_store(path)
    (one,) = comparisons(store)
    found = differences_between(store, one.entries(), "aupro_30", ("bolt",))
    assert not found.letters
    assert not found.tested
    assert "1 category is too few" in found.note


def test_a_line_alone_has_nothing_to_be_compared_with(path: Path) -> None:
    store = open_store(path)
    (one,) = comparisons(store)
    found = differences_between(store, one.entries()[:1], "image_auroc", one.categories)
    assert not found.tested
    assert "nothing to compare" in found.note


def test_kinds_come_from_the_run_and_else_from_what_is_known(path: Path) -> None:
    store = open_store(path)
    (one,) = comparisons(store)
    assert category_kinds(one.runs) == {}
    run = one.runs[0]
    stated = {"bolt": "object", "felt": "texture", "nut": "something else"}
    provenance = dataclasses.replace(run.provenance, data={**run.provenance.data, "category_kinds": stated})
    kinds = category_kinds([dataclasses.replace(run, provenance=provenance)])
    assert kinds == {"bolt": "object", "felt": "texture"}
    assert of_kind(one.categories, kinds, "texture") == ("felt",)
    bundled = dataclasses.replace(run, key=dataclasses.replace(run.key, dataset="bundled_a"))
    units = dict(zip(("wood", "hex_nut"), run.units.values(), strict=False))
    assert category_kinds([dataclasses.replace(bundled, units=units)]) == {"wood": "texture", "hex_nut": "object"}
    visa = dataclasses.replace(run, key=dataclasses.replace(run.key, dataset="VisA"))
    units = dict(zip(("candle", "pcb1"), run.units.values(), strict=False))
    assert category_kinds([dataclasses.replace(visa, units=units)]) == {"candle": "object", "pcb1": "object"}
