"""Judging single images with several methods at once: one pass of the backbone, one result after the other."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import or_

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from vlmad_core.backbones import ClipBackbone, FeatureRequest, Features
from vlmad_core.errors import VlmadError
from vlmad_core.methods import Method, Reason, anomaly_maps, create_method

MAP_SIZE = 256


@dataclass(frozen=True)
class LivePrediction:
    """What one method says of one image.

    Attributes:
        method_id: ``name:preset``.
        title: The method as it is shown, with references as ``WinCLIP+``.
        shots: References it used.
        error: Why there is no result, or None.
        image_score: Higher means more anomalous; None with an error.
        anomaly_map: [size, size] float32; None if the method makes no map.
        seconds: Time by stage. ``preprocess``, ``vision`` and ``references`` are spent once for all methods.
        reasons: What moved the score, strongest first.
    """

    method_id: str
    title: str
    shots: int
    error: str | None = None
    image_score: float | None = None
    anomaly_map: NDArray[np.float32] | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    reasons: tuple[Reason, ...] = ()


def predict_each(
    image: Image.Image,
    methods: Sequence[str | Method],
    category: str,
    backbone: ClipBackbone,
    references: Sequence[Image.Image] = (),
    parameters: Mapping[str, Mapping[str, Tensor]] | None = None,
    map_size: int = MAP_SIZE,
) -> Iterator[LivePrediction]:
    """Judge an image with several methods; each result is yielded as soon as it is there.

    The image, and the references if any method uses them, pass the vision tower once for all methods. A method
    that fails yields its error and the others go on.

    Args:
        image: Any size, RGB.
        methods: Identifiers (``name`` or ``name:preset``) or methods.
        category: The part in words, as prompts are to name it, e.g. ``metal nut``.
        backbone: Shared and never changed.
        references: Images of normal parts, for methods that use them; others ignore them.
        parameters: Trained tensors by method name, for methods that train.
        map_size: Side of the anomaly maps, in pixels.

    Yields:
        One prediction per method, in the order given.

    Raises:
        VlmadError: If the image itself can't be used by the backbone.
    """
    chosen: list[tuple[str, Method | VlmadError, int]] = []
    for item in methods:
        method = _create(item)
        if isinstance(method, VlmadError):
            chosen.append((str(item), method, 0))
            continue
        shots = len(references) if method.capabilities.few_shot else 0
        reason = method.why_not_applicable(shots)
        if method.capabilities.transductive:
            reason = f"{method.title()} needs all test images of a set and can't judge a single one."
        chosen.append((method.id, VlmadError(reason) if reason else method, shots))

    seconds: dict[str, float] = {}
    request = _union(backbone, chosen)
    features = _extract([image], backbone, request, seconds, "vision")
    known: Features | None = None
    if any(shots for _, _, shots in chosen):
        known = _extract(list(references), backbone, request, seconds, "references")
    for identifier, method, shots in chosen:
        if isinstance(method, VlmadError):
            yield LivePrediction(identifier, identifier, shots, error=str(method))
            continue
        try:
            yield _judge(
                method,
                shots,
                category,
                backbone,
                features,
                known,
                (parameters or {}).get(method.name),
                map_size,
                seconds,
            )
        except VlmadError as error:
            yield LivePrediction(identifier, method.title(shots), shots, error=str(error))


def _create(item: str | Method) -> Method | VlmadError:
    if isinstance(item, Method):
        return item
    try:
        return create_method(item)
    except VlmadError as error:
        return error


def _union(backbone: ClipBackbone, chosen: Sequence[tuple[str, Method | VlmadError, int]]) -> FeatureRequest:
    requests = [m.needs(backbone.info, shots) for _, m, shots in chosen if isinstance(m, Method)]
    return reduce(or_, requests, FeatureRequest())


def _extract(
    images: Sequence[Image.Image],
    backbone: ClipBackbone,
    request: FeatureRequest,
    seconds: dict[str, float],
    stage: str,
) -> Features:
    start = time.perf_counter()
    pixels = backbone.preprocess_batch(images)
    ready = time.perf_counter()
    features = backbone.encode_images(pixels, request)
    seconds["preprocess"] = seconds.get("preprocess", 0.0) + ready - start
    seconds[stage] = time.perf_counter() - ready
    return features


def _judge(
    method: Method,
    shots: int,
    category: str,
    backbone: ClipBackbone,
    features: Features,
    references: Features | None,
    parameters: Mapping[str, Tensor] | None,
    map_size: int,
    shared_seconds: Mapping[str, float],
) -> LivePrediction:
    start = time.perf_counter()
    scorer = method.prepare(category, backbone, references if shots else None, parameters)
    prepared = time.perf_counter()
    predictions = scorer.score(features)
    scored = time.perf_counter()
    anomaly_map = None
    if predictions.grids is not None and predictions.map_rule is not None:
        anomaly_map = anomaly_maps(predictions.grids, predictions.map_rule, (map_size, map_size))[0].numpy()
    enlarged = time.perf_counter()
    return LivePrediction(
        method_id=method.id,
        title=method.title(shots),
        shots=shots,
        image_score=float(predictions.image_score[0]),
        anomaly_map=anomaly_map,
        seconds={
            **shared_seconds,
            "text and memory": prepared - start,
            "scoring": scored - prepared,
            "map": enlarged - scored,
        },
        reasons=scorer.explain(features)[0],
    )
