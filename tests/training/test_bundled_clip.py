from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import CLIPModel, CLIPTokenizer

from vlmad_core.datasets.synthetic.pairs import DEFECT_PHRASES
from vlmad_core.training.bundled_clip import Recipe, Trainer
from vlmad_core.training.bundled_model import new_model, save_model
from vlmad_core.training.pair_bank import PairBank

RECIPE = Recipe(steps=4, pairs_per_batch=3, window_share=0.5, warmup=1, learning_rate=5e-4, seed=7)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def make_trainer(bank: PairBank, tokenizer: CLIPTokenizer, recipe: Recipe = RECIPE) -> Trainer:
    return Trainer(new_model(tokenizer, recipe.seed), tokenizer, bank, DEFECT_PHRASES, recipe)


def weights(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in trainer.model.state_dict().items()}


def test_resuming_gives_what_an_undisturbed_training_gives(
    few_pairs: PairBank, small_tokenizer: CLIPTokenizer, tmp_path: Path
) -> None:
    whole = make_trainer(few_pairs, small_tokenizer)
    whole.train(4)
    first = make_trainer(few_pairs, small_tokenizer)
    first.train(3)
    first.save(tmp_path / "checkpoint.pt")
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]
    second = make_trainer(few_pairs, small_tokenizer)
    second.load(tmp_path / "checkpoint.pt")
    assert second.step == 3
    second.train(4)
    expected = weights(whole)
    for name, value in weights(second).items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=0, msg=name)


def test_both_phases_report_their_losses(few_pairs: PairBank, small_tokenizer: CLIPTokenizer) -> None:
    seen: list[dict[str, float]] = []
    make_trainer(few_pairs, small_tokenizer).train(4, lambda step, losses: seen.append(losses))
    assert set(seen[0]) == {"captions", "states", "patches", "windows"}
    assert set(seen[3]) == {"captions", "states", "windows", "patches", "pixels"}
    assert all(torch.isfinite(torch.tensor(list(losses.values()))).all() for losses in seen)


def test_training_learns_to_tell_the_states_of_a_few_pairs(few_pairs: PairBank, small_tokenizer: CLIPTokenizer) -> None:
    recipe = Recipe(steps=20, pairs_per_batch=6, window_share=1.0, warmup=5, seed=1)
    losses: list[float] = []
    make_trainer(few_pairs, small_tokenizer, recipe).train(20, lambda step, values: losses.append(sum(values.values())))
    assert sum(losses[-5:]) < 0.97 * sum(losses[:5])


def test_early_blocks_learn_slower_once_whole_images_are_seen(
    few_pairs: PairBank, small_tokenizer: CLIPTokenizer
) -> None:
    trainer = make_trainer(few_pairs, small_tokenizer)
    trainer.train(1)
    early, late = (group["lr"] for group in trainer.optimizer.param_groups)
    assert early == late
    trainer.train(3)
    early, late = (group["lr"] for group in trainer.optimizer.param_groups)
    assert early == pytest.approx(RECIPE.early_rate * late)


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
