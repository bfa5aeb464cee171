"""What all runs of a category that share a backbone say of its images, from one pass; see ``session``."""

from __future__ import annotations

import dataclasses
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import or_

import numpy as np

from vlmad_core.backbones import FeatureRequest, Features, concatenate_features
from vlmad_core.backbones.settling import out_of_memory
from vlmad_core.backbones.tower import ImageInput
from vlmad_core.datasets import Sample
from vlmad_core.datasets.catalogue import category_noun
from vlmad_core.datasets.splits import draw_references
from vlmad_core.engine.plan import PlannedRun
from vlmad_core.engine.profiling import Stopwatch
from vlmad_core.engine.reading import ImageLoader, LoadedImage, ahead, batches, readers
from vlmad_core.engine.session import Entrant, Scored, Session
from vlmad_core.engine.tiles import join_reasons, join_tiles
from vlmad_core.errors import DatasetError, VlmadError
from vlmad_core.methods import MapRule, Reason

TRACEBACK_LINES = 30

MEMORY_FIX = (
    "End other programs that use it and start again. The batch size of a started run stays as it is, so that its units "
    "come from like batches: for a smaller one begin in another store, with --batch-size or --window-tokens."
)
"""What to do about memory that ran out while a plan is done; a plan that is begun has settled what fits."""

OWN_STAGES = ("scoring", "explain")
"""Stages of a session that each run spends for itself."""


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
        if out_of_memory(error):
            return cls(f"Memory ran out ({_first_line(error)}). {MEMORY_FIX}", "\n".join(lines))
        return cls(f"{type(error).__name__}: {error}", "\n".join(lines))


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__).rstrip(".")


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
        seconds: Time of its own ``scoring`` and ``explain``.
    """

    run: PlannedRun
    scores: dict[str, float] = field(default_factory=dict)
    latency_ms: dict[str, float] = field(default_factory=dict)
    grids: list[np.ndarray] = field(default_factory=list)
    rule: MapRule | None = None
    reasons: dict[str, tuple[Reason, ...]] = field(default_factory=dict)
    failure: Failure | None = None
    seconds: dict[str, float] = field(default_factory=lambda: {"scoring": 0.0, "explain": 0.0})

    def all_grids(self) -> np.ndarray | None:
        """[N, S, rows, columns] in the order of ``scores``, or None."""
        return np.concatenate(self.grids) if self.grids else None


@dataclass
class CategoryScores:
    """All runs' scores of one category.

    Attributes:
        images: Every image; its pixels are gone once it has passed.
        scored: Ids of those that went through the model, in order.
        runs: By run id.
        references: Features of what was drawn as references and, behind them, for calibration, by run id; zero-shot
            runs have none.
        references_passed: References that went through the vision tower; the others' features were known.
        shared_seconds: Time by stage of what was computed once for all runs.
        elapsed: Time in all.
    """

    images: list[LoadedImage] = field(default_factory=list)
    scored: list[str] = field(default_factory=list)
    runs: dict[str, RunScores] = field(default_factory=dict)
    references: dict[str, Features] = field(default_factory=dict)
    references_passed: int = 0
    shared_seconds: dict[str, float] = field(default_factory=dict)
    elapsed: float = 0.0

    @property
    def computed(self) -> int:
        """Test images that went through the vision tower; the others' features were known."""
        return sum(any(one.was_read for one in image.inputs) for image in self.images)


