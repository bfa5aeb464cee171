"""MuSc (Li et al., "MuSc", ICLR 2024): the unlabelled test images judge one another, without text or references.

Transductive by nature: a patch is anomalous if few of the other test images have one like it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any, ClassVar

from vlmad_core.backbones.features import FeatureRequest, Features
from vlmad_core.backbones.info import BackboneInfo
from vlmad_core.backbones.products import linear
from vlmad_core.backbones.tower import TextTower
from vlmad_core.errors import MethodError
from vlmad_core.libraries import F, torch
from vlmad_core.methods.base import (
    OPENAI_LARGE,
    Capabilities,
    Method,
    MethodSettings,
    Progress,
    Reason,
    Scorer,
    no_progress,
)
from vlmad_core.methods.patches import check_stages, quarter_stages, top_patches
from vlmad_core.methods.predictions import MapRule, Predictions, map_maximum
from vlmad_core.methods.registry import register_method

if TYPE_CHECKING:
    from torch import Tensor

SIMILARITIES_AT_ONCE = 64_000_000
"""Bound on memory: 256 MB of similarities, 200 images of 37 x 37 patches in one block."""

PRODUCT_AT_ONCE = 524_288
"""Similarities in one matrix product: 2 MB, which stay in a core's cache until their maxima are taken."""


