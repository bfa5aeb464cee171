"""What a method may ask of a backbone, and what it gets: the seam of "extract once, score many".

``FEATURES`` is the one table of what can be asked for. Requests, results, caches, estimates of memory and the order
in which a live demo works all read it; a plugin adds an entry with ``register_feature``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from vlmad_core.backbones.devices import to_device, to_host
from vlmad_core.backbones.info import BackboneInfo
from vlmad_core.backbones.vision import (
    FeatureReader,
    Grid,
    Key,
    StageReader,
    TowerPass,
    ValuePathReader,
    after_last_block,
)
from vlmad_core.backbones.windows import WindowReader, side_and_stride, window_starts
from vlmad_core.errors import BackboneError
from vlmad_core.libraries import torch

if TYPE_CHECKING:
    from torch import Tensor

FLOAT_BYTES = 4


@dataclass(frozen=True)
class Feature:
    """One kind of output of a vision tower.

    Attributes:
        name: As requests and results call it, an identifier. What is cached is found by it, so a feature that is
            computed in another way needs another name.
        read: Makes what reads it from a pass, for the keys that are asked for; see ``FeatureReader``.
        rows: Vectors per image, for a patch grid (rows, columns) and a key.
        width: Numbers in a vector; ``joint`` for as many as the joint embedding space has, ``tower`` for the tower.
        numbers: Numbers in a key: 0 where there is one tensor only, 1 for e.g. a block, 2 for a pair.
        further: Numbers that a key may have beyond those, for what differs from the usual.
        direction_only: Whether methods use nothing but the direction of its vectors; they may then be stored at half
            precision.
        expensive: Whether it takes passes of its own through the tower. It is timed as a stage of its own name, and
            who wants results soon computes all others first.
    """

    name: str
    read: Callable[[TowerPass, Collection[Key]], FeatureReader]
    rows: Callable[[Grid, Key], int]
    width: Literal["joint", "tower"] | int
    numbers: int = 0
    further: int = 0
    direction_only: bool = True
    expensive: bool = False

    def flat_name(self, key: Key) -> str:
        """The name of one of its tensors: ``image_embedding``, ``stages.6``, ``value_paths.2.6``."""
        parts = key if isinstance(key, tuple) else () if key is None else (key,)
        most = self.numbers + self.further
        if not self.numbers <= len(parts) <= most or not all(isinstance(part, int) for part in parts):
            counts = f"{self.numbers} to {most}" if self.further else self.numbers
            what = "Say True or False" if not self.numbers else f"Each key has {counts} whole number(s)"
            raise BackboneError(f"{key!r} is no key of the feature {self.name}.", f"{what}.")
        return ".".join((self.name, *map(str, parts)))


def _one(grid: Grid, key: Key) -> int:
    return 1


def _patches(grid: Grid, key: Key) -> int:
    return grid[0] * grid[1]


def _tokens(grid: Grid, key: Key) -> int:
    return 1 + grid[0] * grid[1]


def _windows(grid: Grid, key: Key) -> int:
    side, stride = side_and_stride(key)
    return len(window_starts(grid[0], side, stride)) * len(window_starts(grid[1], side, stride))


_BUILT_IN = (
    # The class token after the last block, after LayerNorm and projection: [N, e].
    Feature("image_embedding", after_last_block(lambda tower, last: tower.project(last[:, 0])), _one, "joint"),
    # The same without LayerNorm (AnomalyCLIP): [N, e].
    Feature("class_projection", after_last_block(lambda tower, last: tower.linear(last[:, 0])), _one, "joint"),
    # Patch tokens after the last block and the final LayerNorm, not projected: [N, P, d].
    Feature("patch_tokens", after_last_block(lambda tower, last: tower.norm(last[:, 1:])), _patches, "tower"),
    # Patch tokens after the last block, LayerNorm and projection: [N, P, e].
    Feature("patch_embeddings", after_last_block(lambda tower, last: tower.project(last[:, 1:])), _patches, "joint"),
    # Block -> its raw output, class token first: [N, 1 + P, d]. Length counts: APRIL-GAN's linear layers and MuSc's
    # normalisation over all patches follow.
    Feature("stages", StageReader, _tokens, "tower", numbers=1, direction_only=False),
    # Scale k, or (scale, stride) -> embeddings of all k x k windows of patches, row by row (WinCLIP, section 3.2):
    # [N, W, e].
    Feature("windows", WindowReader, _windows, "joint", numbers=1, further=1, expensive=True),
    # (First block D, stage l) -> tokens of the value-value attention path that starts at block D, read after block l,
    # class token first (AnomalyCLIP, section 3.2): [N, 1 + P, e].
    Feature("value_paths", ValuePathReader, _tokens, "joint", numbers=2),
)

FEATURES: dict[str, Feature] = {feature.name: feature for feature in _BUILT_IN}
"""All features by name. N images, P = rows x columns patches, d the tower's width, e that of the joint space."""


