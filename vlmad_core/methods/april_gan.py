"""APRIL-GAN, shown as AprilLab (Chen et al., "APRIL-GAN", CVPR 2023 VAND workshop challenge, arXiv 2305.17382).

Patch tokens after four blocks are mapped by trained linear layers into the joint space and compared with normal
and abnormal prompts; with references they are also compared, unmapped, with the nearest reference patch. The
authors' few-shot image score is normalised over the whole test set; that is the setting ``transductive``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

from vlmad_core.backbones.features import FeatureRequest, Features
from vlmad_core.backbones.info import BackboneInfo
from vlmad_core.backbones.tower import TextTower
from vlmad_core.errors import MethodError
from vlmad_core.libraries import F, torch
from vlmad_core.methods.base import OPENAI_LARGE, Capabilities, Progress, Reason, Scorer, no_progress
from vlmad_core.methods.patches import (
    Search,
    check_stages,
    least_familiar,
    nearest_in_memory,
    nearest_of_others,
    quarter_stages,
    top_patches,
    unit_rows,
)
from vlmad_core.methods.predictions import Activation, MapRule, NearestPatches, Predictions, map_maximum
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

ImageFusion = Literal["bounded", "calibrated", "transductive"]
"""How the maximum q of the few-shot map is brought to the range of the text score before both are averaged.

``bounded``: q divided by the number of maps it sums, its bound for any likely image; needs nothing else.
``calibrated``: q rescaled by its range over further normal images.
``transductive``: q rescaled by its range over all test images of the category, as in the authors' code."""

_FUSIONS: Mapping[str, str] = MappingProxyType(
    {"bounded": "non-transductive", "calibrated": "calibrated", "transductive": "transductive"}
)
AUTHORS_TEMPERATURE = 0.01
"""The authors multiply the difference of cosines by 100."""
CALIBRATION_IMAGES = 8
"""Normal images beside the references over which ``calibrated`` takes the range; enough for a rough one."""


@dataclass(frozen=True)
class AprilGanSettings(PromptedSettings):
    """Settings of APRIL-GAN, beside the prompts.

    Attributes:
        temperature: Divides the difference of cosines; None: what the parameters were trained with, or where they
            don't say ``AUTHORS_TEMPERATURE``.
        stages: Blocks whose tokens are projected and compared with text; None: the ends of the tower's quarters.
        memory_stages: Blocks whose tokens are compared with references; None: the same as ``stages``.
        image_fusion: See ``ImageFusion``; read with references only.
    """

    ensemble: str = "april_gan"
    temperature: float | None = None
    stages: tuple[int, ...] | None = None
    memory_stages: tuple[int, ...] | None = None
    image_fusion: ImageFusion = "bounded"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.temperature is not None:
            check_temperature("APRIL-GAN", self.temperature)
        for name in ("stages", "memory_stages"):
            object.__setattr__(self, name, check_stages("APRIL-GAN", name, getattr(self, name)))
        if self.image_fusion not in get_args(ImageFusion):
            raise MethodError(
                f"The setting 'image_fusion' of APRIL-GAN is {self.image_fusion!r}.",
                f"Choose one of: {', '.join(get_args(ImageFusion))}.",
            )


