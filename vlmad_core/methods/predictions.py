"""What a method says of a batch of images, and how the full-size anomaly map follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from vlmad_core.errors import MethodError
from vlmad_core.libraries import F, ndimage, torch

if TYPE_CHECKING:
    from torch import Tensor

Activation = Literal["none", "sigmoid"]

MAPS_AT_ONCE = 8
"""Full-size maps made at once where only their maxima are wanted; at 518 pixels and five grids 43 MB."""


@dataclass(frozen=True)
class MapRule:
    """How native grids become one anomaly map of any size.

    Each grid is enlarged bilinearly, passed through its activation, and the grids are combined; a Gaussian
    filter may follow. Where a sigmoid comes after enlarging (APRIL-GAN) the grids hold logits, since the two
    do not commute.

    Attributes:
        activations: One per grid, applied after enlarging.
        align_corners: Whether the corner pixels of grid and map coincide when enlarging.
        combine: ``mean`` or ``sum`` over the grids.
        gaussian_sigma: Standard deviation of the Gaussian filter, in pixels of a map of ``gaussian_size``
            (the filter scales with the map); 0 for none.
        gaussian_size: The map size (pixels along a side) for which ``gaussian_sigma`` is meant.
    """

    activations: tuple[Activation, ...] = ("none",)
    align_corners: bool = False
    combine: Literal["mean", "sum"] = "mean"
    gaussian_sigma: float = 0.0
    gaussian_size: int = 0

    def to_json(self) -> dict[str, Any]:
        """As plain json values."""
        return {
            "activations": list(self.activations),
            "align_corners": self.align_corners,
            "combine": self.combine,
            "gaussian_sigma": self.gaussian_sigma,
            "gaussian_size": self.gaussian_size,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> MapRule:
        """Read what ``to_json`` wrote."""
        return cls(**{**value, "activations": tuple(value["activations"])})


@dataclass(frozen=True)
class NearestPatches:
    """For each patch of N images the most similar patch of K references.

    Attributes:
        similarity: Cosine similarities [N, P], float32.
        index: Which patch it is, [N, P] int64 into the K * P patches of the references, row by row.
    """

    similarity: Tensor
    index: Tensor

    @property
    def distance(self) -> Tensor:
        """Half the cosine distance, [N, P]: from 0 (the same direction) to 1.

        Rounding makes the distance of equal vectors slightly negative; it is cut off at 0, which a harmonic mean
        over such distances depends on.
        """
        return (0.5 * (1.0 - self.similarity)).clamp_min(0.0)


@dataclass(frozen=True)
class Predictions:
    """Scores of N images; higher means more anomalous. Float32 throughout.

    Attributes:
        image_score: [N].
        grids: Native grids [N, S, rows, columns]; None if the method makes no anomaly map.
        map_rule: How the grids become a map; None without grids.
        nearest: What the patches were compared with; None where a method has no memory of patches.
        kept: What else the method's explanations read, so that nothing is computed twice; names are its own, each
            tensor has N rows.
    """

    image_score: Tensor
    grids: Tensor | None = None
    map_rule: MapRule | None = None
    nearest: NearestPatches | None = None
    kept: Mapping[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not torch.isfinite(self.image_score).all():
            raise MethodError("A method returned an image score that is not finite.", "This is a defect; report it.")
        if (self.grids is None) != (self.map_rule is None):
            raise MethodError("Grids and the rule that makes a map of them go together.", "Give both or neither.")
        if self.grids is not None and not torch.isfinite(self.grids).all():
            raise MethodError("A method returned an anomaly map that is not finite.", "This is a defect; report it.")

    def on_cpu(self) -> Predictions:
        """The same on the CPU; these, if they are there already."""
        if self.image_score.device.type == "cpu":
            return self
        near = self.nearest
        return replace(
            self,
            image_score=self.image_score.cpu(),
            grids=None if self.grids is None else self.grids.cpu(),
            nearest=None if near is None else NearestPatches(near.similarity.cpu(), near.index.cpu()),
            kept={name: tensor.cpu() for name, tensor in self.kept.items()},
        )


def anomaly_maps(grids: Tensor, rule: MapRule, size: tuple[int, int]) -> Tensor:
    """Recreate full-size anomaly maps from native grids.

    Args:
        grids: [N, S, rows, columns], float32.
        rule: The rule stored with them; needs one activation for each of the S grids.
        size: (height, width) of the maps, in pixels.

    Returns:
        [N, height, width], float32.

    Raises:
        MethodError: If the rule doesn't fit the grids.
    """
    if grids.ndim != 4 or grids.shape[1] != len(rule.activations):
        raise MethodError(
            f"Grids of shape {tuple(grids.shape)} don't fit a rule for {len(rule.activations)} grids.",
            "Use the rule that was stored with them.",
        )
    maps = F.interpolate(grids.float(), size=size, mode="bilinear", align_corners=rule.align_corners)
    layers = [
        maps[:, i].sigmoid() if activation == "sigmoid" else maps[:, i] for i, activation in enumerate(rule.activations)
    ]
    stacked = torch.stack(layers, dim=1)
    combined = stacked.sum(dim=1) if rule.combine == "sum" else stacked.mean(dim=1)
    if rule.gaussian_sigma > 0:
        # The filter is defined at the method's own map size; at another size it covers the same part of the image.
        scale = [extent / rule.gaussian_size for extent in size] if rule.gaussian_size else [1.0, 1.0]
        sigma = [0.0, rule.gaussian_sigma * scale[0], rule.gaussian_sigma * scale[1]]
        combined = torch.from_numpy(ndimage.gaussian_filter(combined.cpu().numpy(), sigma=sigma)).to(combined.device)
    return combined


def map_maximum(grids: Tensor, rule: MapRule, size: tuple[int, int]) -> Tensor:
    """The maximum of each full-size anomaly map, made a few at a time: [N] float32; see ``anomaly_maps``."""
    parts = [anomaly_maps(part, rule, size).flatten(1).amax(dim=1) for part in grids.split(MAPS_AT_ONCE)]
    return torch.cat(parts) if parts else grids.new_empty(0)