def register_feature(feature: Feature) -> Feature:
    """Add a feature to the table; what a method's own file does if it reads something new.

    Raises:
        BackboneError: If the name is taken, or can't be an attribute.
    """
    if FEATURES.get(feature.name, feature) is not feature:
        raise BackboneError(f"There is a feature {feature.name!r} already.", "Give yours another name.")
    if not feature.name.isidentifier() or hasattr(FeatureRequest, feature.name) or hasattr(Features, feature.name):
        raise BackboneError(f"A feature can't be called {feature.name!r}.", "Give it another name, a single word.")
    FEATURES[feature.name] = feature
    return feature


def feature_of(name: str) -> Feature:
    """The feature that a flat name such as ``stages.6`` belongs to.

    Raises:
        BackboneError: If there is none.
    """
    known = FEATURES.get(name.partition(".")[0])
    if known is None:
        raise BackboneError(f"There is no feature {name!r}.", f"Known are: {', '.join(FEATURES)}.")
    return known


def passing_stages() -> tuple[str, ...]:
    """The stages in which the time of a pass is told: the whole image's, and each expensive feature's."""
    return ("vision", *(feature.name for feature in FEATURES.values() if feature.expensive))


def _key(name: str) -> Key:
    """The key in a flat name."""
    parts = tuple(int(part) for part in name.split(".")[1:])
    return None if not parts else parts[0] if len(parts) == 1 else parts


@dataclass(frozen=True, init=False)
class FeatureRequest:
    """Which features are wanted. Requests have a union, served in one pass.

    Each feature of the table is an attribute: a truth value where it has one tensor, else the set of its keys. Blocks
    are counted from 1, as in the papers.

    Examples:
        >>> both = FeatureRequest(image_embedding=True) | FeatureRequest(stages={3, 6})
        >>> both.image_embedding, sorted(both.stages), both.patch_tokens
        (True, [3, 6], False)
    """

    _names: frozenset[str]

    def __init__(self, **wanted: bool | Iterable[Any]) -> None:
        names: set[str] = set()
        for name, value in wanted.items():
            feature = feature_of(name)
            if not isinstance(value, bool):
                names.update(feature.flat_name(key) for key in value)
            elif value:
                names.add(feature.flat_name(None))
        object.__setattr__(self, "_names", frozenset(names))

    @classmethod
    def of_names(cls, names: Iterable[str]) -> FeatureRequest:
        """The request for tensors of these flat names."""
        request = cls()
        object.__setattr__(request, "_names", frozenset(names))
        return request

    def __getattr__(self, name: str) -> Any:
        feature = FEATURES.get(name)
        if feature is None:
            raise AttributeError(f"there is no feature {name!r}")
        keys = self.keys(feature)
        return keys if feature.numbers else bool(keys)

    def keys(self, feature: Feature) -> frozenset[Key]:
        """What is wanted of a feature: the keys of its tensors."""
        return frozenset(_key(name) for name in self._names if name.partition(".")[0] == feature.name)

    def names(self) -> frozenset[str]:
        """What is asked for by the flat names of ``Features.tensors``."""
        return self._names

    def features(self) -> tuple[Feature, ...]:
        """What is asked for, in the order of the table."""
        wanted = {feature_of(name).name for name in self._names}
        return tuple(feature for name, feature in FEATURES.items() if name in wanted)

    def __or__(self, other: FeatureRequest) -> FeatureRequest:
        """The request that serves both."""
        return FeatureRequest.of_names(self._names | other._names)

    def without(self, names: Collection[str]) -> FeatureRequest:
        """What is left to be computed where the tensors of these flat names are there already."""
        return FeatureRequest.of_names(self._names.difference(names))

    def soon(self) -> FeatureRequest:
        """The part that one pass of the whole image gives: all that is not expensive."""
        return FeatureRequest.of_names(name for name in self._names if not feature_of(name).expensive)

    def bytes_per_image(self, info: BackboneInfo) -> int:
        """Memory that the features of one image take, in bytes."""
        total = 0
        for name in self._names:
            feature = feature_of(name)
            width = {"joint": info.embed_dim, "tower": info.width}.get(str(feature.width), feature.width)
            total += feature.rows(info.grid, _key(name)) * int(width) * FLOAT_BYTES
        return total


