"""CLIP's text tower: prompts to embeddings, one by one or many that begin alike; learned prompts; a cache."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from vlmad_core.backbones.devices import to_device
from vlmad_core.errors import BackboneError
from vlmad_core.libraries import torch

if TYPE_CHECKING:
    from torch import Tensor

Tokenizer = Callable[[Sequence[str]], list[list[int]]]
"""Prompts to token ids, start and end token included, not padded."""

DEFAULT_TOKENIZER = "openai/clip-vit-base-patch32"
"""For checkpoints that bring none."""

TOKENIZER_FILES = ("tokenizer.json", "vocab.json")
"""A folder with either of these brings a tokenizer."""

Encode: TypeAlias = "Callable[[Sequence[str]], Tensor]"
"""From n prompts to [n, e] float32."""

PROMPT_BATCH = 256
MOST_NODES = 256
"""Tokens that pass the tower together; attention grows with its square."""
MOST_STRINGS = 60_000
"""Prompts whose embeddings a cache holds; with 512 dimensions 120 MB."""


class TextStore(Protocol):
    """Where embeddings of groups are kept longer than a process lives."""

    def get(self, group: tuple[str, ...]) -> Tensor | None:
        """What is kept of a group: [n, e] float32; None if nothing is."""

    def put(self, group: tuple[str, ...], rows: Tensor) -> None:
        """Keep a group's embeddings."""


class TextCache:
    """Embeddings of prompts by groups that were embedded together; may be used from several threads.

    In the last bits an embedding depends on the prompts that pass the tower with it. So what must be the same however
    it came about asks for whole ensembles, and what must be quick after an edit for each prompt by itself.
    """

    def __init__(self, most: int = MOST_STRINGS, kept: TextStore | None = None) -> None:
        """Start empty.

        Args:
            most: Prompts held; if more are asked for, the groups asked for longest ago go.
            kept: Where groups are looked for before they are embedded, and kept afterwards; None for nowhere.
        """
        self._most, self._kept = most, kept
        self._held = 0
        self._rows: OrderedDict[tuple[str, ...], Tensor] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Number of prompts held."""
        return self._held

    def missing(self, groups: Iterable[tuple[str, ...]]) -> list[tuple[str, ...]]:
        """Which of the groups are not known yet, each once, in order."""
        return [group for group in dict.fromkeys(groups) if group not in self._rows]

    def embed(self, encode: Encode, groups: Sequence[tuple[str, ...]]) -> Tensor:
        """Embeddings of groups of prompts, one after the other: [n, e] float32, always a copy.

        Args:
            encode: Embeds the prompts of all unknown groups, in one call; always the same one for a cache.
            groups: The groups, n prompts in all; at least one.

        Raises:
            BackboneError: From ``encode``; nothing of the call is kept then.
        """
        with self._lock:
            for group in self.missing(groups):
                if self._kept is not None and (rows := self._kept.get(group)) is not None:
                    self._hold(group, rows)
            new = self.missing(groups)
            if new:
                parts = encode([prompt for group in new for prompt in group]).split([len(group) for group in new])
                for group, rows in zip(new, parts, strict=True):
                    self._hold(group, rows)
                    if self._kept is not None:
                        self._kept.put(group, rows)
            found = torch.cat([self._rows[group] for group in groups])
            for group in groups:
                self._rows.move_to_end(group)
            while self._held > self._most and len(self._rows) > len(set(groups)):
                self._held -= len(self._rows.popitem(last=False)[0])
        return found

    def _hold(self, group: tuple[str, ...], rows: Tensor) -> None:
        self._rows[group] = rows
        self._held += len(group)


def read_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer in a folder; only one that comes as ``vocab.json`` and ``merges.txt`` takes transformers to read.

    Raises:
        Exception: Whatever the libraries raise for files they can't read.
    """
    if (folder / "tokenizer.json").is_file():
        from tokenizers import Tokenizer as Reader

        reader = Reader.from_file(str(folder / "tokenizer.json"))
        reader.no_padding()
        reader.no_truncation()
        return lambda prompts: [encoding.ids for encoding in reader.encode_batch(list(prompts))]
    from transformers import AutoTokenizer

    slow = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    return lambda prompts: list(slow(list(prompts), truncation=False, padding=False)["input_ids"])