@dataclass(frozen=True)
class AprilGanScorer(Scorer):
    """APRIL-GAN for one category.

    Attributes:
        text: Prompts and prototypes of the two classes.
        settings: The method's settings.
        projections: Block -> weight [e, d] and bias [e] of its linear layer, in the precision of the tower's blocks.
        memory: Block -> [K*P, d] patch tokens of the references, unit vectors; empty for zero-shot.
        map_size: (height, width) of the map whose maximum enters the image score.
        temperature: Divides the difference of cosines.
        span: Least and greatest map maximum over the calibration images, [2]; None without.
    """

    text: TextClasses
    settings: AprilGanSettings
    projections: Mapping[int, tuple[Tensor, Tensor]]
    memory: Mapping[int, Tensor]
    map_size: tuple[int, int]
    temperature: float
    span: Tensor | None = None

    @property
    def map_rule(self) -> MapRule:
        """One grid of logits per stage, its sigmoid taken after enlarging; with references one grid of distances."""
        activations: list[Activation] = ["sigmoid"] * len(self.projections)
        if self.memory:
            activations.append("none")
        return MapRule(tuple(activations), align_corners=True, combine="sum")

    def score(self, features: Features) -> Predictions:
        """Zero-shot: the text score of the image; with references, averaged with the map's maximum."""
        if self.memory and self.settings.image_fusion == "transductive":
            raise MethodError(
                "APRIL-GAN's own few-shot image score is normalised over the whole test set.",
                "Score all test images together, or choose image_fusion='bounded'.",
            )
        return self.score_set(features)

    def score_set(self, features: Features, progress: Progress = no_progress) -> Predictions:
        """The same for all test images of a category, which the transductive score is normalised over."""
        return self._scored(features, nearest_in_memory)

    def score_left_out(self, references: Features) -> Predictions | None:
        """Each reference by the patches of the others; what the other fusions rescale by is of the whole memory."""
        bounded = self.settings.image_fusion == "bounded"
        return self._scored(references, nearest_of_others) if bounded else None

    def _scored(self, features: Features, search: Search) -> Predictions:
        assert features.image_embedding is not None
        logits = two_class_logits(features.image_embedding, self.text.prototypes, self.temperature)
        nearest = self.nearest(features, search)
        score, grids = logits.sigmoid(), self.grids(features, nearest)
        if self.memory:
            score = 0.5 * (score + self._rescale(map_maximum(grids, self.map_rule, self.map_size)))
        last = nearest[max(nearest)] if nearest else None
        return Predictions(image_score=score, grids=grids, map_rule=self.map_rule, nearest=last)

    def nearest(self, features: Features, search: Search = nearest_in_memory) -> dict[int, NearestPatches]:
        """By stage, what the patches of images are compared with; empty for zero-shot."""
        return {k: search(features.stages[k][:, 1:], rows) for k, rows in self.memory.items()}

    def grids(self, features: Features, nearest: Mapping[int, NearestPatches]) -> Tensor:
        """[N, S, rows, columns]: the stages' logits; with references, the summed distances as the last grid."""
        grids = []
        for stage, (weight, bias) in self.projections.items():
            projected = F.linear(features.stages[stage][:, 1:].to(weight.dtype), weight, bias)
            logits = two_class_logits(projected.float(), self.text.prototypes, self.temperature)
            grids.append(logits.reshape(-1, *features.grid))
        if nearest:
            # Enlarging is linear, so the stages' distances may be summed before it. Not halved, as the authors do.
            distances = [2.0 * found.distance for found in nearest.values()]
            grids.append(torch.stack(distances).sum(dim=0).reshape(-1, *features.grid))
        return torch.stack(grids, dim=1)

    def _rescale(self, maximum: Tensor) -> Tensor:
        if self.settings.image_fusion == "bounded":
            return maximum / (len(self.projections) + len(self.memory))
        low, high = (_span(maximum) if self.span is None else self.span).unbind()
        # A single image, or equal ones, have no range: all are then the least anomalous.
        return torch.where(high > low, (maximum - low) / (high - low), torch.zeros_like(maximum))

    def explain(self, features: Features, predictions: Predictions) -> tuple[tuple[Reason, ...], ...]:
        """The most similar prompts, the most abnormal patches, and with references the least familiar patch."""
        assert features.image_embedding is not None
        assert predictions.grids is not None
        grids, count = predictions.grids, len(self.projections)
        patches = top_patches(grids[:, :count].sigmoid().sum(dim=1) + grids[:, count:].sum(dim=1))
        reasons = [a + b for a, b in zip(nearest_prompts(features.image_embedding, self.text), patches, strict=True)]
        if predictions.nearest is not None:  # by the deepest stage
            found = least_familiar(predictions.nearest, features.grid)
            reasons = [(*a, b) for a, b in zip(reasons, found, strict=True)]
        return tuple(reasons)


