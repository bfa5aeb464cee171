"""``train anomaly_clip``: the learned prompts of AnomalyCLIP (Zhou et al., ICLR 2024), over frozen features."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from vlmad_core.backbones import ClipBackbone, Features
from vlmad_core.errors import MethodError
from vlmad_core.methods import create_method
from vlmad_core.methods.anomaly_clip import AnomalyClip
from vlmad_core.training import methods_cli
from vlmad_core.training.frozen_features import FrozenFeatures, TrainingImages
from vlmad_core.training.segmentation_losses import dice_loss, focal_loss

METHOD = "anomaly_clip"
CONTEXT_LENGTH = 12
DEEP_LENGTH = 4
INITIAL_DEVIATION = 0.02
MAP_WEIGHT = 4.0
"""How much the losses on maps count beside the one on the image score, as in the authors' code."""


@dataclass(frozen=True)
class PromptObjective:
    """Cross-entropy of the image score, plus focal and both dice losses of each stage's map.

    Attributes:
        backbone: The frozen backbone; gradients flow through its text tower to the prompts.
        method: AnomalyCLIP with its settings.
        images: The training images.
        frozen: ``image`` [N, e], ``patches.i`` [N, P, e], unit vectors, and masks.
        context_length: Learned vectors of each prompt.
        deep_length: Learned vectors that replace tokens before each of the deeper blocks.
    """

    backbone: ClipBackbone
    method: AnomalyClip
    images: TrainingImages
    frozen: FrozenFeatures
    context_length: int = CONTEXT_LENGTH
    deep_length: int = DEEP_LENGTH

    def __len__(self) -> int:
        """Number of training images."""
        return len(self.images.samples)

    def initial(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Normal random vectors; deep ones for all but the first of the first ceil(3L/4) text blocks."""
        width = self.backbone.model.config.text_config.hidden_size
        sets = -(-3 * self.backbone.info.text_depth // 4) - 1
        shapes: dict[str, tuple[int, ...]] = {"context": (2, self.context_length, width)}
        shapes |= {f"deep.{i}": (self.deep_length, width) for i in range(sets)}
        return {name: torch.randn(shape, generator=generator) * INITIAL_DEVIATION for name, shape in shapes.items()}

    def loss(self, parameters: Mapping[str, Tensor], images: Tensor, random: np.random.Generator) -> Tensor:
        """Loss of a batch; probabilities are taken per patch, then enlarged to the input size."""
        prototypes = self.method.embed(self.backbone, parameters)
        direction = (prototypes[1] - prototypes[0]) / self.method.settings.temperature
        logits = self.frozen.tensors["image"][images] @ direction
        total = F.binary_cross_entropy_with_logits(logits, self.images.labels[images])
        masks = self.frozen.masks[images]
        for name, tensor in self.frozen.tensors.items():
            if not name.startswith("patches."):
                continue
            grid = (tensor[images] @ direction).sigmoid().reshape(-1, 1, *self.backbone.info.grid)
            abnormal = F.interpolate(grid, size=masks.shape[-2:], mode="bilinear", align_corners=False)[:, 0]
            losses = focal_loss(abnormal, masks) + dice_loss(abnormal, masks) + dice_loss(1.0 - abnormal, ~masks)
            total = total + MAP_WEIGHT * losses
        return total


def image_and_patches(features: Features, method: AnomalyClip, backbone: ClipBackbone) -> dict[str, Tensor]:
    """Unit vectors: ``image`` [N, e] and ``patches.i`` [N, P, e] of each stage."""
    image = features.image_embedding if method.settings.class_layer_norm else features.class_projection
    assert image is not None
    kept = {"image": F.normalize(image, dim=-1)}
    for i, path in enumerate(method.value_paths(backbone.info)):
        kept[f"patches.{i}"] = F.normalize(features.value_paths[path][:, 1:], dim=-1)
    return kept


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    methods_cli.add_arguments(parser)
    parser.add_argument(
        "--context-length", type=int, default=CONTEXT_LENGTH, metavar="N", help="learned vectors of each prompt"
    )


def run(args: argparse.Namespace) -> int:
    """Train, and write parameters and record."""
    if args.context_length < 1:
        raise MethodError(
            f"--context-length is {args.context_length}.", f"Give a positive number, e.g. {CONTEXT_LENGTH}."
        )
    with methods_cli.prepare(args, METHOD) as session:
        method = create_method(f"{METHOD}:{args.preset}")
        assert isinstance(method, AnomalyClip)
        backbone = session.backbone
        reading = partial(image_and_patches, method=method, backbone=backbone)
        with session.extract(method.needs(backbone.info, shots=0), reading) as frozen:
            objective = PromptObjective(backbone, method, session.images, frozen, args.context_length)
            settings = {
                "normal_words": method.settings.normal_words,
                "abnormal_words": method.settings.abnormal_words,
                "temperature": method.settings.temperature,
                "value_paths": [list(path) for path in method.value_paths(backbone.info)],
            }
            extras = {
                "context_length": args.context_length,
                "deep_length": DEEP_LENGTH,
                "loss": f"cross-entropy + {MAP_WEIGHT} x (focal + dice abnormal + dice normal)",
            }
            return session.fit(objective, settings, extras)
