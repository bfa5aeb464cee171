from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from vlmad_core.metrics import image_auroc
from vlmad_core.prompt_lab import LabData, PromptBank, category_effects, dataset_effects, score_dataset
from vlmad_core.prompt_lab.effects import auroc_columns
from vlmad_core.prompts import PromptEnsemble, load_ensemble

ONE_PAIR = 0.003
"""A pair of images among 20 x 20 that only the rounding of the softmax tells apart."""

WORDS = PromptEnsemble(
    name="words",
    title="Words",
    source="",
    normal_states=("intact {}", "plain {}"),
    abnormal_states=("cracked {}", "strange {}", "odd {}"),
    templates=("{}", "a photo of a {}.", "one {}"),
)


def aurocs(data: LabData, ensemble: PromptEnsemble, bank: PromptBank) -> dict[str, float]:
    return {k: v for k, v in score_dataset(data, ensemble, bank).values("image_auroc").items() if v is not None}


def test_columns_are_aurocs():
    rng = np.random.default_rng(0)
    labels = rng.random(30) < 0.4
    scores = np.round(rng.normal(size=(30, 9)), 1)
    expected = [image_auroc(labels, column).value for column in scores.T]
    np.testing.assert_allclose(auroc_columns(labels, scores), expected, atol=1e-12)


def without(ensemble: PromptEnsemble, field: str, phrase: str) -> PromptEnsemble:
    return replace(ensemble, **{field: tuple(p for p in getattr(ensemble, field) if p != phrase)})


@pytest.mark.parametrize(
    ("kind", "field"),
    [("normal state", "normal_states"), ("abnormal state", "abnormal_states"), ("template", "templates")],
)
def test_what_a_phrase_adds_is_what_is_lost_without_it(made_up, telling_bank, kind, field):
    data = made_up(2)
    whole = aurocs(data, WORDS, telling_bank)
    effects = {e.phrase: e for e in category_effects(data.categories[1], WORDS, telling_bank) if e.kind == kind}
    means = {e.phrase: e for e in dataset_effects(data, WORDS, telling_bank) if e.kind == kind}
    assert tuple(effects) == tuple(means) == getattr(WORDS, field)
    for phrase in effects:
        less = aurocs(data, without(WORDS, field, phrase), telling_bank)
        assert effects[phrase].adds == pytest.approx(whole["part01"] - less["part01"], abs=ONE_PAIR)
        assert means[phrase].adds == pytest.approx(np.mean([whole[k] - less[k] for k in whole]), abs=ONE_PAIR)


def test_single_prompts_and_similarities(made_up, telling_bank):
    category = made_up(1).categories[0]
    effects = category_effects(category, WORDS, telling_bank)
    prompts = {e.phrase: e for e in effects if e.kind == "prompt"}
    assert len(prompts) == WORDS.count
    one = prompts["a photo of a cracked {}."]
    vector = telling_bank.embed([f"a photo of a cracked {category.noun}."])[0].numpy()
    images = category.features.image_embedding.numpy()
    cosines = images @ vector / np.linalg.norm(images, axis=1) / np.linalg.norm(vector)
    assert one.to_normal == pytest.approx(cosines[~category.labels].mean(), abs=1e-5)
    assert one.to_defective == pytest.approx(cosines[category.labels].mean(), abs=1e-5)
    assert one.leans > 0
    state = next(e for e in effects if e.phrase == "cracked {}")
    members = [prompts[t.replace("{}", "cracked {}")] for t in WORDS.templates]
    assert state.prompts == 3
    assert state.to_defective == pytest.approx(np.mean([m.to_defective for m in members]), abs=1e-6)


def test_the_words_that_tell_stand_out(made_up, telling_bank):
    effects = dataset_effects(made_up(3), WORDS, telling_bank)
    helpful = {effect.phrase: effect.adds for effect in effects if effect.kind != "prompt" and effect.adds}
    assert {"cracked {}", "intact {}"} <= set(sorted(helpful, key=lambda phrase: -helpful[phrase])[:3])
    assert min(helpful["cracked {}"], helpful["intact {}"]) > 0


def test_what_cannot_be_left_out_says_so(made_up, telling_bank):
    single = load_ensemble("single")
    effects = category_effects(made_up(1).categories[0], single, telling_bank)
    assert all(effect.adds is None and "only one of its kind" in effect.why_blank for effect in effects)
    data = made_up(1)
    normal_only = replace(data.categories[0], labels=np.zeros(40, bool))
    for effect in category_effects(normal_only, WORDS, telling_bank):
        assert effect.adds is None
        assert effect.leans is None
        assert "normal and defective" in effect.why_blank
