"""What methods share that compare with prompts: the ensemble they read, and scores from two text prototypes.

All methods here have exactly two classes, so every softmax is a logistic function of one difference: exact,
and safe from saturation in rankings, which go by the logit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from vlmad_core.backbones.tower import TextTower
from vlmad_core.errors import MethodError
from vlmad_core.libraries import F
from vlmad_core.methods.base import Method, MethodSettings, Reason, greatest
from vlmad_core.prompts.ensemble import PromptEnsemble, load_ensemble
from vlmad_core.prompts.prototypes import AverageRule, TextClasses, embed_ensemble

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class PromptedSettings(MethodSettings):
    """What can be set of every method that reads a prompt ensemble.

    Attributes:
        ensemble: Name of a prompt ensemble, or the path of a yaml file.
        text_average: How prompt embeddings become one prototype; see ``AverageRule``.
    """

    ensemble: str = "winclip"
    text_average: AverageRule = "each"

    def __post_init__(self) -> None:
        load_ensemble(self.ensemble)
        if self.text_average not in ("each", "mean"):
            raise MethodError(f"The setting 'text_average' is {self.text_average!r}.", "Choose 'each' or 'mean'.")


class PromptedMethod(Method):
    """A method that reads a prompt ensemble."""

    settings: PromptedSettings

    @cached_property
    def ensemble(self) -> PromptEnsemble:
        """The ensemble, read once: what a run records is what it is scored with, even if the file changes."""
        return load_ensemble(self.settings.ensemble)

    def prompt_record(self) -> Mapping[str, Any]:
        """Name and content hash of the ensemble."""
        return {"ensemble": self.ensemble.name, "content_hash": self.ensemble.content_hash}

    def text_classes(self, text: TextTower, category: str) -> TextClasses:
        """The ensemble's prompts for a category, embedded, and the prototypes of the two classes."""
        return embed_ensemble(text, self.ensemble, category, self.settings.text_average)


def two_class_logits(embeddings: Tensor, prototypes: Tensor, temperature: float) -> Tensor:
    """How much nearer embeddings are to the abnormal than to the normal prototype.

    Args:
        embeddings: [..., e], of any length.
        prototypes: [2, e] unit vectors: normal, abnormal.
        temperature: Divides the difference of the cosines, > 0.

    Returns:
        [...], (cos to abnormal - cos to normal) / temperature; its logistic is the softmax probability.
    """
    return F.normalize(embeddings, dim=-1) @ (prototypes[1] - prototypes[0]) / temperature


def check_temperature(method: str, temperature: float) -> None:
    """Raise ``MethodError`` unless the temperature is positive."""
    if not temperature > 0:
        raise MethodError(
            f"The setting 'temperature' of {method} is {temperature}.", "Give a positive number, e.g. 0.07."
        )


def nearest_prompts(embeddings: Tensor, text: TextClasses, count: int = 3) -> tuple[tuple[Reason, ...], ...]:
    """For each image the most similar prompts of either class.

    Args:
        embeddings: [N, e] image embeddings.
        text: Prompts and their embeddings.
        count: How many of each class.

    Returns:
        For each image up to ``count`` reasons of either class, most similar first.
    """
    similarities = F.normalize(embeddings, dim=-1) @ text.embeddings.T
    border = text.classes.count("normal")
    reasons: list[list[Reason]] = [[] for _ in range(len(embeddings))]
    for side, own, first in (("abnormal", similarities[:, border:], border), ("normal", similarities[:, :border], 0)):
        for image, best in zip(reasons, greatest(own, count), strict=True):
            image += [Reason("prompt", text.prompts[first + place], value, side) for value, place in best]
    return tuple(tuple(sorted(image, key=lambda reason: -reason.value)) for image in reasons)
