"""What a method says of one image, and of the references it was given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from vlmad_core.backbones.features import passing_stages
from vlmad_core.figures.scale import Map
from vlmad_core.methods import Reason

MAP_SIZE = 256
NORMAL_MAP_SIZE = 64
"""Side of the references' own maps, which only say how high normal pixels score."""


def shared_stages() -> tuple[str, ...]:
    """Stages that are spent once for all methods."""
    return ("preprocess", *passing_stages(), "references")


@dataclass(frozen=True)
class Normals:
    """What a method says of the normal references, each judged as if it were not among them.

    Attributes:
        scores: Image scores, one for each reference.
        maps: Their anomaly maps [64, 64] float32; empty without maps.
        reason: Why there are no scores; empty where there are.
    """

    scores: tuple[float, ...] = ()
    maps: tuple[Map, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class Nearest:
    """The nearest reference patch of every patch of an image.

    Attributes:
        grid: Patch grid (rows, columns), of image and references alike.
        similarity: Cosine similarity [P] float32, row by row.
        index: [P] int64 into the K * P patches of the references.
    """

    grid: tuple[int, int]
    similarity: NDArray[np.float32]
    index: NDArray[np.int64]

    def of(self, row: int, column: int) -> tuple[float, int, int, int]:
        """Similarity, reference (from 0), row and column of what is nearest to a patch."""
        rows, columns = self.grid
        patch = row * columns + column
        reference, place = divmod(int(self.index[patch]), rows * columns)
        return float(self.similarity[patch]), reference, *divmod(place, columns)


@dataclass(frozen=True)
class LivePrediction:
    """What one method says of one image.

    Attributes:
        method_id: ``name:preset``.
        title: The method as it is shown, with references as ``WinCLIP+``.
        shots: References it used.
        error: Why there is no result, or None.
        image_score: Higher means more anomalous; None with an error.
        anomaly_map: [256, 256] float32; None if the method makes no map.
        seconds: Time by stage; those of ``shared_stages`` are spent once for all methods.
        reasons: What moved the score, strongest first.
        nearest: The nearest reference patches; None without a memory of patches.
        normals: What the method says of the references.
        trained_on: Data sets its parameters were trained on; empty if it does not train, None if unknown.
    """

    method_id: str
    title: str
    shots: int
    error: str | None = None
    image_score: float | None = None
    anomaly_map: Map | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    reasons: tuple[Reason, ...] = ()
    nearest: Nearest | None = None
    normals: Normals = Normals()
    trained_on: tuple[str, ...] | None = ()
