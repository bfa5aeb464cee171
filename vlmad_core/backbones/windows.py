"""WinCLIP's windows: which patches they hold, and the tower run over each of them by itself (section 3.2).

Windows are short sequences and there are many, so this is where most of a run's time goes. What is saved is exact:
what the first block computes of single tokens is computed once for all windows, of the last block only the class token
is computed, and the windows pass in parts whose activations stay in the processor's cache.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from vlmad_core.backbones.devices import to_device
from vlmad_core.backbones.vision import FeatureReader, Grid, Key, TowerPass
from vlmad_core.errors import BackboneError
from vlmad_core.libraries import F, torch

if TYPE_CHECKING:
    from torch import Tensor

CACHE_BYTES = 4 * 2**20
"""Bytes per thread that the widest activations of the windows on their way through a block may take on a CPU: they are
then still in its cache when they are read."""

MOST_CACHE_BYTES = 24 * 2**20
"""The same for all threads. Up to 32 MB the C library gives memory again that was used before; larger blocks come from
the system each time, page by page, which takes longer than what is computed in them."""


class WindowReader(FeatureReader):
    """Runs the tower over every window by itself: class token and the window's patches, the others dropped."""

    def __init__(self, tower: TowerPass, keys: Collection[Key]) -> None:
        self._tower = tower
        # By side and stride; that there are such windows is seen to before the first block.
        self._keys = sorted(keys, key=side_and_stride)
        for key in self._keys:
            window_places(tower.grid, *side_and_stride(key))

    def tensors(self) -> Mapping[Key, Tensor]:
        """Key -> [N, W, e]."""
        found: dict[Key, Tensor] = {}
        for key in self._keys:
            side, stride = side_and_stride(key)
            if stride > 1 and side in found:  # windows with a stride are some of those without
                places = to_device(window_places(self._tower.grid, side, stride), found[side].device)
                found[key] = found[side][:, places]
            else:
                found[key] = self._embedded(window_indices(self._tower.grid, side, stride))
        return found

    def _embedded(self, index: Tensor) -> Tensor:
        tokens, layers = self._tower.tokens, self._tower.layers
        count, length = index.shape[0], 1 + index.shape[1]
        index = to_device(torch.cat([torch.zeros(count, 1, dtype=torch.long), index + 1], dim=1), tokens.device)
        sequences = len(tokens) * count
        hidden_tokens = tokens.to(next(layers.parameters()).dtype)
        chunk = max(1, min(self._tower.token_budget, _cached_tokens(layers[0], hidden_tokens)) // length)
        entering = _Projected.of(layers[0], hidden_tokens)
        parts = []
        for first in range(0, sequences, chunk):
            number = torch.arange(first, min(first + chunk, sequences), device=tokens.device)
            # One gather per chunk: sequence i is window i mod W of image i div W.
            where = (number // count)[:, None], index[number % count]
            hidden, projected = hidden_tokens[where], entering.at(where)
            for layer, following in pairwise(layers):
                hidden = _block(layer, hidden, projected)
                projected = _Projected.of(following, hidden, asking=1 if following is layers[-1] else None)
            # Of the last block only the class token is read: the other tokens serve as its keys and values.
            hidden = _block(layers[-1], hidden[:, :1], projected.asked_by(1))
            parts.append(self._tower.project(hidden[:, 0].float()))
        return torch.cat(parts).reshape(len(tokens), count, -1)


@dataclass(frozen=True)
class _Projected:
    """Queries [B, Q, d] of the first tokens, keys and values [B, T, d] of all tokens of a block.

    They are functions of single tokens, so those of the first block are the same in every window: computed once.
    """

    queries: Tensor
    keys: Tensor
    values: Tensor

    @classmethod
    def of(cls, layer: Any, hidden: Tensor, asking: int | None = None) -> _Projected:
        attention, normed = layer.self_attn, layer.layer_norm1(hidden)
        return cls(attention.q_proj(normed[:, :asking]), attention.k_proj(normed), attention.v_proj(normed))

    def at(self, where: tuple[Tensor, Tensor]) -> _Projected:
        return _Projected(self.queries[where], self.keys[where], self.values[where])

    def asked_by(self, first: int) -> _Projected:
        """For the first tokens only."""
        return _Projected(self.queries[:, :first], self.keys, self.values)


def _block(layer: Any, hidden: Tensor, projected: _Projected) -> Tensor:
    """The rest of a block, for the tokens [B, T, d] that queries are of."""
    attention = layer.self_attn

    def heads(tokens: Tensor) -> Tensor:
        return tokens.view(*tokens.shape[:2], attention.num_heads, -1).transpose(1, 2)

    queries, keys, values = (heads(one) for one in (projected.queries, projected.keys, projected.values))
    with _kernel(hidden.device):
        mixed = F.scaled_dot_product_attention(queries, keys, values, scale=attention.scale)
    # Sums are taken in place of the product, which nobody else holds.
    hidden = attention.out_proj(mixed.transpose(1, 2).reshape(hidden.shape)).add_(hidden)
    out: Tensor = layer.mlp(layer.layer_norm2(hidden)).add_(hidden)
    return out


def _kernel(device: torch.device) -> AbstractContextManager[object]:
    """How attention is computed: on cards not with the flash kernel, the slowest on sequences as short as these."""
    if device.type != "cuda":
        return nullcontext()
    from torch.nn.attention import SDPBackend, sdpa_kernel

    return sdpa_kernel([SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH])


def _cached_tokens(layer: Any, tokens: Tensor) -> int:
    """How many tokens pass a CPU's blocks at once for their activations to stay in its cache; no bound elsewhere."""
    if tokens.device.type != "cpu":
        return 2**62
    held = min(MOST_CACHE_BYTES, CACHE_BYTES * torch.get_num_threads())
    return int(held // (layer.mlp.fc1.out_features * tokens.element_size()))


def window_key(side: int, stride: int = 1) -> int | tuple[int, int]:
    """How the feature table names windows: by their side, and by their stride where it is not 1.

    >>> window_key(3), window_key(3, 2)
    (3, (3, 2))
    """
    return side if stride == 1 else (side, stride)


def side_and_stride(key: Key) -> tuple[int, int]:
    """The side of a key's windows and their stride, in patches; see ``window_key``."""
    assert key is not None
    return (key, 1) if isinstance(key, int) else (key[0], key[1])


def window_starts(length: int, side: int, stride: int = 1) -> tuple[int, ...]:
    """Where windows begin along one axis: every ``stride`` patches, and one flush with the far border.

    >>> window_starts(15, 3, 2), window_starts(16, 3, 2)
    ((0, 2, 4, 6, 8, 10, 12), (0, 2, 4, 6, 8, 10, 12, 13))
    """
    last = length - side
    return tuple(sorted({*range(0, last + 1, stride), last}))


@lru_cache(maxsize=64)
def window_places(grid: Grid, side: int, stride: int) -> Tensor:
    """Which of the windows with stride 1 those with a stride are: [W] int64, in order.

    Raises:
        BackboneError: If the window does not fit into the grid, or the stride leaves patches out.
    """
    rows, columns = grid
    if not 1 <= side <= min(rows, columns):
        raise BackboneError(
            f"A window of {side} x {side} patches does not fit into a grid of {rows} x {columns}.",
            f"Choose window scales between 1 and {min(rows, columns)}.",
        )
    if not 1 <= stride <= side:
        raise BackboneError(
            f"Windows of {side} x {side} patches with a stride of {stride} leave patches out.",
            f"Choose a stride between 1 and {side}.",
        )
    down, across = (torch.tensor(window_starts(length, side, stride)) for length in grid)
    return (down[:, None] * (columns - side + 1) + across).flatten()


@lru_cache(maxsize=64)
def window_indices(grid: Grid, side: int, stride: int = 1) -> Tensor:
    """Which patches each k x k window covers (WinCLIP, section 3.2).

    Args:
        grid: Patch grid (rows, columns).
        side: Side k of the window, in patches.
        stride: From one window to the next, in patches, along both axes; see ``window_starts``.

    Returns:
        [W, k*k] int64 patch indices, row-major; windows row by row,
        W = (rows - k + 1)(columns - k + 1) with stride 1.

    Raises:
        BackboneError: If the window does not fit into the grid, or the stride leaves patches out.
    """
    places = window_places(grid, side, stride)
    patches = torch.arange(grid[0] * grid[1]).reshape(grid)
    return patches.unfold(0, side, 1).unfold(1, side, 1).reshape(-1, side * side)[places]
