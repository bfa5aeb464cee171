from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

from vlmad_core.backbones import load_backbone
from vlmad_core.errors import BackboneError
from vlmad_core.factory.clip import model
from vlmad_core.factory.clip.model import bundled_config, load_model, new_model, save_model
from vlmad_core.factory.clip.recipe import Recipe
from vlmad_core.factory.clip.trainer import Trainer
from vlmad_core.factory.clip.view_bank import ViewBank
from vlmad_core.factory.renderer.pairs import DEFECT_PHRASES

RECIPE = Recipe(
    distil_steps=2,
    caption_steps=1,
    refine_steps=1,
    first_pairs=4,
    views_per_step=4,
    pairs_per_step=3,
    described_per_step=1,
    free_per_step=2,
    warmup=1,
    learning_rate=5e-4,
    seed=7,
)

pytestmark = pytest.mark.usefixtures("one_thread")
DESCRIBED = {"captions", "states", "pairs", "windows", "dense"}


def narrow_config(vocabulary: int) -> CLIPConfig:
    """As deep as the bundled CLIP, and a quarter as wide."""
    config = bundled_config(vocabulary)
    config.vision_config.hidden_size, config.vision_config.intermediate_size = 48, 192
    return config


def make_trainer(bank: ViewBank, tokenizer: CLIPTokenizer, recipe: Recipe = RECIPE) -> Trainer:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model, "bundled_config", narrow_config)
        narrow = new_model(tokenizer, recipe.seed)
    return Trainer(narrow, tokenizer, bank, DEFECT_PHRASES, recipe)


def weights(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in trainer.model.state_dict().items()}


def test_resuming_gives_what_an_undisturbed_training_gives(
    few_views: ViewBank, small_tokenizer: CLIPTokenizer, tmp_path: Path
) -> None:
    whole = make_trainer(few_views, small_tokenizer)
    whole.train(4)
    first = make_trainer(few_views, small_tokenizer)
    first.train(3)
    first.save(tmp_path / "checkpoint.pt")
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]
    second = make_trainer(few_views, small_tokenizer)
    second.load(tmp_path / "checkpoint.pt")
    assert second.step == 3
    second.train(4)
    expected = weights(whole)
    for name, value in weights(second).items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=0, msg=name)


def test_a_training_goes_on_in_the_precision_it_began_in(
    few_views: ViewBank, small_tokenizer: CLIPTokenizer, tmp_path: Path
) -> None:
    make_trainer(few_views, small_tokenizer, replace(RECIPE, precision="bfloat16")).save(tmp_path / "checkpoint.pt")
    again = make_trainer(few_views, small_tokenizer, replace(RECIPE, precision="float32"))
    again.load(tmp_path / "checkpoint.pt")
    assert again.recipe == replace(RECIPE, precision="bfloat16")


def test_both_phases_report_their_losses(few_views: ViewBank, small_tokenizer: CLIPTokenizer) -> None:
    seen: list[dict[str, float]] = []
    make_trainer(few_views, small_tokenizer).train(4, lambda step, losses: seen.append(losses))
    assert set(seen[0]) == {"features", "likeness"}
    assert set(seen[3]) == {"features", "likeness", *DESCRIBED}
    assert all(torch.isfinite(torch.tensor(list(losses.values()))).all() for losses in seen)


def test_without_an_anchor_captions_are_alone(few_views: ViewBank, small_tokenizer: CLIPTokenizer) -> None:
    seen: list[dict[str, float]] = []
    trainer = make_trainer(few_views, small_tokenizer, replace(RECIPE, anchor_weight=0.0))
    trainer.train(4, lambda step, losses: seen.append(losses))
    assert set(seen[0]) == {"features", "likeness"}
    assert set(seen[3]) == DESCRIBED


def test_distillation_comes_nearer_to_the_teacher(few_views: ViewBank, small_tokenizer: CLIPTokenizer) -> None:
    recipe = Recipe(24, 0, 0, views_per_step=8, warmup=3, seed=1)
    seen: list[dict[str, float]] = []
    make_trainer(few_views, small_tokenizer, recipe).train(24, lambda step, losses: seen.append(losses))
    for name in ("features", "likeness"):
        assert sum(losses[name] for losses in seen[-4:]) < 0.9 * sum(losses[name] for losses in seen[:4])


def test_captions_learn_to_tell_the_states_of_a_few_pairs(few_views: ViewBank, small_tokenizer: CLIPTokenizer) -> None:
    recipe = Recipe(0, 20, 0, pairs_per_step=6, free_per_step=2, warmup=5, seed=1)
    seen: list[dict[str, float]] = []
    make_trainer(few_views, small_tokenizer, recipe).train(20, lambda step, losses: seen.append(losses))
    captions = [sum(losses[name] for name in DESCRIBED) for losses in seen]
    assert sum(captions[-5:]) < 0.97 * sum(captions[:5])


