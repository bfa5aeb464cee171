"""AnomalyCLIP (Zhou et al., "AnomalyCLIP: Object-agnostic Prompt Learning for Zero-shot Anomaly Detection", ICLR 2024).

Two learned prompts that name no object are compared with the image and with patches read off a second path
through the vision tower, on which attention compares values with values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from vlmad_core.backbones.features import FeatureRequest, Features
from vlmad_core.backbones.info import BackboneInfo
from vlmad_core.backbones.tower import TextTower
from vlmad_core.errors import MethodError
from vlmad_core.libraries import torch
from vlmad_core.methods.base import OPENAI_LARGE, Capabilities, Method, MethodSettings, Reason, Scorer
from vlmad_core.methods.patches import check_stages, top_patches
from vlmad_core.methods.predictions import MapRule, Predictions
from vlmad_core.methods.prompted import check_temperature, two_class_logits
from vlmad_core.methods.registry import register_method

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class AnomalyClipSettings(MethodSettings):
    """Settings of AnomalyCLIP.

    Attributes:
        normal_words: What follows the learned vectors of the normal prompt.
        abnormal_words: What follows those of the abnormal prompt.
        temperature: Divides the difference of cosines.
        stages: Blocks after which the value-value path is read; None: the last block.
        value_start: First block of that path; None: floor(5 L / 24) + 1 of L blocks (6 of 24).
        class_layer_norm: Whether the class token passes the final LayerNorm before its projection; the authors'
            code leaves it out.
        round_deep_prompts: Whether deep prompts are rounded to float16 on the way in, as the authors' code does.
        smoothing_sigma: Standard deviation of the Gaussian filter over the map, in pixels; 0 for none.
        smoothing_size: The side of the map for which it is meant, in pixels; the filter scales with the map.
    """

    normal_words: str = "object."
    abnormal_words: str = "damaged object."
    temperature: float = 0.07
    stages: tuple[int, ...] | None = None
    value_start: int | None = None
    class_layer_norm: bool = False
    round_deep_prompts: bool = False
    smoothing_sigma: float = 4.0
    smoothing_size: int = 518

    def __post_init__(self) -> None:
        check_temperature("AnomalyCLIP", self.temperature)
        object.__setattr__(self, "stages", check_stages("AnomalyCLIP", "stages", self.stages))
        for name, fine in (
            ("smoothing_sigma", self.smoothing_sigma >= 0),
            ("smoothing_size", self.smoothing_size >= 1),
            ("value_start", self.value_start is None or self.value_start >= 1),
        ):
            if not fine:
                raise MethodError(
                    f"The setting {name!r} of AnomalyCLIP is {getattr(self, name)}.", "Give a positive number."
                )


@dataclass(frozen=True)
class AnomalyClipScorer(Scorer):
    """AnomalyCLIP; the same for every category.

    Attributes:
        prototypes: [2, e]: normal, abnormal; unit vectors.
        settings: The method's settings.
        value_paths: (first block, stage) of each patch read-out.
    """

    prototypes: Tensor
    settings: AnomalyClipSettings
    value_paths: tuple[tuple[int, int], ...]

    def score(self, features: Features) -> Predictions:
        """Image score: the class token against the prompts; map: patches likewise, before enlarging, then smoothed."""
        image = features.image_embedding if self.settings.class_layer_norm else features.class_projection
        assert image is not None
        logits = two_class_logits(image, self.prototypes, self.settings.temperature)
        settings = self.settings
        rule = MapRule(gaussian_sigma=settings.smoothing_sigma, gaussian_size=settings.smoothing_size)
        return Predictions(image_score=logits.sigmoid(), grids=self.grid(features)[:, None], map_rule=rule)

    def grid(self, features: Features) -> Tensor:
        """[N, rows, columns]: probability of abnormal, summed over the stages."""
        patches = [
            two_class_logits(features.value_paths[path][:, 1:], self.prototypes, self.settings.temperature)
            for path in self.value_paths
        ]
        return torch.stack(patches).sigmoid().sum(dim=0).reshape(-1, *features.grid)

    def explain(self, features: Features, predictions: Predictions) -> tuple[tuple[Reason, ...], ...]:
        """The most abnormal patches; learned prompts have no words to show."""
        assert predictions.grids is not None
        return top_patches(predictions.grids[:, 0])


@register_method
class AnomalyClip(Method):
    """AnomalyCLIP, zero-shot."""

    name = "anomaly_clip"
    settings_type = AnomalyClipSettings
    settings: AnomalyClipSettings
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"canonical": {}, "authors": {"round_deep_prompts": True}}
    published = replace(OPENAI_LARGE, activation="quick_gelu", position_rule="bilinear")

    @property
    def capabilities(self) -> Capabilities:
        """Classifies and segments; trained on auxiliary data."""
        return Capabilities(segments=True, trained=True)

    def value_paths(self, backbone: BackboneInfo) -> tuple[tuple[int, int], ...]:
        """(first block, stage) of each patch read-out."""
        start = self.settings.value_start or backbone.depth * 5 // 24 + 1
        return tuple((start, stage) for stage in self.settings.stages or (backbone.depth,))

    def needs(self, backbone: BackboneInfo, shots: int) -> FeatureRequest:
        """The class token and the value-value path."""
        normed = self.settings.class_layer_norm
        paths = frozenset(self.value_paths(backbone))
        return FeatureRequest(image_embedding=normed, class_projection=not normed, value_paths=paths)

    def prepare(
        self,
        category: str,
        text: TextTower,
        references: Features | None = None,
        parameters: Mapping[str, Tensor] | None = None,
        calibration: Features | None = None,
    ) -> AnomalyClipScorer:
        """Embed the learned prompts: ``context`` [2, m, t], normal first, and ``deep.i`` [p, t]."""
        if parameters is None:
            raise MethodError(
                f"AnomalyCLIP has no learned prompts for {text.info.title}.",
                f"Train them: python -m vlmad_core train anomaly_clip --data NAME --backbone {text.info.id}",
            )
        with torch.no_grad():
            prototypes = self.embed(text, parameters)
        return AnomalyClipScorer(prototypes, self.settings, self.value_paths(text.info))

    def embed(self, text: TextTower, parameters: Mapping[str, Tensor]) -> Tensor:
        """Both prompts as unit vectors [2, e], normal first; gradients flow to the parameters."""
        context = parameters.get("context")
        count = sum(name.startswith("deep.") for name in parameters)
        deep = [parameters[f"deep.{i}"] for i in range(count) if f"deep.{i}" in parameters]
        if context is None or context.ndim != 3 or len(context) != 2 or len(deep) < count:
            raise MethodError(
                "The parameters hold no learned prompts of AnomalyCLIP.", "Use those trained for this method."
            )
        if self.settings.round_deep_prompts:
            deep = [vectors.half().float() for vectors in deep]
        words = (self.settings.normal_words, self.settings.abnormal_words)
        return torch.nn.functional.normalize(text.encode_learned_prompts(words, context, deep), dim=-1)
