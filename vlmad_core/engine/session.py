"""From images to predictions: one pass of a backbone for all methods that take part, and their scores at once.

The only way there is: a benchmark adds commits to it, the live demo adds turns, the prompt lab adds memory. Features
stay on the backbone's device and live for one batch, unless a method judges all images together; of what methods make
of them there, only scores, native grids and what explanations read come back to the CPU.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial, reduce
from operator import or_
from typing import TYPE_CHECKING

from vlmad_core.backbones import BackboneInfo, FeatureRequest, Features, concatenate_features
from vlmad_core.backbones.devices import Similarities, similarities_in, to_device
from vlmad_core.backbones.tower import Backbone, ImageInput
from vlmad_core.engine.profiling import Stopwatch
from vlmad_core.errors import VlmadError
from vlmad_core.methods import Method, Predictions, Reason, Scorer
from vlmad_core.methods.base import Progress, no_progress

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Entrant:
    """A method that takes part in a session, with what it is given; equal to itself only.

    Attributes:
        id: Tells it from the others.
        method: The method with its settings.
        category: The part in words, as prompts are to name it.
        shots: Number of references.
        parameters: Trained tensors, for methods that train.
        explains: Whether reasons are wanted.
        tiles: Into how many images each reference is cut.
    """

    id: str
    method: Method
    category: str
    shots: int = 0
    parameters: Mapping[str, Tensor] | None = None
    explains: bool = False
    tiles: int = 1

    def needs(self, info: BackboneInfo) -> FeatureRequest:
        """The features its scorer reads."""
        return self.method.needs(info, self.shots)

    @property
    def transductive(self) -> bool:
        """Whether it must be given all images at once."""
        return self.method.is_transductive(self.shots)

    def prepare(self, backbone: Backbone, drawn: Features | None) -> Scorer:
        """Make the method ready.

        Args:
            backbone: Embeds the prompts.
            drawn: Features of its references and, behind them, of images for calibration; None for zero-shot.

        Raises:
            MethodError: If references or parameters are missing or don't fit.
        """
        calibration = None
        count = self.shots * self.tiles
        if drawn is not None and len(drawn) > count:
            drawn, calibration = drawn.select(slice(count)), drawn.select(slice(count, None))
        parameters = self.parameters
        if parameters is not None:
            # Single and whole numbers say how weights are to be used: they are read, not computed with.
            parameters = {
                name: to_device(tensor, backbone.device) if tensor.ndim and tensor.is_floating_point() else tensor
                for name, tensor in parameters.items()
            }
        return self.method.prepare(self.category, backbone, drawn, parameters, calibration)


References = Callable[[Entrant, FeatureRequest], Features | None]
"""Gives the features of what an entrant is given as references, when it is made ready; at least those requested."""


def no_references(entrant: Entrant, request: FeatureRequest) -> None:
    """Nobody has references."""


@dataclass(frozen=True)
class Scored:
    """What one entrant says of some images.

    Attributes:
        entrant: The entrant.
        batch: The images; empty if it failed before the first.
        error: Why there are no predictions, or None.
        predictions: On the CPU; None with an error.
        reasons: For each image why, if the entrant explains.
        scorer: The method made ready; None with an error.
        features: What it was given, on the backbone's device; None with an error.
        seconds: Time by stage: ``preparing`` (once for all images), ``scoring``, ``explain``.
        shared: Time by stage that was spent for all entrants at once: ``preprocess``, and those of the pass.
    """

    entrant: Entrant
    batch: Sequence[ImageInput] = ()
    error: Exception | None = None
    predictions: Predictions | None = None
    reasons: tuple[tuple[Reason, ...], ...] = ()
    scorer: Scorer | None = None
    features: Features | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    shared: Mapping[str, float] = field(default_factory=dict)


class Session:
    """A backbone and the methods made ready on it."""

    def __init__(
        self,
        backbone: Backbone,
        *,
        turn: Callable[[], AbstractContextManager[object]] = nullcontext,
        watch: Stopwatch | None = None,
        told: Callable[[Entrant, float], None] = lambda entrant, share: None,
        similarities: Similarities = "float32",
    ) -> None:
        """Begin; nothing is computed yet.

        Args:
            backbone: The backbone, caching or not.
            turn: Entered for one pass or one method at a time and never longer, where several sessions share a
                machine.
            watch: Where the time of passes, references, text and scoring is noted.
            told: Told what share of a whole set a transductive entrant has judged.
            similarities: In what methods may multiply patches.
        """
        self.backbone = backbone
        self._turn, self._told, self._similarities = turn, told, similarities
        self._watch = watch or Stopwatch()
        self._ready: dict[Entrant, tuple[Scorer, float]] = {}

    @property
    def device(self) -> torch.device:
        """Where everything is computed."""
        return self.backbone.device

    def encode(self, images: Iterable[ImageInput], request: FeatureRequest) -> Iterator[Features]:
        """Features of images that are not to be judged, such as references: N = 1 each.

        They pass one by one, so that nobody waits for all of them, and what is known of one does not depend on which
        others there are.
        """
        for image in images:
            with self._turn(), self._watch.measure("references"):
                features = self.backbone.encode_images([image], request)
            image.release()
            yield features

    def score(
        self,
        images: Iterable[Sequence[ImageInput]],
        methods: Sequence[Entrant],
        references: References = no_references,
        *,
        soon: bool = False,
    ) -> Iterator[Scored]:
        """Judge images; each entrant's result is given as soon as it is there.

        An entrant that fails gives its error once, and the others go on. Transductive ones come last, with all images.

        Args:
            images: Batches; the next one is asked for when the one before is judged by everybody.
            methods: Who judges.
            references: Where features of references come from.
            soon: Whether results count that are there early: nothing is made ready before it is needed, and what
                reads no expensive feature comes first. Else everybody is made ready before the first image.

        Raises:
            Exception: What the backbone raises besides a ``VlmadError``.
        """
        alive = list(methods)
        if not soon:
            union = self._union(alive)
            for entrant in methods:
                try:
                    self._prepared(entrant, union, references)
                except Exception as error:  # whatever a method does, the others go on
                    alive.remove(entrant)
                    yield Scored(entrant, error=error)
        whole: dict[Entrant, list[Features]] = {entrant: [] for entrant in methods if entrant.transductive}
        met: list[ImageInput] = []
        if not alive:
            return
        for batch in images:
            for group, request in self._groups(alive, soon):
                for scored in self._judge(group, request, batch, references, whole):
                    if scored.error is not None:
                        alive.remove(scored.entrant)
                    yield scored
            met += batch
            for image in batch:
                image.release()
            if not alive:
                return
        for entrant in [entrant for entrant in whole if entrant in alive and whole[entrant]]:
            yield self._scored(entrant, concatenate_features(whole.pop(entrant)), met, {}, references)

    def _union(self, entrants: Iterable[Entrant]) -> FeatureRequest:
        return reduce(or_, (entrant.needs(self.backbone.info) for entrant in entrants), FeatureRequest())

    def _groups(self, alive: Sequence[Entrant], soon: bool) -> list[tuple[list[Entrant], FeatureRequest]]:
        """Who shares a pass, with what it must give."""
        union = self._union(alive)
        if not soon:
            return [(list(alive), union)]
        needs = {entrant: entrant.needs(self.backbone.info) for entrant in alive}
        quick = [entrant for entrant in alive if needs[entrant] == needs[entrant].soon()]
        slow = [entrant for entrant in alive if entrant not in quick]
        return [(group, request) for group, request in ((quick, union.soon()), (slow, union)) if group]

    def _judge(
        self,
        group: Sequence[Entrant],
        request: FeatureRequest,
        batch: Sequence[ImageInput],
        references: References,
        whole: Mapping[Entrant, list[Features]],
    ) -> Iterator[Scored]:
        """Entrants that share a pass; if what they ask for can't be had together, each is tried by itself."""
        try:
            features, shared = self._pass(batch, request)
        except VlmadError as error:
            if len(group) == 1:
                yield Scored(group[0], batch, error)
                return
            for entrant in group:
                yield from self._judge([entrant], entrant.needs(self.backbone.info), batch, references, whole)
            return
        for entrant in group:
            if entrant.transductive:
                whole[entrant].append(features.only(entrant.needs(self.backbone.info)))
            else:
                yield self._scored(entrant, features, batch, shared, references, request)

    def _pass(self, batch: Sequence[ImageInput], request: FeatureRequest) -> tuple[Features, dict[str, float]]:
        """Features of a batch, and the seconds they took by stage; none for what was known."""
        spent: dict[str, float] = {}

        def clock(stage: str, seconds: float) -> None:
            spent[stage] = spent.get(stage, 0.0) + seconds
            self._watch.add(stage, seconds)

        before = sum(image.seconds for image in batch)
        with self._turn():
            start = time.perf_counter()
            features = self.backbone.encode_images(batch, request, clock)
            elapsed = time.perf_counter() - start
        preprocess = sum(image.seconds for image in batch) - before
        read = [image for image in batch if image.was_read]
        for image in read:
            image.pass_seconds += (elapsed - preprocess) / len(read)
        return features, {"preprocess": preprocess, **spent} if preprocess else spent

    def _prepared(self, entrant: Entrant, request: FeatureRequest, references: References) -> tuple[Scorer, float]:
        """The method made ready, once for all images, and the seconds that took, references not counted."""
        if entrant not in self._ready:
            drawn = references(entrant, request)
            with self._turn(), self._watch.measure("text"), similarities_in(self._similarities):
                start = time.perf_counter()
                scorer = entrant.prepare(self.backbone, drawn)
                self._ready[entrant] = scorer, time.perf_counter() - start
        return self._ready[entrant]

    def _scored(
        self,
        entrant: Entrant,
        features: Features,
        batch: Sequence[ImageInput],
        shared: Mapping[str, float],
        references: References,
        request: FeatureRequest | None = None,
    ) -> Scored:
        """One method's word on a batch; whatever it does wrong is its own affair."""
        try:
            scorer, preparing = self._prepared(entrant, request or entrant.needs(self.backbone.info), references)
            with self._turn(), similarities_in(self._similarities):
                start = time.perf_counter()
                told = partial(self._told, entrant)
                predictions = judge(scorer, features, together=entrant.transductive, progress=told)
                scored = time.perf_counter()
                reasons: tuple[tuple[Reason, ...], ...] = ()
                if entrant.explains:
                    reasons = scorer.explain(features, predictions)
                explained = time.perf_counter()
        except Exception as error:  # a method of someone else's may fail in any way
            return Scored(entrant, batch, error)
        spent = {"preparing": preparing, "scoring": scored - start, "explain": explained - scored}
        for stage in ("scoring", "explain"):
            self._watch.add(stage, spent[stage])
        return Scored(entrant, batch, None, predictions, reasons, scorer, features, spent, shared)


