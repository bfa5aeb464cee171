from __future__ import annotations

import pytest
import torch
from transformers import CLIPTokenizer

from vlmad_core.training.bundled_model import IMAGE_SIZE, PATCH_SIZE, new_model
from vlmad_core.training.pair_bank import PairBank
from vlmad_core.training.views import (
    DEFECT_PIXELS,
    GRID,
    augment,
    draw_windows,
    embed_windows,
    first_tokens,
    project,
    run_blocks,
    view_states,
)


def test_augmentation_moves_mask_and_picture_together(few_pairs: PairBank) -> None:
    images, masks = few_pairs.take(range(4))
    # A white square on black, marked by the mask: wherever it goes, both must go.
    images = torch.zeros_like(images)
    masks = torch.zeros_like(masks)
    images[:, 1, 20:60, 90:130] = 255
    masks[:, 20:60, 90:130] = True
    batch = augment(images, masks, torch.Generator().manual_seed(0))
    assert batch.pixels.shape == (8, 3, IMAGE_SIZE, IMAGE_SIZE)
    assert batch.defect_counts.shape == (8, 1, GRID, GRID)
    assert float(batch.defect_counts[0::2].abs().max()) == 0
    bright = torch.nn.functional.avg_pool2d(batch.pixels.mean(dim=1, keepdim=True), PATCH_SIZE)
    shown = 0
    for index in range(1, 8, 2):
        inside = batch.defect_counts[index] == PATCH_SIZE**2
        outside = batch.defect_counts[index] == 0
        if not inside.any():
            continue  # zoomed past it
        shown += 1
        assert float(bright[index][inside].min()) > float(bright[index][outside].max())
    assert shown >= 2


def test_augmentation_follows_its_generator(few_pairs: PairBank) -> None:
    def again(seed: int) -> torch.Tensor:
        return augment(*few_pairs.take([0, 1]), torch.Generator().manual_seed(seed)).pixels

    assert torch.equal(again(3), again(3))
    assert not torch.equal(again(3), again(4))


@pytest.mark.parametrize("scale", [2, 3, 5, GRID])
def test_view_states_against_counting(scale: int) -> None:
    generator = torch.Generator().manual_seed(scale)
    counts = torch.randint(0, 5, (2, 1, GRID, GRID), generator=generator).float()
    counts *= torch.rand(2, 1, GRID, GRID, generator=generator) < 0.05
    states = view_states(counts, scale)
    for row in range(GRID - scale + 1):
        for col in range(GRID - scale + 1):
            inside = float(counts[0, 0, row : row + scale, col : col + scale].sum())
            expected = 1 if inside >= DEFECT_PIXELS else (0 if inside == 0 else -1)
            assert int(states[0, row, col]) == expected


def test_drawn_windows_hold_the_tokens_of_their_state() -> None:
    counts = torch.zeros(3, 1, GRID, GRID)
    counts[1, 0, 4, 5] = 64
    index, states = draw_windows(counts, 3, 40, torch.Generator().manual_seed(0))
    assert index.shape == (3, 40, 10)
    assert bool((index[..., 0] == 0).all())
    hit = (index[1, :, 1:] == 1 + 4 * GRID + 5).any(dim=-1)
    assert torch.equal(hit.long(), states[1])
    assert 10 <= int(hit.sum()) <= 35
    assert int(states[0].abs().sum()) == 0


def test_a_window_of_everything_is_the_image(small_tokenizer: CLIPTokenizer) -> None:
    model = new_model(small_tokenizer, 0).eval()
    pixels = torch.randn(2, 3, IMAGE_SIZE, IMAGE_SIZE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        tokens = first_tokens(model, pixels)
        everything = torch.arange(1 + GRID * GRID).expand(2, 1, -1)
        windows = embed_windows(model, tokens, everything)[:, 0]
        last, taps = run_blocks(model, tokens, (3,))
        expected = model.get_image_features(pixel_values=pixels).pooler_output
    torch.testing.assert_close(windows, project(model, last[:, 0]))
    # The training's bfloat16 blocks against plain float32.
    similarity = torch.cosine_similarity(windows, expected)
    assert float(similarity.min()) > 0.999
    assert taps[3].shape == tokens.shape
