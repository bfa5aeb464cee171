"""From many prompts to one text prototype per class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from vlmad_core.backbones.tower import TextTower
from vlmad_core.libraries import F, torch
from vlmad_core.prompts.ensemble import PromptEnsemble, PromptError

if TYPE_CHECKING:
    from torch import Tensor

AverageRule = Literal["each", "mean"]
"""``each``: embeddings normalised, averaged, normalised (rule N of the authors' codes); ``mean``: averaged as
they are, then normalised (rule U, Accurate-WinCLIP and anomalib)."""


@dataclass(frozen=True)
class TextClasses:
    """The two classes of a category, in words and as embeddings.

    Attributes:
        prompts: The n prompts, normal ones first.
        classes: ``normal`` or ``abnormal`` for each of them.
        embeddings: [n, e] unit vectors.
        prototypes: [2, e] unit vectors: normal, abnormal.
    """

    prompts: tuple[str, ...]
    classes: tuple[str, ...]
    embeddings: Tensor
    prototypes: Tensor


def average_embeddings(embeddings: Tensor, rule: AverageRule) -> Tensor:
    """One unit vector from the embeddings of a class's prompts.

    Args:
        embeddings: [n, e] float32, not normalised.
        rule: Whether each embedding is normalised before averaging.

    Returns:
        [e], unit length.

    Raises:
        PromptError: If the rule is unknown.
    """
    if rule not in ("each", "mean"):
        raise PromptError(f"There is no rule {rule!r} for averaging prompts.", "Choose 'each' or 'mean'.")
    if rule == "each":
        embeddings = F.normalize(embeddings, dim=-1)
    return F.normalize(embeddings.mean(dim=0), dim=-1)


def text_classes(normal: Sequence[str], abnormal: Sequence[str], embeddings: Tensor, rule: AverageRule) -> TextClasses:
    """Both classes from their prompts and the embeddings [n, e] of these, normal ones first."""
    count = len(normal)
    return TextClasses(
        prompts=(*normal, *abnormal),
        classes=("normal",) * count + ("abnormal",) * len(abnormal),
        embeddings=F.normalize(embeddings, dim=-1),
        prototypes=torch.stack(
            [average_embeddings(embeddings[:count], rule), average_embeddings(embeddings[count:], rule)]
        ),
    )


def embed_classes(text: TextTower, normal: Sequence[str], abnormal: Sequence[str], rule: AverageRule) -> TextClasses:
    """Embed the prompts of both classes and average them."""
    return text_classes(normal, abnormal, text.encode_text([*normal, *abnormal]), rule)


def embed_ensemble(text: TextTower, ensemble: PromptEnsemble, category: str, rule: AverageRule) -> TextClasses:
    """Embed an ensemble for a category in words."""
    return embed_classes(text, ensemble.normal_prompts(category), ensemble.abnormal_prompts(category), rule)
