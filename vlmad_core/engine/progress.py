"""Saying what a benchmark is doing: a live bar on a terminal, plain lines elsewhere, json lines in a file."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from vlmad_core.store.writer import now

LINE_EVERY = 10.0
"""Seconds between plain lines while images are passed."""


class Reporter:
    """Tells the user, and a log file if there is one, how far a benchmark is.

    Args:
        total: Images to be passed in all.
        stream: Where to write; a live bar is shown if it is a terminal.
        log: A file that gets one json line per event.
    """

    def __init__(self, total: int, stream: TextIO | None = None, log: Path | None = None) -> None:
        self._stream = stream or sys.stderr
        self._console = Console(file=self._stream, highlight=False, soft_wrap=True)
        self._log = log
        self._total = total
        self._done = 0
        self._started = time.perf_counter()
        self._last_line = self._started
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
                TimeRemainingColumn(),
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
        return self._done / max(time.perf_counter() - self._started, 1e-9)

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
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, description=text)

    def advance(self, images: int) -> None:
        """So many more images were passed."""
        self._done += images
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, advance=images, rate=f"{self.images_per_second:.1f} images/s")
        elif time.perf_counter() - self._last_line >= LINE_EVERY:
            self._last_line = time.perf_counter()
            left = (self._total - self._done) / max(self.images_per_second, 1e-9)
            rate = f"{self.images_per_second:.1f} images/s, about {left:.0f} s left"
            print(f"{self._stage}: {self._done} of {self._total} images, {rate}", file=self._stream, flush=True)

    def part(self, text: str, share: float) -> None:
        """What is being done, where it is no passing of images, and what share of it is done."""
        self._stage = f"{text}: {100 * share:.0f} %"
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, description=self._stage)
        elif time.perf_counter() - self._last_line >= LINE_EVERY:
            self._last_line = time.perf_counter()
            print(self._stage, file=self._stream, flush=True)

    def _write_log(self, event: str, **facts: Any) -> None:
        if self._log is None:
            return
        line = json.dumps({"at": now(), "event": event, "images": self._done, **facts}, ensure_ascii=False)
        try:
            with self._log.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError as error:
            self._log = None  # a log that can't be written must not stop the work
            self.say(f"The log can't be written any more: {error}.")