def test_text_is_untouched_until_captions_begin(few_views: ViewBank, small_tokenizer: CLIPTokenizer) -> None:
    trainer = make_trainer(few_views, small_tokenizer)
    before = weights(trainer)
    trainer.train(2)
    between = weights(trainer)
    trainer.train(4)
    after = weights(trainer)
    text, vision = "text_model.final_layer_norm.weight", "vision_model.encoder.layers.0.mlp.fc1.weight"
    assert torch.equal(between[text], before[text])
    assert not torch.equal(after[text], between[text])
    assert not torch.equal(between[vision], before[vision])


def test_the_seed_decides_the_initial_weights(small_tokenizer: CLIPTokenizer) -> None:
    def patches(seed: int) -> Any:
        return new_model(small_tokenizer, seed).vision_model.embeddings.patch_embedding.weight.detach()

    assert torch.equal(patches(1), patches(1))
    assert not torch.equal(patches(1), patches(2))
    assert float(patches(1).std()) == pytest.approx(0.05, rel=0.02)


def test_saved_weights_load_by_plain_clip_model(small_tokenizer: CLIPTokenizer, tmp_path: Path) -> None:
    model = new_model(small_tokenizer, 0).eval()
    save_model(model, small_tokenizer, tmp_path)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 16e6
    again = CLIPModel.from_pretrained(tmp_path, dtype=torch.float32).eval()
    pixels = torch.randn(2, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    words = small_tokenizer(["a photo of a flawless object.", "a cut"], padding=True, return_tensors="pt")
    with torch.no_grad():
        one, two = model(pixel_values=pixels, **words), again(pixel_values=pixels, **words)
    torch.testing.assert_close(two.image_embeds, one.image_embeds, atol=5e-3, rtol=0)
    torch.testing.assert_close(two.text_embeds, one.text_embeds, atol=5e-3, rtol=0)


def test_a_saved_model_can_be_gone_on_from(few_views: ViewBank, small_tokenizer: CLIPTokenizer, tmp_path: Path) -> None:
    save_model(new_model(small_tokenizer, 3), small_tokenizer, tmp_path)
    model, tokenizer, weights_hash = load_model(tmp_path)
    assert tokenizer("a cut")["input_ids"] == small_tokenizer("a cut")["input_ids"]
    assert weights_hash == load_backbone(str(tmp_path)).info.weights_hash
    trainer = Trainer(
        model, tokenizer, few_views, DEFECT_PHRASES, replace(RECIPE, distil_steps=0, caption_steps=0, refine_steps=2)
    )
    before = weights(trainer)
    trainer.train(2)
    after = weights(trainer)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert {"visual_projection.weight", "text_model.encoder.layers.0.mlp.fc1.weight"} <= changed
    assert load_model(Path("bundled"))[2] == load_backbone("bundled").info.weights_hash


def test_a_model_of_another_shape_is_refused(small_tokenizer: CLIPTokenizer, tmp_path: Path) -> None:
    config = bundled_config(len(small_tokenizer))
    config.vision_config.num_hidden_layers = 2
    save_model(CLIPModel(config), small_tokenizer, tmp_path)
    with pytest.raises(BackboneError, match="num_hidden_layers of its vision_config is 2, not 6"):
        load_model(tmp_path)


def test_pairs_held_back_are_seen_in_refinement_only(
    few_views: ViewBank, small_tokenizer: CLIPTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[set[int]] = []
    plain_take = ViewBank.take

    def take(bank: ViewBank, rows: Any) -> Any:
        seen.append({int(row) for row in rows})
        return plain_take(bank, rows)

    recipe = Recipe(
        1, 4, 8, first_pairs=4, views_per_step=4, pairs_per_step=3, described_per_step=1, free_per_step=4, warmup=1
    )
    trainer = make_trainer(few_views, small_tokenizer, recipe)
    monkeypatch.setattr(ViewBank, "take", take)
    trainer.train(13)
    held_back = {int(row) for row in (*few_views.pairs[4:].ravel(), *few_views.free[12:])}
    assert not held_back & set().union(*seen[:5])
    assert held_back & set().union(*seen[5:])


def test_inventions_described_only_are_seen_in_turn(few_views: ViewBank, small_tokenizer: CLIPTokenizer) -> None:
    recipe = Recipe(0, 0, 4, pairs_per_step=3, described_per_step=2)
    trainer = make_trainer(few_views, small_tokenizer, recipe)
    seen = []
    for trainer.step in range(4):
        drawn, taught, _ = trainer._draw(np.random.default_rng(trainer.step))
        assert taught == 1
        assert drawn[0] < few_views.taught
        seen.append(list(drawn[taught:]))
    assert seen == [[8, 9], [10, 11], [8, 9], [10, 11]]
