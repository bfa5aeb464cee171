from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.device import moved, strict_device
from vlmad_core.analysis.statistics import compare_over_categories
from vlmad_core.backbones import load_backbone
from vlmad_core.cli import main
from vlmad_core.engine.session import Session
from vlmad_core.errors import BackboneError, MethodError
from vlmad_core.prompt_lab import (
    LAB_METHODS,
    PromptBank,
    all_prompts,
    compare_results,
    lab_request,
    load_lab_data,
    score_dataset,
)
from vlmad_core.prompt_lab.scoring import PIXEL_METRICS, lab_method, score_category
from vlmad_core.prompts import load_ensemble
from vlmad_core.prompts.prototypes import embed_ensemble
from vlmad_core.store.reader import open_store

STATES = load_ensemble("states")
OTHER = replace(STATES, name="other", abnormal_states=("cracked {}", "{} with a hole"))


def test_numbers_are_those_of_runs(data, bank, widgets, tiny_clip, tmp_path):
    plan = ["precompute", "--dataset", str(widgets.root), "--method", *LAB_METHODS, "--backbone", str(tiny_clip)]
    assert main([*plan, "--store", str(tmp_path), "--no-thumbnails"]) == 0
    store = open_store(tmp_path)
    assert {run.key.method for run in store.runs} == set(LAB_METHODS)
    for run in store.runs:
        result = score_dataset(data, load_ensemble("winclip"), bank, run.key.method)
        rows = store.metrics([run.id])
        rows = rows[rows["eval_size"].isna() | (rows["eval_size"] == 256)]
        stored = {(row["category"], row["metric"]): row["value"] for row in rows.to_dict("records")}
        for category in data.categories:
            found = result.categories[category.name]
            images = store.images(run.id, category.name).set_index("image_id")["score"]
            np.testing.assert_allclose(found.scores, images[list(category.image_ids)], atol=1e-6)
            for metric, value in found.values.items():
                assert value.value == pytest.approx(stored[category.name, metric], abs=1e-4)


@pytest.mark.parametrize("name", LAB_METHODS)
def test_on_a_device_features_and_prompts_stay_there(data, bank, widgets, tiny_clip, name):
    method = lab_method(name)
    here, rule = data.categories[0], method.settings.text_average
    expected = score_category(here, bank.classes(STATES, here.noun, rule), method, pixel_draws=True)
    with strict_device() as device:
        backbone = moved(load_backbone(str(tiny_clip)))
        there = load_lab_data(widgets, Session(backbone), lab_request(backbone.info, name)).categories[0]
        text = PromptBank(backbone.encode_text_shared).classes(STATES, there.noun, rule)
        found = score_category(there, text, method, pixel_draws=True)
    assert there.features.device == text.prototypes.device == device
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)
    for metric, value in found.values.items():
        assert value.value == pytest.approx(expected.values[metric].value, abs=1e-3)


def test_only_new_strings_pass_the_tower(data, backbone):
    seen: list[str] = []

    def encode(prompts):
        seen.extend(prompts)
        return backbone.encode_text(prompts)

    bank = PromptBank(encode)
    first = score_dataset(data, STATES, bank)
    nouns = [category.noun for category in data.categories]
    assert sorted(seen) == sorted(all_prompts(STATES, nouns))
    assert first.new_prompts == len(seen)
    seen.clear()
    edited = replace(STATES, abnormal_states=(*STATES.abnormal_states, "rusty {}"))
    assert score_dataset(data, edited, bank).new_prompts == len(nouns)
    assert sorted(seen) == sorted(f"a photo of a rusty {noun}." for noun in nouns)
    assert score_dataset(data, STATES, bank).new_prompts == 0


def test_the_bank_forgets_the_oldest_and_keeps_nothing_of_a_failure(backbone):
    bank = PromptBank(backbone.encode_text, most=3)
    bank.embed(["a", "b", "c"])
    bank.embed(["a"])
    bank.embed(["d"])
    assert bank.missing(["a", "b", "c", "d"]) == ("b",)
    with pytest.raises(BackboneError):
        bank.embed(["e", "x" * 500])
    assert bank.missing(["e"]) == ("e",)
    assert bank.embed(["1", "2", "3", "4", "1"]).shape[0] == 5
    assert len(bank) == 4


@pytest.mark.parametrize("rule", ["each", "mean"])
def test_the_bank_makes_the_prototypes_of_the_methods(bank, backbone, rule):
    ours, theirs = bank.classes(STATES, "nut", rule), embed_ensemble(backbone, STATES, "nut", rule)
    assert (ours.prompts, ours.classes) == (theirs.prompts, theirs.classes)
    torch.testing.assert_close(ours.prototypes, theirs.prototypes, rtol=0, atol=1e-6)


def test_without_masks_there_are_image_metrics_and_reasons(made_up, telling_bank):
    data = made_up(2)
    result = score_dataset(data, STATES, telling_bank, "winclip")
    for category in result.categories.values():
        assert category.values["image_auroc"].value is not None
        assert all(category.values[name].reason == "made up" for name in PIXEL_METRICS)
    assert result.mean("pixel_auroc") is None


def test_other_methods_are_refused():
    with pytest.raises(MethodError, match="clip_cpe, winclip"):
        lab_method("musc")


def test_differences_of_image_metrics_have_paired_intervals_over_images(data, bank):
    base, result = score_dataset(data, STATES, bank), score_dataset(data, OTHER, bank)
    changes = compare_results(result, base, "image_auroc")
    assert changes.design == "over images"
    for name, change in changes.categories.items():
        assert change.gap.value == pytest.approx(result.values("image_auroc")[name] - base.values("image_auroc")[name])
        assert change.gap.low <= change.gap.value <= change.gap.high
    assert changes.mean.gap.value == pytest.approx(result.mean("image_auroc") - base.mean("image_auroc"))
    same = compare_results(result, result, "image_auroc")
    assert (same.mean.gap.value, same.mean.gap.low, same.mean.gap.high) == (0.0, 0.0, 0.0)
    assert not same.mean.gap.clear


def test_pixel_metrics_have_intervals_over_categories_unless_drawn(data, bank):
    base, result = score_dataset(data, STATES, bank), score_dataset(data, OTHER, bank)
    changes = compare_results(result, base, "pixel_auroc")
    assert changes.design == "over categories"
    assert all(change.gap.low is None for change in changes.categories.values())
    gaps = [change.gap.value for change in changes.categories.values()]
    assert np.mean(gaps) == pytest.approx(changes.mean.gap.value)
    (expected,) = compare_over_categories([result.values("pixel_auroc"), base.values("pixel_auroc")])
    assert changes.mean.gap == expected
    drawn = [score_dataset(data, e, bank, pixel_draws=True) for e in (OTHER, STATES)]
    changes = compare_results(*drawn, "aupro_30")
    assert changes.design == "over images"
    assert changes.mean.value == pytest.approx(result.mean("aupro_30"))
    assert all(change.gap.low <= change.gap.value <= change.gap.high for change in changes.categories.values())
