"""One pass of the vision tower per image for all runs that share it, and their scores at once.

Features live for one batch only, unless a method judges all test images together. References are passed
one by one, so that their features don't depend on which other references a plan asks for.
"""

from __future__ import annotations

import dataclasses
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import or_
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vlmad_core.backbones import BackboneInfo, FeatureRequest, Features, concatenate_features
from vlmad_core.backbones.feature_cache import Encoder, FeatureCache
from vlmad_core.datasets import Sample
from vlmad_core.datasets.catalogue import category_noun
from vlmad_core.datasets.splits import draw_references
from vlmad_core.engine.backbone import Backbone
from vlmad_core.engine.plan import PlannedRun
from vlmad_core.engine.profiling import Stopwatch
from vlmad_core.engine.reading import ImageLoader, LoadedImage, ahead, batches
from vlmad_core.engine.timing import TimedBackbone, timed_encode
from vlmad_core.errors import DatasetError, VlmadError
from vlmad_core.methods import MapRule, Predictions, Reason, Scorer

TRACEBACK_LINES = 30


@dataclass(frozen=True)
class Failure:
    """Why a unit could not be finished.

    Attributes:
        reason: In a sentence.
        traceback: Its last lines; empty for errors that speak for themselves.
    """

    reason: str
    traceback: str = ""

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """The failure an exception means."""
        if isinstance(error, VlmadError):
            return cls(str(error))
        lines = "".join(traceback.format_exception(error)).splitlines()[-TRACEBACK_LINES:]
        return cls(f"{type(error).__name__}: {error}", "\n".join(lines))


@dataclass
class RunScores:
    """What one run says of a category's images, collected batch by batch.

    Attributes:
        run: The run.
        scores: Image scores by image id.
        latency_ms: Time by image id; shared stages count as they were shared.
        grids: Native grids by batch.
        rule: How they become maps.
        reasons: Explanations by image id.
        failure: Why it stopped, or None.
        scoring_seconds: Time of its own scoring.
    """

    run: PlannedRun
    scores: dict[str, float] = field(default_factory=dict)
    latency_ms: dict[str, float] = field(default_factory=dict)
    grids: list[np.ndarray] = field(default_factory=list)
    rule: MapRule | None = None
    reasons: dict[str, tuple[Reason, ...]] = field(default_factory=dict)
    failure: Failure | None = None
    scoring_seconds: float = 0.0

    def all_grids(self) -> np.ndarray | None:
        """[N, S, rows, columns] in the order of ``scores``, or None."""
        return np.concatenate(self.grids) if self.grids else None


@dataclass
class CategoryScores:
    """All runs' scores of one category.

    Attributes:
        images: Every image, without pixels.
        scored: Ids of those that went through the model, in order.
        runs: By run id.
        scorers: By run id; runs that failed before scoring have none.
        references: Features of what was drawn as references, by run id, see ``parted``; zero-shot runs have none.
        passes: Images that went through the vision tower, references included.
        computed: Test images among them; the others' features were known.
    """

    images: list[LoadedImage] = field(default_factory=list)
    scored: list[str] = field(default_factory=list)
    runs: dict[str, RunScores] = field(default_factory=dict)
    scorers: dict[str, Scorer] = field(default_factory=dict)
    references: dict[str, Features] = field(default_factory=dict)
    passes: int = 0
    computed: int = 0

    def needs(self) -> FeatureRequest | None:
        """The union of what runs need that have not failed; None if there are none left."""
        alive = [own_needs(scores.run) for scores in self.runs.values() if scores.failure is None]
        return reduce(or_, alive) if alive else None


class CachedText:
    """The backbone's text side, which embeds equal lists of prompts once."""

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone
        self._known: dict[tuple[str, ...], Tensor] = {}

    @property
    def info(self) -> BackboneInfo:
        """The backbone it belongs to."""
        return self._backbone.info

    def encode_text(self, prompts: Sequence[str]) -> Tensor:
        """Embed prompts: [n, e] float32; always a copy, so that no method can change another's."""
        key = tuple(prompts)
        if key not in self._known:
            self._known[key] = self._backbone.encode_text(prompts)
        return self._known[key].clone()

    def encode_learned_prompts(self, prompts: Sequence[str], context: Tensor, deep: Sequence[Tensor] = ()) -> Tensor:
        """Embed prompts behind learned context vectors; never cached."""
        return self._backbone.encode_learned_prompts(prompts, context, deep)


