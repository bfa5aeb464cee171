"""Several methods on single images: one pass of the backbone for all of them, results as soon as they are there."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_

import numpy as np
from numpy.typing import NDArray

from vlmad_core.backbones import FeatureRequest, Features, concatenate_features
from vlmad_core.errors import VlmadError
from vlmad_core.figures.scale import Map
from vlmad_core.live.engine import Engine, FeatureCache
from vlmad_core.live.inputs import Picture
from vlmad_core.live.members import Member
from vlmad_core.live.prediction import MAP_SIZE, NORMAL_MAP_SIZE, LivePrediction, Nearest, Normals
from vlmad_core.live.words import category_words
from vlmad_core.methods import Predictions, Scorer, anomaly_maps


@dataclass(frozen=True)
class _Ready:
    """A member's scorer, its opinion of the references, and what making both took, in seconds by stage."""

    scorer: Scorer
    normals: Normals
    seconds: Mapping[str, float]


class Panel:
    """Methods made ready for one category; belongs to one visitor.

    Args:
        engine: The engine, shared with others.
        category: The part in words; see ``category_words``.
        members: As ``choose_members`` gives them.
        references: Images of normal parts.
        features: The visitor's feature cache; a new one by default.

    Raises:
        DatasetError: If the words can't be used.
    """

    def __init__(
        self,
        engine: Engine,
        category: str,
        members: Sequence[Member],
        references: Sequence[Picture] = (),
        features: FeatureCache | None = None,
    ) -> None:
        self.engine = engine
        self.category = category_words(category)
        self.members = tuple(members)
        self.references = tuple(references)
        self._cache = features or FeatureCache()
        self._known: dict[FeatureRequest, Features] = {}
        self._reference_seconds: dict[FeatureRequest, float] = {}
        self._ready: dict[str, _Ready] = {}

    def judge(self, picture: Picture, skip: Collection[str] = ()) -> Iterator[LivePrediction]:
        """Judge an image; each method's result is yielded as soon as it is there, the quick ones first.

        Methods that read no windows come before those that do: running the tower over all windows takes several
        times as long as one pass over the image. A method that fails yields its error, and the others go on.

        Args:
            picture: The image.
            skip: Ids of methods whose results are known already.
        """
        members = [member for member in self.members if member.method_id not in skip]
        able = [member for member in members if member.error is None]
        for member in members:
            if member.error is not None:
                yield _failed(member, member.error)
        needs = {member.method_id: self._needs(member) for member in able}
        quick = [member for member in able if needs[member.method_id] == needs[member.method_id].soon()]
        slow = [member for member in able if member not in quick]
        full = reduce(or_, needs.values(), FeatureRequest())
        if quick:
            yield from self._together(quick, full.soon(), picture)
        if slow:
            yield from self._together(slow, full, picture)

    def _together(
        self, members: Sequence[Member], request: FeatureRequest, picture: Picture
    ) -> Iterator[LivePrediction]:
        """Methods that share a pass; if what they ask for can't be had together, each is tried by itself."""
        try:
            features, seconds = self._cache.get(self.engine, picture, request)
        except VlmadError as error:
            if len(members) == 1:
                yield _failed(members[0], str(error))
            else:
                for member in members:
                    yield from self._together([member], self._needs(member), picture)
            return
        for member in members:
            yield self._judge(member, request, features, seconds)

    def _needs(self, member: Member) -> FeatureRequest:
        assert member.method is not None
        return member.method.needs(self.engine.info, member.shots)

    def _judge(
        self, member: Member, request: FeatureRequest, features: Features, seconds: Mapping[str, float]
    ) -> LivePrediction:
        try:
            return self._prediction(member, request, features, seconds)
        except VlmadError as error:
            reason = str(error)
        except Exception as error:  # a method of someone else's may fail in any way; the others go on
            reason = f"{member.title} failed: {type(error).__name__}: {error}"
        return _failed(member, reason)

    def _prediction(
        self, member: Member, request: FeatureRequest, features: Features, shared: Mapping[str, float]
    ) -> LivePrediction:
        ready = self._prepared(member, request)
        spent = dict(shared)
        if request in self._reference_seconds:
            spent["references"] = self._reference_seconds[request]
        with self.engine.turns.take():
            begun = time.perf_counter()
            predictions = ready.scorer.score(features)
            scored = time.perf_counter()
            anomaly_map = _map(predictions, MAP_SIZE)
            enlarged = time.perf_counter()
            reasons = ready.scorer.explain(features)[0]
            near = ready.scorer.nearest_patches(features)
        nearest = None
        if near is not None:
            nearest = Nearest(features.grid, near[0][0].float().numpy(), near[1][0].numpy())
        return LivePrediction(
            method_id=member.method_id,
            title=member.title,
            shots=member.shots,
            image_score=float(predictions.image_score[0]),
            anomaly_map=None if anomaly_map is None else anomaly_map[0],
            seconds={**spent, **ready.seconds, "scoring": scored - begun, "map": enlarged - scored},
            reasons=reasons,
            nearest=nearest,
            normals=ready.normals,
            trained_on=member.trained_on,
        )

    def _prepared(self, member: Member, request: FeatureRequest) -> _Ready:
        """The member's scorer and its opinion of the references; made once for all images."""
        if member.method_id not in self._ready:
            known = self._reference_features(request)
            with self.engine.turns.take():
                start = time.perf_counter()
                scorer = self._scorer(member, known if member.shots else None)
                seconds = {"text and memory": time.perf_counter() - start}
            start = time.perf_counter()
            normals = self._normals(member, scorer, known)
            if known is not None:
                seconds["threshold"] = time.perf_counter() - start
            self._ready[member.method_id] = _Ready(scorer, normals, seconds)
        return self._ready[member.method_id]

    def _scorer(self, member: Member, references: Features | None) -> Scorer:
        assert member.method is not None
        return member.method.prepare(self.category, self.engine.text, references, member.parameters)

    def _reference_features(self, request: FeatureRequest) -> Features | None:
        """Features of all references; each passes the tower by itself, so that nobody waits for all of them."""
        if self.references and request not in self._known:
            start = time.perf_counter()
            parts = [self._cache.get(self.engine, one, request)[0] for one in self.references]
            self._known[request] = concatenate_features(parts)
            self._reference_seconds[request] = time.perf_counter() - start
        return self._known.get(request)

    def _normals(self, member: Member, scorer: Scorer, known: Features | None) -> Normals:
        """Judge each reference as if it were not one: a memory that held it would find it far too familiar."""
        if known is None:
            return Normals(reason="There are no normal references.")
        count = len(self.references)
        if member.shots and count < 2:
            return Normals(reason="A single reference can't be judged by a memory of itself; give at least two.")
        scores: list[float] = []
        maps: list[Map] = []
        for number in range(count):
            with self.engine.turns.take():
                judge = scorer
                if member.shots:
                    judge = self._scorer(member, known.select([i for i in range(count) if i != number]))
                predictions = judge.score(known.select(slice(number, number + 1)))
                own = _map(predictions, NORMAL_MAP_SIZE)
            scores.append(float(predictions.image_score[0]))
            maps += [] if own is None else [own[0]]
        return Normals(tuple(scores), tuple(maps))


def _failed(member: Member, reason: str) -> LivePrediction:
    return LivePrediction(member.method_id, member.title, member.shots, error=reason)


def _map(predictions: Predictions, side: int) -> NDArray[np.float32] | None:
    if predictions.grids is None or predictions.map_rule is None:
        return None
    return anomaly_maps(predictions.grids, predictions.map_rule, (side, side)).numpy()
