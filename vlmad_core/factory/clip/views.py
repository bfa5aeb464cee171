"""Views of training images: the blocks of the tower, and windows taken by dropping tokens, as WinCLIP does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from vlmad_core.backbones.arithmetic import products_in
from vlmad_core.backbones.info import OPENAI_MEAN, OPENAI_STD, Precision
from vlmad_core.factory.clip.model import IMAGE_SIZE, PATCH_SIZE

GRID = IMAGE_SIZE // PATCH_SIZE
DEFECT_PIXELS = 8
"""A view shows a defect if at least so many of its pixels are defective; with fewer, but some, it is left out."""


def normalise(pictures: Tensor) -> Tensor:
    """Pictures [B, S, S, 3] uint8 as the model reads them: [B, 3, S, S] float32."""
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (OPENAI_MEAN, OPENAI_STD))
    return (pictures.permute(0, 3, 1, 2).float() / 255 - mean) / std


def view_states(counts: Tensor, scale: int) -> Tensor:
    """State of every k x k window: 1 abnormal, 0 normal, -1 too little of a defect to say. [B, G-k+1, G-k+1]."""
    inside = F.avg_pool2d(counts, scale, stride=1)[:, 0] * scale**2
    return torch.where(inside >= DEFECT_PIXELS, 1, torch.where(inside > 0.5, -1, 0))


def draw_windows(counts: Tensor, scale: int, number: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw windows of each image, half of them on its defect if it has one.

    Returns:
        Token indices [B, number, 1 + k*k] (class token first) and states [B, number].
    """
    states = view_states(counts, scale).flatten(1)
    hit = (states == 1).float()
    share = hit.sum(dim=1, keepdim=True)
    weights = torch.full_like(hit, 1.0 / hit.shape[1])
    weights = torch.where(share > 0, 0.5 * weights + 0.5 * hit / share.clamp_min(1), weights)
    chosen = torch.multinomial(weights, number, replacement=True, generator=generator)
    side = GRID - scale + 1
    corner = (chosen // side) * GRID + chosen % side
    steps = torch.arange(scale)
    patches = corner[..., None] + (steps[:, None] * GRID + steps).flatten() + 1
    return torch.cat([torch.zeros_like(corner)[..., None], patches], dim=-1), states.gather(1, chosen)


def first_tokens(model: Any, pixels: Tensor) -> Tensor:
    """Tokens before the first block: [B, 1 + P, d]."""
    tokens: Tensor = model.vision_model.pre_layrnorm(model.vision_model.embeddings(pixels))
    return tokens


def run_blocks(
    model: Any, hidden: Tensor, precision: Precision, taps: tuple[int, ...] = ()
) -> tuple[Tensor, Mapping[int, Tensor]]:
    """All blocks; returns the last output and the outputs of the blocks asked for, counted from 1."""
    kept = {}
    # Only the blocks run in the given precision; losses need float32.
    with products_in(precision):
        for number, layer in enumerate(model.vision_model.encoder.layers, start=1):
            hidden = _run_block(layer, hidden)
            if number in taps:
                kept[number] = hidden.float()
    return hidden.float(), kept


def run_to_class_token(model: Any, hidden: Tensor, precision: Precision) -> Tensor:
    """The class token [B, d] after all blocks, without what the last block makes of the other tokens."""
    *layers, last = model.vision_model.encoder.layers
    with products_in(precision):
        for layer in layers:
            hidden = _run_block(layer, hidden)
        hidden = _run_block(last, hidden, asking=1)
    return hidden[:, 0].float()


def _run_block(layer: Any, hidden: Tensor, asking: int | None = None) -> Tensor:
    """One block, with plain products instead of fused attention, whose backward pass is slow on processors.

    With ``asking``, only so many tokens, the first, go on; they attend to all.
    """
    attention = layer.self_attn
    inputs = layer.layer_norm1(hidden)
    hidden = hidden[:, :asking]

    def heads(part: Any, tokens: Tensor) -> Tensor:
        """[B * heads, length, d / heads]."""
        values = part(tokens).unflatten(-1, (attention.num_heads, -1))
        return values.transpose(1, 2).flatten(0, 1)

    query, key, value = (
        heads(attention.q_proj, inputs[:, :asking]),
        heads(attention.k_proj, inputs),
        heads(attention.v_proj, inputs),
    )
    weights = torch.softmax(torch.bmm(query * attention.scale, key.transpose(1, 2)), dim=-1)
    mixed = torch.bmm(weights.to(value.dtype), value).unflatten(0, (len(hidden), -1))
    hidden = hidden + attention.out_proj(mixed.transpose(1, 2).flatten(2))
    return hidden + layer.mlp(layer.layer_norm2(hidden))


def project(model: Any, tokens: Tensor) -> Tensor:
    """Unit embeddings in the joint space."""
    return F.normalize(model.visual_projection(model.vision_model.post_layernorm(tokens)), dim=-1)


def gather_tokens(tokens: Tensor, index: Tensor) -> Tensor:
    """Tokens [B * number, 1 + k*k, d] of the windows given by token indices [B, number, 1 + k*k]."""
    batch, number, length = index.shape
    gathered = tokens.gather(1, index.flatten(1)[..., None].expand(-1, -1, tokens.shape[-1]))
    return gathered.reshape(batch * number, length, -1)


def embed_windows(model: Any, tokens: Tensor, index: Tensor, precision: Precision) -> Tensor:
    """Embeddings [B, number, e] of windows given by token indices [B, number, 1 + k*k]."""
    seen = run_to_class_token(model, gather_tokens(tokens, index), precision)
    return project(model, seen).reshape(*index.shape[:2], -1)
