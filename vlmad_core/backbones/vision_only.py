"""A backbone that knows images only: the ImageNet teacher behind the interface of the CLIP models.

It has no text tower, so methods that read prompts can't run on it; the one that can is a reference for what
language adds.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from vlmad_core.backbones.features import FeatureRequest, Features
from vlmad_core.backbones.info import BackboneInfo, Preprocessing
from vlmad_core.backbones.teacher import TEACHER_SIZE, TEACHER_STRIDES, Teacher, load_teacher
from vlmad_core.backbones.tower import Clock, Images, stacked_pixels
from vlmad_core.errors import BackboneError

TEACHER_ID = "teacher"
TEACHER_WIDTH = 320
"""Channels of its widest map, the last block's."""
TEACHER_PATCH = 16
"""Pixels of a place of the grid that all blocks' maps are brought to."""


@dataclass(frozen=True)
class VisionBackbone:
    """The teacher as a backbone. Made by ``load_vision_only``; safe to use from several threads.

    Attributes:
        teacher: The network.
        info: What it is; ``text_depth``, ``embed_dim`` and ``context_length`` are 0.
    """

    teacher: Teacher
    info: BackboneInfo

    @property
    def device(self) -> torch.device:
        """The CPU."""
        return torch.device("cpu")

    @property
    def preprocess(self) -> Preprocessing:
        """From a Pillow image to [3, S, S] float32."""
        return self.teacher.preprocessing

    def preprocess_batch(self, images: Sequence[Image.Image]) -> Tensor:
        """Preprocess N images: [N, 3, S, S] float32."""
        return torch.stack([self.preprocess(image) for image in images])

    def recall(self, key: str, request: FeatureRequest) -> None:
        """Nothing: it remembers no image."""

    def encode_images(self, images: Images, request: FeatureRequest, clock: Clock | None = None) -> Features:
        """One pass over a batch.

        Args:
            images: The images.
            request: ``stages`` only: the network's blocks, counted from 1.
            clock: Told the seconds that ``vision`` took.

        Returns:
            For each stage [N, 1 + P, C]: patch tokens of unit length (means of 3 x 3 places) behind their mean, which
            stands where a transformer has its class token.

        Raises:
            BackboneError: If anything but stages is asked for, or a block or size does not exist.
        """
        if request != FeatureRequest(stages=request.stages):
            raise BackboneError(
                f"{self.info.title} knows images only: it has no embeddings in a space shared with text.",
                "Use a CLIP model for methods that read text.",
            )
        pixel_values, side = stacked_pixels(images), self.info.image_size
        start = time.perf_counter()
        if pixel_values.ndim != 4 or pixel_values.shape[-2:] != (side, side):
            raise BackboneError(
                f"The backbone takes images of {side} x {side} pixels, not {tuple(pixel_values.shape)}.",
                "Preprocess them with the backbone's own preprocessing.",
            )
        if not request.stages:
            return Features(grid=self.info.grid)
        tokens = self.teacher.patches(pixel_values, self.info.grid[0], [stage - 1 for stage in sorted(request.stages)])
        stages = {
            block + 1: torch.cat([patches.mean(dim=1, keepdim=True), patches], dim=1)
            for block, patches in tokens.items()
        }
        if clock is not None:
            clock("vision", time.perf_counter() - start)
        return Features(grid=self.info.grid, stages=stages)

    def encode_text(self, prompts: Sequence[str]) -> Tensor:
        """Not possible.

        Raises:
            BackboneError: Always.
        """
        raise _without_text(self.info)

    def encode_learned_prompts(self, prompts: Sequence[str], context: Tensor, deep: Sequence[Tensor] = ()) -> Tensor:
        """Not possible.

        Raises:
            BackboneError: Always.
        """
        raise _without_text(self.info)


def load_vision_only(image_size: int | None = None) -> VisionBackbone:
    """Load the teacher as a backbone.

    Args:
        image_size: Side of the square input in pixels, a multiple of 32; None for 320.

    Raises:
        BackboneError: If its packages are missing, or the size is not a multiple of 32.
    """
    teacher = load_teacher(image_size or TEACHER_SIZE)
    side = teacher.preprocessing.image_size
    info = BackboneInfo(
        id=TEACHER_ID,
        title="EfficientNet-Lite0 (ImageNet, vision only)",
        source="package",
        weights_hash=teacher.content_hash,
        activation="relu6",
        image_size=side,
        native_image_size=TEACHER_SIZE,
        patch_size=TEACHER_PATCH,
        position_rule="native",
        precision="float32",
        depth=len(TEACHER_STRIDES),
        text_depth=0,
        width=TEACHER_WIDTH,
        embed_dim=0,
        context_length=0,
        parameters=sum(parameter.numel() for parameter in teacher.network.parameters()),
        image_mean=teacher.preprocessing.mean,
        image_std=teacher.preprocessing.std,
        training_data=("imagenet_1k",),
    )
    return VisionBackbone(teacher, info)


def _without_text(info: BackboneInfo) -> BackboneError:
    return BackboneError(f"{info.title} reads no text.", "Use a CLIP model for methods that read prompts.")
