"""How soon does a fresh process answer? Commands, what they import, the first verdict, a live demo with references.

Each figure comes from processes of its own, the least of several: what else the machine does only adds to it. Loading
torch is told apart from the rest, since nothing here makes it quicker. ``bench live`` measures the page in a browser.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from vlmad_core import paths
from vlmad_core.engine.profiling import load_average
from vlmad_core.errors import VlmadError

REPEATS = 3
REFERENCES = 8
QUIET = ("--help", "methods", "results list", "datasets list")
"""Commands that compute nothing."""
PRECOMPUTE = (
    "precompute --dataset bundled_a --categories capsule --size smoke --shots 0 2 --latency 2 "
    "--method clip_ac winclip musc"
)
TARGETS = {
    **{f"vlmad {words}": 1.0 for words in QUIET},
    "imports of precompute": 3.0,
    "first verdict beyond torch": 4.0,
    f"{REFERENCES} references, cold": 4.0,
    "a further image": 0.5,
}
"""Seconds on two quiet cores with the bundled backbone; those that are not named have none."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``bench starts``."""
    parser.add_argument("--repeats", type=int, default=REPEATS, help="processes for each figure (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print the figures as json")


def run(args: argparse.Namespace) -> int:
    """Start processes, print the figures.

    Returns:
        0, or 1 if a target is missed.

    Raises:
        VlmadError: If a process fails.
    """
    if args.repeats < 1:
        raise VlmadError("There is nothing to measure.", "Use at least 1 repeat.")
    figures = measure(args.repeats)
    print(json.dumps(figures, indent=1) if args.json else text(figures))
    return 0 if figures["ok"] else 1


def measure(repeats: int) -> dict[str, Any]:
    """Measure everything in turn, as often as asked for.

    Args:
        repeats: Processes for each figure.

    Returns:
        Figures as plain values: least seconds by what was measured, and whether the targets are met.

    Raises:
        VlmadError: If a process fails.
    """
    before = load_average()
    rounds = [_round() for _ in range(repeats)]
    least = {name: round(min(one[name] for one in rounds), 3) for name in rounds[0]}
    missed = [name for name, limit in TARGETS.items() if least[name] > limit]
    facts = {"cores": os.cpu_count(), "load_before": before, "repeats": repeats}
    return {"seconds": least, "targets": TARGETS, "missed": missed, "ok": not missed, **facts}


def text(figures: dict[str, Any]) -> str:
    """The figures in words."""
    lines = [f"least of {figures['repeats']}, {figures['cores']} cores, load before {figures['load_before']}"]
    for name, seconds in figures["seconds"].items():
        limit = figures["targets"].get(name)
        lines.append(f"{name:<36}{seconds:6.2f} s" + ("" if limit is None else f"    (target {limit} s)"))
    return "\n".join([*lines, "all targets met" if figures["ok"] else f"missed: {', '.join(figures['missed'])}"])


def imports(lines: Iterable[str]) -> tuple[float, float]:
    """Seconds that imports took, and those of torch's own modules, from what ``python -X importtime`` says.

    >>> imports(["import time: self [us] | cumulative | imported package",
    ...          "import time:    200000 |     200000 |   torch.nn", "import time: 100000 | 300000 | vlmad_core.cli"])
    (0.3, 0.2)
    """
    spent = {"torch": 0, "others": 0}
    for line in lines:
        parts = line.removeprefix("import time:").split("|")
        if len(parts) == 3 and parts[0].strip().isdigit():
            package = parts[2].strip().partition(".")[0]
            spent["torch" if package == "torch" else "others"] += int(parts[0])
    return sum(spent.values()) / 1e6, spent["torch"] / 1e6


def _round() -> dict[str, float]:
    """Every figure once."""
    found = {f"vlmad {words}": _timed(["-m", "vlmad_core", *words.split()]) for words in QUIET}
    with tempfile.TemporaryDirectory() as folder:
        store = str(Path(folder) / "store")
        said = _python(["-X", "importtime", "-m", "vlmad_core", *PRECOMPUTE.split(), "--store", store]).stderr
        found["imports of precompute"], found["of them torch"] = imports(said.splitlines())
        kept = {paths.CACHE_DIR: folder}
        nothing = {paths.CACHE_DIR: paths.NOTHING}
        found |= _child("verdict", nothing)
        found |= _child("references", kept)
        again = _child("references", kept)
        found[f"{REFERENCES} references, second start"] = again[f"{REFERENCES} references, cold"]
    return found


def _timed(words: Sequence[str]) -> float:
    start = time.perf_counter()
    _python(words)
    return time.perf_counter() - start


def _child(what: str, more: dict[str, str]) -> dict[str, float]:
    """Figures that a process of this module finds by itself."""
    said = _python(["-m", __name__, what], more).stdout
    figures: dict[str, float] = json.loads(said.splitlines()[-1])
    return figures


def _python(words: Sequence[str], more: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, *words], env={**os.environ, **(more or {})}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise VlmadError(f"python {' '.join(words)} failed: {done.stderr[-400:]}", "Run it by itself.")
    return done


def first_verdict() -> dict[str, float]:
    """From nothing loaded to the verdicts of ``predict`` on one image."""
    start = time.perf_counter()
    import torch  # noqa: F401

    loaded = time.perf_counter()
    from vlmad_core.datasets import load_dataset
    from vlmad_core.live.predict import predict

    predict(load_dataset("bundled_a").select("capsule", "test")[0].image_path, "capsule", cache=False)
    return {"loading torch": loaded - start, "first verdict beyond torch": time.perf_counter() - loaded}


def with_references() -> dict[str, float]:
    """A panel of the three methods chosen first: references and an image, then a further image; all modules loaded."""
    from vlmad_core.datasets import load_dataset
    from vlmad_core.inference.engine import load_engine
    from vlmad_core.live.members import choose_members
    from vlmad_core.live.panel import Panel
    from vlmad_core.live.predict import DEFAULT_METHODS, read_references

    data = load_dataset("bundled_a")
    normal = [sample.image_path for sample in data.select("capsule", "train")[:REFERENCES]]
    first, second = read_references([sample.image_path for sample in data.select("capsule", "test")[:2]])
    engine = load_engine()
    start = time.perf_counter()
    references = read_references(normal)
    panel = Panel(engine, "capsule", choose_members(DEFAULT_METHODS, engine.info, REFERENCES), references)
    list(panel.judge(first))
    judged = time.perf_counter()
    list(panel.judge(second))
    return {f"{REFERENCES} references, cold": judged - start, "a further image": time.perf_counter() - judged}


if __name__ == "__main__":
    print(json.dumps({"verdict": first_verdict, "references": with_references}[sys.argv[1]]()))
