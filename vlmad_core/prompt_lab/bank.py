"""Embeddings of prompts, each string embedded once: after an edit only what changed passes the text tower."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from vlmad_core.backbones.text import MOST_STRINGS, Encode, TextCache
from vlmad_core.prompts.ensemble import PromptEnsemble
from vlmad_core.prompts.prototypes import AverageRule, TextClasses, average_embeddings


class PromptBank:
    """Embeddings by string for one backbone; may be used from several threads."""

    def __init__(self, encode: Encode, most: int = MOST_STRINGS) -> None:
        """Start empty.

        Args:
            encode: Embeds what is not known yet, e.g. ``functools.partial(encode_text_shared, backbone)``.
            most: Strings held; if more are asked for, those asked for longest ago go.
        """
        self._encode = encode
        self._texts = TextCache(most)

    def __len__(self) -> int:
        """Number of strings held."""
        return len(self._texts)

    def missing(self, prompts: Iterable[str]) -> tuple[str, ...]:
        """Which of the prompts are not known yet, each once, in order."""
        return tuple(prompt for (prompt,) in self._texts.missing((prompt,) for prompt in prompts))

    def embed(self, prompts: Sequence[str]) -> Tensor:
        """Embed prompts: [n, e] float32, not normalised; only unknown ones pass the tower.

        Raises:
            BackboneError: If a prompt is longer than the text tower takes; nothing of the call is kept then.
        """
        return self._texts.embed(self._encode, [(prompt,) for prompt in prompts])

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
