"""One pass of CLIP's vision tower for everything a request names.

The blocks are run one by one over the public sub-modules of transformers' ``CLIPModel``; nothing is patched or
hooked, so any number of methods and threads can share a model. The blocks run in the model's own precision,
everything before and after them in float32. The tower may stand on a graphics card; features always come back to
the CPU, where the methods score them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from vlmad_core.backbones.features import FeatureRequest, Features
from vlmad_core.errors import BackboneError

Clock = Callable[[str, float], None]
"""Told the name of a stage and the seconds it took."""

DEFAULT_TOKEN_BUDGET = 65_536
"""Most tokens of windows that go through the tower at once. At ViT-B/16+ width (MLP 3584) the largest
intermediate is then about 0.9 GB in float32."""


@lru_cache(maxsize=64)
def window_indices(grid: tuple[int, int], scale: int) -> Tensor:
    """Which patches each k x k window covers (WinCLIP, section 3.2).

    Args:
        grid: Patch grid (rows, columns).
        scale: Side k of the window, in patches.

    Returns:
        [W, k*k] int64 patch indices, row-major; windows with stride 1, row by row,
        W = (rows - k + 1)(columns - k + 1).

    Raises:
        BackboneError: If the window does not fit into the grid.
    """
    rows, columns = grid
    if not 1 <= scale <= min(rows, columns):
        raise BackboneError(
            f"A window of {scale} x {scale} patches does not fit into a grid of {rows} x {columns}.",
            f"Choose window scales between 1 and {min(rows, columns)}.",
        )
    patches = torch.arange(rows * columns).reshape(rows, columns)
    return patches.unfold(0, scale, 1).unfold(1, scale, 1).reshape(-1, scale * scale)


def extract_features(
    model: Any,
    pixel_values: Tensor,
    request: FeatureRequest,
    token_budget: int = DEFAULT_TOKEN_BUDGET,
    clock: Clock | None = None,
) -> Features:
    """Run the vision tower once over a batch and read off all that is asked for.

    Args:
        model: A transformers ``CLIPModel`` in evaluation mode.
        pixel_values: [N, 3, S, S], float32, preprocessed, on any device.
        request: What to return.
        token_budget: Most window tokens that go through the tower at once; bounds the memory.
        clock: Told the seconds that ``vision`` (whole images) and ``windows`` took.

    Returns:
        The features asked for, float32 on the CPU.

    Raises:
        BackboneError: If the image size, a stage or a window scale does not fit the tower.
    """
    vision = model.vision_model
    layers = vision.encoder.layers
    size = vision.embeddings.image_size
    if pixel_values.ndim != 4 or pixel_values.shape[-2:] != (size, size):
        raise BackboneError(
            f"The backbone takes images of {size} x {size} pixels, not {tuple(pixel_values.shape)}.",
            "Preprocess them with the backbone's own preprocessing.",
        )
    _check_blocks(request, len(layers))
    grid = (size // vision.embeddings.patch_size,) * 2
    device = next(vision.parameters()).device
    start = _seconds(device)
    with torch.no_grad():
        tokens = vision.pre_layrnorm(vision.embeddings(pixel_values.to(device).float()))
        embedded = _seconds(device)
        windows = {k: _window_embeddings(model, tokens, grid, k, token_budget) for k in sorted(request.windows)}
        done = _seconds(device)
        if clock is not None and windows:
            clock("windows", done - embedded)
        if not _needs_full_image(request):
            if clock is not None:
                clock("vision", embedded - start)
            return Features(grid=grid, windows=windows).on_cpu()
        stages, value_paths, last = _run_blocks(model, tokens, request)
        features = Features(
            grid=grid,
            image_embedding=_project(model, last[:, 0]) if request.image_embedding else None,
            class_projection=model.visual_projection(last[:, 0]) if request.class_projection else None,
            patch_tokens=vision.post_layernorm(last[:, 1:]) if request.patch_tokens else None,
            patch_embeddings=_project(model, last[:, 1:]) if request.patch_embeddings else None,
            stages=stages,
            windows=windows,
            value_paths=value_paths,
        ).on_cpu()
    if clock is not None:
        clock("vision", _seconds(device) - done + embedded - start)
    return features


def _seconds(device: torch.device) -> float:
    """The time now, in seconds, once the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _needs_full_image(request: FeatureRequest) -> bool:
    return request != FeatureRequest(windows=request.windows)


