"""Several methods on single images: one pass of the backbone for all of them, results as soon as they are there.

One loaded backbone serves everybody: visitors take turns, image by image, and share what does not depend on them.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vlmad_core.backbones import BackboneInfo, FeatureRequest, Features, concatenate_features
from vlmad_core.backbones.feature_cache import CachingBackbone, FeatureMemory
from vlmad_core.backbones.features import passing_stages
from vlmad_core.backbones.tower import ImageInput
from vlmad_core.datasets.catalogue import category_words
from vlmad_core.engine.session import Entrant, Scored, Session, judge, judge_left_out
from vlmad_core.errors import VlmadError
from vlmad_core.figures.scale import Map
from vlmad_core.inference.engine import Engine
from vlmad_core.live.inputs import Picture
from vlmad_core.live.members import Member
from vlmad_core.methods import Predictions, Reason, Scorer, full_maps

if TYPE_CHECKING:
    from torch import Tensor

MAP_SIZE = 256
NORMAL_MAP_SIZE = 64
"""Side of the references' own maps, which only say how high normal pixels score."""


def shared_stages() -> tuple[str, ...]:
    """Stages that are spent once for all methods."""
    return ("preprocess", *passing_stages(), "references")


@dataclass(frozen=True)
class Normals:
    """What a method says of the normal references, each judged as if it were not among them.

    Attributes:
        scores: Image scores, one for each reference.
        maps: Their anomaly maps [64, 64] float32; empty without maps.
        reason: Why there are no scores; empty where there are.
    """

    scores: tuple[float, ...] = ()
    maps: tuple[Map, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class Nearest:
    """The nearest reference patch of every patch of an image.

    Attributes:
        grid: Patch grid (rows, columns), of image and references alike.
        similarity: Cosine similarity [P] float32, row by row.
        index: [P] int64 into the K * P patches of the references.
    """

    grid: tuple[int, int]
    similarity: NDArray[np.float32]
    index: NDArray[np.int64]

    def of(self, row: int, column: int) -> tuple[float, int, int, int]:
        """Similarity, reference (from 0), row and column of what is nearest to a patch."""
        rows, columns = self.grid
        patch = row * columns + column
        reference, place = divmod(int(self.index[patch]), rows * columns)
        return float(self.similarity[patch]), reference, *divmod(place, columns)


@dataclass(frozen=True)
class LivePrediction:
    """What one method says of one image.

    Attributes:
        method_id: ``name:preset``.
        title: The method as it is shown, with references as ``WinCLIP+``.
        shots: References it used.
        error: Why there is no result, or None.
        image_score: Higher means more anomalous; None with an error.
        anomaly_map: [256, 256] float32; None if the method makes no map.
        seconds: Time by stage; those of ``shared_stages`` are spent once for all methods.
        reasons: What moved the score, strongest first.
        nearest: The nearest reference patches; None without a memory of patches.
        normals: What the method says of the references.
        trained_on: Data sets its parameters were trained on; empty if it does not train, None if unknown.
    """

    method_id: str
    title: str
    shots: int
    error: str | None = None
    image_score: float | None = None
    anomaly_map: Map | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    reasons: tuple[Reason, ...] = ()
    nearest: Nearest | None = None
    normals: Normals = Normals()
    trained_on: tuple[str, ...] | None = ()


class Panel:
    """Methods made ready for one category; belongs to one visitor.

    Args:
        engine: The engine, shared with others.
        category: The part in words; see ``category_words``.
        members: As ``choose_members`` gives them.
        references: Images of normal parts.
        features: The visitor's memory of features; a new one by default.

    Raises:
        DatasetError: If the words can't be used.
    """

    def __init__(
        self,
        engine: Engine,
        category: str,
        members: Sequence[Member],
        references: Sequence[Picture] = (),
        features: FeatureMemory | None = None,
    ) -> None:
        self.engine = engine
        self.category = category_words(category)
        self.members = tuple(members)
        self.references = tuple(references)
        memory = FeatureMemory() if features is None else features
        self._session = Session(CachingBackbone(engine.backbone, memory, engine.texts), turn=engine.turns.take)
        # What is kept on disk are references alone, and of them their features alone.
        self._remembering = Session(CachingBackbone(engine.references, memory), turn=engine.turns.take)
        self._entrants = [
            Entrant(member.method_id, member.method, self.category, member.shots, member.parameters, explains=True)
            for member in self.members
            if member.method is not None and member.error is None
        ]
        self._known: dict[FeatureRequest, tuple[Features, float]] = {}
        self._given: dict[str, tuple[Features, float]] = {}
        self._normals: dict[str, tuple[Normals, float]] = {}

    @property
    def info(self) -> BackboneInfo:
        """What the backbone is."""
        return self.engine.info

    def judge(self, picture: Picture, skip: Collection[str] = ()) -> Iterator[LivePrediction]:
        """Judge an image; each method's result is yielded as soon as it is there, the quick ones first.

        Methods that read no expensive feature, such as windows, come before those that do: running the tower over all
        windows takes several times as long as one pass over the image. A method that fails yields its error, and the
        others go on.

        Args:
            picture: The image.
            skip: Ids of methods whose results are known already.
        """
        members = {member.method_id: member for member in self.members if member.method_id not in skip}
        for member in members.values():
            if member.error is not None:
                yield _failed(member, member.error)
        entrants = [entrant for entrant in self._entrants if entrant.id in members]
        spent: dict[str, float] = {}
        for scored in self._session.score([[self._input(picture)]], entrants, self._references_of, soon=True):
            spent.update(scored.shared)
            yield self._prediction(members[scored.entrant.id], scored, spent)

    def _input(self, picture: Picture) -> ImageInput:
        def read() -> tuple[Tensor, tuple[int, int]]:
            return self.engine.backbone.preprocess(picture.image), (picture.image.height, picture.image.width)

        return ImageInput(f"pixels-{picture.content}", read)

    def _references_of(self, entrant: Entrant, request: FeatureRequest) -> Features | None:
        """Features of the references, for a memory if the method has one; all of a pass share them."""
        if not self.references:
            return None
        if request not in self._known:
            start = time.perf_counter()
            parts = self._remembering.encode(map(self._input, self.references), request)
            self._known[request] = concatenate_features(parts), time.perf_counter() - start
        self._given[entrant.id] = self._known[request]
        return self._given[entrant.id][0] if entrant.shots else None

    def _prediction(self, member: Member, scored: Scored, shared: Mapping[str, float]) -> LivePrediction:
        try:
            if scored.error is not None:
                raise scored.error
            return self._made(member, scored, shared)
        except VlmadError as error:
            reason = str(error)
        except Exception as error:  # a method of someone else's may fail in any way; the others go on
            reason = f"{member.title} failed: {type(error).__name__}: {error}"
        return _failed(member, reason)

    def _made(self, member: Member, scored: Scored, shared: Mapping[str, float]) -> LivePrediction:
        predictions, features, scorer = scored.predictions, scored.features, scored.scorer
        assert predictions is not None
        assert features is not None
        assert scorer is not None
        seconds = {**shared}
        if member.method_id in self._given:
            seconds["references"] = self._given[member.method_id][1]
        seconds["text and memory"] = scored.seconds["preparing"]
        normals = self._normals_of(member, scored.entrant, scorer)
        if self.references:
            seconds["threshold"] = self._normals[member.method_id][1]
        with self.engine.turns.take():
            begun = time.perf_counter()
            anomaly_map = self._map(predictions, MAP_SIZE)
            enlarged = time.perf_counter() - begun
        near, nearest = predictions.nearest, None
        if near is not None:
            nearest = Nearest(features.grid, near.similarity[0].numpy(), near.index[0].numpy())
        return LivePrediction(
            method_id=member.method_id,
            title=member.title,
            shots=member.shots,
            image_score=float(predictions.image_score[0]),
            anomaly_map=None if anomaly_map is None else anomaly_map[0],
            seconds={**seconds, "scoring": scored.seconds["scoring"], "map": enlarged},
            reasons=scored.reasons[0],
            nearest=nearest,
            normals=normals,
            trained_on=member.trained_on,
        )

    def _normals_of(self, member: Member, entrant: Entrant, scorer: Scorer) -> Normals:
        """What a method says of the references; asked once for all images."""
        if member.method_id not in self._normals:
            start = time.perf_counter()
            made = self._judge_references(entrant, scorer)
            self._normals[member.method_id] = made, time.perf_counter() - start
        return self._normals[member.method_id][0]

    def _judge_references(self, entrant: Entrant, scorer: Scorer) -> Normals:
        """Judge each reference as if it were not one: a memory that held it would find it far too familiar."""
        if not self.references:
            return Normals(reason="There are no normal references.")
        count, (known, _) = len(self.references), self._given[entrant.id]
        if entrant.shots and count < 2:
            return Normals(reason="A single reference can't be judged by a memory of itself; give at least two.")
        with self.engine.turns.take():
            together = judge_left_out(scorer, known) if entrant.shots else judge(scorer, known)
            if together is not None:
                return self._normals_from([together])
        parts = []
        for number in range(count):
            with self.engine.turns.take():
                others = known.select([i for i in range(count) if i != number])
                own = entrant.prepare(self._session.backbone, others)
                parts.append(judge(own, known.select(slice(number, number + 1))))
        return self._normals_from(parts)

    def _normals_from(self, parts: Sequence[Predictions]) -> Normals:
        """What was said of the references, batch after batch."""
        maps = [self._map(part, NORMAL_MAP_SIZE) for part in parts]
        scores = tuple(score for part in parts for score in part.image_score.tolist())
        return Normals(scores, tuple(one for made in maps if made is not None for one in made))

    def _map(self, predictions: Predictions, side: int) -> NDArray[np.float32] | None:
        if predictions.grids is None or predictions.map_rule is None:
            return None
        return full_maps(predictions.grids.numpy(), predictions.map_rule, side, self.engine.backbone.device)


def _failed(member: Member, reason: str) -> LivePrediction:
    return LivePrediction(member.method_id, member.title, member.shots, error=reason)
