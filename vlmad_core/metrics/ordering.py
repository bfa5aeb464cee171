"""One ordering of all pixel scores of a category, from which every pixel metric is read.

Each score is sorted exactly once. Defective pixels are few and carry the number of their region; normal
pixels need only be counted, so they are sorted as bare scores. Where a threshold falls among them is then a
binary search, and no array of the size of the data is ever made a second time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlmad_core.metrics.regions import Maps, Masks, Region, check_pairs, label_regions, regions_of

BLOCK = 1 << 15
"""Defective pixels handled at a time at most; bounds the working memory, changes no result."""

SMALL_BLOCK = 1 << 9
"""Defective pixels handled at a time at least."""

_SIGN = np.uint32(0x8000_0000)
_LOW = np.uint64(0xFFFF_FFFF)
_SHIFT = np.uint64(32)

Scores = NDArray[np.float32] | NDArray[np.float64]


@dataclass(frozen=True)
class Block:
    """Cumulative counts at a run of distinct scores of defective pixels, thresholds falling.

    Attributes:
        thresholds: Distinct scores, float64 [K], strictly falling.
        tp: Defective pixels with score >= threshold, int64 [K].
        fp_above: Normal pixels with score > threshold, int64 [K].
        fp: Normal pixels with score >= threshold, int64 [K].
        pro: Weighted share of the regions found at score >= threshold, float64 [K].
        tp_before: `tp` at the threshold before each, int64 [K].
        fp_before: `fp` at the threshold before each, int64 [K].
        pro_before: `pro` at the threshold before each, float64 [K].
    """

    thresholds: NDArray[np.float64]
    tp: NDArray[np.int64]
    fp_above: NDArray[np.int64]
    fp: NDArray[np.int64]
    pro: NDArray[np.float64]
    tp_before: NDArray[np.int64]
    fp_before: NDArray[np.int64]
    pro_before: NDArray[np.float64]


@dataclass(frozen=True)
class PixelOrdering:
    """All pixel scores of a category in order; made by `order_pixels`.

    Attributes:
        normal: Scores of the normal pixels, rising, [N_normal].
        defective: Scores of the defective pixels with their region: uint64 [P], rising (score in the upper
            half, region in the lower), or for float64 scores a pair of arrays (scores, regions).
        regions: The defect regions, in the order of the images.
        n_images: Number of images.
    """

    normal: Scores
    defective: NDArray[np.uint64] | tuple[NDArray[np.float64], NDArray[np.uint32]]
    regions: tuple[Region, ...]
    n_images: int

    @property
    def n_normal(self) -> int:
        """Number of normal pixels."""
        return int(self.normal.size)

    @property
    def n_defective(self) -> int:
        """Number of defective pixels."""
        return int(self.defective[0].size if isinstance(self.defective, tuple) else self.defective.size)

    @property
    def missing(self) -> str | None:
        """Why pixel metrics do not exist, or None."""
        if self.n_images == 0:
            return "no images"
        if self.n_defective == 0:
            return "no defective pixels"
        return "no normal pixels" if self.n_normal == 0 else None

    @property
    def block_size(self) -> int:
        """Defective pixels to handle at a time, so that working memory stays small beside the scores."""
        return min(BLOCK, max(SMALL_BLOCK, (self.n_normal + self.n_defective) // 128))

    def slice_defective(self, start: int, stop: int) -> tuple[Scores, NDArray[np.uint32]]:
        """Scores and region numbers of defective pixels by rank.

        Args:
            start: First rank in rising order.
            stop: Rank after the last.

        Returns:
            Scores, rising, and region numbers (index into `regions`), [stop - start] each.
        """
        if isinstance(self.defective, tuple):
            return self.defective[0][start:stop], self.defective[1][start:stop]
        packed = self.defective[start:stop]
        return _unpack((packed >> _SHIFT).astype(np.uint32)), (packed & _LOW).astype(np.uint32)

    def extremes(self) -> tuple[float, float]:
        """Smallest and largest score of the category.

        Returns:
            Both, as floats; there must be at least one pixel.
        """
        ends: list[float] = [float(self.normal[0]), float(self.normal[-1])] if self.n_normal else []
        if self.n_defective:
            ends.append(float(self.slice_defective(0, 1)[0][0]))
            ends.append(float(self.slice_defective(self.n_defective - 1, self.n_defective)[0][0]))
        return min(ends), max(ends)

    def region_weights(self) -> NDArray[np.float64]:
        """Weight of one pixel of each region, float64 [R], such that each region counts once in the mean."""
        areas = np.array([region.area for region in self.regions], np.float64)
        return (1.0 / areas) / max(areas.size, 1)

    def blocks(self, weights: NDArray[np.float64], size: int | None = None) -> Iterator[Block]:
        """Walk down the distinct scores of the defective pixels.

        Between two of these only normal pixels are passed, and nothing but `fp` changes: the counts given
        determine every curve at every distinct score.

        Args:
            weights: Weight of one pixel of each region, float64 [R] (see `region_weights`).
            size: Defective pixels per block; None for `block_size`.

        Yields:
            Blocks of cumulative counts; their concatenation does not depend on `size`.
        """
        size = self.block_size if size is None else size
        tp = fp = 0
        pro = 0.0
        # A group of equal scores may reach over the end of a block: it stays open until another score comes.
        open_score, open_count, open_weight = np.zeros(0), np.zeros(0, np.int64), np.zeros(0)
        for stop in range(self.n_defective, 0, -size):
            scores, region = self.slice_defective(max(stop - size, 0), stop)
            last = stop <= size
            score = np.concatenate([open_score, scores[::-1].astype(np.float64)])
            count = np.concatenate([open_count, np.ones(region.size, np.int64)])
            weight = np.concatenate([open_weight, weights[region[::-1]]])
            first = np.flatnonzero(np.append(True, score[1:] != score[:-1]))
            score, count = score[first], np.add.reduceat(count, first)
            weight = np.add.reduceat(weight, first)
            if not last:
                open_score, open_count, open_weight = score[-1:], count[-1:], weight[-1:]
                score, count, weight = score[:-1], count[:-1], weight[:-1]
            if score.size == 0:
                continue
            block = self._count(score, count, weight, (tp, fp, pro))
            tp, fp, pro = int(block.tp[-1]), int(block.fp[-1]), float(block.pro[-1])
            yield block

    def normal_at_least(self, thresholds: NDArray[np.float64]) -> NDArray[np.int64]:
        """Count normal pixels with score >= threshold.

        Args:
            thresholds: Thresholds, float64 [K].

        Returns:
            Counts, int64 [K].
        """
        cuts = round_up(thresholds, self.normal.dtype)
        return self.n_normal - np.searchsorted(self.normal, cuts, side="left").astype(np.int64)

    def weight_at_least(self, weights: NDArray[np.float64], thresholds: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sum the weights of defective pixels with score >= threshold.

        Args:
            weights: Weight of one pixel of each region, float64 [R].
            thresholds: Thresholds in any order, float64 [K].

        Returns:
            Sums, float64 [K].
        """
        order = np.argsort(thresholds, kind="stable")
        rising = thresholds[order]
        sums = np.zeros(rising.size + 1)
        for start in range(0, self.n_defective, BLOCK):
            scores, region = self.slice_defective(start, min(start + BLOCK, self.n_defective))
            reached = np.searchsorted(rising, scores.astype(np.float64), side="right")
            sums += np.bincount(reached, weights[region], minlength=sums.size)
        result = np.empty(rising.size)
        result[order] = sums[::-1].cumsum()[::-1][1:]
        return result

    def recalls(self, thresholds: ArrayLike) -> NDArray[np.float64]:
        """Share of each defect region found at given thresholds.

        Args:
            thresholds: One threshold or [T] of them; a pixel is found if score >= threshold.

        Returns:
            Share in [0, 1], float64 [R, T], rows in the order of `regions`.
        """
        cuts = np.atleast_1d(np.asarray(thresholds, np.float64))
        order = np.argsort(cuts, kind="stable")
        width = cuts.size + 1
        table = np.zeros(len(self.regions) * width, np.int64)
        for start in range(0, self.n_defective, BLOCK):
            scores, region = self.slice_defective(start, min(start + BLOCK, self.n_defective))
            reached = np.searchsorted(cuts[order], scores.astype(np.float64), side="right")
            table += np.bincount(region.astype(np.int64) * width + reached, minlength=table.size)
        found = table.reshape(-1, width)[:, ::-1].cumsum(axis=1)[:, ::-1][:, 1:]
        areas = np.array([region.area for region in self.regions], np.float64)
        share = np.empty(found.shape)
        share[:, order] = found / areas[:, None]
        return share

    def _count(
        self,
        score: NDArray[np.float64],
        count: NDArray[np.int64],
        weight: NDArray[np.float64],
        before: tuple[int, int, float],
    ) -> Block:
        cuts = score.astype(self.normal.dtype)
        start = np.searchsorted(self.normal, cuts, side="left").astype(np.int64)
        stop = start.copy()
        # Few scores of real-valued maps tie with a normal pixel: only those need a second search.
        tied = np.flatnonzero(start < self.n_normal)
        tied = tied[self.normal[start[tied]] == cuts[tied]]
        stop[tied] = np.searchsorted(self.normal, cuts[tied], side="right")
        fp, above = self.n_normal - start, self.n_normal - stop
        tp = np.concatenate([[before[0]], count]).cumsum()
        # Rounding in the sum of many weights must not lift the mean above one.
        pro = np.minimum(np.concatenate([[before[2]], weight]).cumsum(), 1.0)
        fp_before = np.concatenate([[before[1]], fp[:-1]])
        return Block(score, tp[1:], above, fp, pro[1:], tp[:-1], fp_before, pro[:-1])


