"""Methods made ready to be timed on any backbone, with random parameters where none were trained for it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vlmad_core.backbones import Features, concatenate_features
from vlmad_core.backbones.feature_cache import image_input
from vlmad_core.backbones.loading import BackboneSpec
from vlmad_core.backbones.tower import Backbone
from vlmad_core.datasets import Dataset
from vlmad_core.datasets.catalogue import category_noun
from vlmad_core.datasets.splits import draw_references
from vlmad_core.engine.session import Entrant, Session, judge
from vlmad_core.engine.speed import Subject
from vlmad_core.errors import VlmadError
from vlmad_core.methods import Method, Predictions, Scorer
from vlmad_core.methods.anomaly_clip import AnomalyClip
from vlmad_core.methods.april_gan import AprilGan
from vlmad_core.methods.trained import find_parameters, load_parameters

CONTEXT_LENGTH = 12
DEEP_LENGTH = 4
"""Learned vectors of AnomalyCLIP's prompts, and those put in before each deeper block (its authors' numbers)."""


@dataclass(frozen=True)
class Scene:
    """Images to be judged.

    Attributes:
        dataset: Where they come from.
        category: Of the data set.
    """

    dataset: Dataset
    category: str

    @property
    def files(self) -> list[Path]:
        """The test images."""
        return [sample.image_path for sample in self.dataset.select(self.category, "test")]


@dataclass(frozen=True)
class ReadySubject(Subject):
    """A subject that keeps the scorers it was made ready with: text is embedded once for all that is timed.

    Attributes:
        scorers: One for each time it was made ready.
    """

    scorers: list[Scorer] = field(default_factory=list)

    def prepare(self) -> Scorer:
        """Make it ready; embeds its prompts."""
        self.scorers.append(super().prepare())
        return self.scorers[-1]

    def judged(self, pixels: Tensor) -> Predictions:
        """From pixels [N, 3, S, S] in memory to scores and native grids on the CPU."""
        scorer = self.scorers[0] if self.scorers else self.prepare()
        features = self.backbone.encode_images(pixels, self.request)
        return judge(scorer, features, together=self.transductive)


def make_subject(method: Method, shots: int, backbone: Backbone, scene: Scene) -> ReadySubject | str:
    """A method to be timed, or the reason why it can't be.

    Args:
        method: The method; one that brings its own backbone is timed on that.
        shots: Number of references.
        backbone: The backbone that is timed.
        scene: References are drawn from its training images.
    """
    reason = method.why_not_applicable(shots)
    if reason is not None:
        return reason
    try:
        own = backbone
        if method.own_backbone is not None:
            own = BackboneSpec(method.own_backbone, device=str(backbone.device)).load()
        reason = method.why_not_on(own.info)
        if reason is not None:
            return reason
        noun = category_noun(scene.category, method.settings.name_table)
        entrant = Entrant(method.id, method, noun, shots, _parameters(method, own, scene.dataset))
        return ReadySubject(entrant, own, _drawn(method, shots, own, scene) if shots else None)
    except VlmadError as error:
        return str(error)


def _drawn(method: Method, shots: int, backbone: Backbone, scene: Scene) -> Features:
    further = method.calibration_images(shots)
    chosen = draw_references(scene.dataset.select(scene.category, "train"), shots + further, seed=0)
    request = method.needs(backbone.info, shots)
    images = (image_input(sample.image_path, backbone, request) for sample in chosen)
    return concatenate_features(Session(backbone).encode(images, request))


def _parameters(method: Method, backbone: Backbone, dataset: Dataset) -> dict[str, Tensor] | None:
    """Trained parameters where there are some that fit, else random ones of the same shapes."""
    if not method.capabilities.trained:
        return None
    path = find_parameters(method.name, backbone.info, dataset.official or dataset.name)
    if path is not None:
        return load_parameters(path, method.name, backbone.info)[0]
    return random_parameters(method, backbone)


def random_parameters(method: Method, backbone: Any) -> dict[str, Tensor] | None:
    """Parameters of the right shapes for a method that trains, so that it can be timed; None for the others."""
    generator, info = torch.Generator().manual_seed(0), backbone.info

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator) / math.sqrt(shape[-1])

    if isinstance(method, AprilGan):
        shapes = {"weight": (info.embed_dim, info.width), "bias": (info.embed_dim,)}
        count = len(method.stages(info))
        return {f"linear.{i}.{kind}": normal(*shape) for i in range(count) for kind, shape in shapes.items()}
    if isinstance(method, AnomalyClip):
        width = int(backbone.model.config.text_config.hidden_size)
        deep = {f"deep.{i}": normal(DEEP_LENGTH, width) for i in range(-(-3 * info.text_depth // 4) - 1)}
        return {"context": normal(2, CONTEXT_LENGTH, width), **deep}
    return None