@register_method
class AprilGan(PromptedMethod):
    """APRIL-GAN, zero-shot and few-shot."""

    name = "april_gan"
    settings_type = AprilGanSettings
    settings: AprilGanSettings
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "canonical": {},
        "authors": {"name_table": "raw", "image_fusion": "transductive"},
    }
    published = OPENAI_LARGE

    @property
    def capabilities(self) -> Capabilities:
        """Classifies and segments, with or without references; trained on auxiliary data."""
        return Capabilities(
            segments=True,
            few_shot=True,
            trained=True,
            transductive=self.settings.image_fusion == "transductive",
        )

    def is_transductive(self, shots: int) -> bool:
        """Only the few-shot image score is."""
        return shots > 0 and self.capabilities.transductive

    def title(self, shots: int = 0) -> str:
        """The card's title; with references it says how the image score was fused."""
        return super().title(shots) + (f", {_FUSIONS[self.settings.image_fusion]}" if shots else "")

    def calibration_images(self, shots: int) -> int:
        """Some, for the fusion ``calibrated``."""
        return CALIBRATION_IMAGES if shots and self.settings.image_fusion == "calibrated" else 0

    def stages(self, backbone: BackboneInfo) -> tuple[int, ...]:
        """The blocks whose tokens are projected, in the order of the linear layers."""
        return self.settings.stages or quarter_stages(backbone.depth)

    def memory_stages(self, backbone: BackboneInfo) -> tuple[int, ...]:
        """The blocks whose tokens are compared with references."""
        return self.settings.memory_stages or self.stages(backbone)

    def needs(self, backbone: BackboneInfo, shots: int) -> FeatureRequest:
        """The image embedding and the raw tokens of the stages."""
        stages = frozenset(self.stages(backbone)) | frozenset(self.memory_stages(backbone) if shots else ())
        return FeatureRequest(image_embedding=True, stages=stages)

    def prepare(
        self,
        category: str,
        text: TextTower,
        references: Features | None = None,
        parameters: Mapping[str, Tensor] | None = None,
        calibration: Features | None = None,
    ) -> AprilGanScorer:
        """Embed the prompts, take the linear layers ``linear.i.weight`` [e, d] and ``linear.i.bias`` [e].

        If the parameters hold ``stages``, the blocks they were trained for, these must be the method's; if they
        hold ``temperature``, it is used unless a setting says otherwise.
        """
        classes = self.text_classes(text, category)
        return self.scorer(classes, text.info, references, parameters, calibration)

    def scorer(
        self,
        text: TextClasses,
        backbone: BackboneInfo,
        references: Features | None = None,
        parameters: Mapping[str, Tensor] | None = None,
        calibration: Features | None = None,
    ) -> AprilGanScorer:
        """A scorer from prompts that are already embedded; see ``prepare``."""
        memory = {}
        if references is not None:
            memory = {k: unit_rows(references.stages[k][:, 1:]) for k in self.memory_stages(backbone)}
        projections = _projections(parameters, self.stages(backbone), backbone)
        size = (backbone.image_size, backbone.image_size)
        temperature = self.settings.temperature or _trained_temperature(parameters)
        scorer = AprilGanScorer(text, self.settings, projections, memory, size, temperature)
        if not memory or self.settings.image_fusion != "calibrated":
            return scorer
        if calibration is None:
            raise MethodError(
                "APRIL-GAN with image_fusion='calibrated' was given no calibration images.",
                "Give further normal images for it, or choose image_fusion='bounded'.",
            )
        maximum = map_maximum(scorer.grids(calibration, scorer.nearest(calibration)), scorer.map_rule, size)
        return replace(scorer, span=_span(maximum))


def _span(values: Tensor) -> Tensor:
    """Least and greatest of some values: [2]."""
    return torch.stack([values.min(), values.max()])


def _trained_temperature(parameters: Mapping[str, Tensor] | None) -> float:
    """The temperature that parameters were trained with."""
    stored = (parameters or {}).get("temperature")
    return AUTHORS_TEMPERATURE if stored is None else float(stored)


def _projections(
    parameters: Mapping[str, Tensor] | None, stages: tuple[int, ...], backbone: BackboneInfo
) -> dict[int, tuple[Tensor, Tensor]]:
    """The linear layer of each stage, checked against the backbone."""
    if parameters is None:
        raise MethodError(
            f"APRIL-GAN has no trained projections for {backbone.title}.",
            f"Train them: python -m vlmad_core train april_gan --data NAME --backbone {backbone.id}",
        )
    if "stages" in parameters and tuple(parameters["stages"].tolist()) != stages:
        trained = ", ".join(map(str, parameters["stages"].tolist()))
        raise MethodError(
            f"The parameters of APRIL-GAN were trained for the stages {trained}, not for {stages}.",
            "Leave out the setting 'stages', or train for these.",
        )
    expected, dtype = (backbone.embed_dim, backbone.width), getattr(torch, backbone.precision)
    found = {}
    for i, stage in enumerate(stages):
        weight, bias = parameters.get(f"linear.{i}.weight"), parameters.get(f"linear.{i}.bias")
        if weight is None or bias is None or tuple(weight.shape) != expected or tuple(bias.shape) != expected[:1]:
            shape = "none" if weight is None else " x ".join(map(str, weight.shape))
            raise MethodError(
                f"APRIL-GAN needs a linear layer of {expected[0]} x {expected[1]} for block {stage} of "
                f"{backbone.title}; the parameters hold {shape}.",
                "Use parameters trained on this backbone with these stages.",
            )
        found[stage] = (weight.to(dtype), bias.to(dtype))
    if f"linear.{len(stages)}.weight" in parameters:
        raise MethodError(
            f"The parameters hold more linear layers than the {len(stages)} stages {stages}.",
            "Set 'stages' to those they were trained for.",
        )
    return found