def order_pixels(maps: Maps, masks: Masks) -> PixelOrdering:
    """Order all pixel scores of a category.

    float16 and float32 maps are ordered as float32 (exactly); if any map is float64 or a wide integer, all
    are ordered as float64. Extra memory, beside the input: about the size of the scores in float32 for the
    few defects of real data, twice that if every pixel is defective.

    Args:
        maps: Anomaly maps, [N, H, W] or a sequence of [H, W] of any sizes; higher is more anomalous.
        masks: Boolean masks of the same sizes; True is defective. All-False for normal images.

    Returns:
        The ordering.

    Raises:
        MetricError: If maps and masks don't fit together or a score is not finite; names the image.
    """
    check_pairs(maps, masks)
    dtype = np.result_type(np.float32, *{np.asarray(scores).dtype for scores in maps})
    total = sum(mask.size for mask in masks)
    defects = sum(int(np.count_nonzero(mask)) for mask in masks)
    normal = np.empty(total - defects, dtype)
    packable = dtype == np.float32
    packed = np.empty(defects if packable else 0, np.uint64)
    wide = np.empty(0 if packable else defects, np.float64)
    owner = np.empty(0 if packable else defects, np.uint32)
    regions: list[Region] = []
    at_normal = at_defect = 0
    for i, (scores, mask) in enumerate(zip(maps, masks, strict=True)):
        values = np.asarray(scores)
        if not mask.any():
            normal[at_normal : at_normal + mask.size] = values.ravel()
            at_normal += mask.size
            continue
        labels, areas = label_regions(mask)
        region = (labels[mask] + (len(regions) - 1)).astype(np.uint32)
        regions.extend(regions_of(i, labels, areas))
        rest = values[~mask]
        normal[at_normal : at_normal + rest.size] = rest
        found = values[mask].astype(dtype)
        here = slice(at_defect, at_defect + found.size)
        if packable:
            packed[here] = pack_scores(found, region)
        else:
            wide[here], owner[here] = found, region
        at_normal, at_defect = at_normal + rest.size, at_defect + found.size
    normal.sort()
    if packable:
        packed.sort()
        return PixelOrdering(normal, packed, tuple(regions), len(maps))
    order = np.argsort(wide, kind="stable")
    return PixelOrdering(normal, (wide[order], owner[order]), tuple(regions), len(maps))


