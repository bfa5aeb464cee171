"""Patch memory: each patch against the nearest patch of normal references, on plain CLIP tokens, without text.

A baseline for what language adds: the memory of PatchCore (Roth et al., CVPR 2022) without its coreset and
neighbourhood pooling, on the tokens that the other methods read as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from vlmad_core.backbones.features import FeatureRequest, Features
from vlmad_core.backbones.info import BackboneInfo
from vlmad_core.backbones.tower import TextTower
from vlmad_core.errors import MethodError
from vlmad_core.libraries import torch
from vlmad_core.methods.base import Capabilities, Method, MethodSettings, Reason, Scorer
from vlmad_core.methods.patches import (
    Search,
    check_stages,
    least_familiar,
    middle_stages,
    nearest_in_memory,
    nearest_of_others,
    unit_rows,
)
from vlmad_core.methods.predictions import MapRule, Predictions
from vlmad_core.methods.registry import register_method

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class PatchMemorySettings(MethodSettings):
    """Settings of the patch memory.

    Attributes:
        stages: Blocks whose tokens are compared; None: the ends of the tower's second and third quarter.
        image_score: Of the distances of an image's patches, the ``maximum``, or the mean of the greatest
            hundredth of them, at least one (``top_percent``).
    """

    stages: tuple[int, ...] | None = None
    image_score: Literal["maximum", "top_percent"] = "maximum"

    def __post_init__(self) -> None:
        object.__setattr__(self, "stages", check_stages("the patch memory", "stages", self.stages))
        if self.image_score not in ("maximum", "top_percent"):
            raise MethodError(
                f"The setting 'image_score' of the patch memory is {self.image_score!r}.",
                "Choose 'maximum' or 'top_percent'.",
            )


@dataclass(frozen=True)
class PatchMemoryScorer(Scorer):
    """The patch memory of one category.

    Attributes:
        settings: The method's settings.
        memory: Block -> [K*P, d] patch tokens of the references, unit vectors.
    """

    settings: PatchMemorySettings
    memory: Mapping[int, Tensor]

    def score(self, features: Features) -> Predictions:
        """Map: distance to the nearest reference patch, mean over the stages; image score: its maximum, or as set."""
        return self._scored(features, nearest_in_memory)

    def score_left_out(self, references: Features) -> Predictions:
        """Each reference by the patches of the others."""
        return self._scored(references, nearest_of_others)

    def _scored(self, features: Features, search: Search) -> Predictions:
        nearest = {k: search(features.stages[k][:, 1:], rows) for k, rows in self.memory.items()}
        distances = torch.stack([found.distance for found in nearest.values()]).mean(dim=0)
        count = 1 if self.settings.image_score == "maximum" else max(1, distances.shape[1] // 100)
        score = distances.topk(count, dim=1).values.mean(dim=1)
        grids = distances.reshape(-1, 1, *features.grid)
        return Predictions(score, grids, MapRule(), nearest=nearest[max(self.memory)])

    def explain(self, features: Features, predictions: Predictions) -> tuple[tuple[Reason, ...], ...]:
        """The least familiar patch, by the deepest stage."""
        assert predictions.nearest is not None
        return tuple((reason,) for reason in least_familiar(predictions.nearest, features.grid))


@register_method
class PatchMemory(Method):
    """The patch memory; needs references."""

    name = "patch_memory"
    settings_type = PatchMemorySettings
    settings: PatchMemorySettings

    @property
    def capabilities(self) -> Capabilities:
        """Classifies and segments, with references only; reads no text."""
        return Capabilities(segments=True, few_shot=True, needs_references=True, uses_text=False)

    def stages(self, backbone: BackboneInfo) -> tuple[int, ...]:
        """The blocks whose tokens are compared."""
        return self.settings.stages or middle_stages(backbone.depth)

    def needs(self, backbone: BackboneInfo, shots: int) -> FeatureRequest:
        """The raw tokens of the stages."""
        return FeatureRequest(stages=frozenset(self.stages(backbone)))

    def prepare(
        self,
        category: str,
        text: TextTower,
        references: Features | None = None,
        parameters: Mapping[str, Tensor] | None = None,
        calibration: Features | None = None,
    ) -> PatchMemoryScorer:
        """Keep the references' patch tokens."""
        if references is None:
            raise MethodError("The patch memory was given no reference images.", "Give at least one normal image.")
        memory = {k: unit_rows(references.stages[k][:, 1:]) for k in self.stages(text.info)}
        return PatchMemoryScorer(self.settings, memory)
