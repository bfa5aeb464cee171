from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F
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
        windows = embed_windows(model, tokens, everything, "float32")[:, 0]
        last, taps = run_blocks(model, tokens, "float32", (3,))
        expected = model.get_image_features(pixel_values=pixels).pooler_output
    torch.testing.assert_close(windows, project(model, last[:, 0]))
    torch.testing.assert_close(windows, F.normalize(expected, dim=-1), rtol=1e-4, atol=1e-5)
    assert taps[3].shape == tokens.shape


def test_blocks_in_bfloat16_are_near_those_in_float32(small_tokenizer: CLIPTokenizer) -> None:
    model = new_model(small_tokenizer, 0).eval()
    pixels = torch.randn(2, 3, IMAGE_SIZE, IMAGE_SIZE, generator=torch.Generator().manual_seed(0))
    index, _ = draw_windows(torch.zeros(2, 1, GRID, GRID), 2, 3, torch.Generator().manual_seed(0))
    with torch.no_grad():
        tokens = first_tokens(model, pixels)
        half, whole = (embed_windows(model, tokens, index, kind) for kind in ("bfloat16", "float32"))
        few = tokens[:, :5]
        halves, wholes = (run_blocks(model, few, kind, (3,)) for kind in ("bfloat16", "float32"))
    for rough, exact in ((half, whole), (halves[0], wholes[0]), (halves[1][3], wholes[1][3])):
        assert rough.dtype == torch.float32
        assert not torch.equal(rough, exact)
        assert float(torch.cosine_similarity(rough, exact, dim=-1).min()) > 0.999
