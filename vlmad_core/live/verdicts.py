"""From scores to verdicts: thresholds with their origin, and the one colour scale of maps side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from vlmad_core.analysis.entries import Comparison, Entry
from vlmad_core.analysis.verdicts import StoredThreshold, image_thresholds, normal_maps
from vlmad_core.backbones import BackboneInfo
from vlmad_core.figures.scale import ColourScale, rarity_scale, raw_scale
from vlmad_core.live.panel import LivePrediction
from vlmad_core.metrics.thresholds import (
    Origin,
    Threshold,
    Verdict,
    stored_threshold,
    threshold_from_normals,
    user_threshold,
    verdict,
)
from vlmad_core.store.reader import Store

RATE = 0.05
"""Share of the normal references that may be called anomalous at the threshold taken from them."""

ScaleKind = Literal["normal", "image", "raw"]
"""How maps become colours: by how rare a value is on normal images, by its rank within the image, or as it is."""

WITHIN_IMAGE = "How many pixels of this image score as high: where it looks most unusual, not whether it is"
_SAME = ("weights_hash", "image_size", "precision", "activation")


@dataclass(frozen=True)
class Yardstick:
    """What a stored run of the same method, backbone and category knows.

    Attributes:
        run_id: The run.
        place: Its data set and category, as words.
        thresholds: On image scores, by name; the first is the default.
        scale: How rare a map value is on its normal images; None without maps.
    """

    run_id: str
    place: str
    thresholds: Mapping[str, StoredThreshold]
    scale: ColourScale | None


@dataclass(frozen=True)
class Opinion:
    """A method's prediction with its verdict.

    Attributes:
        prediction: What the method says.
        thresholds: Those that could be used, best first: one's own, from the references, from a stored run.
        verdict: By the first of them; None without any.
        reason: Why there is no verdict; empty where there is one.
        yardstick: The stored run that was found, if any.
    """

    prediction: LivePrediction
    thresholds: tuple[Threshold, ...] = ()
    verdict: Verdict | None = None
    reason: str = ""
    yardstick: Yardstick | None = None


def find_yardstick(
    store: Store,
    found: Sequence[Comparison],
    info: BackboneInfo,
    prediction: LivePrediction,
    category: str,
    dataset: str | None = None,
) -> Yardstick | None:
    """A stored run that measured the same method, shots and backbone on the same category, if there is one.

    Args:
        store: The results.
        found: What ``comparisons(store)`` gives.
        info: The backbone.
        prediction: Says the method and the shots.
        category: The category in words, or as the data set writes it.
        dataset: A data set whose runs are preferred: where the image comes from.
    """
    wanted = _plain(category)
    for one in sorted(found, key=lambda c: c.dataset != dataset):
        if any(one.backbone.get(key) != getattr(info, key) for key in _SAME):
            continue
        match = next((name for name in one.categories if _plain(name) == wanted), None)
        for line in one.entries(prediction.shots) if match else ():
            if f"{line.method}:{line.preset}" == prediction.method_id:
                read = _read(store, line, match or "", one.dataset)
                if read is not None:
                    return read
    return None


def give_opinion(
    prediction: LivePrediction,
    yardstick: Yardstick | None = None,
    own: float | None = None,
    prefer: Origin | None = None,
    rate: float = RATE,
) -> Opinion:
    """Judge a prediction by the best threshold there is.

    Args:
        prediction: What the method says.
        yardstick: A stored run to take a threshold from.
        own: A threshold set by the user; goes before all others.
        prefer: An origin that goes before the rest where there is a threshold of it.
        rate: Share of the normal references that may be called anomalous.
    """
    if prediction.error is not None or prediction.image_score is None:
        return Opinion(prediction, reason=prediction.error or "There is no score.", yardstick=yardstick)
    thresholds: list[Threshold] = []
    if own is not None:
        thresholds.append(user_threshold(own))
    if prediction.normals.scores:
        thresholds.append(threshold_from_normals(prediction.normals.scores, rate))
    if yardstick is not None:
        for stored in yardstick.thresholds.values():
            detail = f"{stored.label}, {yardstick.place}: {stored.origin}"
            thresholds.append(replace(stored_threshold(stored.value, yardstick.run_id), detail=detail))
    thresholds.sort(key=lambda t: t.origin not in ("user", prefer))
    if not thresholds:
        reason = (
            f"{prediction.normals.reason} There is no stored run of this method, backbone and category either, "
            "so there is no threshold to judge by."
        )
        return Opinion(prediction, reason=reason)
    return Opinion(prediction, tuple(thresholds), verdict(prediction.image_score, thresholds[0]), "", yardstick)


def scales(opinions: Sequence[Opinion], kind: ScaleKind) -> tuple[ScaleKind, dict[str, ColourScale]]:
    """The colour scales of several maps, of one kind for all, so that a colour means the same on each.

    Args:
        opinions: Those without a map are passed over.
        kind: What is wanted; ``normal`` becomes ``image`` unless every map has normal pixels to be compared with.

    Returns:
        The kind that was used, and a scale by method.
    """
    maps = {o.prediction.method_id: o.prediction.anomaly_map for o in opinions}
    known = {name: one for name, one in maps.items() if one is not None}
    if kind == "normal":
        normal = {o.prediction.method_id: _normal_scale(o) for o in opinions if o.prediction.method_id in known}
        given = {name: scale for name, scale in normal.items() if scale is not None}
        if len(given) == len(known):
            return "normal", given
        kind = "image"
    if kind == "image":
        return "image", {name: replace(rarity_scale([one]), title=WITHIN_IMAGE) for name, one in known.items()}
    low = min([0.0, *(float(one.min()) for one in known.values())])
    high = max([1.0, *(float(one.max()) for one in known.values())])
    return "raw", dict.fromkeys(known, raw_scale(low, high))


def _normal_scale(opinion: Opinion) -> ColourScale | None:
    maps = opinion.prediction.normals.maps
    if maps:
        title = f"How many pixels of the {len(maps)} normal references score as high, for the same method"
        return replace(rarity_scale(maps), title=title)
    return opinion.yardstick.scale if opinion.yardstick else None


def _read(store: Store, line: Entry, category: str, dataset: str) -> Yardstick | None:
    run = line.run_with(category)
    if run is None:
        return None
    images = store.images(run.id, category)
    kept = normal_maps(store, run.id, category)
    place = f"{category.replace('_', ' ')} of {dataset}"
    return Yardstick(run.id, place, image_thresholds(run, category, images), rarity_scale(kept) if kept else None)


def _plain(category: str) -> str:
    return " ".join(category.replace("_", " ").lower().split())
