from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vlmad_core.backbones.windows import window_indices
from vlmad_core.errors import MethodError
from vlmad_core.methods.winclip import harmonic_window_mean, text_map, window_mean


def covering(grid, scale, stride=1):
    """For each patch the windows that cover it, by plain loops."""
    rows, columns = grid

    def starts(length):
        found = [i for i in range(length - scale + 1) if i % stride == 0]
        return found if found[-1] == length - scale else [*found, length - scale]

    places = [(i, j) for i in starts(rows) for j in starts(columns)]
    return [
        [n for n, (i, j) in enumerate(places) if i <= r < i + scale and j <= c < j + scale]
        for r in range(rows)
        for c in range(columns)
    ]


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 6), st.integers(1, 7), st.integers(1, 4), st.integers(1, 4), st.integers(0, 10_000))
def test_window_means_are_the_literal_loops_on_any_grid(rows, columns, scale, stride, seed):
    if scale > min(rows, columns) or stride > scale:
        return
    count = len(window_indices((rows, columns), scale, stride))
    values = torch.rand(2, count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 1e-3
    mean = window_mean(values, (rows, columns), scale, stride).flatten(1)
    harmonic = harmonic_window_mean(values, (rows, columns), scale, stride).flatten(1)
    for patch, windows in enumerate(covering((rows, columns), scale, stride)):
        chosen = values[:, windows]
        torch.testing.assert_close(mean[:, patch], chosen.mean(dim=1))
        torch.testing.assert_close(harmonic[:, patch], len(windows) / (1.0 / chosen).sum(dim=1))


def test_coverage_counts_of_the_papers_grid():
    assert len(window_indices((15, 15), 2)) == 196
    assert len(window_indices((15, 15), 3)) == 169
    assert {len(windows) for windows in covering((15, 15), 2)} == {1, 2, 4}
    assert {len(windows) for windows in covering((15, 15), 3)} == {1, 2, 3, 4, 6, 9}
    for side in (15, 16):
        assert len(window_indices((side, side), 3, 2)) == {15: 49, 16: 64}[side]
        assert {len(windows) for windows in covering((side, side), 3, 2)} == {1, 2, 4}, "as the card says"


def test_window_order_is_row_by_row():
    assert window_indices((3, 4), 2).tolist()[:4] == [[0, 1, 4, 5], [1, 2, 5, 6], [2, 3, 6, 7], [4, 5, 8, 9]]


def test_harmonic_mean_is_zero_where_a_member_is():
    values = torch.ones(1, 4)
    values[0, 0] = 0.0
    result = harmonic_window_mean(values, (3, 3), 2)[0]
    assert result[0, 0] == result[1, 1] == 0.0
    assert result[2, 2] == 1.0
    assert torch.isfinite(result).all()
    strided = harmonic_window_mean(torch.tensor([[0.0, 1.0, 1.0, 1.0]]), (4, 4), 3, 2)[0]
    assert strided[2, 2] == 0.0
    assert strided[3, 3] == 1.0


def test_wrong_number_of_windows():
    with pytest.raises(MethodError, match="2 x 2 windows of scale 2"):
        window_mean(torch.zeros(1, 5), (3, 3), 2)


@pytest.mark.parametrize("image_scale", [True, False])
@pytest.mark.parametrize("grid", [(4, 4), (3, 5)])
def test_odds_form_is_the_harmonic_mean_of_scores(grid, image_scale):
    generator = torch.Generator().manual_seed(0)
    logits = {k: torch.randn(2, (grid[0] - k + 1) * (grid[1] - k + 1), generator=generator) * 3 for k in (2, 3)}
    image = torch.randn(2, generator=generator)
    found = text_map(logits, image, grid, image_scale).flatten(1)
    for patch in range(grid[0] * grid[1]):
        scales = [
            len(covering(grid, k)[patch]) / (1.0 / logits[k][:, covering(grid, k)[patch]].sigmoid()).sum(dim=1)
            for k in (2, 3)
        ]
        if image_scale:
            scales.append(image.sigmoid())
        expected = len(scales) / sum(1.0 / scale for scale in scales)
        torch.testing.assert_close(found[:, patch], expected, atol=2e-6, rtol=1e-5)


def test_extreme_logits_stay_finite():
    logits = {2: torch.full((1, 4), -200.0)}
    found = text_map(logits, torch.tensor([-200.0]), (3, 3), image_scale=True)
    assert torch.isfinite(found).all()
    assert (found >= 0).all()
