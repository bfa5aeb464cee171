"""Measuring where time and memory go."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Stopwatch:
    """Adds up seconds by stage; may be used from several threads."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._lock = threading.Lock()

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Add the time of the block to a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add(stage, time.perf_counter() - start)

    def add(self, stage: str, seconds: float) -> None:
        """Add seconds to a stage."""
        with self._lock:
            self._seconds[stage] = self._seconds.get(stage, 0.0) + seconds

    def seconds(self) -> dict[str, float]:
        """Seconds by stage, in the order in which stages were first measured."""
        with self._lock:
            return {stage: round(value, 6) for stage, value in self._seconds.items()}


def peak_memory() -> int | None:
    """Largest resident memory of this process so far, in bytes; None where the system does not say."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


class PeakSampler:
    """Watches this process's resident memory while a block runs, without touching the process's own record.

    Attributes:
        peak: Largest resident memory that was seen, in bytes; None where the system does not say.
        extra: How much that is above the memory before; None likewise.
    """

    def __init__(self, every: float = 0.005) -> None:
        """Look every so many seconds."""
        self.peak: int | None = None
        self.extra: int | None = None
        self._every = every
        self._before = resident_memory()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="vlmad-memory", daemon=True)

    def __enter__(self) -> PeakSampler:
        """Start looking."""
        if self._before is not None:
            self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Stop looking."""
        self._done.set()
        if self._before is not None:
            self._thread.join()
            self._look()

    def _watch(self) -> None:
        while not self._done.wait(self._every):
            self._look()

    def _look(self) -> None:
        now = resident_memory()
        if now is not None and self._before is not None and (self.peak is None or now > self.peak):
            self.peak, self.extra = now, max(0, now - self._before)


def load_average() -> float | None:
    """Processes that wanted a processor over the last minute, this one included; None where unknown."""
    try:
        return round(os.getloadavg()[0], 2)
    except (OSError, AttributeError):
        return None


def resident_memory() -> int | None:
    """Resident memory of this process now, in bytes; None where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError, AttributeError):
        return None


def percentile(values: list[float], share: float) -> float | None:
    """The value below which a share of the values lies, by linear interpolation; None without values.

    >>> percentile([1.0, 3.0], 0.5)
    2.0
    """
    if not values:
        return None
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)
