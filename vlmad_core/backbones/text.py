"""CLIP's text tower: prompts to embeddings, and prompts whose first words are learned vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from vlmad_core.errors import BackboneError

Tokenizer = Callable[[Sequence[str]], list[list[int]]]
"""Prompts to token ids, start and end token included, not padded."""

PROMPT_BATCH = 256


def embed_prompts(model: Any, tokens: Sequence[Sequence[int]]) -> Tensor:
    """Embed tokenised prompts.

    Each batch is cut to its longest prompt: exact, since the tower is causal and the end token is pooled.

    Args:
        model: A transformers ``CLIPModel`` in evaluation mode.
        tokens: n prompts as token ids, start and end token included.

    Returns:
        [n, e] float32, not normalised.
    """
    with torch.no_grad():
        parts = [
            _embed_batch(model, tokens[first : first + PROMPT_BATCH]) for first in range(0, len(tokens), PROMPT_BATCH)
        ]
    return torch.cat(parts) if parts else torch.empty(0, model.config.projection_dim)


def _embed_batch(model: Any, tokens: Sequence[Sequence[int]]) -> Tensor:
    text = model.text_model
    lengths = torch.tensor([len(ids) for ids in tokens])
    padded = torch.zeros(len(tokens), int(lengths.max()), dtype=torch.long)
    for row, ids in enumerate(tokens):
        padded[row, : len(ids)] = torch.tensor(ids)
    return run_text_blocks(model, text.embeddings.token_embedding(padded), lengths - 1)


def embed_learned_prompts(
    model: Any, tokens: Sequence[Sequence[int]], context: Tensor, deep: Sequence[Tensor] = ()
) -> Tensor:
    """Embed prompts with learned context vectors after the start token (AnomalyCLIP, section 3.1).

    Gradients flow to ``context`` and ``deep`` if they ask for them.

    Args:
        model: A transformers ``CLIPModel`` in evaluation mode.
        tokens: n prompts as token ids, start and end token included, without places for the context.
        context: [n, m, d] vectors, m for each prompt, put right after the start token.
        deep: Sets [p, d]; the i-th replaces the tokens at positions 1..p before block i + 2.

    Returns:
        [n, e] float32, not normalised.

    Raises:
        BackboneError: If a prompt with its context is longer than the tower allows.
    """
    table = model.text_model.embeddings.token_embedding
    limit = model.config.text_config.max_position_embeddings
    lengths = torch.tensor([len(ids) + context.shape[1] for ids in tokens])
    if int(lengths.max()) > limit:
        raise BackboneError(
            f"A learned prompt has {int(lengths.max())} tokens, but the text tower takes {limit}.",
            "Use fewer context vectors.",
        )
    rows = []
    for ids, vectors in zip(tokens, context, strict=True):
        words = table(torch.tensor(ids))
        row = torch.cat([words[:1], vectors.to(words.dtype), words[1:]])
        rows.append(torch.cat([row, row.new_zeros(int(lengths.max()) - len(row), row.shape[1])]))
    return run_text_blocks(model, torch.stack(rows), lengths - 1, deep)


def run_text_blocks(model: Any, embeddings: Tensor, last: Tensor, deep: Sequence[Tensor] = ()) -> Tensor:
    """Run the text tower over token embeddings and pool at the end token.

    Args:
        model: A transformers ``CLIPModel``.
        embeddings: [n, length, d], positions not yet added.
        last: [n] int64, index of each prompt's end token.
        deep: See ``embed_learned_prompts``.

    Returns:
        [n, e] float32.
    """
    text = model.text_model
    length = embeddings.shape[1]
    hidden = embeddings + text.embeddings.position_embedding.weight[:length]
    layers = text.encoder.layers
    hidden = hidden.to(next(layers.parameters()).dtype)
    mask = torch.full((length, length), float("-inf"), dtype=hidden.dtype).triu(1)[None, None]
    for number, layer in enumerate(layers):
        if 1 <= number <= len(deep):
            vectors = deep[number - 1].to(hidden.dtype).expand(len(hidden), -1, -1)
            hidden = torch.cat([hidden[:, :1], vectors, hidden[:, 1 + vectors.shape[1] :]], dim=1)
        hidden = layer(hidden, attention_mask=mask)
    pooled = text.final_layer_norm(hidden[torch.arange(len(hidden)), last].float())
    projected: Tensor = model.text_projection(pooled)
    return projected
