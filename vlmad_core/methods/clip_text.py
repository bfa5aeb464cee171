"""CLIP-AC and CPE: the whole image against normal and abnormal prompts, nothing more.

CLIP-AC asks one pair of prompts; CPE asks the compositional prompt ensemble, states x templates (Jeong et al.,
"WinCLIP", CVPR 2023, sections 3.1 and 4). Both may also compare each patch with the prompts; the papers use
that map only as a weak baseline, and so do we.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

from torch import Tensor

from vlmad_core.backbones.features import FeatureRequest, Features
from vlmad_core.backbones.info import BackboneInfo
from vlmad_core.backbones.tower import TextTower
from vlmad_core.errors import MethodError
from vlmad_core.methods.base import LAION_BASE_PLUS, Capabilities, Method, MethodSettings, Reason, Scorer
from vlmad_core.methods.predictions import MapRule, Predictions
from vlmad_core.methods.registry import register_method
from vlmad_core.methods.similarity import check_temperature, nearest_prompts, two_class_logits
from vlmad_core.prompts.ensemble import PromptEnsemble, load_ensemble
from vlmad_core.prompts.prototypes import AverageRule, TextClasses, embed_ensemble


@dataclass(frozen=True)
class TextSettings(MethodSettings):
    """Settings of the methods that compare with prompts only.

    Attributes:
        ensemble: Name of a prompt ensemble, or the path of a yaml file.
        text_average: How prompt embeddings become one prototype; see ``AverageRule``.
        temperature: Divides the difference of cosines. Image rankings don't depend on it.
        patch_map: Whether patches are compared with the prompts too, for a map.
    """

    ensemble: str = "single"
    text_average: AverageRule = "each"
    temperature: float = 0.07
    patch_map: bool = False

    def __post_init__(self) -> None:
        check_temperature("CLIP-AC and CPE", self.temperature)
        load_ensemble(self.ensemble)
        if self.text_average not in ("each", "mean"):
            raise MethodError(f"The setting 'text_average' is {self.text_average!r}.", "Choose 'each' or 'mean'.")


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

    def explain(self, features: Features) -> tuple[tuple[Reason, ...], ...]:
        """The most similar prompts of either class."""
        assert features.image_embedding is not None
        return nearest_prompts(features.image_embedding, self.text)


class _TextMethod(Method):
    """What CLIP-AC and CPE share."""

    settings: TextSettings
    published = LAION_BASE_PLUS

    @property
    def capabilities(self) -> Capabilities:
        """Classifies; segments only if the patch map is on."""
        return Capabilities(segments=self.settings.patch_map)

    @cached_property
    def ensemble(self) -> PromptEnsemble:
        """The ensemble, read once: what a run records is what it is scored with, even if the file changes."""
        return load_ensemble(self.settings.ensemble)

    def prompt_record(self) -> Mapping[str, Any]:
        """Name and content hash of the ensemble."""
        return {"ensemble": self.ensemble.name, "content_hash": self.ensemble.content_hash}

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
        return self.scorer(embed_ensemble(text, self.ensemble, category, self.settings.text_average))

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