def judge(
    scorer: Scorer, features: Features, *, together: bool = False, progress: Progress = no_progress
) -> Predictions:
    """What a method that was made ready says of N images.

    Args:
        scorer: The method.
        features: Of the images, at least what it reads.
        together: Whether they are all the images of a set, which a transductive method judges at once.
        progress: Told what share of a set is judged.

    Returns:
        Predictions on the CPU.

    Raises:
        RuntimeError: If there are not N of them.
    """
    return _checked(scorer, scorer.score_set(features, progress) if together else scorer.score(features), len(features))


def judge_left_out(scorer: Scorer, references: Features) -> Predictions | None:
    """What a method says of its own references, each as if it were not one; see ``Scorer.score_left_out``.

    Args:
        scorer: The method, made ready with them.
        references: All of them.

    Returns:
        Predictions on the CPU, or None.

    Raises:
        RuntimeError: If there is not one for each.
    """
    found = scorer.score_left_out(references)
    return None if found is None else _checked(scorer, found, len(references))


def _checked(scorer: Scorer, predictions: Predictions, count: int) -> Predictions:
    """Predictions on the CPU, as many as there are images."""
    predictions = predictions.on_cpu()
    grids = predictions.grids
    if predictions.image_score.shape != (count,) or (grids is not None and len(grids) != count):
        raise RuntimeError(
            f"{type(scorer).__name__} gave {tuple(predictions.image_score.shape)} scores for {count} images."
        )
    return predictions
