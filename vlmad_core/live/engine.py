"""One loaded backbone for everybody: visitors take turns, image by image, and share what does not depend on them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from vlmad_core.backbones import BackboneInfo, ClipBackbone
from vlmad_core.backbones.text import TextCache

MOST_STRINGS = 8_000
"""Prompts that are remembered for all visitors; an ensemble has a few hundred."""


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


class Engine:
    """A backbone that many visitors use at once.

    Args:
        backbone: Loaded once, never changed.

    Attributes:
        backbone: The backbone.
        texts: The prompts that were embedded last: methods and visitors share ensembles.
        turns: Held for one image or one method at a time, never longer.
    """

    def __init__(self, backbone: ClipBackbone) -> None:
        self.backbone = backbone
        self.texts = TextCache(MOST_STRINGS)
        self.turns = Turns()

    @property
    def info(self) -> BackboneInfo:
        """What the backbone is."""
        return self.backbone.info
