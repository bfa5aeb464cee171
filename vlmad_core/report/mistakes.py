"""The clearest mistakes of the best method, with pictures where the images' licence allows copies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from vlmad_core.analysis.answers import IMAGE_METRIC, PIXEL_METRIC, THRESHOLD, entry_to_look_at
from vlmad_core.analysis.best import best
from vlmad_core.analysis.entries import Comparison, Entry
from vlmad_core.analysis.verdicts import VERDICT_LABELS, judge_entry, normal_maps, ranked
from vlmad_core.figures.overlay import decode, decode_mask, encode, enlarge, outline, overlay
from vlmad_core.figures.scale import ColourScale, rarity_scale
from vlmad_core.store.reader import Missing, Store

SHOWN_SIDE = 180
"""Shorter side of the pictures, in pixels."""

KINDS = ("missed", "false_alarm")


@dataclass(frozen=True)
class MistakePicture:
    """One picture of a mistake.

    Attributes:
        caption: What it shows.
        content: A WebP file.
    """

    caption: str
    content: bytes


@dataclass(frozen=True)
class Mistake:
    """A mistake with what can be shown of it.

    Attributes:
        kind: ``missed defect`` or ``false alarm``.
        category: The category.
        image_id: The image.
        defect_type: Its defect, ``good`` for normal images.
        score: Its score.
        threshold: The threshold it was judged at.
        pictures: Image and map; empty where there are none.
        reason: Why there are no pictures; empty if there are.
    """

    kind: str
    category: str
    image_id: str
    defect_type: str
    score: float
    threshold: float
    pictures: Sequence[MistakePicture]
    reason: str


def mistakes(store: Store, one: Comparison, board: pd.DataFrame, most: int) -> tuple[tuple[Mistake, ...], str]:
    """The mistakes of the best method at its oracle thresholds, the clearest first.

    Scores of different categories have no common scale: each mistake counts by how far it lies from its
    category's threshold, in standard deviations of that category's scores.

    Args:
        store: The results.
        one: The runs that may be ranked together.
        board: Their leaderboard.
        most: How many of each kind.

    Returns:
        The mistakes, and a sentence on what is shown.
    """
    classifier = best(one, board, IMAGE_METRIC)
    if classifier is None or most == 0:
        return (), "No mistakes are shown." if most == 0 else "No method has image scores that can be judged."
    line = classifier.entry
    found = ranked(judge_entry(store, line, one.categories, THRESHOLD, or_first=False), KINDS)
    if found.empty:
        return (), f"{line.title} makes no mistake at its oracle thresholds."
    best_map = best(one, board, PIXEL_METRIC)
    segmenter = None if best_map is None else best_map.entry
    scales: dict[str, ColourScale | None] = {}
    shown = []
    for kind in KINDS:
        rows = found[found["verdict"] == kind].sort_values("distance", ascending=False).head(most)
        for row in rows.to_dict("records"):
            category = str(row["category"])
            drawn_by = segmenter and entry_to_look_at(store, one, segmenter, category)
            pictures, reason = _pictures(store, line, drawn_by, category, row["image_id"], scales)
            shown.append(
                Mistake(
                    kind=VERDICT_LABELS[row["verdict"]],
                    category=category,
                    image_id=row["image_id"],
                    defect_type=str(row["defect_type"]),
                    score=float(row["score"]),
                    threshold=float(row["threshold"]),
                    pictures=pictures,
                    reason=reason,
                )
            )
    number = {kind: int((found["verdict"] == kind).sum()) for kind in KINDS}
    note = (
        f"The clearest of {number['missed']} missed defects and {number['false_alarm']} false alarms of {line.title}"
        f"{f' with {line.shots} references' if line.shots else ''}, at each category's oracle threshold."
    )
    if segmenter is not None:
        note += (
            f" Maps are those of {segmenter.title}, where maps were kept; bright means that at most one in a thousand "
            "pixels of normal images scores as high. The outline is the labelled defect."
        )
    return tuple(shown), note


def _pictures(
    store: Store,
    entry: Entry,
    segmenter: Entry | None,
    category: str,
    image_id: str,
    scales: dict[str, ColourScale | None],
) -> tuple[tuple[MistakePicture, ...], str]:
    run = entry.run_with(category)
    assert run is not None
    thumbnail = store.thumbnail(run.id, category, image_id)
    if isinstance(thumbnail, Missing):
        return (), thumbnail.reason
    image = enlarge(decode(thumbnail), SHOWN_SIDE)
    stored = store.mask(run.id, category, image_id)
    mask = None if isinstance(stored, Missing) else _enlarged(decode_mask(stored), image.shape[:2])
    marked = image if mask is None else outline(image, mask)
    caption = "image" if mask is None else "image with the labelled defect"
    pictures = [MistakePicture(caption, encode(marked))]
    source = segmenter.run_with(category) if segmenter is not None else None
    if source is not None and segmenter is not None:
        if category not in scales:
            scales[category] = _scale(store, source.id, category)
        scale = scales[category]
        found = store.anomaly_map(source.id, category, image_id, (image.shape[0], image.shape[1]))
        if scale is not None and not isinstance(found, Missing):
            laid = overlay(image, scale.place(found))
            pictures.append(
                MistakePicture(f"map of {segmenter.name}", encode(laid if mask is None else outline(laid, mask)))
            )
    return tuple(pictures), ""


def _enlarged(mask: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    rows = np.arange(shape[0]) * mask.shape[0] // shape[0]
    columns = np.arange(shape[1]) * mask.shape[1] // shape[1]
    return mask[rows][:, columns]


def _scale(store: Store, run_id: str, category: str) -> ColourScale | None:
    kept = normal_maps(store, run_id, category)
    return rarity_scale(kept) if kept else None
