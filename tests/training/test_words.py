from __future__ import annotations

import pytest
import torch
from transformers import CLIPTokenizer

from vlmad_core.datasets.synthetic.pairs import DEFECT_PHRASES
from vlmad_core.training.bundled_model import new_model
from vlmad_core.training.view_bank import ViewBank
from vlmad_core.training.words import WordRecipe, learn_words

RECIPE = WordRecipe(steps=40, pairs=12, pairs_per_step=12, learning_rate=2e-3, warmup=4, seed=2)


def test_words_are_learnt_and_the_vision_tower_stands_still(
    few_views: ViewBank, small_tokenizer: CLIPTokenizer
) -> None:
    model = new_model(small_tokenizer, 0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    seen: list[dict[str, float]] = []
    learn_words(model, small_tokenizer, few_views, DEFECT_PHRASES, RECIPE, lambda step, losses: seen.append(losses))
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed
    assert all(name.startswith(("text_", "logit_scale")) for name in changed)
    assert len(seen) == 40
    assert sum(losses["captions"] for losses in seen[-5:]) < 0.9 * sum(losses["captions"] for losses in seen[:5])


@pytest.mark.usefixtures("one_thread")
def test_the_phase_depends_on_its_recipe_only(few_views: ViewBank, small_tokenizer: CLIPTokenizer) -> None:
    def text(trained_with: int) -> torch.Tensor:
        model = new_model(small_tokenizer, 0)
        torch.manual_seed(trained_with)
        model.text_model.embeddings.token_embedding.weight.data.normal_()
        short = WordRecipe(steps=2, pairs=8, pairs_per_step=4, warmup=1)
        learn_words(model, small_tokenizer, few_views, DEFECT_PHRASES, short)
        return model.text_projection.weight.detach()

    # Whatever the text tower was before is gone.
    assert torch.equal(text(1), text(2))


def test_no_steps_leave_the_text_as_it_is(few_views: ViewBank, small_tokenizer: CLIPTokenizer) -> None:
    model = new_model(small_tokenizer, 0)
    before = model.text_projection.weight.detach().clone()
    learn_words(model, small_tokenizer, few_views, DEFECT_PHRASES, WordRecipe(steps=0))
    assert torch.equal(model.text_projection.weight, before)


def test_the_rate_rises_then_falls_to_zero() -> None:
    recipe = WordRecipe(steps=100, warmup=10, learning_rate=1.0)
    assert recipe.rate(0) == pytest.approx(0.1)
    assert recipe.rate(10) > 0.95
    assert recipe.rate(99) < 0.001
