"""One loaded backbone for everybody: visitors take turns, image by image, and share what does not depend on them."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter
from typing import Any

from torch import Tensor

from vlmad_core.backbones import BackboneInfo, ClipBackbone, FeatureRequest, Features
from vlmad_core.live.inputs import Picture

MOST_TEXTS = 16
MOST_FEATURES = 40


class Turns:
    """A lock that is given first come, first served.

    Python's own lock may be taken again by the thread that has just let it go; a visitor with two hundred images
    would then keep all others waiting until the last of them.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._queue: deque[object] = deque()

    @contextmanager
    def take(self) -> Iterator[None]:
        """Wait for a turn, and end it with the block."""
        ticket = object()
        with self._changed:
            self._queue.append(ticket)
            try:
                self._changed.wait_for(lambda: self._queue[0] is ticket)
            except BaseException:
                self._leave(ticket)
                raise
        try:
            yield
        finally:
            with self._changed:
                self._leave(ticket)

    def _leave(self, ticket: object) -> None:
        self._queue.remove(ticket)
        self._changed.notify_all()


class SharedText:
    """The text side of a backbone that remembers the prompts embedded last: methods and visitors share ensembles."""

    def __init__(self, backbone: ClipBackbone) -> None:
        self._backbone = backbone
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[str, ...], Tensor] = OrderedDict()

    @property
    def info(self) -> BackboneInfo:
        """The backbone it belongs to."""
        return self._backbone.info

    def encode_text(self, prompts: Sequence[str]) -> Tensor:
        """Embed prompts: [n, e] float32, not normalised; not to be changed in place."""
        key = tuple(prompts)
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
                return self._known[key]
        embedded = self._backbone.encode_text(prompts)
        with self._lock:
            self._known[key] = embedded
            while len(self._known) > MOST_TEXTS:
                self._known.popitem(last=False)
        return embedded

    def encode_learned_prompts(self, prompts: Sequence[str], context: Tensor, deep: Sequence[Tensor] = ()) -> Tensor:
        """Embed prompts behind learned context vectors: [n, e] float32."""
        return self._backbone.encode_learned_prompts(prompts, context, deep)


class Engine:
    """A backbone that many visitors use at once.

    Args:
        backbone: Loaded once, never changed.

    Attributes:
        backbone: The backbone.
        text: Its text side, shared.
        turns: Held for one image or one method at a time, never longer.
    """

    def __init__(self, backbone: ClipBackbone) -> None:
        self.backbone = backbone
        self.text = SharedText(backbone)
        self.turns = Turns()

    @property
    def info(self) -> BackboneInfo:
        """What the backbone is."""
        return self.backbone.info


class FeatureCache:
    """Features of the images one visitor looked at last; windows, the costly part, are kept apart from the rest."""

    def __init__(self, most: int = MOST_FEATURES) -> None:
        self._most = most
        self._known: OrderedDict[tuple[Any, ...], tuple[Features, dict[str, float]]] = OrderedDict()

    def get(self, engine: Engine, picture: Picture, request: FeatureRequest) -> tuple[Features, dict[str, float]]:
        """Features of one image, [1, ...] each, with the seconds they took when they were made.

        A turn of the engine is taken for each pass through the tower.

        Raises:
            BackboneError: If the backbone can't give what is asked.
        """
        soon = request.soon()
        if soon == request:
            return self._one(engine, picture, request)
        costly, seconds = self._one(engine, picture, request.without(soon.names()))
        times = {"preprocess": seconds["preprocess"], "windows": seconds["vision"]}
        if not soon.names():
            return costly, times
        features, seconds = self._one(engine, picture, soon)
        return Features.of_tensors(features.grid, features.tensors() | costly.tensors()), {**times, **seconds}

    def _one(self, engine: Engine, picture: Picture, request: FeatureRequest) -> tuple[Features, dict[str, float]]:
        key = (engine.info, picture.content, request)
        if key in self._known:
            self._known.move_to_end(key)
            return self._known[key]
        with engine.turns.take():
            start = perf_counter()
            pixels = engine.backbone.preprocess_batch([picture.image])
            ready = perf_counter()
            features = engine.backbone.encode_images(pixels, request)
            seconds = {"preprocess": ready - start, "vision": perf_counter() - ready}
        self._known[key] = features, seconds
        while len(self._known) > self._most:
            self._known.popitem(last=False)
        return features, seconds
