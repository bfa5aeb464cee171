"""Views of training images: augmentation, and windows and crops taken by dropping tokens, as WinCLIP does."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from vlmad_core.backbones.preprocess import OPENAI_MEAN, OPENAI_STD
from vlmad_core.training.bundled_model import IMAGE_SIZE, PATCH_SIZE

GRID = IMAGE_SIZE // PATCH_SIZE
DEFECT_PIXELS = 8
"""A view shows a defect if at least so many of its pixels are defective; with fewer, but some, it is left out."""


@dataclass(frozen=True)
class Batch:
    """Augmented images, ready for the model.

    Attributes:
        pixels: [B, 3, S, S] float32, normalised.
        defect_counts: [B, 1, G, G] float32, defective pixels in each patch.
    """

    pixels: Tensor
    defect_counts: Tensor


def augment(images: Tensor, masks: Tensor, generator: torch.Generator) -> Batch:
    """Flips, quarter turns and zoom, the same for both images of a pair; light and colour for each apart.

    Args:
        images: [P, 2, H, H, 3] uint8: normal and abnormal rendering of each scene.
        masks: [P, H, H] bool: where the second differs.
        generator: Source of chance.

    Returns:
        The 2P images, pair by pair, normal first.
    """
    pairs = len(images)

    def uniform(*shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        return torch.rand(*shape, generator=generator) * (high - low) + low

    angle = torch.randint(4, (pairs,), generator=generator) * (math.pi / 2)
    flip = torch.where(uniform(pairs) < 0.5, -1.0, 1.0)
    scale = torch.where(uniform(pairs) < 0.5, uniform(pairs, low=0.5, high=1.0), torch.ones(pairs))
    shift = (1 - scale)[:, None] * uniform(pairs, 2, low=-1.0, high=1.0)
    cos, sin = angle.cos().round() * scale, angle.sin().round() * scale
    rows = torch.stack([cos * flip, -sin, shift[:, 0]], 1), torch.stack([sin * flip, cos, shift[:, 1]], 1)
    grid = F.affine_grid(torch.stack(rows, 1), [pairs, 1, IMAGE_SIZE, IMAGE_SIZE], align_corners=False)

    def warp(tensor: Tensor, mode: str) -> Tensor:
        return F.grid_sample(tensor, grid, mode=mode, padding_mode="reflection", align_corners=False)

    stacked = images.permute(0, 1, 4, 2, 3).flatten(1, 2).float() / 255
    pixels = warp(stacked, "bilinear").reshape(2 * pairs, 3, IMAGE_SIZE, IMAGE_SIZE)
    mask = warp(masks[:, None].float(), "nearest")
    counts = F.avg_pool2d(mask, PATCH_SIZE) * PATCH_SIZE**2
    counts = torch.stack([torch.zeros_like(counts), counts], dim=1).flatten(0, 1)

    count = 2 * pairs
    grey = (uniform(count, 1, 1, 1) < 0.25).float()
    pixels = torch.lerp(pixels, pixels.mean(dim=1, keepdim=True).expand_as(pixels), grey)
    gain = uniform(count, 1, 1, 1, low=0.75, high=1.25) * uniform(count, 3, 1, 1, low=0.92, high=1.08)
    middle = pixels.mean(dim=(1, 2, 3), keepdim=True)
    contrast = uniform(count, 1, 1, 1, low=0.7, high=1.3)
    pixels = (((pixels - middle) * contrast + middle) * gain).clamp(0, 1)
    noise = torch.randn(pixels.shape, generator=generator) * uniform(count, 1, 1, 1, high=0.02)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (OPENAI_MEAN, OPENAI_STD))
    return Batch(((pixels + noise).clamp(0, 1) - mean) / std, counts)


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


def run_blocks(model: Any, hidden: Tensor, taps: tuple[int, ...] = ()) -> tuple[Tensor, Mapping[int, Tensor]]:
    """All blocks; returns the last output and the outputs of the blocks asked for, counted from 1."""
    kept = {}
    # Only the blocks run in bfloat16 (where it is several times faster); losses need float32.
    with torch.autocast("cpu", torch.bfloat16):
        for number, layer in enumerate(model.vision_model.encoder.layers, start=1):
            hidden = layer(hidden, attention_mask=None)
            if number in taps:
                kept[number] = hidden.float()
    return hidden.float(), kept


def project(model: Any, tokens: Tensor) -> Tensor:
    """Unit embeddings in the joint space."""
    return F.normalize(model.visual_projection(model.vision_model.post_layernorm(tokens)), dim=-1)


def gather_tokens(tokens: Tensor, index: Tensor) -> Tensor:
    """Tokens [B * number, 1 + k*k, d] of the windows given by token indices [B, number, 1 + k*k]."""
    batch, number, length = index.shape
    gathered = tokens.gather(1, index.flatten(1)[..., None].expand(-1, -1, tokens.shape[-1]))
    return gathered.reshape(batch * number, length, -1)


def embed_windows(model: Any, tokens: Tensor, index: Tensor) -> Tensor:
    """Embeddings [B, number, e] of windows given by token indices [B, number, 1 + k*k]."""
    last, _ = run_blocks(model, gather_tokens(tokens, index))
    return project(model, last[:, 0]).reshape(*index.shape[:2], -1)