@dataclass(frozen=True, init=False, eq=False)
class Features:
    """Outputs of the vision tower for a batch of N images; float32, never normalised, on the backbone's device.

    Each feature of the table is an attribute: a tensor or None where it has one, else a mapping from its keys to
    tensors, empty where none was asked for. Shapes stand in the table.

    Attributes:
        grid: Patch grid (rows, columns).
    """

    grid: Grid
    _tensors: Mapping[str, Tensor]

    def __init__(self, grid: Grid, **values: Tensor | Mapping[Any, Tensor] | None) -> None:
        tensors: dict[str, Tensor] = {}
        for name, value in values.items():
            feature = feature_of(name)
            if isinstance(value, torch.Tensor):
                tensors[feature.flat_name(None)] = value
            elif value is not None:
                tensors |= {feature.flat_name(key): tensor for key, tensor in value.items()}
        object.__setattr__(self, "grid", grid)
        object.__setattr__(self, "_tensors", tensors)

    @classmethod
    def of_tensors(cls, grid: Grid, tensors: Mapping[str, Tensor]) -> Features:
        """Features from tensors by the flat names that ``tensors`` gives.

        Raises:
            BackboneError: If a name is none of a feature.
        """
        for name in tensors:
            feature_of(name)
        features = cls(grid)
        object.__setattr__(features, "_tensors", dict(tensors))
        return features

    def __getattr__(self, name: str) -> Any:
        feature = FEATURES.get(name)
        if feature is None:
            raise AttributeError(f"there is no feature {name!r}")
        if not feature.numbers:
            return self._tensors.get(name)
        return {_key(flat): tensor for flat, tensor in self._tensors.items() if flat.partition(".")[0] == name}

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by a flat name, e.g. ``stages.6`` or ``value_paths.2.6``."""
        return dict(self._tensors)

    def only(self, request: FeatureRequest) -> Features:
        """The part that a request names; all of it must be there."""
        return Features.of_tensors(self.grid, {name: self._tensors[name] for name in sorted(request.names())})

    def to(self, device: torch.device | str) -> Features:
        """The same features on a device; these, if they are there already."""
        place = torch.device(device)
        if all(tensor.device == place for tensor in self._tensors.values()):
            return self
        if place.type == "cpu":
            return Features.of_tensors(self.grid, to_host(self._tensors))
        moved = {name: to_device(tensor, place) for name, tensor in self._tensors.items()}
        return Features.of_tensors(self.grid, moved)

    @property
    def device(self) -> torch.device:
        """Where they are; the CPU if there are none."""
        return next((tensor.device for tensor in self._tensors.values()), torch.device("cpu"))

    def __len__(self) -> int:
        """Number of images N."""
        return next((len(tensor) for tensor in self._tensors.values()), 0)

    def select(self, indices: Sequence[int] | slice) -> Features:
        """The features of some of the images; a slice gives views, indices give copies."""
        chosen = self._tensors
        if isinstance(indices, slice):
            return Features.of_tensors(self.grid, {name: tensor[indices] for name, tensor in chosen.items()})
        index = torch.tensor(list(indices), dtype=torch.long)
        return Features.of_tensors(
            self.grid, {name: tensor[to_device(index, tensor.device)] for name, tensor in chosen.items()}
        )


def concatenate_features(parts: Iterable[Features]) -> Features:
    """Join batches in order.

    Raises:
        ValueError: If there are no parts, or they hold different features or grids.
    """
    parts = list(parts)
    if not parts:
        raise ValueError("no features to concatenate")
    first, *others = parts
    if not others:
        return first
    if any(part.grid != first.grid or part.tensors().keys() != first.tensors().keys() for part in others):
        raise ValueError("the parts hold different features or grids")
    names = first.tensors()
    return Features.of_tensors(
        first.grid, {name: torch.cat([part.tensors()[name] for part in parts]) for name in names}
    )