def score_category(
    category: str,
    samples: Sequence[Sample],
    runs: Sequence[PlannedRun],
    loader: ImageLoader,
    batch_size: int,
    on_images: Callable[[int], None] = lambda count: None,
    cache: FeatureCache | None = None,
) -> CategoryScores:
    """Pass all images of a category through the backbone once and score them with all runs.

    Args:
        category: The category.
        samples: Its test images.
        runs: Runs that share a backbone.
        loader: Reads images.
        batch_size: Images per pass.
        on_images: Told how many images are done after each batch.
        cache: Where features are looked for and kept; images then pass the tower one by one.

    Returns:
        The scores; a run whose method fails carries the failure, and the others are not affected.

    Raises:
        VlmadError: If no image can be read.
        RuntimeError: If the backbone fails.
    """
    backbone, watch = runs[0].backbone, loader.stopwatch
    result = CategoryScores(runs={run.record.id: RunScores(run) for run in runs})
    union = result.needs()
    assert union is not None
    if cache is not None:
        loader = dataclasses.replace(loader, **_lookup(cache, backbone, union))
    scorers = result.scorers = _prepare(category, result, backbone, loader, cache)
    whole: dict[str, list[Features]] = {key: [] for key in scorers if result.runs[key].run.transductive}
    for batch, met in batches(ahead(samples, loader, depth=2 * batch_size), batch_size):
        needs = result.needs()
        if needs is None:
            return result
        result.images += [dataclasses.replace(image, pixels=None, features=None) for image in met]
        if batch:
            if cache is None:
                features, seconds = _extract(backbone, batch, needs, watch)
            else:
                features, seconds = _extract_cached(backbone, batch, union, watch, cache)
            fresh = sum(image.pixels is not None for image in batch)
            result.passes += fresh
            result.computed += fresh
            result.scored += [image.sample.id for image in batch]
            for key, scorer in scorers.items():
                scores = result.runs[key]
                _note_shared_time(scores, batch, seconds / max(1, fresh))
                if key in whole:
                    whole[key].append(features.only(own_needs(scores.run)))
                else:
                    _score(scores, scorer, features, result.scored[-len(batch) :], watch)
        on_images(len(met))
    if not result.scored and result.needs() is not None:
        first = next((image.error for image in result.images if image.error), "there are none")
        raise DatasetError(f"None of the {len(samples)} images of {category} can be read: {first}")
    for key, parts in whole.items():
        _score(result.runs[key], scorers[key], concatenate_features(parts), result.scored, watch)
    return result


def own_needs(run: PlannedRun) -> FeatureRequest:
    """The features a run's scorer reads."""
    return run.method.needs(run.backbone.info, run.record.key.shots)


def _lookup(cache: FeatureCache, backbone: Backbone, request: FeatureRequest) -> dict[str, Any]:
    """What makes a loader look for known features before it decodes an image."""
    info = backbone.info
    return {"lookup": lambda content: cache.read(info, content, request), "wanted": request.names()}


def _prepare(
    category: str, result: CategoryScores, backbone: Backbone, loader: ImageLoader, cache: FeatureCache | None
) -> dict[str, Scorer]:
    """Scorers by run id; a run whose scorer can't be made carries the failure."""
    text = CachedText(backbone)
    references = result.references = _references(category, result, backbone, loader, cache)
    scorers: dict[str, Scorer] = {}
    for key, scores in result.runs.items():
        if scores.failure is not None:
            continue
        method = scores.run.method
        with loader.stopwatch.measure("text"):
            try:
                noun = category_noun(category, method.settings.name_table)
                known, calibration = parted(references.get(key), scores.run.record.key.shots)
                scorers[key] = method.prepare(noun, text, known, scores.run.parameters, calibration)
            except Exception as error:  # whatever a method does, the others go on
                scores.failure = Failure.of(error)
    return scorers


def parted(drawn: Features | None, shots: int) -> tuple[Features | None, Features | None]:
    """What was drawn as references and, behind them, images for calibration; None where there are none."""
    if drawn is None or len(drawn) == shots:
        return drawn, None
    return drawn.select(slice(shots)), drawn.select(slice(shots, None))


