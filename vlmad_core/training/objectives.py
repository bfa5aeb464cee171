"""What is minimised over frozen features, for each method that is trained.

The linear layers of APRIL-GAN (Chen et al., 2023, section 3.1), the learned prompts of AnomalyCLIP (Zhou et al., ICLR
2024), and the losses on anomaly maps that both take.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from vlmad_core.backbones import ClipBackbone, FeatureRequest, Features
from vlmad_core.methods.anomaly_clip import AnomalyClip
from vlmad_core.training.frozen_features import FrozenFeatures, TrainingImages, encode, read_pair, square_mask

MOSAIC_SHARE = 0.2
"""Share of samples the authors replace by a mosaic when they train on MVTec AD; on others, none."""
CONTEXT_LENGTH = 12
DEEP_LENGTH = 4
INITIAL_DEVIATION = 0.02
MAP_WEIGHT = 4.0
"""How much the losses on maps count beside the one on the image score, as in the authors' code."""
FOCAL_SMOOTHING = 1e-5
DICE_SMOOTHING = 1.0


@dataclass(frozen=True)
class ProjectionObjective:
    """Focal and dice loss of each stage's map, summed over the stages.

    Attributes:
        backbone: The frozen backbone, for mosaics.
        images: The training images.
        frozen: ``stage.i`` [N, P, d] and masks.
        prototypes: [C, 2, e] by category: normal, abnormal.
        stages: The blocks, in the order of the linear layers.
        temperature: Divides the difference of cosines.
        mosaic: Share of samples replaced by a mosaic.
    """

    backbone: ClipBackbone
    images: TrainingImages
    frozen: FrozenFeatures
    prototypes: Tensor
    stages: tuple[int, ...]
    temperature: float
    mosaic: float

    def __len__(self) -> int:
        """Number of training images."""
        return len(self.images.samples)

    def initial(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Linear layers as PyTorch starts them: uniform within 1/sqrt(d)."""
        info = self.backbone.info
        bound = 1.0 / math.sqrt(info.width)
        parameters = {}
        for i in range(len(self.stages)):
            for kind, shape in (("weight", (info.embed_dim, info.width)), ("bias", (info.embed_dim,))):
                values = torch.rand(shape, generator=generator) * 2.0 - 1.0
                parameters[f"linear.{i}.{kind}"] = values * bound
        return parameters

    def loss(self, parameters: Mapping[str, Tensor], images: Tensor, random: np.random.Generator) -> Tensor:
        """Loss of a batch; maps are enlarged to the input size with aligned corners, then made probabilities."""
        tokens = {name: tensor[images] for name, tensor in self.frozen.tensors.items()}
        masks = self.frozen.masks[images]
        for row in np.flatnonzero(random.random(len(images)) < self.mosaic):
            picture, mask = mosaic(self.images, int(images[row]), random)
            stages = FeatureRequest(stages=frozenset(self.stages))
            fresh = stage_tokens(encode(self.backbone, [picture], stages), self.stages)
            for name, tensor in fresh.items():
                tokens[name][row] = tensor[0]
            masks[row] = square_mask(mask, masks.shape[-1])
        classes = self.prototypes[self.images.groups[images]]
        total = torch.zeros(())
        for i in range(len(self.stages)):
            projected = F.linear(tokens[f"stage.{i}"], parameters[f"linear.{i}.weight"], parameters[f"linear.{i}.bias"])
            direction = classes[:, 1] - classes[:, 0]
            logits = (F.normalize(projected, dim=-1) @ direction[:, :, None])[..., 0] / self.temperature
            grid = logits.reshape(-1, 1, *self.backbone.info.grid)
            maps = F.interpolate(grid, size=masks.shape[-2:], mode="bilinear", align_corners=True)[:, 0]
            abnormal = maps.sigmoid()
            total = total + focal_loss(abnormal, masks) + dice_loss(abnormal, masks)
        return total


def stage_tokens(features: Features, stages: tuple[int, ...]) -> dict[str, Tensor]:
    """Raw patch tokens of the stages, ``stage.i`` [N, P, d]."""
    return {f"stage.{i}": features.stages[stage][:, 1:] for i, stage in enumerate(stages)}


def mosaic(images: TrainingImages, index: int, random: np.random.Generator) -> tuple[Image.Image, np.ndarray]:
    """Four random test images of a sample's category in a square, and their masks.

    As the authors do: a defect type is drawn evenly (``good`` is one of them), then one of its images.

    Args:
        images: The training images.
        index: The sample whose category is used.
        random: For the draws.

    Returns:
        The picture of twice the first image's size, and its mask [height, width].
    """
    same = [s for s, group in zip(images.samples, images.groups, strict=True) if group == images.groups[index]]
    kinds = sorted({sample.defect_type for sample in same})
    cells = []
    for _ in range(4):
        kind = kinds[random.integers(len(kinds))]
        choices = [sample for sample in same if sample.defect_type == kind]
        cells.append(read_pair(choices[random.integers(len(choices))]))
    width, height = cells[0][0].size
    picture = Image.new("RGB", (2 * width, 2 * height))
    mask = np.zeros((2 * height, 2 * width), dtype=bool)
    for number, (cell, truth) in enumerate(cells):
        top, left = number // 2 * height, number % 2 * width
        picture.paste(cell.resize((width, height)) if cell.size != (width, height) else cell, (left, top))
        small = np.asarray(Image.fromarray(truth).resize((width, height), Image.Resampling.NEAREST))
        mask[top : top + height, left : left + width] = small
    return picture, mask


def own_temperature(backbone: ClipBackbone) -> float:
    """1 / exp(logit_scale), at which the backbone's own cosines became logits.

    The authors' factor of 100 is that of OpenAI's weights. On a backbone with a smaller one it would saturate every
    map, and training would come to nothing.
    """
    return round(math.exp(-float(backbone.model.logit_scale)), 6)


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
        prototypes = self.method.embed(self.backbone, parameters).cpu()
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


def focal_loss(abnormal: Tensor, mask: Tensor, gamma: float = 2.0) -> Tensor:
    """Focal loss (Lin et al., ICCV 2017) in the form of the authors' codes, mean over all pixels.

    The target is smoothed to [1e-5, 1 - 1e-5] and the probability of the true class raised by 1e-5, so that its
    logarithm is finite and it stays at most 1.

    Args:
        abnormal: Probability of abnormal, [N, H, W], in [0, 1]; that of normal is the rest.
        mask: True where abnormal, [N, H, W].
        gamma: How much well-classified pixels are played down.

    Returns:
        A scalar.
    """
    target = mask.to(abnormal.dtype).clamp(FOCAL_SMOOTHING, 1.0 - FOCAL_SMOOTHING)
    true_class = target * abnormal + (1.0 - target) * (1.0 - abnormal) + FOCAL_SMOOTHING
    return (-((1.0 - true_class) ** gamma) * true_class.log()).mean()


def dice_loss(probability: Tensor, mask: Tensor) -> Tensor:
    """Dice loss (Milletari et al., 3DV 2016) per image, then the mean over images.

    The authors' code loses the image axis in a last batch of one image and takes the rows of that image for
    images; here an image is an image in any batch.

    Args:
        probability: Of the class ``mask`` marks, [N, H, W], in [0, 1].
        mask: [N, H, W].

    Returns:
        A scalar in [0, 1].
    """
    target = mask.to(probability.dtype).flatten(1)
    found = probability.flatten(1)
    overlap = (found * target).sum(dim=1)
    size = found.sum(dim=1) + target.sum(dim=1)
    return (1.0 - (2.0 * overlap + DICE_SMOOTHING) / (size + DICE_SMOOTHING)).mean()
