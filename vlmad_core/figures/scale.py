"""Colour scales of anomaly maps: one scale for all maps that are shown side by side, never one per image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vlmad_core.errors import VlmadError

Floats = NDArray[np.float64]
Map = NDArray[np.float32]

DECADES = 3.0
"""How far the rarity scale reaches: up to what one in 10 ** DECADES normal pixels scores."""


@dataclass(frozen=True)
class ColourScale:
    """Where on the colour bar a map value lies.

    Attributes:
        knots: Map values [K], strictly rising.
        positions: Their places on the colour bar [K], never falling, in [0, 1].
        ticks: Places and labels to write at the colour bar.
        title: What the scale shows, in a sentence.
    """

    knots: tuple[float, ...]
    positions: tuple[float, ...]
    ticks: tuple[tuple[float, str], ...]
    title: str

    def place(self, values: Map | Floats) -> Floats:
        """Places on the colour bar, in [0, 1]; the same value always gets the same place.

        Args:
            values: Map values, any shape.
        """
        return np.interp(np.asarray(values, np.float64), self.knots, self.positions)


def raw_scale(low: float, high: float) -> ColourScale:
    """A scale in the method's own units, from low to high in even steps.

    Args:
        low: The value at the lower end.
        high: The value at the upper end.

    Raises:
        VlmadError: If the ends are not two finite, rising numbers.
    """
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise VlmadError(f"A colour scale can't reach from {low!r} to {high!r}.", "Give two rising numbers.")
    ticks = tuple((at, f"{low + at * (high - low):.3g}") for at in (0.0, 0.25, 0.5, 0.75, 1.0))
    return ColourScale((low, high), (0.0, 1.0), ticks, "Anomaly score of the pixel, in the method's own units")


def shared_range(maps: Sequence[Map], low: float = 0.01, high: float = 0.999) -> tuple[float, float]:
    """A range of values that suits several maps together.

    Args:
        maps: Any shapes.
        low: Quantile of all values at the lower end.
        high: Quantile at the upper end.

    Returns:
        Two rising numbers, also for constant maps.
    """
    values = np.concatenate([np.ravel(m) for m in maps]) if maps else np.zeros(1)
    start, end = (float(q) for q in np.quantile(values, [low, high]))
    if end - start < 1e-9:
        start, end = start - 0.5e-3, end + 0.5e-3
    return start, end


def rarity_scale(normal_maps: Sequence[Map]) -> ColourScale:
    """A scale on which methods with different units can be compared: how rare is such a value on normal images?

    A value that a share p of the normal pixels reaches or exceeds lies at -log10(p) / DECADES: the median of
    normal pixels at about 0.1, a value that one in a hundred reaches at 2/3, one in a thousand (and all above)
    at 1. It depends only on the order of the values, as the metrics do.

    Args:
        normal_maps: Anomaly maps of normal images of the category, of one method.

    Raises:
        VlmadError: If there are no normal maps.
    """
    if not normal_maps:
        raise VlmadError("There are no maps of normal images to compare with.", "Use a scale in raw units.")
    values = np.sort(np.concatenate([np.ravel(m) for m in normal_maps]).astype(np.float64))
    decades = np.linspace(0.0, DECADES, 121)
    knots = np.quantile(values, 1.0 - 10.0**-decades, method="higher")
    # Equal values share the highest place that is theirs, so that the scale stays a function of the value.
    last = np.append(np.diff(knots) > 0, True)
    knots, places = knots[last], decades[last] / DECADES
    if len(knots) == 1:
        knots, places = np.array([knots[0], np.nextafter(knots[0], np.inf)]), np.array([0.0, 1.0])
    ticks = (
        (0.0, "any"),
        (1 / DECADES, "1 in 10"),
        (2 / DECADES, "1 in 100"),
        (1.0, "≤ 1 in 1000"),
    )
    title = "How many pixels of normal images score as high, for the same method and category"
    return ColourScale(tuple(knots.tolist()), tuple(places.tolist()), ticks, title)
