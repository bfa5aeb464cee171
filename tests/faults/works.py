"""What is disturbed: the commands that write, each with how to tell what they have finished.

A command that is to keep the same promise is one more entry of ``WORKS``: the faults in ``test_killed.py``,
``test_disks.py`` and ``test_writers.py`` then happen to it too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from safetensors import safe_open

from tests.faults.invariants import Look, Undisturbed, check, check_same, finished
from tests.faults.processes import Fork, Forks
from tests.faults.surroundings import WORKER
from vlmad_core.datasets import load_dataset
from vlmad_core.engine.options import make_options
from vlmad_core.errors import MethodError
from vlmad_core.methods.trained import read_record
from vlmad_core.workspace import queue
from vlmad_core.workspace.jobs import list_jobs

SETTINGS = ("--batch-size", "4", "--threads", "1", "--latency", "0")
METHODS = ("clip_ac", "winclip")


@dataclass(frozen=True)
class Ground:
    """Where a work is done.

    Attributes:
        data: A tiny data set.
        backbone: A tiny backbone.
        folder: What it writes lies in here: ``out``, and beside it what it only reads or needs for the time.
    """

    data: Path
    backbone: Path
    folder: Path

    @property
    def out(self) -> Path:
        """The store, or the folder of parameters."""
        return self.folder / "out"


@dataclass(frozen=True)
class Work:
    """A command that writes.

    Attributes:
        name: What the table of figures calls it.
        words: The command line on a ground; what it reads is made there if it isn't.
        finished: What is finished in its folder, by name, with its content but for times.
        check: Holds its folder against an undisturbed one, see ``invariants.check``.
        done_already: What it says, with exit code 1, where all was done before; empty where that is no error.
        writers: Whether several processes may do it at the same time and end well, all of them.
    """

    name: str
    words: Callable[[Ground], list[str]]
    finished: Callable[[Path], Mapping[str, Any]]
    check: Callable[..., None]
    done_already: str = ""
    writers: bool = True

    def again(self, forks: Forks, ground: Ground) -> Fork:
        """Start it once more, to its end, which is to be good."""
        fork = forks.run(self.words(ground))
        done = fork.code == 1 and self.done_already and self.done_already in fork.said
        assert fork.code == 0 or done, f"another start ended with {fork.code}: {fork.said}"
        return fork


def _precompute(ground: Ground, *more: str) -> list[str]:
    plan = ["--dataset", str(ground.data), "--method", *METHODS, "--shots", "0", "1", "--seeds", "2"]
    return ["precompute", *plan, "--backbone", str(ground.backbone), "--store", str(ground.out), *SETTINGS, *more]


def _cached(ground: Ground) -> list[str]:
    return _precompute(ground, "--cache-dir", str(ground.folder / "features"))


def _train(ground: Ground) -> list[str]:
    data = ["--data", str(ground.data), "--backbone", str(ground.backbone)]
    return ["train", "april_gan", *data, "--out", str(ground.out), "--epochs", "6", "--resume", "--json"]


def _scores(ground: Ground) -> list[str]:
    table = ground.data.parent / "scores.csv"  # one for all grounds: where it lies is recorded
    if not table.exists():
        rows = [f"{name},{0.1 + 0.01 * len(name) + 0.3 * ('good' not in name)}" for name in _test_images(ground.data)]
        table.write_text("\n".join(["image_id,score", *rows]) + "\n")
    return ["import", "scores", str(table), *_imported(ground)]


def _maps(ground: Ground) -> list[str]:
    folder = ground.data.parent / "maps"
    if not folder.exists():
        rng = np.random.default_rng(5)
        for name in _test_images(ground.data):
            path = (folder / name).with_suffix(".tiff")
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.uniform(0, 1, (24, 24)).astype(np.float32), "F").save(path)
    return ["import", "maps", str(folder), *_imported(ground)]


def _imported(ground: Ground) -> list[str]:
    return ["--dataset", str(ground.data), "--method", "mine", "--store", str(ground.out), "--origin", "somebody"]


def _test_images(data: Path) -> list[str]:
    return [sample.id for sample in load_dataset(data).samples if sample.split == "test"]


def _job(ground: Ground) -> list[str]:
    """A worker, with a job for it: a new one, or the one that a fault has ended."""
    workspace = ground.folder / "workspace"
    jobs = list_jobs(workspace)
    for job in jobs:
        if job.can_go_on:
            queue.go_on(workspace, job.id)
    if not jobs:
        plan = {
            "datasets": [str(ground.data)], "methods": [*METHODS], "shots": [0, 1], "seeds": 2, "batch_size": 4,
            "backbone": str(ground.backbone), "store": str(ground.out), "threads": 1, "latency_images": 0,
        }  # fmt: skip
        queue.submit(workspace, make_options(plan), "widgets")
    return [WORKER, str(workspace)]


def _epochs(folder: Path) -> dict[str, Any]:
    """Trained parameters that can be used, and the epochs of a training that can be gone on with."""
    found: dict[str, Any] = {}
    for path in folder.glob("april_gan/[!.]*"):
        if path.suffix == ".safetensors":
            try:
                read_record(path.with_suffix(".json"))
            except MethodError:
                continue  # half of a pair: not offered by anything that looks for parameters
            found["parameters"] = path.read_bytes()
        elif path.suffix == ".unfinished":
            with safe_open(path, framework="pt") as file:
                losses = json.loads((file.metadata() or {})["losses"])
            found |= {f"epoch {number}": loss for number, loss in enumerate(losses)}
    if "parameters" in found:
        losses = read_record(next(folder.glob("april_gan/[!.]*.json"))).losses
        found |= {f"epoch {number}": loss for number, loss in enumerate(losses)}
    return found


def _check_training(
    folder: Path,
    whole: Undisturbed,
    before: Any = (),
    *,
    look: Look | None = None,
    again: Callable[[], object] | None = None,
) -> None:
    """The same promise for a training, whose units are epochs; no page shows it."""
    now, expected = _epochs(folder), _epochs(whole.store)
    assert not set(before) - now.keys(), f"finished epochs are lost: {sorted(set(before) - now.keys())}"
    assert now.items() <= expected.items(), "parameters or losses differ from undisturbed ones"
    if again is not None:
        again()
        check_same(folder, whole)


WORKS = {
    work.name: work
    for work in (
        Work("precompute", _precompute, finished, check),
        Work("precompute with a cache", _cached, finished, check),
        Work("train", _train, _epochs, _check_training),
        Work("import scores", _scores, finished, check, "has this already"),
        Work("import maps", _maps, finished, check, "has this already"),
        Work("a job", _job, finished, check, writers=False),
    )
}
"""Every command that keeps the promise."""