def embed_prompts(model: Any, tokens: Sequence[Sequence[int]]) -> Tensor:
    """Embed tokenised prompts.

    Each batch is cut to its longest prompt: exact, since the tower is causal and the end token is pooled.

    Args:
        model: A ``ClipModel`` in evaluation mode.
        tokens: n prompts as token ids, start and end token included.

    Returns:
        [n, e] float32, not normalised, where the model stands; as from the other functions here.
    """
    with torch.no_grad():
        parts = [
            _embed_batch(model, tokens[first : first + PROMPT_BATCH]) for first in range(0, len(tokens), PROMPT_BATCH)
        ]
    return torch.cat(parts) if parts else torch.empty(0, model.config.projection_dim, device=_place(model))


def _place(model: Any) -> torch.device:
    """The device the text tower stands on."""
    device: torch.device = model.text_projection.weight.device
    return device


def _embed_batch(model: Any, tokens: Sequence[Sequence[int]]) -> Tensor:
    longest = max(map(len, tokens))
    padded = torch.tensor([[*ids, *[0] * (longest - len(ids))] for ids in tokens], device=_place(model))
    embedded = model.text_model.embeddings.token_embedding(padded)
    return run_text_blocks(model, embedded, [len(ids) - 1 for ids in tokens])


def embed_learned_prompts(
    model: Any, tokens: Sequence[Sequence[int]], context: Tensor, deep: Sequence[Tensor] = ()
) -> Tensor:
    """Embed prompts with learned context vectors after the start token (AnomalyCLIP, section 3.1).

    Gradients flow to ``context`` and ``deep`` if they ask for them.

    Args:
        model: A ``ClipModel`` in evaluation mode.
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
    lengths = [len(ids) + context.shape[1] for ids in tokens]
    if max(lengths) > limit:
        raise BackboneError(
            f"A learned prompt has {max(lengths)} tokens, but the text tower takes {limit}.",
            "Use fewer context vectors.",
        )
    rows = []
    for ids, vectors in zip(tokens, context, strict=True):
        words = table(torch.tensor(ids, device=_place(model)))
        row = torch.cat([words[:1], vectors.to(words), words[1:]])
        rows.append(torch.cat([row, row.new_zeros(max(lengths) - len(row), row.shape[1])]))
    return run_text_blocks(model, torch.stack(rows), [length - 1 for length in lengths], deep)


def run_text_blocks(model: Any, embeddings: Tensor, last: Sequence[int], deep: Sequence[Tensor] = ()) -> Tensor:
    """Run the text tower over token embeddings and pool at the end token.

    Args:
        model: A ``ClipModel``.
        embeddings: [n, length, d], positions not yet added.
        last: Index of each of the n prompts' end token.
        deep: See ``embed_learned_prompts``.

    Returns:
        [n, e] float32.
    """
    text = model.text_model
    length = embeddings.shape[1]
    hidden = embeddings + text.embeddings.position_embedding.weight[:length]
    layers = text.encoder.layers
    hidden = hidden.to(next(layers.parameters()).dtype)
    mask = hidden.new_full((length, length), float("-inf")).triu(1)[None, None]
    for number, layer in enumerate(layers):
        if 1 <= number <= len(deep):
            vectors = deep[number - 1].to(hidden).expand(len(hidden), -1, -1)
            hidden = torch.cat([hidden[:, :1], vectors, hidden[:, 1 + vectors.shape[1] :]], dim=1)
        hidden = layer(hidden, attention_mask=mask)
    ends = torch.tensor(last, device=hidden.device)
    pooled = text.final_layer_norm(hidden[torch.arange(len(hidden), device=hidden.device), ends].float())
    projected: Tensor = model.text_projection(pooled)
    return projected


@dataclass(frozen=True)
class TokenTree:
    """Beginnings of several prompts, each once.

    The tower is causal, so the state at a token depends on nothing but the tokens before it. Prompts of an ensemble
    begin alike ("a cropped photo of the ..."), for all states and all categories. Laid out as a tree of beginnings,
    242 prompts x 15 categories have about a third of the tokens that they have one by one. The result is the same but
    for rounding.

    Attributes:
        tokens: [N] token ids, parents before their children.
        depths: [N] positions in the prompt.
        parents: [N] index of the token before; -1 for the first.
        prompts: Which prompts end here.
        ends: For each of them the index of its last token.
    """

    tokens: tuple[int, ...]
    depths: tuple[int, ...]
    parents: tuple[int, ...]
    prompts: tuple[int, ...]
    ends: tuple[int, ...]

    def mask(self, dtype: torch.dtype) -> Tensor:
        """[1, 1, N, N]: 0 where a token sees another one, itself and those before it; -inf elsewhere."""
        count = len(self.tokens)
        sees = torch.zeros(count, count, dtype=torch.bool)
        for node, parent in enumerate(self.parents):
            if parent >= 0:
                sees[node] = sees[parent]
            sees[node, node] = True
        return torch.zeros(count, count, dtype=dtype).masked_fill(~sees, float("-inf"))[None, None]


def token_trees(tokens: Sequence[Sequence[int]], most_nodes: int = MOST_NODES) -> Iterator[TokenTree]:
    """Lay prompts out as trees of at most so many tokens (or of one prompt, if that alone is longer).

    Args:
        tokens: Prompts as token ids, at least one id each.
        most_nodes: Tokens of a tree at most.
    """
    order = sorted(range(len(tokens)), key=lambda i: tuple(tokens[i]))
    nodes: list[tuple[int, int, int]] = []
    prompts: list[int] = []
    ends: list[int] = []
    path: list[int] = []
    before: Sequence[int] = ()
    for index in order:
        ids = tokens[index]
        shared = 0
        while shared < min(len(ids), len(before)) and ids[shared] == before[shared]:
            shared += 1
        if nodes and len(nodes) + len(ids) - shared > most_nodes:
            yield _tree(nodes, prompts, ends)
            nodes, prompts, ends, path, shared = [], [], [], [], 0
        del path[shared:]
        for depth in range(shared, len(ids)):
            nodes.append((ids[depth], depth, path[-1] if path else -1))
            path.append(len(nodes) - 1)
        prompts.append(index)
        ends.append(path[-1])
        before = ids
    if nodes:
        yield _tree(nodes, prompts, ends)


def _tree(nodes: list[tuple[int, int, int]], prompts: list[int], ends: list[int]) -> TokenTree:
    tokens, depths, parents = zip(*nodes, strict=True)
    return TokenTree(tokens, depths, parents, tuple(prompts), tuple(ends))


def embed_tree(model: Any, tree: TokenTree) -> Tensor:
    """Embed the prompts of a tree.

    Args:
        model: A ``ClipModel`` in evaluation mode.
        tree: The tree.

    Returns:
        [n, e] float32 in the order of ``tree.prompts``, not normalised.
    """
    text, place = model.text_model, _place(model)
    words = text.embeddings.token_embedding(torch.tensor([tree.tokens], device=place))
    hidden = words + text.embeddings.position_embedding.weight[torch.tensor(tree.depths, device=place)]
    hidden = hidden.to(next(text.encoder.layers.parameters()).dtype)
    mask = to_device(tree.mask(hidden.dtype), place)
    for layer in text.encoder.layers:
        hidden = layer(hidden, attention_mask=mask)
    pooled = text.final_layer_norm(hidden[0, torch.tensor(tree.ends, device=place)].float())
    projected: Tensor = model.text_projection(pooled)
    return projected


def embed_shared(model: Any, tokens: Sequence[Sequence[int]]) -> Tensor:
    """Embed tokenised prompts, what they share at their beginnings once; as ``embed_prompts`` but for rounding.

    Args:
        model: A ``ClipModel`` in evaluation mode.
        tokens: n prompts as token ids, start and end token included.

    Returns:
        [n, e] float32, not normalised; off by less than 1e-5 of their length.
    """
    place = _place(model)
    result = torch.empty(len(tokens), model.config.projection_dim, device=place)
    with torch.inference_mode():
        for tree in token_trees(tokens):
            result[torch.tensor(tree.prompts, device=place)] = embed_tree(model, tree)
    return result
