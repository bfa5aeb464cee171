"""What backbone and input each method's authors used, as data: the ``as_published`` mode follows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from vlmad_core.backbones.info import BackboneInfo, PositionRule


@dataclass(frozen=True)
class PublishedBackbone:
    """The backbone a method's numbers were published with.

    Attributes:
        title: How it is called.
        patch_size: Side of a patch, in pixels.
        width: Width of the vision tower.
        depth: Blocks of the vision tower.
        image_size: Side of the input, in pixels.
        activation: As the authors ran it, which for OpenAI's weights is not always what they were trained with.
        position_rule: How the position table was resampled.
    """

    title: str
    patch_size: int
    width: int
    depth: int
    image_size: int
    activation: Literal["gelu", "quick_gelu"]
    position_rule: PositionRule

    def mismatch(self, info: BackboneInfo) -> str | None:
        """Why a loaded backbone is not this one, or None if its shape agrees."""
        for what, here, there in (
            ("patches of side", info.patch_size, self.patch_size),
            ("width", info.width, self.width),
            ("blocks:", info.depth, self.depth),
        ):
            if here != there:
                return f"it was published with {self.title} ({what} {there}), and {info.title} has {here}"
        return None


_PLUS_240 = PublishedBackbone("ViT-B/16+ at 240 pixels", 16, 896, 12, 240, "gelu", "native")
_LARGE_518_GELU = PublishedBackbone("ViT-L/14-336 at 518 pixels", 14, 1024, 24, 518, "gelu", "bicubic_antialias")
_LARGE_518_QUICK = PublishedBackbone("ViT-L/14-336 at 518 pixels", 14, 1024, 24, 518, "quick_gelu", "bilinear")

PUBLISHED: Mapping[str, PublishedBackbone] = MappingProxyType(
    {
        "clip_ac": _PLUS_240,
        "clip_cpe": _PLUS_240,
        "winclip": _PLUS_240,
        "april_gan": _LARGE_518_GELU,
        "anomaly_clip": _LARGE_518_QUICK,
        "musc": _LARGE_518_GELU,
    }
)
"""By method; the same for all presets of a method."""
