"""What a method may ask of a backbone, and what it gets: the seam of "extract once, score many"."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class FeatureRequest:
    """Which outputs of the vision tower are wanted. Requests have a union, served in one pass.

    Blocks are counted from 1, as in the papers.

    Attributes:
        image_embedding: The class token after the last block, after LayerNorm and projection.
        class_projection: The class token after the last block, projected without LayerNorm (AnomalyCLIP).
        patch_tokens: Patch tokens after the last block and the final LayerNorm, not projected.
        patch_embeddings: Patch tokens after the last block, LayerNorm and projection.
        stages: Blocks whose raw output (residual stream, class token first) is wanted.
        windows: Window scales k: embeddings of all k x k windows of patches (WinCLIP, section 3.2).
        value_paths: Pairs (first block D, stage l): patch embeddings of the value-value attention path
            that starts at block D, read after block l (AnomalyCLIP, section 3.2).
    """

    image_embedding: bool = False
    class_projection: bool = False
    patch_tokens: bool = False
    patch_embeddings: bool = False
    stages: frozenset[int] = frozenset()
    windows: frozenset[int] = frozenset()
    value_paths: frozenset[tuple[int, int]] = frozenset()

    def __or__(self, other: FeatureRequest) -> FeatureRequest:
        """The request that serves both."""
        return FeatureRequest(*(getattr(self, f.name) | getattr(other, f.name) for f in fields(self)))

    def covers(self, other: FeatureRequest) -> bool:
        """True if everything in ``other`` is also asked for here."""
        return (self | other) == self

    def names(self) -> tuple[str, ...]:
        """What is asked for by the flat names of ``Features.tensors``, in a fixed order."""
        found: list[str] = []
        for f in fields(self):
            value = getattr(self, f.name)
            if isinstance(value, frozenset):
                found += [_flat_name(f.name, key) for key in sorted(value)]
            elif value:
                found.append(f.name)
        return tuple(found)

    def without(self, names: Collection[str]) -> FeatureRequest:
        """What is left to be computed where the tensors of these flat names are there already."""
        left: dict[str, object] = {}
        for f in fields(self):
            value = getattr(self, f.name)
            if isinstance(value, frozenset):
                left[f.name] = frozenset(key for key in value if _flat_name(f.name, key) not in names)
            else:
                left[f.name] = value and f.name not in names
        return FeatureRequest(**left)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Features:
    """Outputs of the vision tower for a batch of N images; all tensors float32 on the CPU, never normalised.

    A field that was not requested is None or empty. P = rows x columns patches, d the tower's width,
    e the width of the joint embedding space.

    Attributes:
        grid: Patch grid (rows, columns).
        image_embedding: [N, e].
        class_projection: [N, e].
        patch_tokens: [N, P, d].
        patch_embeddings: [N, P, e].
        stages: Block -> [N, 1 + P, d], class token first.
        windows: Scale k -> [N, W, e]; W = (rows - k + 1)(columns - k + 1), row by row.
        value_paths: (D, l) -> [N, 1 + P, e], class token first.
    """

    grid: tuple[int, int]
    image_embedding: Tensor | None = None
    class_projection: Tensor | None = None
    patch_tokens: Tensor | None = None
    patch_embeddings: Tensor | None = None
    stages: Mapping[int, Tensor] = field(default_factory=dict)
    windows: Mapping[int, Tensor] = field(default_factory=dict)
    value_paths: Mapping[tuple[int, int], Tensor] = field(default_factory=dict)

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by a flat name, e.g. ``stages.6`` or ``value_paths.2.6``."""
        flat: dict[str, Tensor] = {}
        for f in fields(self):
            value = getattr(self, f.name)
            if isinstance(value, Tensor):
                flat[f.name] = value
            elif isinstance(value, Mapping):
                flat |= {_flat_name(f.name, key): tensor for key, tensor in value.items()}
        return flat

    @classmethod
    def of_tensors(cls, grid: tuple[int, int], tensors: Mapping[str, Tensor]) -> Features:
        """Features from tensors by the flat names that ``tensors`` gives.

        Raises:
            ValueError: If a name is none of them.
        """
        values: dict[str, Any] = {}
        known = {f.name for f in fields(cls)} - {"grid"}
        for name, tensor in tensors.items():
            field_name, *parts = name.split(".")
            if field_name not in known:
                raise ValueError(f"there is no feature {name!r}")
            if not parts:
                values[field_name] = tensor
            else:
                key = tuple(int(part) for part in parts)
                values.setdefault(field_name, {})[key if len(key) > 1 else key[0]] = tensor
        return cls(grid=grid, **values)

    def on_cpu(self) -> Features:
        """The same features on the CPU; these, if they are there already."""
        tensors = self.tensors()
        if all(tensor.device.type == "cpu" for tensor in tensors.values()):
            return self
        return Features.of_tensors(self.grid, {name: tensor.cpu() for name, tensor in tensors.items()})

    def __len__(self) -> int:
        """Number of images N."""
        return next((len(tensor) for tensor in self.tensors().values()), 0)

    def select(self, indices: Sequence[int] | slice) -> Features:
        """The features of some of the images; a slice gives views, indices give copies."""
        index = indices if isinstance(indices, slice) else torch.as_tensor(list(indices), dtype=torch.long)

        def pick(value: object) -> object:
            if isinstance(value, Tensor):
                return value[index]
            if isinstance(value, Mapping):
                return {key: tensor[index] for key, tensor in value.items()}
            return value

        return replace(self, **{f.name: pick(getattr(self, f.name)) for f in fields(self)})  # type: ignore[arg-type]


def _flat_name(name: str, key: object) -> str:
    """The name of one tensor of a mapping: ``stages.6``, ``value_paths.2.6``."""
    parts = key if isinstance(key, tuple) else (key,)
    return ".".join((name, *map(str, parts)))


def concatenate_features(parts: Iterable[Features]) -> Features:
    """Join batches in order.

    Raises:
        ValueError: If there are no parts, or they hold different features or grids.
    """
    parts = list(parts)
    if not parts:
        raise ValueError("no features to concatenate")
    first = parts[0]
    if any(part.grid != first.grid or part.tensors().keys() != first.tensors().keys() for part in parts):
        raise ValueError("the parts hold different features or grids")

    def join(name: str) -> object:
        value = getattr(first, name)
        if isinstance(value, Tensor):
            return torch.cat([getattr(part, name) for part in parts])
        if isinstance(value, Mapping):
            return {key: torch.cat([getattr(part, name)[key] for part in parts]) for key in value}
        return value

    return Features(**{f.name: join(f.name) for f in fields(first)})  # type: ignore[arg-type]
