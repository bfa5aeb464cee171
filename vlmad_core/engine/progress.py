"""Saying what a benchmark is doing, and how long it has to go: a bar on a terminal, lines elsewhere, json in a file."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TextIO, get_args

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn

from vlmad_core.reading import printable
from vlmad_core.store.writer import now

LINE_EVERY = 10.0
"""Seconds between plain lines while images are passed."""

MEASURING_SECONDS = 0.05
"""Scoring and measuring of one image with one method, roughly; used while nothing is known of it."""

Kind = Literal["passing", "judging", "measuring"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class Workload:
    """What a category takes, by kind of work, each of which goes at a speed of its own.

    Attributes:
        images: To be passed through the backbone.
        sets: Seconds that each transductive run is expected to take for judging all images at once, by run.
        measured: Images to be measured, counted once for each run.
    """

    images: int = 0
    sets: Mapping[str, float] = field(default_factory=dict)
    measured: int = 0

    def amount(self, kind: Kind) -> float:
        """How much of one kind."""
        return {"passing": self.images, "judging": sum(self.sets.values()), "measuring": self.measured}[kind]


@dataclass(frozen=True)
class Standing:
    """How far a benchmark is.

    Attributes:
        stage: What is being done now.
        images: Images passed.
        images_in_all: Images to be passed.
        share: What share of the time is over, from 0 to 1; 0 as long as nothing is known.
        seconds_left: How long it will go on, roughly; None as long as no image has passed.
    """

    stage: str
    images: int
    images_in_all: int
    share: float
    seconds_left: float | None

    @property
    def left(self) -> str:
        """The time left in words; empty if it is not known.

        >>> Standing("", 0, 0, 0.0, 200.0).left
        'about 3 min left'
        """
        return "" if self.seconds_left is None else f"{roughly(self.seconds_left)} left"


def roughly(seconds: float) -> str:
    """A time that was estimated, in words.

    >>> roughly(0.2), roughly(95), roughly(200), roughly(9000)
    ('about 1 s', 'about 95 s', 'about 3 min', 'about 2.5 h')
    """
    if seconds < 100:
        return f"about {max(seconds, 1):.0f} s"
    return f"about {seconds / 60:.0f} min" if seconds < 6000 else f"about {seconds / 3600:.1f} h"


class Reporter:
    """Tells the user, and a log file if there is one, how far a benchmark is.

    The time left is worked out by kind of work: what is left of each at the speed it had so far. So it does not say
    that all is nearly done when all images have passed and a set is still to be judged.

    Args:
        stream: Where to write; a live bar is shown if it is a terminal.
        log: A file that gets one json line per event.
        told: Told how far it is, whenever that has changed.
    """

    def __init__(
        self,
        stream: TextIO | None = None,
        log: Path | None = None,
        told: Callable[[Standing], None] = lambda standing: None,
    ) -> None:
        self._stream = stream or sys.stderr
        self._console = Console(file=self._stream, highlight=False, soft_wrap=True)
        self._log = log
        self._told = told
        self._todo: dict[str, Workload] = {}
        self._done: dict[Kind, float] = dict.fromkeys(KINDS, 0.0)
        self._judged: dict[str, float] = {}
        self._amounts: dict[Kind, float] = dict.fromkeys(KINDS, 0.0)
        self._seconds: dict[Kind, float] = dict.fromkeys(KINDS, 0.0)
        self._images = self._total = 0
        self._started = self._marked = self._last_line = time.perf_counter()
        self._stage = ""
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Reporter:
        """Show the bar, on a terminal."""
        if self._console.is_terminal:
            self._bar = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
                console=self._console,
            )
            self._bar.start()
            self._task = self._bar.add_task("", total=self._total, rate="")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()

    @property
    def images_per_second(self) -> float:
        """Images passed so far over the time since the start."""
        return self._images / max(time.perf_counter() - self._started, 1e-9)

    @property
    def standing(self) -> Standing:
        """How far it is now."""
        left = self._seconds_left()
        spent = sum(self._seconds.values())
        share = 0.0 if left is None else spent / max(spent + left, 1e-9)
        return Standing(self._stage, self._images, self._total, share, left)

    def expect(self, todo: Mapping[str, Workload]) -> None:
        """What is to be done, by category, in order."""
        self._todo = dict(todo)
        self._total = sum(one.images for one in todo.values())
        self._show()

    def begin(self, category: str) -> None:
        """Now comes this one of the expected categories."""
        self._done, self._judged = dict.fromkeys(KINDS, 0.0), {}
        self._todo = {category: self._todo.pop(category, Workload()), **self._todo}
        self._marked = time.perf_counter()

    def end(self, category: str) -> None:
        """It is done, or can't be: nothing of it is left."""
        left = self._todo.pop(category, Workload()).images - int(self._done["passing"])
        self._images += max(0, left)
        self._done = dict.fromkeys(KINDS, 0.0)
        self._show()

    def say(self, text: str, *, event: str = "note", **facts: Any) -> None:
        """Print a line and log it."""
        if self._bar is not None:
            self._bar.console.print(text, markup=False)
        else:
            print(text, file=self._stream, flush=True)
        self._write_log(event, message=text, **facts)

    def stage(self, text: str) -> None:
        """What is being done now."""
        self._stage = text
        self._write_log("stage", message=text)
        self._show()

    def advance(self, images: int) -> None:
        """So many more images were passed."""
        self._images += images
        self._charge("passing", images)
        self._line(f"{self._stage}: {self._images} of {self._total} images, {self.images_per_second:.1f} images/s")

    def part(self, run: str, text: str, share: float) -> None:
        """A run that judges all images at once has judged this share of them."""
        expected = next(iter(self._todo.values()), Workload()).sets.get(run, 0.0)
        self._stage = f"{text}: {100 * share:.0f} %"
        self._charge("judging", expected * (share - self._judged.get(run, 0.0)))
        self._judged[run] = share
        self._line(self._stage)

    def measured(self, images: int) -> None:
        """A run's maps and scores of so many images were measured."""
        self._charge("measuring", images)
        self._show()

    def _charge(self, kind: Kind, amount: float) -> None:
        """So much was done of a kind, in the time since the last."""
        moment = time.perf_counter()
        self._seconds[kind] += moment - self._marked
        self._amounts[kind] += amount
        self._done[kind] += amount
        self._marked = moment

    def _seconds_left(self) -> float | None:
        """What is left of each kind, at the speed it had so far; None as long as no image has passed."""
        if not self._amounts["passing"]:
            return None
        expected: dict[Kind, float] = {"passing": 0.0, "judging": 1.0, "measuring": MEASURING_SECONDS}
        left = 0.0
        for kind in KINDS:
            amount = sum(one.amount(kind) for one in self._todo.values()) - self._done[kind]
            known = self._amounts[kind] > 0
            left += max(0.0, amount) * (self._seconds[kind] / self._amounts[kind] if known else expected[kind])
        return left

    def _line(self, text: str) -> None:
        """A plain line from time to time, where there is no bar."""
        self._show()
        if self._bar is None and time.perf_counter() - self._last_line >= LINE_EVERY:
            self._last_line = time.perf_counter()
            left = self.standing.left
            print(f"{text}, {left}" if left else text, file=self._stream, flush=True)

    def _show(self) -> None:
        """Tell who wants to know, and the bar."""
        standing = self.standing
        self._told(standing)
        if self._bar is not None and self._task is not None:
            rate = f"{self.images_per_second:.1f} images/s {standing.left}"
            self._bar.update(self._task, description=self._stage, completed=self._images, total=self._total, rate=rate)

    def _write_log(self, event: str, **facts: Any) -> None:
        if self._log is None:
            return
        line = json.dumps({"at": now(), "event": event, "images": self._images, **facts}, ensure_ascii=False)
        try:
            with self._log.open("a", encoding="utf-8") as file:
                file.write(printable(line) + "\n")
        except OSError as error:
            self._log = None  # a log that can't be written must not stop the work
            self.say(f"The log can't be written any more: {error}.")