@dataclass(frozen=True)
class MuScSettings(MethodSettings):
    """Settings of MuSc.

    Attributes:
        stages: Blocks whose tokens are compared; None: the ends of the tower's quarters.
        neighbourhoods: Sides of the neighbourhoods over which tokens are averaged, in patches, odd.
        fraction: Share of the other images, the most similar ones, that a patch is compared with.
        neighbours: Sizes of the image neighbourhoods that smooth the image scores; empty: no smoothing.
    """

    stages: tuple[int, ...] | None = None
    neighbourhoods: tuple[int, ...] = (1, 3, 5)
    fraction: float = 0.3
    neighbours: tuple[int, ...] = (1, 2, 3)

    def __post_init__(self) -> None:
        object.__setattr__(self, "stages", check_stages("MuSc", "stages", self.stages))
        for name in ("neighbourhoods", "neighbours"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        odd = all(isinstance(r, int) and r >= 1 and r % 2 for r in self.neighbourhoods)
        if not (self.neighbourhoods and odd):
            raise MethodError(
                f"The setting 'neighbourhoods' of MuSc is {self.neighbourhoods}.", "Give odd numbers, e.g. (1, 3, 5)."
            )
        if any(not isinstance(k, int) or k < 1 for k in self.neighbours):
            raise MethodError(
                f"The setting 'neighbours' of MuSc is {self.neighbours}.", "Give positive numbers, e.g. (1, 2, 3)."
            )
        if not 0 < self.fraction <= 1:
            raise MethodError(f"The setting 'fraction' of MuSc is {self.fraction}.", "Choose it in (0, 1], e.g. 0.3.")


@dataclass(frozen=True)
class MuScScorer(Scorer):
    """MuSc; the same for every category, since it reads nothing but the test images.

    Attributes:
        settings: The method's settings.
        stages: The blocks whose tokens are compared.
        map_size: (height, width) of the map whose maximum is the image score.
        budget: See ``SIMILARITIES_AT_ONCE``.
    """

    settings: MuScSettings
    stages: tuple[int, ...]
    map_size: tuple[int, int]
    budget: int = SIMILARITIES_AT_ONCE

    def score(self, features: Features) -> Predictions:
        """Not possible: there is no score of a single image."""
        raise MethodError(
            "MuSc scores test images against one another and has no score for an image on its own.",
            "Score all test images of a category together, or choose another method.",
        )

    def score_set(self, features: Features, progress: Progress = no_progress) -> Predictions:
        """Map: mean over stages and neighbourhoods of the mutual scores; image score: its maximum, smoothed."""
        if len(features) < 2:
            raise MethodError(f"MuSc was given {len(features)} test image.", "Give at least two of one category.")
        grid = self.patch_scores(features, progress)[:, None]
        rule = MapRule(align_corners=True)
        scores = map_maximum(grid, rule, self.map_size)
        if self.settings.neighbours:
            assert features.image_embedding is not None
            scores = rescore_by_neighbours(scores, features.image_embedding, self.settings.neighbours)
        return Predictions(scores, grid, rule)

    def patch_scores(self, features: Features, progress: Progress = no_progress) -> Tensor:
        """[N, rows, columns]; ``progress`` is told the share that is done."""
        rounds = len(self.settings.neighbourhoods) * len(self.stages)
        total = features.stages[self.stages[0]].new_zeros(len(features), features.grid[0] * features.grid[1])
        for done, (side, stage) in enumerate(product(self.settings.neighbourhoods, self.stages)):
            tokens = neighbourhood_tokens(features.stages[stage][:, 1:], features.grid, side)
            told = partial(_tell_round, progress, done, rounds)
            total += mutual_scores(tokens, self.settings.fraction, self.budget, told)
        return (total / rounds).reshape(-1, *features.grid)

    def explain(self, features: Features, predictions: Predictions) -> tuple[tuple[Reason, ...], ...]:
        """The most abnormal patches; of a set, as with the score."""
        assert predictions.grids is not None
        return top_patches(predictions.grids[:, 0])


def _tell_round(progress: Progress, done: int, rounds: int, share: float) -> None:
    progress((done + share) / rounds)


def neighbourhood_tokens(tokens: Tensor, grid: tuple[int, int], side: int) -> Tensor:
    """Patch tokens averaged over their neighbourhood (LNAMD, section 3.2), as unit vectors.

    Each image is normalised over all its channels and patches together; then each patch takes the mean over
    side x side patches, zeros beyond the border counted in. The authors unfold and pool, which is the same.

    Args:
        tokens: [N, P, d] raw patch tokens, P = rows x columns.
        grid: Patch grid (rows, columns).
        side: Side of the neighbourhood, odd.

    Returns:
        [N, P, d], unit length.
    """
    maps = tokens.transpose(1, 2).reshape(len(tokens), -1, *grid)
    maps = F.layer_norm(maps, maps.shape[1:])
    if side > 1:
        maps = F.avg_pool2d(maps, side, stride=1, padding=side // 2)
    return F.normalize(maps.flatten(2).transpose(1, 2), dim=-1)


def mutual_scores(tokens: Tensor, fraction: float, budget: int, progress: Progress = no_progress) -> Tensor:
    """How far each patch is from the images most like it (MSM, section 3.3).

    For each patch and each other image the Euclidean distance to that image's nearest patch; then the mean over
    the smallest ``fraction`` of the other images, at least one.

    Args:
        tokens: [N, P, d] unit vectors, N >= 2.
        fraction: Share of the other images, in (0, 1].
        budget: Bound on memory: most similarities of a patch to an image kept at once, N*P at least.
        progress: Told the share that is done.

    Returns:
        [N, P] float32.
    """
    count, patches = tokens.shape[:2]
    keep = max(1, int((count - 1) * fraction))
    rows = max(1, budget // (count * patches))
    scores = []
    for first in range(0, count, rows):
        block = _nearest_in_each(tokens, first, min(first + rows, count), progress)
        # Of unit vectors |a - b|^2 = 2 - 2 cos; the nearest patch has the greatest cosine. An image's
        # similarity to itself stays at minus infinity and sorts last.
        nearest = block.topk(keep, dim=1).values
        scores.append((2.0 - 2.0 * nearest).clamp_min(0.0).sqrt().mean(dim=1))
    return torch.cat(scores)


def _nearest_in_each(tokens: Tensor, first: int, last: int, progress: Progress) -> Tensor:
    """[last - first, N, P]: the greatest cosine of each patch of images first..last-1 to each image's patches."""
    count, patches, channels = tokens.shape
    several = max(1, PRODUCT_AT_ONCE // patches**2)
    best = tokens.new_full((last - first, count, patches), float("-inf"))
    for i in range(first, last):
        # A pair inside the block is computed once and read along both axes: j runs over the images before the
        # block, then over those behind i.
        for start, end in ((0, first), (i + 1, count)):
            for j in range(start, end, several):
                k = min(j + several, end)
                similarities = linear(tokens[i], tokens[j:k].reshape(-1, channels))
                best[i - first, j:k] = similarities.view(patches, k - j, patches).amax(dim=2).T
                inside = min(k, last) - j
                if j > i and inside > 0:
                    best[j - first : j - first + inside, i] = (
                        similarities[:, : inside * patches].amax(dim=0).view(inside, patches)
                    )
        progress((i + 1) / count)
    return best


def rescore_by_neighbours(scores: Tensor, embeddings: Tensor, neighbours: Sequence[int]) -> Tensor:
    """Image scores averaged over the most similar images of the set (RsCIN, section 3.4).

    Args:
        scores: [N]; rescaled to [0, 1] over the set first.
        embeddings: [N, e] image embeddings, of any length.
        neighbours: For each k the k most similar images, the image itself among them, weighted by cosine
            similarity; the results of all k are averaged. A k above N means all.

    Returns:
        [N] float32 in [0, 1] as long as similarities are positive.
    """
    span = scores.max() - scores.min()
    scaled = (scores - scores.min()) / span.clamp_min(torch.finfo(span.dtype).tiny)
    unit = F.normalize(embeddings, dim=-1)
    similarities = unit @ unit.T
    found = []
    for k in neighbours:
        nearest = similarities.topk(min(k, len(scores)), dim=1)
        weights = nearest.values / nearest.values.sum(dim=1, keepdim=True)
        found.append((weights * scaled[nearest.indices]).sum(dim=1))
    return torch.stack(found).mean(dim=0)


@register_method
class MuSc(Method):
    """MuSc; transductive."""

    name = "musc"
    settings_type = MuScSettings
    settings: MuScSettings
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"canonical": {}, "visa": {"neighbours": (1, 8, 9)}}
    published = OPENAI_LARGE

    @property
    def capabilities(self) -> Capabilities:
        """Classifies and segments; needs all test images at once, and neither text nor references."""
        return Capabilities(segments=True, uses_text=False, transductive=True)

    def stages(self, backbone: BackboneInfo) -> tuple[int, ...]:
        """The blocks whose tokens are compared."""
        return self.settings.stages or quarter_stages(backbone.depth)

    def set_operations(self, images: int, backbone: BackboneInfo) -> float:
        """Every patch against every patch of the other images, each pair once, by stage and neighbourhood."""
        patches, rounds = backbone.grid[0] * backbone.grid[1], len(self.settings.neighbourhoods)
        return images * (images - 1) * float(patches) ** 2 * backbone.width * rounds * len(self.stages(backbone))

    def needs(self, backbone: BackboneInfo, shots: int) -> FeatureRequest:
        """The raw tokens of the stages, and the image embedding for the smoothing of image scores."""
        return FeatureRequest(image_embedding=bool(self.settings.neighbours), stages=frozenset(self.stages(backbone)))

    def prepare(
        self,
        category: str,
        text: TextTower,
        references: Features | None = None,
        parameters: Mapping[str, Tensor] | None = None,
        calibration: Features | None = None,
    ) -> MuScScorer:
        """Nothing to prepare."""
        size = (text.info.image_size, text.info.image_size)
        return MuScScorer(self.settings, self.stages(text.info), size)
