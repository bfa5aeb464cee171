"""WinCLIP's windows: which patches they hold, and the tower run over each of them by itself (section 3.2).

Windows are short sequences and there are many, so this is where most of a run's time goes. What is saved is exact:
what the first block computes of single tokens is computed once for all windows, of the last block only the class token
is computed, and the windows pass in parts whose activations stay in the processor's cache.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import cache, lru_cache, partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from vlmad_core.backbones.devices import to_device
from vlmad_core.backbones.info import Precision
from vlmad_core.backbones.vision import FeatureReader, Grid, Key, TowerPass, WindowForm
from vlmad_core.errors import BackboneError
from vlmad_core.libraries import F, torch

if TYPE_CHECKING:
    from torch import Tensor

CACHE_BYTES = 4 * 2**20
"""Bytes per thread that the widest activations of the windows on their way through a block may take on a CPU in
float32, and half of them in bfloat16: they are then still in its cache when they are read."""

MOST_CACHE_BYTES = 24 * 2**20
"""The same for all threads. Up to 32 MB the C library gives memory again that was used before; larger blocks come from
the system each time, page by page, which takes longer than what is computed in them."""


log = logging.getLogger(__name__)

SHORT_SEQUENCE = 6
"""Most tokens of a window for which the compiled form is taken on a card; longer ones are quicker by its kernel."""

LEAST_GAIN = 0.1
"""Share of the time ahead that compiling must save."""

LEAST_AHEAD = 60.0
"""Seconds of work below which compiling is not tried: it takes ten or more."""

TIMED_PASSES = 2


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
        chunk = max(1, min(self._tower.token_budget, _cached_tokens(layers[0], tokens.device)) // length)
        entering = _Projected.of(layers[0], hidden_tokens)
        compiled = self._tower.window_form == "compiled" and _worth_compiling(length, tokens.device)
        advance = _compiled_advance() if compiled else _advance
        parts = []
        for first in range(0, sequences, chunk):
            number = torch.arange(first, min(first + chunk, sequences), device=tokens.device)
            # One gather per chunk: sequence i is window i mod W of image i div W.
            where = (number // count)[:, None], index[number % count]
            hidden, projected = hidden_tokens[where], entering.at(where)
            if compiled:
                _any_number(hidden, *projected)
            for layer, following in pairwise(layers):
                hidden, projected = advance(layer, following, 1 if following is layers[-1] else None, hidden, projected)
            # Of the last block only the class token is read: the other tokens serve as its keys and values.
            hidden = _block(layers[-1], hidden[:, :1], projected.asked_by(1))
            parts.append(self._tower.project(hidden[:, 0].float()))
        return torch.cat(parts).reshape(len(tokens), count, -1)


class _Projected(NamedTuple):
    """Queries [B, Q, d] of the first tokens, keys and values [B, T, d] of all tokens of a block.

    They are functions of single tokens, so those of the first block are the same in every window: computed once.
    """

    queries: Tensor
    keys: Tensor
    values: Tensor

    @classmethod
    def of(cls, layer: Any, hidden: Tensor, asking: int | None = None) -> _Projected:
        attention, normed = layer.self_attn, layer.layer_norm1(hidden)
        # A product with rows that don't lie together would be done row by row, with a copy of the weights for each.
        first = normed[:, :asking].contiguous()
        return cls(attention.q_proj(first), attention.k_proj(normed), attention.v_proj(normed))

    def at(self, where: tuple[Tensor, Tensor]) -> _Projected:
        return _Projected(self.queries[where], self.keys[where], self.values[where])

    def asked_by(self, first: int) -> _Projected:
        """For the first tokens only."""
        return _Projected(self.queries[:, :first], self.keys, self.values)


Mix = Callable[[_Projected, int, float], "Tensor"]
"""Attention [B, Q, d] from what a block projected, its number of heads and its scale."""


def _fused(projected: _Projected, heads: int, scale: float) -> Tensor:
    """Attention by torch's own kernel."""
    queries, keys, values = (tokens.view(*tokens.shape[:2], heads, -1).transpose(1, 2) for tokens in projected)
    with _kernel(queries.device):
        mixed = F.scaled_dot_product_attention(queries, keys, values, scale=scale)
    return mixed.transpose(1, 2).reshape(projected.queries.shape)


def _in_two_products(projected: _Projected, heads: int, scale: float) -> Tensor:
    """Attention as two products of small matrices: on CPUs and below float32 quicker than the kernel, by half."""
    queries, keys, values = (tokens.unflatten(-1, (heads, -1)).transpose(1, 2).flatten(0, 1) for tokens in projected)
    likeness = torch.baddbmm(queries.new_empty(1, 1, 1), queries, keys.transpose(1, 2), beta=0, alpha=scale)
    mixed = torch.bmm(likeness.softmax(dim=-1), values).unflatten(0, (-1, heads))
    return mixed.transpose(1, 2).reshape(projected.queries.shape)


