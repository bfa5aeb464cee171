"""MuSc (Li et al., "MuSc", ICLR 2024): the unlabelled test images judge one another, without text or references.

Transductive by nature: a patch is anomalous if few of the other test images have one like it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from vlmad_core.backbones.features import FeatureRequest, Features
from vlmad_core.backbones.info import BackboneInfo
from vlmad_core.backbones.tower import TextTower
from vlmad_core.errors import MethodError
from vlmad_core.methods.base import OPENAI_LARGE, Capabilities, Method, MethodSettings, Reason, Scorer
from vlmad_core.methods.mutual import mutual_scores, neighbourhood_tokens, rescore_by_neighbours
from vlmad_core.methods.places import top_patches
from vlmad_core.methods.predictions import MapRule, Predictions, map_maximum
from vlmad_core.methods.registry import register_method
from vlmad_core.methods.stages import check_stages, quarter_stages

SIMILARITIES_AT_ONCE = 64_000_000
"""Bound on memory: 256 MB of similarities, 200 images of 37 x 37 patches in one block."""


@dataclass(frozen=True)
class MuScSettings(MethodSettings):
    """Settings of MuSc.

    Attributes:
        stages: Blocks whose tokens are compared; None: the ends of the tower's quarters.
        neighbourhoods: Sides of the neighbourhoods over which tokens are averaged, in patches, odd.
        fraction: Share of the other images, the most similar ones, that a patch is compared with.
        neighbours: Sizes of the image neighbourhoods that smooth the image scores; empty: no smoothing.
    """

    stages: tuple[int, ...] | None = None
    neighbourhoods: tuple[int, ...] = (1, 3, 5)
    fraction: float = 0.3
    neighbours: tuple[int, ...] = (1, 2, 3)

    def __post_init__(self) -> None:
        object.__setattr__(self, "stages", check_stages("MuSc", "stages", self.stages))
        for name in ("neighbourhoods", "neighbours"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        odd = all(isinstance(r, int) and r >= 1 and r % 2 for r in self.neighbourhoods)
        if not (self.neighbourhoods and odd):
            raise MethodError(
                f"The setting 'neighbourhoods' of MuSc is {self.neighbourhoods}.", "Give odd numbers, e.g. (1, 3, 5)."
            )
        if any(not isinstance(k, int) or k < 1 for k in self.neighbours):
            raise MethodError(
                f"The setting 'neighbours' of MuSc is {self.neighbours}.", "Give positive numbers, e.g. (1, 2, 3)."
            )
        if not 0 < self.fraction <= 1:
            raise MethodError(f"The setting 'fraction' of MuSc is {self.fraction}.", "Choose it in (0, 1], e.g. 0.3.")


@dataclass(frozen=True)
class MuScScorer(Scorer):
    """MuSc; the same for every category, since it reads nothing but the test images.

    Attributes:
        settings: The method's settings.
        stages: The blocks whose tokens are compared.
        map_size: (height, width) of the map whose maximum is the image score.
        budget: See ``SIMILARITIES_AT_ONCE``.
    """

    settings: MuScSettings
    stages: tuple[int, ...]
    map_size: tuple[int, int]
    budget: int = SIMILARITIES_AT_ONCE

    def score(self, features: Features) -> Predictions:
        """Not possible: there is no score of a single image."""
        raise MethodError(
            "MuSc scores test images against one another and has no score for an image on its own.",
            "Score all test images of a category together, or choose another method.",
        )

    def score_set(self, features: Features) -> Predictions:
        """Map: mean over stages and neighbourhoods of the mutual scores; image score: its maximum, smoothed."""
        if len(features) < 2:
            raise MethodError(f"MuSc was given {len(features)} test image.", "Give at least two of one category.")
        grid = self.patch_scores(features)[:, None]
        rule = MapRule(align_corners=True)
        scores = map_maximum(grid, rule, self.map_size)
        if self.settings.neighbours:
            assert features.image_embedding is not None
            scores = rescore_by_neighbours(scores, features.image_embedding, self.settings.neighbours)
        return Predictions(scores, grid, rule)

    def patch_scores(self, features: Features) -> Tensor:
        """[N, rows, columns]."""
        total = torch.zeros(len(features), features.grid[0] * features.grid[1])
        for side in self.settings.neighbourhoods:
            for stage in self.stages:
                tokens = neighbourhood_tokens(features.stages[stage][:, 1:], features.grid, side)
                total += mutual_scores(tokens, self.settings.fraction, self.budget)
        return (total / (len(self.settings.neighbourhoods) * len(self.stages))).reshape(-1, *features.grid)

    def explain(self, features: Features) -> tuple[tuple[Reason, ...], ...]:
        """The most abnormal patches; of a set, as with the score."""
        return top_patches(self.patch_scores(features)) if len(features) > 1 else ((),) * len(features)


@register_method
class MuSc(Method):
    """MuSc; transductive."""

    name = "musc"
    settings_type = MuScSettings
    settings: MuScSettings
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"canonical": {}, "visa": {"neighbours": (1, 8, 9)}}
    published = OPENAI_LARGE

    @property
    def capabilities(self) -> Capabilities:
        """Classifies and segments; needs all test images at once, and neither text nor references."""
        return Capabilities(segments=True, uses_text=False, transductive=True)

    def stages(self, backbone: BackboneInfo) -> tuple[int, ...]:
        """The blocks whose tokens are compared."""
        return self.settings.stages or quarter_stages(backbone.depth)

    def needs(self, backbone: BackboneInfo, shots: int) -> FeatureRequest:
        """The raw tokens of the stages, and the image embedding for the smoothing of image scores."""
        return FeatureRequest(image_embedding=bool(self.settings.neighbours), stages=frozenset(self.stages(backbone)))

    def prepare(
        self,
        category: str,
        text: TextTower,
        references: Features | None = None,
        parameters: Mapping[str, Tensor] | None = None,
        calibration: Features | None = None,
    ) -> MuScScorer:
        """Nothing to prepare."""
        size = (text.info.image_size, text.info.image_size)
        return MuScScorer(self.settings, self.stages(text.info), size)