def _references(
    category: str, result: CategoryScores, backbone: Backbone, loader: ImageLoader, cache: FeatureCache | None
) -> dict[str, Features]:
    """Features of each few-shot run's references; every reference passes the tower once for all runs."""
    drawn: dict[str, tuple[Sample, ...]] = {}
    for key, scores in result.runs.items():
        run = scores.run.record.key
        if run.shots:
            candidates = scores.run.dataset.select(category, "train")
            further = scores.run.method.calibration_images(run.shots)
            try:
                drawn[key] = draw_references(candidates, run.shots + further, run.seed)
            except VlmadError as error:
                note = f" ({further} of them are for calibration.)" if further else ""
                scores.failure = Failure(f"{error}{note}")
    if not drawn:
        return {}
    union = reduce(or_, (own_needs(result.runs[key].run) for key in drawn))
    found = {} if cache is None else _lookup(cache, backbone, union)
    plain = dataclasses.replace(loader, sizes=(), thumbnails=False, **found)
    unique = {sample.id: sample for samples in drawn.values() for sample in samples}
    features: dict[str, Features] = {}
    broken: dict[str, str] = {}
    for image in ahead([unique[key] for key in sorted(unique)], plain, depth=4):
        if not image.usable:
            broken[image.sample.id] = str(image.error)
            continue
        with loader.stopwatch.measure("references"):
            if cache is not None:
                features[image.sample.id] = _known_or_encoded(backbone, image, union, cache)
            elif image.pixels is not None:
                features[image.sample.id] = backbone.encode_images(image.pixels[None], union)
        result.passes += image.pixels is not None
    chosen: dict[str, Features] = {}
    for key, samples in drawn.items():
        bad = [sample.id for sample in samples if sample.id in broken]
        if bad:
            result.runs[key].failure = Failure(f"The reference image {bad[0]} can't be read: {broken[bad[0]]}")
            continue
        own = own_needs(result.runs[key].run)
        chosen[key] = concatenate_features(features[sample.id].only(own) for sample in samples)
    return chosen


def _extract(
    backbone: Backbone, batch: Sequence[LoadedImage], needs: FeatureRequest, watch: Stopwatch
) -> tuple[Features, float]:
    """Features of a batch, and the seconds they took."""
    start = time.perf_counter()
    pixels = torch.stack([image.pixels for image in batch if image.pixels is not None])
    features = timed_encode(backbone, pixels, needs, watch)
    return features, time.perf_counter() - start


def _extract_cached(
    backbone: Backbone, batch: Sequence[LoadedImage], needs: FeatureRequest, watch: Stopwatch, cache: FeatureCache
) -> tuple[Features, float]:
    """Features of a batch as the cache keeps them, and the seconds that images not known before took."""
    start = time.perf_counter()
    parts = [_known_or_encoded(TimedBackbone(backbone, watch), image, needs, cache) for image in batch]
    fresh = any(image.pixels is not None for image in batch)
    return concatenate_features(parts), time.perf_counter() - start if fresh else 0.0


def _known_or_encoded(backbone: Encoder, image: LoadedImage, needs: FeatureRequest, cache: FeatureCache) -> Features:
    if image.features is not None:
        return image.features
    assert image.pixels is not None
    assert image.size is not None
    return cache.encode(backbone, image.image_hash, image.pixels, image.size, needs)


def _note_shared_time(scores: RunScores, batch: Iterable[LoadedImage], vision: float) -> None:
    """The time from file to features; none for images whose features were known, since nothing was computed."""
    for image in batch:
        if image.pixels is not None:
            scores.latency_ms[image.sample.id] = 1000 * (image.seconds + vision)


def _score(scores: RunScores, scorer: Scorer, features: Features, ids: Sequence[str], watch: Stopwatch) -> None:
    """Score images with one run; a failure stays with the run."""
    if scores.failure is not None:
        return
    try:
        start = time.perf_counter()
        predictions = scorer.score_set(features) if scores.run.transductive else scorer.score(features)
        seconds = time.perf_counter() - start
        _check(predictions, len(ids), scores.run)
        watch.add("scoring", seconds)
        scores.scoring_seconds += seconds
        if scores.run.keeps_details:
            with watch.measure("explain"):
                scores.reasons.update(zip(ids, scorer.explain(features), strict=True))
    except Exception as error:  # whatever a method does, the others go on
        scores.failure = Failure.of(error)
        return
    scores.scores.update(zip(ids, predictions.image_score.tolist(), strict=True))
    for image_id in ids:
        if image_id in scores.latency_ms:
            scores.latency_ms[image_id] += 1000 * seconds / len(ids)
    if predictions.grids is not None:
        scores.grids.append(predictions.grids.numpy().astype(np.float32, copy=True))
        scores.rule = predictions.map_rule


def _check(predictions: Predictions, count: int, run: PlannedRun) -> None:
    grids = predictions.grids
    if predictions.image_score.shape != (count,) or (grids is not None and len(grids) != count):
        raise RuntimeError(f"{run.method.id} gave {tuple(predictions.image_score.shape)} scores for {count} images.")