def _written_out(projected: _Projected, heads: int, scale: float) -> Tensor:
    """Attention as sums over the few tokens, which a compiler joins with what is around them; slow without one."""
    queries, keys, values = (tokens.unflatten(-1, (heads, -1)).float() for tokens in projected)
    likeness = (queries[:, :, None] * keys[:, None]).sum(dim=-1) * scale
    mixed = (likeness.softmax(dim=2)[..., None] * values[:, None]).sum(dim=2)
    return mixed.to(projected.queries.dtype).flatten(2)


def _plain(projected: _Projected, heads: int, scale: float) -> Tensor:
    """Attention in the form that is quickest where and as it is computed."""
    on_cpu, whole = projected.queries.device.type == "cpu", projected.queries.dtype == torch.float32
    return (_in_two_products if on_cpu and not whole else _fused)(projected, heads, scale)


def _advance(
    layer: Any, following: Any, asking: int | None, hidden: Tensor, projected: _Projected, mix: Mix = _plain
) -> tuple[Tensor, _Projected]:
    """The rest of a block, and what the following one projects."""
    hidden = _block(layer, hidden, projected, mix)
    return hidden, _Projected.of(following, hidden, asking)


def _block(layer: Any, hidden: Tensor, projected: _Projected, mix: Mix = _plain) -> Tensor:
    """The rest of a block, for the tokens [B, T, d] that queries are of."""
    attention = layer.self_attn
    mixed = mix(projected, attention.num_heads, attention.scale)
    # Sums are taken in place of the product, which nobody else holds.
    hidden = attention.out_proj(mixed).add_(hidden)
    out: Tensor = layer.mlp(layer.layer_norm2(hidden)).add_(hidden)
    return out


def _kernel(device: torch.device) -> AbstractContextManager[object]:
    """How attention is computed: on cards not with the flash kernel, the slowest on sequences as short as these."""
    if device.type != "cuda":
        return nullcontext()
    from torch.nn.attention import SDPBackend, sdpa_kernel

    return sdpa_kernel([SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH])


def _cached_tokens(layer: Any, device: torch.device) -> int:
    """How many tokens pass a CPU's blocks at once for their activations to stay in its cache; no bound elsewhere."""
    if device.type != "cpu":
        return 2**62
    held = min(MOST_CACHE_BYTES, CACHE_BYTES * torch.get_num_threads())
    return int(held // (layer.mlp.fc1.out_features * torch.float32.itemsize))


@cache
def _compiled_advance() -> Callable[..., tuple[Tensor, _Projected]]:
    """``_advance`` with attention written out, compiled; once for all blocks and any number of windows.

    Where torch can't compile, for want of a C++ compiler perhaps, that is logged once and it is the plain one.
    """
    compiled = torch.compile(partial(_advance, mix=_written_out))
    failures: list[Exception] = []

    def advance(*block: Any) -> tuple[Tensor, _Projected]:
        if not failures:
            try:
                found: tuple[Tensor, _Projected] = compiled(*block)
                return found
            except torch._dynamo.exc.TorchDynamoException as error:
                failures.append(error)
                log.warning("Windows are computed uncompiled; torch can't compile here: %s", str(error).splitlines()[0])
        return _advance(*block)

    return advance


def _any_number(*tensors: Tensor) -> None:
    """Tell the compiler that the number of windows differs from call to call."""
    for tensor in tensors:
        torch._dynamo.mark_dynamic(tensor, 0)


def _worth_compiling(length: int, device: torch.device) -> bool:
    """Whether sequences are so short that the compiled form may win: on a CPU all windows are."""
    return device.type == "cpu" or length <= SHORT_SEQUENCE


def always_plain(device: torch.device, precision: Precision) -> bool:
    """Whether nothing is measured: what a run gives in float32 on a CPU never depends on how quick something was."""
    return device.type == "cpu" and precision == "float32"


def settle_form(
    encode: Callable[[WindowForm], object], device: torch.device, precision: Precision, passes: float
) -> tuple[WindowForm, str | None]:
    """Which form of the blocks to take for the work ahead, by measurement, and why; no reason where nothing is open.

    Where it is not ``always_plain``, the compiled one has to win ``LEAST_GAIN`` of all the time ahead, its compilation
    counted.

    Args:
        encode: Passes the windows of a batch in a form and returns once that is done.
        device: Of the tower.
        precision: Of its blocks.
        passes: How many such batches are ahead.
    """
    if always_plain(device, precision):
        return "plain", None
    plain = _quickest(encode, "plain")
    if passes * plain < LEAST_AHEAD:
        return "plain", None
    start = time.perf_counter()
    encode("compiled")
    first = time.perf_counter() - start
    compiled = _quickest(encode, "compiled")
    compiling = max(0.0, first - compiled)
    said = f"compiled blocks run at {plain / compiled:.2f} times the speed after {compiling:.0f} s of compiling"
    won = passes * (plain - compiled) - compiling
    return ("compiled" if won > LEAST_GAIN * passes * plain else "plain"), said


def _quickest(encode: Callable[[WindowForm], object], form: WindowForm) -> float:
    """Seconds of the quickest of some passes, after one that warms up."""
    spent = []
    for _ in range(1 + TIMED_PASSES):
        start = time.perf_counter()
        encode(form)
        spent.append(time.perf_counter() - start)
    return min(spent[1:])


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
