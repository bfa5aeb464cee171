"""Passes of a backbone with a note of how long whole images and windows took."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from PIL import Image
from torch import Tensor

from vlmad_core.backbones import ClipBackbone, FeatureRequest, Features
from vlmad_core.engine.backbone import Backbone
from vlmad_core.engine.profiling import Stopwatch


def timed_encode(backbone: Backbone, pixels: Tensor, request: FeatureRequest, watch: Stopwatch) -> Features:
    """A pass whose time is noted as ``vision`` and ``windows``, where the backbone tells them apart."""
    if isinstance(backbone, ClipBackbone):
        return backbone.encode_images(pixels, request, watch.add)
    with watch.measure("vision"):
        return backbone.encode_images(pixels, request)


@dataclass(frozen=True)
class TimedBackbone:
    """A backbone's vision side whose passes are all timed.

    Attributes:
        inner: The backbone.
        watch: Where the time is noted.
    """

    inner: Backbone
    watch: Stopwatch

    @property
    def info(self) -> Any:
        """The backbone's."""
        return self.inner.info

    @property
    def preprocess(self) -> Callable[[Image.Image], Tensor]:
        """The backbone's."""
        return self.inner.preprocess

    def encode_images(self, pixel_values: Tensor, request: FeatureRequest) -> Features:
        """One timed pass."""
        return timed_encode(self.inner, pixel_values, request, self.watch)
