"""Every kind of file the program reads back, with what reading a damaged one may give.

A kind of file that is to keep the same promise is one more entry of ``KINDS``; what it needs is made by ``furnish``.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest
import torch

from tests.faults.invariants import Undisturbed, check
from tests.faults.processes import Forks
from tests.faults.works import WORKS, Ground
from vlmad_core import paths
from vlmad_core.backbones import load_backbone
from vlmad_core.backbones.feature_files import DamagedFileError, read_file, stored_names
from vlmad_core.backbones.holding import held_weights
from vlmad_core.datasets.parts import Part, find_part, list_parts
from vlmad_core.engine.options import make_options, plain_options, read_plan
from vlmad_core.errors import VlmadError
from vlmad_core.io import json_bytes, write_atomically
from vlmad_core.live.saved import read_saved, saved_picture
from vlmad_core.methods.trained import find_parameters, load_parameters
from vlmad_core.prompts import load_ensemble, save_ensemble
from vlmad_core.prompts.saved import available_ensembles
from vlmad_core.store.annotations import Annotation, read_annotations, read_demos, save_annotation, save_demo
from vlmad_core.store.commands import read_commands
from vlmad_core.store.reader import open_store
from vlmad_core.store.writer import record_failure
from vlmad_core.training.loop import Progress, load_progress, save_progress
from vlmad_core.workspace import jobs, queue
from vlmad_core.workspace.decisions import Decision, keep_decision, read_decisions

PART = Part("widget", "Widget", "widget", "2026-01-01T00:00:00+00:00")
DECISION = Decision(
    part="widget", category="bolt", run="widgets/made-up", protocol="0" * 8, method="clip_ac", preset="canonical",
    shots=0, title="CLIP-AC", backbone="bundled", threshold=0.5, rule="promise", rate=0.05, miss=None, defective=None,
    detail="keeps it", found=None, alarms=None, sentence="Use it.", listing="0" * 16, photos="0" * 16,
    decided_at="2026-01-01T00:00:00+00:00",
)  # fmt: skip


@dataclass(frozen=True)
class Place:
    """A folder with one of everything.

    Attributes:
        root: The folder.
        backbone: The tiny backbone that all of it was made with.
    """

    root: Path
    backbone: Path

    def __getattr__(self, name: str) -> Path:
        """A folder in it: ``store``, ``features``, ``checkpoints``, ``prompts``, ``workspace``, ``plans``."""
        return self.root / name

    @cached_property
    def whole(self) -> Undisturbed:
        """What its store holds."""
        return Undisturbed(self.root / "store")


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        name: What the table of figures calls it.
        files: Where such files lie in a place, as a pattern.
        hold: Reads them in a place where one is damaged and holds what comes against the whole place; fails where that
            is neither the same nor an error in words.
        pages: Whether pages of results read it.
    """

    name: str
    files: str
    hold: Callable[[Place, Place], None]
    pages: bool = False


def furnish(place: Place, forks: Forks, widgets: Path) -> Place:
    """Put one of everything into a place."""
    ground = Ground(widgets, place.backbone, place.root)
    few = ["--categories", "bolt", "--seeds", "1"]
    for name, more, target in (("precompute with a cache", few, place.store), ("train", [], place.checkpoints)):
        fork = forks.run([*WORKS[name].words(ground), *more])
        assert fork.code == 0, fork.said
        ground.out.rename(target)
    tensors = {"weight": torch.randn(8, 8), "bias": torch.randn(8)}
    save_progress(
        place.root / "state.unfinished", Progress(tensors, {"weight.step": torch.ones(1)}, [0.5, 0.25]), "plan"
    )
    run = open_store(place.store).runs[0]
    record_failure(place.store, run.id, "washer", "a made-up failure", "Traceback: made up")
    image = str(next(iter(open_store(place.store).images(run.id)["image_id"])))
    save_annotation(place.store, Annotation("widgets", "bolt", image, "clip_ac", note="look", tags=("odd",), score=0.5))
    content = {"images": [{"name": "a.png", "methods": [{"method": "clip_ac", "score": 0.25}]}], "category": "bolt"}
    save_demo(place.store, "A bolt", content, {"image.webp": b"no picture, but some bytes"})
    plan = {"datasets": [str(widgets)], "methods": ["clip_ac"], "backbone": str(place.backbone)}
    place.plans.mkdir()
    (place.plans / "plan.json").write_text(json.dumps(plain_options(make_options(plan))))  # json is yaml
    job = queue.submit(place.workspace, make_options(plan), "widgets")
    jobs.write_progress(job.home, jobs.JobProgress("passing", 3, 12, 0.25, "about 3 s left"))
    (job.home / jobs.LOG).write_text('{"at": "now", "message": "begun"}\n' * 3)
    with living_in(place):
        save_ensemble(load_ensemble("states"), "my_words")
        noted = paths.held_weights_file()
        assert noted is not None
        write_atomically(noted, json_bytes({"someone/tiny": {"sha256": "0" * 64, "place": "the hub's cache"}}))
        PART.write()
        keep_decision(DECISION)
    return place


