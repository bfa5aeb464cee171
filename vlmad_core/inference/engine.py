"""A backbone that many use at once, and the line in which they take turns."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Generic, TypeVar

from vlmad_core import paths
from vlmad_core.backbones import BackboneInfo, ClipBackbone
from vlmad_core.backbones.feature_cache import CachingBackbone, FeatureFolder, TextFolder
from vlmad_core.backbones.text import TextCache

if TYPE_CHECKING:
    from vlmad_core.backbones.info import AskedPrecision
    from vlmad_core.backbones.loading import BackboneSpec

MOST_STRINGS = 8_000
"""Prompts that are remembered for all visitors; an ensemble has a few hundred."""

KEPT_BYTES = 2**30
"""Bytes that features of prompts and references may take on disk; beyond it the least recently used ones go."""

T = TypeVar("T")


class Turns:
    """A lock that is given first come, first served.

    Python's own lock may be taken again by the thread that has just let it go; a visitor with two hundred images
    would then keep all others waiting until the last of them.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._queue: deque[threading.Thread] = deque()

    @contextmanager
    def take(self) -> Iterator[None]:
        """Wait for a turn, and end it with the block; a thread takes one at a time."""
        mine = threading.current_thread()
        with self._changed:
            self._queue.append(mine)
            try:
                self._changed.wait_for(lambda: self._queue[0] is mine)
            except BaseException:
                self._leave(mine)
                raise
        try:
            yield
        finally:
            with self._changed:
                self._leave(mine)

    def order(self) -> tuple[threading.Thread, ...]:
        """Who has the turn, and behind it who waits for one."""
        with self._changed:
            return tuple(self._queue)

    def _leave(self, who: threading.Thread) -> None:
        self._queue.remove(who)
        self._changed.notify_all()


class Engine:
    """A backbone that many visitors use at once.

    Args:
        backbone: Loaded once, never changed.
        kept: A folder for features of prompts and references, so that the next start finds them; None to keep none.
        why: Why it computes in its precision, where that was left to the machine.
        turns: Shared with other engines on the same machine; its own by default.

    Attributes:
        backbone: The backbone.
        why: As it was given.
        references: The backbone for references: it remembers them as long as the folder does.
        texts: The prompts that were embedded last: methods and visitors share ensembles.
        turns: Holdings for one image or one method at a time, never longer.
    """

    def __init__(
        self, backbone: ClipBackbone, kept: FeatureFolder | None = None, *, why: str = "", turns: Turns | None = None
    ) -> None:
        self.backbone, self.why = backbone, why
        self.references = CachingBackbone(backbone, kept)
        self.texts = TextCache(MOST_STRINGS, None if kept is None else TextFolder(kept, backbone))
        self.turns = turns or Turns()

    @property
    def info(self) -> BackboneInfo:
        """What the backbone is."""
        return self.backbone.info


def load_engine(
    backbone: str = "bundled",
    precision: AskedPrecision = "float32",
    device: str = "auto",
    *,
    cache: bool = True,
    turns: Turns | None = None,
) -> Engine:
    """Load a backbone for judging single images.

    Args:
        backbone: As ``load_backbone`` takes it.
        precision: Arithmetic of its towers; ``auto`` for what is measured to be quickest here.
        device: Where to compute; ``auto`` for the accelerator torch finds, or the CPU.
        cache: Whether features of prompts and references are kept in ``paths.live_folder()``, as they were computed,
            ``KEPT_BYTES`` at most. A folder that can't be written to, or is damaged, only costs time.
        turns: As ``Engine`` takes it.

    Raises:
        BackboneError: As ``load_backbone``.
    """
    from vlmad_core.backbones import load_backbone
    from vlmad_core.backbones.loading import BackboneSpec
    from vlmad_core.backbones.settling import settle

    def load(spec: BackboneSpec) -> ClipBackbone:
        return load_backbone(spec.name, precision=spec.precision, device=spec.device)

    settled = settle(BackboneSpec(backbone, precision=precision, device=device), load)
    assert isinstance(settled.backbone, ClipBackbone)
    place = paths.live_folder() if cache else None
    quiet = logging.getLogger("vlmad_core.live").info
    kept = None if place is None else FeatureFolder(place, KEPT_BYTES, "full", notice=quiet)
    return Engine(settled.backbone, kept, why=settled.reasons.get("precision", ""), turns=turns)


class Kept(Generic[T]):
    """Things that cost time to make, those used last; for several threads."""

    def __init__(self, most: int) -> None:
        """Start empty.

        Args:
            most: Things held; beyond it those used longest ago go.
        """
        self._most = most
        self._held: OrderedDict[Hashable, T] = OrderedDict()
        self._lock = threading.RLock()

    def find(self, key: Hashable) -> T | None:
        """A thing if it is held; waits for nobody who makes one."""
        return self._held.get(key)

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """A thing; made if it is not held, by one thread at a time."""
        with self._lock:
            if key not in self._held:
                self._held[key] = make()
            self._held.move_to_end(key)
            while len(self._held) > self._most:
                self._held.popitem(last=False)
            return self._held[key]
