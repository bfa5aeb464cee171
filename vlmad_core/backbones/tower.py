"""What methods and the engine ask of a backbone, and the images they give it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol, TypeAlias

from PIL import Image

from vlmad_core.backbones.feature_files import StoredImage
from vlmad_core.backbones.features import FeatureRequest, Features
from vlmad_core.backbones.info import BackboneInfo
from vlmad_core.libraries import torch

if TYPE_CHECKING:
    from torch import Tensor

Clock = Callable[[str, float], None]
"""Told the name of a stage and the seconds it took."""


class ImageInput:
    """An image on its way into a backbone: known by its content, its pixels made when they are first asked for.

    Attributes:
        key: Stands for its content, see ``content_key``; empty for pixels of unknown origin, which no cache keeps.
        was_read: Whether its pixels were made.
        known: What a backbone remembers of it, see ``Backbone.recall``; its pixels are then not needed.
        size: Height and width as it was read, in pixels; None as long as neither ``known`` nor ``pixels`` told it.
        seconds: Time that making its pixels took; 0 as long as nobody asked for them.
        pass_seconds: Its share of the time of passes that it took part in; 0 where it was known.
    """

    def __init__(
        self, key: str, read: Callable[[], tuple[Tensor, tuple[int, int]]], known: StoredImage | None = None
    ) -> None:
        """Take an image.

        Args:
            key: See the class.
            read: Gives its pixels [3, S, S] float32, preprocessed, and its height and width.
            known: See the class.
        """
        self.key, self.known = key, known
        self.size = None if known is None else known.size
        self.seconds = self.pass_seconds = 0.0
        self.was_read = False
        self._read = read
        self._pixels: Tensor | None = None

    @property
    def pixels(self) -> Tensor:
        """[3, S, S] float32, preprocessed.

        Raises:
            DatasetError: If the image can't be read.
        """
        if self._pixels is None:
            start = time.perf_counter()
            self.take(*self._read())
            self.seconds += time.perf_counter() - start
        assert self._pixels is not None
        return self._pixels

    def take(self, pixels: Tensor, size: tuple[int, int]) -> None:
        """Take pixels that were made by other means, with the image's height and width."""
        self._pixels, self.size, self.was_read = pixels, size, True

    def release(self) -> None:
        """Let go of its pixels and of what was known: it has passed. Who asks for its pixels again reads it again."""
        self._pixels = self.known = None


Images: TypeAlias = "Tensor | Sequence[ImageInput]"
"""N images: their pixels [N, 3, S, S], preprocessed, or one by one."""


def stacked_pixels(images: Images) -> Tensor:
    """Pixels of N images: [N, 3, S, S] float32."""
    return images if isinstance(images, torch.Tensor) else torch.stack([image.pixels for image in images])


class TextTower(Protocol):
    """What embeds prompts; every backbone is one."""

    @property
    def info(self) -> BackboneInfo:
        """The backbone it belongs to."""

    def encode_text(self, prompts: Sequence[str]) -> Tensor:
        """Embed prompts: [n, e] float32, not normalised, on the backbone's device."""

    def encode_learned_prompts(self, prompts: Sequence[str], context: Tensor, deep: Sequence[Tensor] = ()) -> Tensor:
        """Embed prompts behind learned context vectors (AnomalyCLIP, section 3.1): [n, e] float32."""


class Backbone(TextTower, Protocol):
    """A tower for images beside one for text: a ``ClipBackbone``, or what remembers the work of one."""

    @property
    def device(self) -> torch.device:
        """Where features and embeddings of prompts are given."""

    @property
    def preprocess(self) -> Callable[[Image.Image], Tensor]:
        """From a Pillow image to [3, S, S] float32."""

    def recall(self, key: str, request: FeatureRequest) -> StoredImage | None:
        """What is known of an image if that is all that is asked for; None where it must pass the tower.

        Args:
            key: The image's ``content_key``.
            request: What is wanted of it.
        """

    def encode_images(self, images: Images, request: FeatureRequest, clock: Clock | None = None) -> Features:
        """Features of N images for everything the request names.

        Args:
            images: The images.
            request: The union of what is wanted.
            clock: Told the seconds that passes through the tower took, by stage; see ``passing_stages``.
        """
