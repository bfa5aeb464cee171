"""``train april_gan``: the linear layers of APRIL-GAN (Chen et al., 2023, section 3.1), over frozen features."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from vlmad_core.backbones import ClipBackbone, FeatureRequest, Features
from vlmad_core.datasets.catalogue import category_noun
from vlmad_core.methods import create_method
from vlmad_core.methods.april_gan import AprilGan
from vlmad_core.prompts.ensemble import load_ensemble
from vlmad_core.prompts.prototypes import embed_ensemble
from vlmad_core.training import methods_cli
from vlmad_core.training.frozen_features import FrozenFeatures, TrainingImages, encode, read_pair, square_mask
from vlmad_core.training.segmentation_losses import dice_loss, focal_loss

METHOD = "april_gan"
MOSAIC_SHARE = 0.2
"""Share of samples the authors replace by a mosaic when they train on MVTec AD; on others, none."""
SHORT_SETS, SHORT_EPOCHS = ("mvtec_ad",), 3
"""The authors train 3 epochs on MVTec AD and 15 on VisA; 15 is the default for all others."""


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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    methods_cli.add_arguments(parser)
    parser.add_argument(
        "--mosaic",
        type=float,
        help=f"share of samples replaced by a mosaic of four (default: {MOSAIC_SHARE} on MVTec AD, else 0)",
    )
    parser.add_argument(
        "--temperature",
        type=float,
        help="divides the difference of cosines, in training and afterwards (default: the backbone's own, "
        "1 / exp(logit_scale): 0.01 for OpenAI's weights, as in the authors' code)",
    )


def run(args: argparse.Namespace) -> int:
    """Train, and write parameters and record."""
    with methods_cli.prepare(args, METHOD, SHORT_SETS, SHORT_EPOCHS) as session:
        backbone, images = session.backbone, session.images
        temperature = args.temperature if args.temperature is not None else own_temperature(backbone)
        method = create_method(f"{METHOD}:{args.preset}", temperature=temperature)
        assert isinstance(method, AprilGan)
        stages = method.stages(backbone.info)
        short = set(session.data) <= set(SHORT_SETS)
        share = args.mosaic if args.mosaic is not None else (MOSAIC_SHARE if short else 0.0)
        ensemble, rule = load_ensemble(method.settings.ensemble), method.settings.text_average
        nouns = [category_noun(category, method.settings.name_table) for _, category in images.categories]
        prototypes = torch.stack([embed_ensemble(backbone, ensemble, noun, rule).prototypes for noun in nouns])
        request = FeatureRequest(stages=frozenset(stages))
        with session.extract(request, partial(stage_tokens, stages=stages)) as frozen:
            objective = ProjectionObjective(backbone, images, frozen, prototypes, stages, temperature, share)
            settings = {
                "stages": list(stages),
                "name_table": method.settings.name_table,
                "temperature": temperature,
                **method.prompt_record(),
            }
            extras = {"mosaic": share, "loss": "focal + dice, summed over the stages"}
            fixed = {
                "stages": torch.tensor(stages),
                "temperature": torch.tensor(temperature, dtype=torch.float64),
            }
            return session.fit(objective, settings, extras, fixed)
