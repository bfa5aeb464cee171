"""A method of one's own: how far the image embedding is from the mean of the references' embeddings."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vlmad_core.backbones import FeatureRequest
from vlmad_core.methods import Capabilities, Method, MethodCard, MethodSettings, Predictions, Scorer, register_method


@dataclass(frozen=True)
class MeanDistanceSettings(MethodSettings):
    power: float = 1.0


@dataclass(frozen=True)
class MeanDistanceScorer(Scorer):
    mean: Tensor  # [e]
    power: float

    def score(self, features):
        similarity = torch.cosine_similarity(features.image_embedding, self.mean, dim=-1)
        return Predictions(image_score=(1.0 - similarity).clamp_min(0.0) ** self.power)


@register_method
class MeanDistance(Method):
    name = "mean_distance"
    settings_type = MeanDistanceSettings
    own_card = MethodCard(
        name="mean_distance",
        title="Distance from the mean",
        paper="A worked example",
        year=2026,
        url="",
        summary="Cosine distance of the whole image from the mean of the references.",
        needs=("references",),
    )

    @property
    def capabilities(self):
        return Capabilities(few_shot=True, needs_references=True, uses_text=False)

    def needs(self, backbone, shots):
        return FeatureRequest(image_embedding=True)

    def prepare(self, category, text, references=None, parameters=None, calibration=None):
        return MeanDistanceScorer(references.image_embedding.mean(dim=0), self.settings.power)
