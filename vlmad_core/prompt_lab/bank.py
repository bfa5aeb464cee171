"""Embeddings of prompts, each string embedded once: after an edit only what changed passes the text tower."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from vlmad_core.prompts.ensemble import PromptEnsemble
from vlmad_core.prompts.prototypes import AverageRule, TextClasses, average_embeddings

MOST_STRINGS = 60_000
"""Strings held; with 512 dimensions 120 MB."""

Encode = Callable[[Sequence[str]], Tensor]
"""From n prompts to [n, e] float32."""


class PromptBank:
    """Embeddings by string for one backbone; may be used from several threads."""

    def __init__(self, encode: Encode, most: int = MOST_STRINGS) -> None:
        """Start empty.

        Args:
            encode: Embeds what is not known yet, e.g. ``functools.partial(encode_text_shared, backbone)``.
            most: Strings held; if more are asked for, those asked for longest ago go.
        """
        self._encode = encode
        self._most = most
        self._rows: dict[str, Tensor] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Number of strings held."""
        return len(self._rows)

    def missing(self, prompts: Iterable[str]) -> tuple[str, ...]:
        """Which of the prompts are not known yet, each once, in order."""
        return tuple(prompt for prompt in dict.fromkeys(prompts) if prompt not in self._rows)

    def embed(self, prompts: Sequence[str]) -> Tensor:
        """Embed prompts: [n, e] float32, not normalised; only unknown ones pass the tower.

        Raises:
            BackboneError: If a prompt is longer than the text tower takes; nothing of the call is kept then.
        """
        with self._lock:
            new = self.missing(prompts)
            if new:
                self._rows |= dict(zip(new, self._encode(new).unbind(), strict=True))
            found = torch.stack([self._rows[prompt] for prompt in prompts])
            for prompt in prompts:
                self._rows[prompt] = self._rows.pop(prompt)
            while len(self._rows) > max(self._most, len(set(prompts))):
                del self._rows[next(iter(self._rows))]
        return found

    def classes(self, ensemble: PromptEnsemble, noun: str, rule: AverageRule) -> TextClasses:
        """An ensemble's prompts and prototypes for a category in words; as ``embed_ensemble`` but from the bank."""
        normal, abnormal = ensemble.normal_prompts(noun), ensemble.abnormal_prompts(noun)
        raw = self.embed([*normal, *abnormal])
        count = len(normal)
        return TextClasses(
            prompts=(*normal, *abnormal),
            classes=("normal",) * count + ("abnormal",) * len(abnormal),
            embeddings=F.normalize(raw, dim=-1),
            prototypes=torch.stack([average_embeddings(raw[:count], rule), average_embeddings(raw[count:], rule)]),
        )


def all_prompts(ensemble: PromptEnsemble, nouns: Iterable[str]) -> list[str]:
    """Every prompt of an ensemble for every category."""
    return [p for noun in nouns for p in (*ensemble.normal_prompts(noun), *ensemble.abnormal_prompts(noun))]
