"""`bench scaling`: how the time of `precompute` grows with images, methods, references, input size and threads.

Each figure is a command of its own, so that start-up counts, and is printed with the command that made it.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vlmad_core.bench.engine import made_up_images
from vlmad_core.engine.profiling import load_average
from vlmad_core.engine.provenance import hardware
from vlmad_core.errors import VlmadError

AXES = ("images", "methods", "shots", "size", "threads")
ZERO_SHOT = ("clip_ac", "clip_cpe", "winclip", "april_gan", "anomaly_clip", "musc")
SHOWN_STAGES = ("starting up", "vision", "windows", "scoring", "metrics")
"""Stages of a run's account that have a column; what is left is the rest of the wall clock."""

BASE: Mapping[str, Any] = {"images": 60, "method": ["clip_cpe", "winclip"], "shots": [0], "image-size": None}
"""What is held while one thing is varied."""

SIDE = 256
"""Side of the made-up images, in pixels."""


@dataclass(frozen=True)
class Run:
    """One command of the table.

    Attributes:
        axis: What is varied.
        what: Its value, in words.
        images: Test images of the made-up part.
        words: Words of the command behind the data set.
    """

    axis: str
    what: str
    images: int
    words: tuple[str, ...]

    @property
    def data(self) -> str:
        """The folder of its images."""
        return f"parts{self.images}"

    @property
    def command(self) -> str:
        """As it is typed where the made-up images lie."""
        return f"python -m vlmad_core precompute --dataset {self.data} {shlex.join(self.words)}"


@dataclass(frozen=True)
class TimedRun:
    """What a command took.

    Attributes:
        run: The command.
        seconds: On the wall clock, from start to end of the process.
        stages: Seconds by stage, each counted once.
        peak_bytes: Largest memory of the process.
    """

    run: Run
    seconds: float
    stages: dict[str, float]
    peak_bytes: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("--axis", nargs="+", choices=AXES, default=list(AXES), help="what to vary (default: all)")
    parser.add_argument("--images", nargs="+", type=int, default=[30, 60, 120, 240], metavar="N")
    parser.add_argument("--shots", nargs="+", type=int, default=[0, 1, 4, 8], metavar="K")
    parser.add_argument("--image-size", nargs="+", type=int, default=[96, 128, 192], metavar="S")
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2], metavar="N")
    parser.add_argument("--backbone", default="bundled", metavar="ID", help="bundled, a folder or a hub id")
    parser.add_argument("--data", type=Path, metavar="DIR", help="keep the made-up images there (default: nowhere)")
    parser.add_argument("--json", action="store_true", help="print the figures as json, not as a Markdown table")


def run(args: argparse.Namespace) -> int:
    """Measure.

    Returns:
        0.

    Raises:
        VlmadError: If a command fails.
    """
    measured: list[TimedRun] = []
    with tempfile.TemporaryDirectory(prefix="vlmad-bench-") as place:
        for one in runs_of(args):
            measured.append(measure(one, args.data or Path(place)))
            print(f"{one.axis} {one.what}: {measured[-1].seconds:.1f} s", file=sys.stderr)
    facts = {"hardware": dict(hardware()), "load_average": load_average()}
    if args.json:
        print(json.dumps(facts | {"rows": [asdict(one) for one in measured]}, indent=1))
    else:
        print(markdown(measured, facts))
    return 0


def runs_of(args: argparse.Namespace) -> Iterator[Run]:
    """The commands of the table, axis by axis."""

    def made(axis: str, what: str, **changes: Any) -> Run:
        values = {**BASE, "threads": max(args.threads), **changes}
        images = values.pop("images")
        words = ["--backbone", args.backbone]
        for name, value in values.items():
            if value is not None:
                words += [f"--{name}", *map(str, value if isinstance(value, list) else [value])]
        return Run(axis, what, images, (*words, "--latency", "0", "--no-replicates"))

    axes: Mapping[str, Callable[[], Iterator[Run]]] = {
        "images": lambda: (
            made("images", f"{count}, {title}", images=count, method=methods)
            for title, methods in (("CLIP + CPE and WinCLIP", BASE["method"]), ("MuSc", ["musc"]))
            for count in args.images
        ),
        "methods": lambda: (
            made("methods", ", ".join(ZERO_SHOT[:count]), method=list(ZERO_SHOT[:count]))
            for count in range(1, len(ZERO_SHOT) + 1)
        ),
        "shots": lambda: (
            made("shots", str(count), method=["winclip", *(["patch_memory"] if count else [])], shots=[count])
            for count in args.shots
        ),
        "size": lambda: (made("size", f"{side} px", **{"image-size": side}) for side in args.image_size),
        "threads": lambda: (made("threads", str(count), threads=count) for count in args.threads),
    }
    for axis in AXES:
        if axis in args.axis:
            yield from axes[axis]()


def measure(one: Run, place: Path) -> TimedRun:
    """Run one command on a store of its own.

    Raises:
        VlmadError: If it fails.
    """
    data = place / one.data
    if not data.is_dir():
        made_up_images(data, 1, one.images, SIDE, references=8)
    with tempfile.TemporaryDirectory(prefix="vlmad-bench-") as store:
        more = ["--dataset", str(data), *one.words, "--store", store, "--json"]
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "vlmad_core", "precompute", *more], capture_output=True, text=True, check=False
        )
        seconds = time.perf_counter() - start
    if done.returncode:
        raise VlmadError(f"This failed: {one.command}: {done.stderr.strip()[-400:]}")
    outcome = json.loads(done.stdout)
    stages: dict[str, float] = {}
    for row in outcome["spent"]:
        stages[row["stage"]] = stages.get(row["stage"], 0.0) + row["seconds"]
    return TimedRun(one, seconds, stages, int(outcome["peak_rss_bytes"]))


def markdown(measured: Sequence[TimedRun], facts: Mapping[str, Any]) -> str:
    """The figures as Markdown: a table for each axis, each with the commands that made it."""
    machine = facts["hardware"]
    lines = [
        f"{machine['processor']}, {machine['cores']} cores, load {facts['load_average']:g} at the end. Seconds on the "
        f"wall clock, of which by stage; made-up images of {SIDE} x {SIDE} pixels, half of them defective (--data DIR "
        "keeps them).",
    ]
    for axis in AXES:
        rows = [one for one in measured if one.run.axis == axis]
        if not rows:
            continue
        head = [axis, "seconds", *SHOWN_STAGES, "rest", "memory (MB)"]
        lines += ["", f"| {' | '.join(head)} |", f"|---|{'---:|' * (len(head) - 1)}"]
        for one in rows:
            shown = [one.stages.get(stage, 0.0) for stage in SHOWN_STAGES]
            cells = [f"{value:.1f}" for value in (one.seconds, *shown, max(0.0, one.seconds - sum(shown)))]
            lines.append(f"| {one.run.what} | {' | '.join(cells)} | {one.peak_bytes / 2**20:.0f} |")
        lines += ["", "```", *(one.run.command for one in rows), "```"]
    return "\n".join(lines)