def round_up(thresholds: NDArray[np.float64], dtype: np.dtype[np.floating]) -> NDArray[np.floating]:
    """Round thresholds up to a type of scores, so that score >= threshold means the same there.

    Args:
        thresholds: float64 [K].
        dtype: float32 or float64.

    Returns:
        The smallest values of that type that are not below the thresholds, [K].
    """
    with np.errstate(over="ignore"):
        cuts = thresholds.astype(dtype)
    low = cuts.astype(np.float64) < thresholds
    cuts[low] = np.nextafter(cuts[low], dtype.type(np.inf))
    return cuts


def pack_scores(scores: NDArray[np.float32], regions: NDArray[np.integer]) -> NDArray[np.uint64]:
    """Scores of defective pixels with their regions, so that sorting the result sorts by score.

    Args:
        scores: Finite, float32 [P].
        regions: Number of each pixel's region, below 2^32, [P].

    Returns:
        uint64 [P], as `PixelOrdering.defective` holds them once sorted.
    """
    return (_pack(scores).astype(np.uint64) << _SHIFT) | regions.astype(np.uint64)


def _pack(scores: NDArray[np.float32]) -> NDArray[np.uint32]:
    """Map finite float32 to uint32 so that the order is kept (and -0.0 equals 0.0)."""
    bits = (scores + np.float32(0.0)).view(np.uint32)
    return np.where(bits & _SIGN, ~bits, bits | _SIGN).astype(np.uint32)


def _unpack(keys: NDArray[np.uint32]) -> NDArray[np.float32]:
    """Undo `_pack`."""
    return np.where(keys & _SIGN, keys ^ _SIGN, ~keys).astype(np.uint32).view(np.float32)
