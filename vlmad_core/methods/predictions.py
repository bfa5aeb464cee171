"""What a method says of a batch of images, and how the full-size anomaly map follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from vlmad_core.backbones.devices import to_device, to_host
from vlmad_core.errors import MethodError
from vlmad_core.libraries import F, ndimage, special, torch
from vlmad_core.records import Flag, read_as

if TYPE_CHECKING:
    from torch import Tensor

Activation = Literal["none", "sigmoid"]

MAPS_AT_ONCE = 8
"""Full-size maps made at once; at 518 pixels and five grids 43 MB."""

LARGEST_RULE_SIZE = 2**15
"""Pixels of a map's side and of its filter that a stored rule may name."""

GAUSSIAN_REACH = 4.0
"""Standard deviations at which the Gaussian filter is cut off: scipy's default, which the authors' codes take."""


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

    activations: Annotated[tuple[Activation, ...], Field(min_length=1, max_length=64)] = ("none",)
    align_corners: Flag = False
    combine: Literal["mean", "sum"] = "mean"
    gaussian_sigma: Annotated[float, Field(ge=0, le=LARGEST_RULE_SIZE, allow_inf_nan=False)] = 0.0
    gaussian_size: Annotated[int, Field(ge=0, le=LARGEST_RULE_SIZE)] = 0

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
        """Read what ``to_json`` wrote.

        Raises:
            ValidationError: If anything in it is missing or can't be.
        """
        return read_as(cls, value)


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
            tensor has N rows. It comes back from the device with the scores: keep little.
    """

    image_score: Tensor
    grids: Tensor | None = None
    map_rule: MapRule | None = None
    nearest: NearestPatches | None = None
    kept: Mapping[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if (self.grids is None) != (self.map_rule is None):
            raise MethodError("Grids and the rule that makes a map of them go together.", "Give both or neither.")

    def on_cpu(self) -> Predictions:
        """The same on the CPU, brought there together.

        Raises:
            MethodError: If a score is not finite; only here, since a device would have to be waited for.
        """
        near = {} if self.nearest is None else {"similarity": self.nearest.similarity, "index": self.nearest.index}
        grids = {} if self.grids is None else {"grids": self.grids}
        kept = {f"kept {name}": tensor for name, tensor in self.kept.items()}
        found = to_host({"image_score": self.image_score, **grids, **near, **kept})
        for name, what in (("image_score", "image score"), ("grids", "anomaly map")):
            if name in found and not torch.isfinite(found[name]).all():
                raise MethodError(
                    f"A method returned an {what} that is not finite.",
                    "Look at its settings and, if it is trained, at its parameters: extreme values overflow.",
                )
        return Predictions(
            found["image_score"],
            found.get("grids"),
            self.map_rule,
            NearestPatches(found["similarity"], found["index"]) if near else None,
            {name: found[f"kept {name}"] for name in self.kept},
        )


def anomaly_maps(grids: Tensor, rule: MapRule, size: tuple[int, int]) -> Tensor:
    """Recreate full-size anomaly maps from native grids, on the grids' device.

    Args:
        grids: [N, S, rows, columns], float32.
        rule: The rule stored with them; needs one activation for each of the S grids.
        size: (height, width) of the maps, in pixels.

    Returns:
        [N, height, width], float32.

    Raises:
        MethodError: If the rule doesn't fit the grids.
    """
    _check_fit(tuple(grids.shape), rule)
    maps = F.interpolate(grids.float(), size=size, mode="bilinear", align_corners=rule.align_corners)
    layers = [
        maps[:, i].sigmoid() if activation == "sigmoid" else maps[:, i] for i, activation in enumerate(rule.activations)
    ]
    stacked = torch.stack(layers, dim=1)
    combined = stacked.sum(dim=1) if rule.combine == "sum" else stacked.mean(dim=1)
    if rule.gaussian_sigma > 0:
        if combined.device.type == "cpu":  # where few products are cheap, scipy's are the fewest
            return torch.from_numpy(_smoothed(combined.numpy(), rule, size))
        down, across = (_smoothing(*side, combined.device) for side in zip(size, _sigmas(rule, size), strict=True))
        return down @ combined @ across.T
    return combined


def one_map(grids: NDArray[np.float32], rule: MapRule, size: tuple[int, int]) -> NDArray[np.float32]:
    """The anomaly map of one image as ``anomaly_maps`` makes it, without torch: pages show maps and compute nothing.

    Args:
        grids: [S, rows, columns], float32.
        rule: The rule stored with them.
        size: (height, width) of the map, in pixels.

    Returns:
        [height, width], float32: the same bits on processors that multiply and add in one step, and else, or behind a
        sigmoid, but for rounding.

    Raises:
        MethodError: If the rule doesn't fit the grids.
    """
    _check_fit(grids[None].shape, rule)
    layers = _enlarged(grids, size, align_corners=rule.align_corners)
    for layer, activation in zip(layers, rule.activations, strict=True):
        if activation == "sigmoid":
            layer[:] = special.expit(layer)
    total = layers.sum(axis=0)
    combined = total if rule.combine == "sum" else total / np.float32(len(layers))
    return _smoothed(combined, rule, size) if rule.gaussian_sigma > 0 else combined


def _check_fit(shape: tuple[int, ...], rule: MapRule) -> None:
    if len(shape) != 4 or shape[1] != len(rule.activations):
        raise MethodError(
            f"Grids of shape {tuple(shape)} don't fit a rule for {len(rule.activations)} grids.",
            "Use the rule that was stored with them.",
        )


def _enlarged(grids: NDArray[np.float32], size: tuple[int, int], *, align_corners: bool) -> NDArray[np.float32]:
    """Bilinear: along the rows, then down the columns."""
    for axis, length in ((grids.ndim - 1, size[1]), (grids.ndim - 2, size[0])):
        low, high, share = _places(grids.shape[axis], length, align_corners=align_corners)
        shape = (-1, *(1,) * (grids.ndim - 1 - axis))
        one, other = ((1 - share).reshape(shape), share.reshape(shape))
        grids = _multiply_add(grids.take(low, axis), one, grids.take(high, axis) * other)
    return grids


def _places(count: int, length: int, *, align_corners: bool) -> tuple[NDArray[np.intp], NDArray[np.intp], Any]:
    """For each of ``length`` pixels the two of ``count`` grid points around it, and the share of the second."""
    pixels = np.arange(length, dtype=np.float32)
    if align_corners:
        place = pixels * (np.float32(count - 1) / np.float32(max(length - 1, 1)))
    else:
        half = np.float32(0.5)
        place = np.maximum(_multiply_add(pixels + half, np.float32(count) / np.float32(length), -half), np.float32(0))
    low = np.minimum(place.astype(np.intp), count - 1)
    return low, np.minimum(low + 1, count - 1), np.clip(place - low.astype(np.float32), 0, 1)


def _multiply_add(one: Any, factor: Any, other: Any) -> Any:
    """Float32 product and sum, rounded once: a product of two float32 is exact in float64."""
    return (one.astype(np.float64) * factor + other).astype(np.float32)


def _smoothed(combined: NDArray[np.float32], rule: MapRule, size: tuple[int, int]) -> NDArray[np.float32]:
    """Maps [..., height, width] behind the rule's Gaussian filter."""
    sigma = (*(0.0,) * (combined.ndim - 2), *_sigmas(rule, size))
    smooth: NDArray[np.float32] = ndimage.gaussian_filter(combined, sigma=sigma, truncate=GAUSSIAN_REACH)
    return smooth


