"""Measuring where time and memory go."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import psutil


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


COMMAND = "the command"
"""Who spends what belongs to no method: starting up, planning, writing."""
SHARED = "all methods together"
"""Who spends what is computed once for all methods."""


@dataclass
class Ledger:
    """Where the wall-clock time of a command went: every second once, whoever spent it.

    Attributes:
        seconds: By who spent them (``COMMAND``, ``SHARED``, or a method as it is shown) and on what.
    """

    seconds: dict[tuple[str, str], float] = field(default_factory=dict)

    def charge(self, who: str, stage: str, seconds: float) -> None:
        """Add seconds that are noted nowhere else."""
        self.seconds[who, stage] = self.seconds.get((who, stage), 0.0) + seconds

    def charge_all(self, who: str, seconds: Mapping[str, float], elapsed: float, rest: str) -> None:
        """Add seconds by stage, and what is left of the time that has passed as one more stage."""
        for stage, value in seconds.items():
            self.charge(who, stage, value)
        self.charge(who, rest, max(0.0, elapsed - sum(seconds.values())))

    @contextmanager
    def measure(self, who: str, stage: str) -> Iterator[None]:
        """Charge the time of the block."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.charge(who, stage, time.perf_counter() - start)

    def rows(self) -> list[dict[str, Any]]:
        """who, stage, seconds; the most expensive first."""
        ordered = sorted(self.seconds.items(), key=lambda item: -item[1])
        return [{"who": who, "stage": stage, "seconds": round(value, 4)} for (who, stage), value in ordered]


def peak_memory() -> int:
    """Largest resident memory of this process so far, in bytes."""
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource  # psutil tells the peak on Windows only

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


class PeakSampler:
    """Watches a process's resident memory while a block runs, without touching the process's own record.

    Attributes:
        peak: Largest resident memory that was seen, in bytes.
    """

    def __init__(self, every: float = 0.005, pid: int | None = None) -> None:
        """Look every so many seconds at a process; None for this one."""
        self._process = psutil.Process(pid)
        self._before = self.peak = self._resident()
        self._every = every
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="vlmad-memory", daemon=True)

    @property
    def extra(self) -> int:
        """How much the peak is above the memory before, in bytes."""
        return self.peak - self._before

    def __enter__(self) -> PeakSampler:
        """Start looking."""
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Stop looking."""
        self._done.set()
        self._thread.join()
        self._look()

    def _watch(self) -> None:
        while not self._done.wait(self._every):
            self._look()

    def _look(self) -> None:
        with suppress(psutil.NoSuchProcess):  # another process may be gone by now
            self.peak = max(self.peak, self._resident())

    def _resident(self) -> int:
        return int(self._process.memory_info().rss)


def load_average() -> float:
    """Processes that wanted a processor over the last minute, this one included."""
    return round(psutil.getloadavg()[0], 2)


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
