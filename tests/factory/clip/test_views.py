from __future__ import annotations

import pytest
import torch
from transformers import CLIPTokenizer

from vlmad_core.factory.clip.model import IMAGE_SIZE, new_model
from vlmad_core.factory.clip.views import (
    DEFECT_PIXELS,
    GRID,
    draw_windows,
    embed_windows,
    first_tokens,
    project,
    run_blocks,
    view_states,
)


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
