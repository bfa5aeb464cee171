"""CLIP-AC and CPE: the whole image against normal and abnormal prompts, nothing more.

CLIP-AC asks one pair of prompts; CPE asks the compositional prompt ensemble, states x templates (Jeong et al.,
"WinCLIP", CVPR 2023, sections 3.1 and 4). Both may also compare each patch with the prompts; the papers use
that map only as a weak baseline, and so do we.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from vlmad_core.backbones.features import FeatureRequest, Features
from vlmad_core.backbones.info import BackboneInfo
from vlmad_core.backbones.tower import TextTower
from vlmad_core.methods.base import LAION_BASE_PLUS, Capabilities, Reason, Scorer
from vlmad_core.methods.predictions import MapRule, Predictions
from vlmad_core.methods.prompted import (
    PromptedMethod,
    PromptedSettings,
    check_temperature,
    nearest_prompts,
    two_class_logits,
)
from vlmad_core.methods.registry import register_method
from vlmad_core.prompts.prototypes import TextClasses

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class TextSettings(PromptedSettings):
    """Settings of the methods that compare with prompts only, beside the prompts.

    Attributes:
        temperature: Divides the difference of cosines. Image rankings don't depend on it.
        patch_map: Whether patches are compared with the prompts too, for a map.
    """

    ensemble: str = "single"
    temperature: float = 0.07
    patch_map: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_temperature("CLIP-AC and CPE", self.temperature)


@dataclass(frozen=True)
class EnsembleSettings(TextSettings):
    """``TextSettings`` with CPE's defaults."""

    ensemble: str = "winclip"
    patch_map: bool = True


@dataclass(frozen=True)
class TextScorer(Scorer):
    """CLIP-AC or CPE for one category.

    Attributes:
        text: Prompts and prototypes of the two classes.
        settings: The method's settings.
    """

    text: TextClasses
    settings: TextSettings

    def score(self, features: Features) -> Predictions:
        """Image score: softmax probability of abnormal; map: the same for each patch, if set."""
        assert features.image_embedding is not None
        logits = two_class_logits(features.image_embedding, self.text.prototypes, self.settings.temperature)
        if not self.settings.patch_map:
            return Predictions(image_score=logits.sigmoid())
        assert features.patch_embeddings is not None
        patches = two_class_logits(features.patch_embeddings, self.text.prototypes, self.settings.temperature)
        grids = patches.sigmoid().reshape(len(patches), 1, *features.grid)
        return Predictions(image_score=logits.sigmoid(), grids=grids, map_rule=MapRule())

    def explain(self, features: Features, predictions: Predictions) -> tuple[tuple[Reason, ...], ...]:
        """The most similar prompts of either class."""
        assert features.image_embedding is not None
        return nearest_prompts(features.image_embedding, self.text)


class _TextMethod(PromptedMethod):
    """What CLIP-AC and CPE share."""

    settings: TextSettings
    published = LAION_BASE_PLUS

    @property
    def capabilities(self) -> Capabilities:
        """Classifies; segments only if the patch map is on."""
        return Capabilities(segments=self.settings.patch_map)

    def needs(self, backbone: BackboneInfo, shots: int) -> FeatureRequest:
        """The image embedding, and the patches' for the map."""
        return FeatureRequest(image_embedding=True, patch_embeddings=self.settings.patch_map)

    def prepare(
        self,
        category: str,
        text: TextTower,
        references: Features | None = None,
        parameters: Mapping[str, Tensor] | None = None,
        calibration: Features | None = None,
    ) -> TextScorer:
        """Embed the prompts for a category."""
        return self.scorer(self.text_classes(text, category))

    def scorer(self, text: TextClasses) -> TextScorer:
        """A scorer from prompts that are already embedded."""
        return TextScorer(text, self.settings)


@register_method
class ClipAc(_TextMethod):
    """CLIP-AC: one prompt pair."""

    name = "clip_ac"
    settings_type = TextSettings
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "canonical": {},
        "templates": {"ensemble": "templates"},
    }


@register_method
class ClipCpe(_TextMethod):
    """CPE: the compositional prompt ensemble."""

    name = "clip_cpe"
    settings_type = EnsembleSettings
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"canonical": {}, "states": {"ensemble": "states"}}

    @property
    def capabilities(self) -> Capabilities:
        """As CLIP-AC, with any ensemble."""
        return replace(super().capabilities, any_prompts=True)
