"""From scores of windows to scores of patches (WinCLIP, section 3.2, harmonic averaging)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from vlmad_core.errors import MethodError


def window_mean(values: Tensor, grid: tuple[int, int], scale: int) -> Tensor:
    """For each patch the mean over all windows that cover it.

    Args:
        values: [N, W], one value per k x k window, row by row; may hold infinities.
        grid: Patch grid (rows, columns).
        scale: Side k of the windows.

    Returns:
        [N, rows, columns], the dtype of ``values``.

    Raises:
        MethodError: If W is not the number of such windows.
    """
    rows, columns = grid
    lattice = (rows - scale + 1, columns - scale + 1)
    if values.ndim != 2 or values.shape[1] != lattice[0] * lattice[1]:
        raise MethodError(
            f"{tuple(values.shape)} values don't fit the {lattice[0]} x {lattice[1]} windows of scale {scale}.",
            "Give one value per window and image.",
        )
    windows = values.reshape(-1, 1, *lattice)
    covering = F.pad(windows.new_ones(1, 1, *lattice), (scale - 1,) * 4)
    # Average pooling over the padded lattice sums the windows that cover a patch, times a constant that the
    # same pooling over ones cancels. Pooling only adds, so an infinity stays one and never becomes NaN.
    total = F.avg_pool2d(F.pad(windows, (scale - 1,) * 4), scale, stride=1)
    return (total / F.avg_pool2d(covering, scale, stride=1))[:, 0]


def harmonic_window_mean(values: Tensor, grid: tuple[int, int], scale: int) -> Tensor:
    """For each patch the harmonic mean over the windows that cover it; 0 if any of them is 0.

    Args:
        values: [N, W], not negative.
        grid: Patch grid (rows, columns).
        scale: Side k of the windows.

    Returns:
        [N, rows, columns], float64: the reciprocals of small distances need the range.
    """
    return window_mean(values.double().reciprocal(), grid, scale).reciprocal()