def _sigmas(rule: MapRule, size: tuple[int, int]) -> list[float]:
    """The filter is defined at the method's own map size; at another size it covers the same part of the image."""
    return [rule.gaussian_sigma * (extent / rule.gaussian_size if rule.gaussian_size else 1.0) for extent in size]


@lru_cache(maxsize=8)
def _smoothing(length: int, sigma: float, device: torch.device) -> Tensor:
    """The Gaussian filter along one side as a matrix [length, length]: scipy's, borders mirrored, to 1e-6."""
    reach = int(GAUSSIAN_REACH * sigma + 0.5)
    offsets = torch.arange(-reach, reach + 1)
    weights = (-0.5 / sigma**2 * offsets.double() ** 2).exp()
    places = (torch.arange(length)[:, None] + offsets) % (2 * length)
    places = torch.where(places < length, places, 2 * length - 1 - places)
    matrix = torch.zeros(length, length, dtype=torch.float64)
    matrix.scatter_add_(1, places, (weights / weights.sum()).repeat(length, 1))
    return to_device(matrix.float(), device)


def full_maps(grids: np.ndarray, rule: MapRule, side: int, device: torch.device | None = None) -> np.ndarray:
    """Anomaly maps [N, side, side] float32 from stored native grids, a few at a time; see ``anomaly_maps``.

    Args:
        grids: [N, S, rows, columns], float32.
        rule: The rule stored with them.
        side: Of the maps, in pixels.
        device: Where they are made; None for the CPU.
    """
    maps = np.empty((len(grids), side, side), dtype=np.float32)
    for start in range(0, len(grids), MAPS_AT_ONCE):
        part = torch.from_numpy(grids[start : start + MAPS_AT_ONCE])
        part = part if device is None else to_device(part, device)
        made = to_host({"maps": anomaly_maps(part, rule, (side, side))})["maps"]
        maps[start : start + MAPS_AT_ONCE] = made.numpy()
    return maps


def map_maximum(grids: Tensor, rule: MapRule, size: tuple[int, int]) -> Tensor:
    """The maximum of each full-size anomaly map, made a few at a time: [N] float32; see ``anomaly_maps``."""
    parts = [anomaly_maps(part, rule, size).flatten(1).amax(dim=1) for part in grids.split(MAPS_AT_ONCE)]
    return torch.cat(parts) if parts else grids.new_empty(0)