@contextmanager
def living_in(place: Place) -> Iterator[None]:
    """The program looks for prompts and parts in this place."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(paths.WORKSPACE, str(place.workspace))
        patch.setenv(paths.PROMPTS_DIR, str(place.prompts))
        patch.setenv(paths.CACHE_DIR, str(place.cache))
        yield


def copied(place: Place, root: Path) -> Place:
    """A copy of a place that shares the content of its files: a damaged one is written anew, never changed."""
    shutil.copytree(place.root, root, copy_function=os.link)
    return Place(root, place.backbone)


def _store(place: Place, whole: Place) -> None:
    check(place.store, whole.whole, damaged=True)


def _features(place: Place, whole: Place) -> None:
    for path in sorted(whole.features.rglob("*.safetensors")):
        other = place.features / path.relative_to(whole.features)
        stored_names(other)
        try:
            damaged = read_file(other)
        except DamagedFileError:
            continue
        _same_tensors(damaged.tensors, read_file(path).tensors)
        assert (damaged.grid, damaged.size) == (read_file(path).grid, read_file(path).size), "another shape, silently"


def _parameters(place: Place, whole: Place) -> None:
    info = load_backbone(str(place.backbone)).info
    find_parameters("april_gan", info, "others", [place.checkpoints])
    (path,) = whole.checkpoints.rglob("*.safetensors")
    expected, expected_record = load_parameters(path, "april_gan", info)
    try:
        tensors, record = load_parameters(place.checkpoints / path.relative_to(whole.checkpoints), "april_gan", info)
    except VlmadError:
        return
    _same_tensors(tensors, expected)
    assert record.training_data == expected_record.training_data, "said to be trained on other data, silently"


def _weights(place: Place, whole: Place) -> None:
    with living_in(place), contextlib.suppress(VlmadError):
        held_weights()


def _training(place: Place, whole: Place) -> None:
    try:
        state = load_progress(place.root / "state.unfinished", "plan")
    except VlmadError:
        return
    expected = load_progress(whole.root / "state.unfinished", "plan")
    assert state is not None
    assert expected is not None
    _same_tensors({**state.parameters, **state.optimiser}, {**expected.parameters, **expected.optimiser})
    assert state.losses == expected.losses, "gone on with other losses, silently"


def _same_tensors(found: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> None:
    assert found.keys() <= expected.keys(), "other tensors, silently"
    wrong = [name for name, tensor in found.items() if not torch.equal(tensor, expected[name])]
    assert not wrong, f"wrong values, silently: {wrong}"


def _words(place: Place, whole: Place) -> None:
    with living_in(place):
        available_ensembles()
        with contextlib.suppress(VlmadError):
            load_ensemble("my_words")


def _plans(place: Place, whole: Place) -> None:
    with contextlib.suppress(VlmadError):
        read_plan(place.plans / "plan.json", {})


def _jobs(place: Place, whole: Place) -> None:
    for job in jobs.list_jobs(place.workspace):
        assert job.words
        jobs.log_lines(job)
        job.to_json()
    queue.take_next(place.workspace)


def _parts(place: Place, whole: Place) -> None:
    with living_in(place):
        list_parts()
        read_decisions(PART)
        with contextlib.suppress(VlmadError):
            find_part(PART.slug)


def _notes(place: Place, whole: Place) -> None:
    """Notes are their writers' own words: any that can be read are shown."""
    read_annotations(place.store)
    for demo in read_demos(place.store).items:
        read_saved(demo)
        saved_picture(demo, "image.webp")
    read_commands([place.store])
    assert not any(problem.kind.startswith("damaged_u") for problem in open_store(place.store).problems)


UNIT = "store/widgets/*shot*/bolt"

KINDS = {
    kind.name: kind
    for kind in (
        *(Kind(f"a unit's {name}", f"{UNIT}/{name}", _store, pages=True) for name in (
            "unit.json", "images.parquet", "metrics.parquet", "curves.parquet", "regions.parquet", "explain.parquet",
            "replicates.parquet", "grids.npz",
        )),
        Kind("run.json", "store/widgets/*shot*/run.json", _store, pages=True),
        Kind("failed.json", "store/widgets/*shot*/failed.json", _store, pages=True),
        Kind("thumbnails", "store/widgets/thumbnails/*.parquet", _store, pages=True),
        Kind("notes", "store/annotations/failures/*/*.json", _notes, pages=True),
        Kind("saved demos", "store/annotations/demos/*/*", _notes, pages=True),
        Kind("records of commands", "store/.commands/*", _notes, pages=True),
        Kind("cached features", "features/*/*/*.safetensors", _features),
        Kind("weights noted at first use", "cache/*.json", _weights),
        Kind("parameters", "checkpoints/april_gan/*.safetensors", _parameters),
        Kind("records of training", "checkpoints/april_gan/*.json", _parameters),
        Kind("unfinished training", "state.unfinished", _training),
        Kind("prompts", "prompts/*.yaml", _words),
        Kind("plans", "plans/*.json", _plans),
        Kind("jobs", "workspace/.jobs/*/*", _jobs),
        Kind("parts and decisions", "workspace/widget/**/*.json", _parts),
    )
}  # fmt: skip
"""Every kind of file that is read back."""