def _check_blocks(request: FeatureRequest, depth: int) -> None:
    # A value path may start behind the last block: it is then the tower's own path.
    ends = {min(start, depth) if start == depth + 1 else start for start, _ in request.value_paths}
    for block in {*request.stages, *ends, *(stage for _, stage in request.value_paths)}:
        if not 1 <= block <= depth:
            raise BackboneError(
                f"Block {block} was asked for, but this vision tower has blocks 1 to {depth}.",
                "Choose stages within that range.",
            )


def _project(model: Any, tokens: Tensor) -> Tensor:
    """LayerNorm and projection into the joint space."""
    projected: Tensor = model.visual_projection(model.vision_model.post_layernorm(tokens))
    return projected


def _run_blocks(
    model: Any, tokens: Tensor, request: FeatureRequest
) -> tuple[dict[int, Tensor], dict[tuple[int, int], Tensor], Tensor]:
    """All blocks over the full token sequence; returns stages, value paths, and the last block's output."""
    layers = model.vision_model.encoder.layers
    stages: dict[int, Tensor] = {}
    value_paths: dict[tuple[int, int], Tensor] = {}
    side_paths: dict[int, Tensor] = {}
    starts = {start for start, _ in request.value_paths}
    hidden = tokens.to(next(layers.parameters()).dtype)
    for number, layer in enumerate(layers, start=1):
        for start in starts:
            if number >= start:
                # x_l = x_{l-1} + vv_l: the side path reads the original path and never feeds back into it.
                side = side_paths.get(start, hidden)
                side_paths[start] = side + _value_attention(layer, hidden)
        hidden = layer(hidden, attention_mask=None)
        if number in request.stages:
            stages[number] = hidden.float()
        for start, stage in request.value_paths:
            if stage == number:
                value_paths[start, stage] = _project(model, side_paths.get(start, hidden).float())
    return stages, value_paths, hidden.float()


def _value_attention(layer: Any, hidden: Tensor) -> Tensor:
    """Attention of a block with queries and keys replaced by its values (AnomalyCLIP, section 3.2)."""
    attention = layer.self_attn
    batch, length, width = hidden.shape
    values = attention.v_proj(layer.layer_norm1(hidden))
    heads = values.view(batch, length, attention.num_heads, -1).transpose(1, 2)
    mixed = F.scaled_dot_product_attention(heads, heads, heads, scale=attention.scale)
    out: Tensor = attention.out_proj(mixed.transpose(1, 2).reshape(batch, length, width))
    return out


def _window_embeddings(model: Any, tokens: Tensor, grid: tuple[int, int], scale: int, token_budget: int) -> Tensor:
    """Embeddings [N, W, e] of all windows of one scale: class token plus the window's patches, others dropped."""
    layers = model.vision_model.encoder.layers
    index = window_indices(grid, scale)
    count, length = len(index), 1 + scale * scale
    index = torch.cat([torch.zeros(count, 1, dtype=torch.long), index + 1], dim=1).to(tokens.device)
    sequences = len(tokens) * count
    chunk = max(1, token_budget // length)
    hidden_tokens = tokens.to(next(layers.parameters()).dtype)
    parts = []
    for first in range(0, sequences, chunk):
        number = torch.arange(first, min(first + chunk, sequences), device=tokens.device)
        # One gather per chunk: sequence i is window i mod W of image i div W.
        hidden = hidden_tokens[(number // count)[:, None], index[number % count]]
        for layer in layers:
            hidden = layer(hidden, attention_mask=None)
        parts.append(_project(model, hidden[:, 0].float()).cpu())
    return torch.cat(parts).reshape(len(tokens), count, -1)
