"""From a Pillow image to the tensor a backbone reads: square resize without crop, then normalisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vlmad_core.errors import DatasetError

OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)
OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class Preprocessing:
    """How an image is made ready; part of the protocol of every run.

    The image is resized to a square with Pillow's bicubic filter (which smooths when shrinking) on 8-bit
    values, aspect ratio not kept and nothing cropped, so that a defect at the border stays in view; then
    scaled to [0, 1] and normalised per channel.

    Attributes:
        image_size: Side of the square, in pixels.
        mean: Subtracted per channel, red first.
        std: Divided by, per channel.
        patch_size: Side of a patch in pixels; a smaller image has nothing in it to compare.
    """

    image_size: int
    mean: tuple[float, float, float] = OPENAI_MEAN
    std: tuple[float, float, float] = OPENAI_STD
    patch_size: int = 1

    def __call__(self, image: Image.Image) -> Tensor:
        """Make one image ready.

        Args:
            image: Any size; converted to RGB if it is not.

        Returns:
            [3, image_size, image_size], float32.

        Raises:
            DatasetError: If a side is shorter than a patch.
        """
        if min(image.size) < self.patch_size:
            raise DatasetError(
                f"An image of {image.width} x {image.height} pixels is smaller than a patch of {self.patch_size} x "
                f"{self.patch_size}.",
                "Give the image at its full resolution, or use a backbone with smaller patches.",
            )
        side = self.image_size
        resized = image.convert("RGB").resize((side, side), Image.Resampling.BICUBIC)
        pixels = np.asarray(resized, dtype=np.float32) / np.float32(255)
        normalised = (pixels - np.asarray(self.mean, np.float32)) / np.asarray(self.std, np.float32)
        return torch.from_numpy(np.ascontiguousarray(normalised.transpose(2, 0, 1)))

    def to_json(self) -> dict[str, Any]:
        """As plain json values, with the rule in words."""
        return {
            "resize": "square, Pillow bicubic on 8-bit RGB, aspect ratio not kept, no crop",
            "image_size": self.image_size,
            "mean": list(self.mean),
            "std": list(self.std),
        }