def score_category(
    category: str,
    samples: Sequence[Sample],
    runs: Sequence[PlannedRun],
    loader: ImageLoader,
    batch_size: int,
    on_images: Callable[[int], None] = lambda count: None,
    on_set: Callable[[PlannedRun, float], None] = lambda run, share: None,
) -> CategoryScores:
    """Pass all images of a category through the backbone once and score them with all runs.

    Args:
        category: The category.
        samples: Its test images.
        runs: Runs that share a backbone.
        loader: Reads images for that backbone, or for one around it that remembers.
        batch_size: Images per pass.
        on_images: Told how many images are done after each batch.
        on_set: Told what share of a whole set a transductive run has judged.

    Returns:
        The scores; a run whose method fails carries the failure, and the others are not affected.

    Raises:
        VlmadError: If no image can be read.
        RuntimeError: If the backbone fails.
    """
    began, watch = time.perf_counter(), Stopwatch()
    result = CategoryScores(runs={run.record.id: RunScores(run) for run in runs})
    assert loader.backbone is not None
    session = Session(
        loader.backbone,
        watch=watch,
        told=lambda entrant, share: on_set(result.runs[entrant.id].run, share),
        similarities=runs[0].record.plan.get("similarities", "float32"),
    )
    _draw_references(category, result, session, loader)
    entrants = _entrants(category, result)

    def passing() -> Iterator[list[ImageInput]]:
        """The images in batches; what is asked of them is settled when everybody is ready."""
        alive = [scores.run for scores in result.runs.values() if scores.failure is None]
        wanted = reduce(or_, map(own_needs, alive))
        photos = max(1, batch_size // loader.view.count)
        read = ahead(samples, dataclasses.replace(loader, request=wanted), 2 * photos, readers(session.device))
        for batch, met in batches(read, photos):
            result.images += met
            if batch:
                result.scored += [image.sample.id for image in batch]
                yield [tile for image in batch for tile in image.inputs]
            on_images(len(met))

    for scored in session.score(passing(), entrants, lambda entrant, _: result.references.get(entrant.id)):
        _note(result.runs[scored.entrant.id], scored, result.scored, loader)
    if not result.scored and any(scores.failure is None for scores in result.runs.values()):
        first = next((image.error for image in result.images if image.error), "there are none")
        raise DatasetError(f"None of the {len(samples)} images of {category} can be read: {first}")
    for stage, seconds in watch.seconds().items():
        loader.stopwatch.add(stage, seconds)
        if stage not in OWN_STAGES:
            result.shared_seconds[stage] = seconds
    result.elapsed = time.perf_counter() - began
    return result


def own_needs(run: PlannedRun) -> FeatureRequest:
    """The features a run's scorer reads."""
    return run.method.needs(run.backbone.info, run.record.key.shots)


def _entrants(category: str, result: CategoryScores) -> list[Entrant]:
    """The runs as they take part; those that failed before do not."""
    return [
        Entrant(
            id=key,
            method=scores.run.method,
            category=category_noun(category, scores.run.method.settings.name_table),
            shots=scores.run.record.key.shots,
            parameters=scores.run.parameters,
            explains=scores.run.keeps_details,
            tiles=scores.run.view.count,
        )
        for key, scores in result.runs.items()
        if scores.failure is None
    ]


def _note(scores: RunScores, scored: Scored, ids: Sequence[str], loader: ImageLoader) -> None:
    """Add what a run says of some images, the last ones that were passed, or why it stopped."""
    if scored.error is not None or scored.predictions is None:
        scores.failure = Failure.of(scored.error or RuntimeError("there are no predictions"))
        return
    view, tiles = loader.view, loader.view.count
    predictions, count = join_tiles(view, scored.predictions), len(scored.batch) // tiles
    ids = ids[-count:]
    scores.scores.update(zip(ids, predictions.image_score.tolist(), strict=True))
    if scored.reasons:
        assert loader.backbone is not None
        reasons = join_reasons(view, scored.reasons, scored.predictions.image_score, loader.backbone.info.grid)
        scores.reasons.update(zip(ids, reasons, strict=True))
    for stage in OWN_STAGES:
        scores.seconds[stage] += scored.seconds[stage]
    for number, image_id in enumerate(ids):
        parts = scored.batch[number * tiles : (number + 1) * tiles]
        if any(part.was_read for part in parts):  # nothing was computed for images whose features were known
            seconds = sum(part.seconds + part.pass_seconds for part in parts) + scored.seconds["scoring"] / count
            scores.latency_ms[image_id] = 1000 * seconds
    if predictions.grids is not None:
        scores.grids.append(predictions.grids.numpy().astype(np.float32, copy=True))
        scores.rule = predictions.map_rule


def _draw_references(category: str, result: CategoryScores, session: Session, loader: ImageLoader) -> None:
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
        return
    union = reduce(or_, (own_needs(result.runs[key].run) for key in drawn))
    plain = dataclasses.replace(loader, sizes=(), thumbnails=False, request=union)
    unique = {sample.id: sample for samples in drawn.values() for sample in samples}
    features: dict[str, Features] = {}
    broken: dict[str, str] = {}
    threads = readers(session.device)
    for image in ahead([unique[key] for key in sorted(unique)], plain, 2 * threads, threads):
        if not image.inputs:
            broken[image.sample.id] = str(image.error)
            continue
        features[image.sample.id] = concatenate_features(session.encode(image.inputs, union))
        result.references_passed += any(tile.was_read for tile in image.inputs)
    for key, samples in drawn.items():
        bad = [sample.id for sample in samples if sample.id in broken]
        if bad:
            result.runs[key].failure = Failure(f"The reference image {bad[0]} can't be read: {broken[bad[0]]}")
            continue
        own = own_needs(result.runs[key].run)
        result.references[key] = concatenate_features(features[sample.id].only(own) for sample in samples)
