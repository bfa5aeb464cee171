"""Several writers at once, a clock that goes backwards, and a worker without memory."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.faults.invariants import finished
from tests.faults.processes import Forks
from tests.faults.surroundings import WORKER, Surroundings, set_back
from tests.faults.works import METHODS, WORKS, Ground
from vlmad_core.engine.options import make_options
from vlmad_core.store.annotations import Annotation, read_annotations, save_annotation
from vlmad_core.store.commands import read_commands
from vlmad_core.store.reader import open_store, store_signature
from vlmad_core.store.verifying import verify_files
from vlmad_core.workspace import queue
from vlmad_core.workspace.jobs import list_jobs

TOGETHER = [name for name, work in WORKS.items() if work.writers]


@pytest.mark.parametrize(
    ("name", "writers"),
    [
        pytest.param(name, writers, marks=() if (name, writers) == ("precompute", 2) else pytest.mark.slow)
        for name in TOGETHER
        for writers in (2, 8)
    ],
)
def test_writers_in_one_store_share_the_work(
    name: str, writers: int, forks: Forks, undisturbed: Any, widgets: Path, tiny_clip: Path, tmp_path: Path,
    rng: random.Random, look: Any, cases_of: Any,
) -> None:  # fmt: skip
    work, ground = WORKS[name], Ground(widgets, tiny_clip, tmp_path)
    whole, seconds = undisturbed(work)
    words = work.words(ground)
    with cases_of(f"{writers} writers: {name}") as cases, cases.case("all of them"):
        processes = []
        for _ in range(writers):
            processes.append(forks.start([*words, "--json"]))
            time.sleep(rng.uniform(0, seconds / writers))
        for process in processes:
            process.poll(wait=True)
            refused = process.code == 1 and work.done_already and work.done_already in process.said
            assert process.code == 0 or refused, process.said
        assert any(process.code == 0 for process in processes)
        if name.startswith("precompute"):
            units = [process.outcome()["units"] for process in processes]
            assert sum(one["computed"] for one in units) == len(whole.units), "a unit was computed twice"
            assert all(one["computed"] + one["kept"] == len(whole.units) for one in units)
        work.check(ground.out, whole, whole.units if work.finished is finished else (), look=look(("overview",)))
        work.check(ground.out, whole, again=lambda: work.again(forks, ground))


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name == "import scores" else pytest.mark.slow) for name in WORKS]
)
def test_a_clock_that_goes_backwards_changes_no_result(
    name: str, forks: Forks, undisturbed: Any, widgets: Path, tiny_clip: Path, tmp_path: Path, look: Any, cases_of: Any
) -> None:
    work, ground = WORKS[name], Ground(widgets, tiny_clip, tmp_path)
    whole, _ = undisturbed(work)
    backwards = Surroundings(backwards=3600.0)
    with cases_of("clock going backwards") as cases, cases.case(name):
        fork = forks.run(work.words(ground), backwards)
        assert fork.code == 0, fork.said
        assert "Traceback" not in fork.said
        work.check(ground.out, whole, look=look(("overview", "efficiency", "runs")))
        work.check(ground.out, whole, again=lambda: forks.run(work.words(ground), backwards))


@pytest.fixture
def clock() -> Any:
    """The clock of this process goes back by an hour each time it is looked at."""
    before = set_back(3600.0)
    yield
    for module, name, value in before:
        setattr(module, name, value)


def test_orders_stay_sane_while_the_clock_goes_backwards(
    clock: None, widgets: Path, tiny_clip: Path, tmp_path: Path, cases_of: Any
) -> None:
    workspace, store = tmp_path / "workspace", tmp_path / "store"
    plan = make_options({"datasets": [str(widgets)], "methods": ["clip_ac"], "backbone": str(tiny_clip)})
    with cases_of("clock going backwards") as cases:
        with cases.case("each job has a place of its own and is taken once"):
            made = [queue.submit(workspace, plan, f"job {number}").id for number in range(5)]
            assert [job.place for job in list_jobs(workspace)] == [0, 1, 2, 3, 4]
            taken = [job.id for _ in made if (job := queue.take_next(workspace)) is not None]
            assert sorted(taken) == sorted(made)
            assert queue.take_next(workspace) is None
        with cases.case("the note that was written last is kept"):
            for text in ("first", "second", "third"):
                kept = save_annotation(store, Annotation("widgets", "bolt", "a.png", "winclip", note=text))
            (found,) = read_annotations(store).items
            assert found == kept
            assert found.note == "third"


def test_a_store_from_the_future_is_read_and_noticed_when_it_changes(
    forks: Forks, widgets: Path, tiny_clip: Path, tmp_path: Path, undisturbed: Any, look: Any, cases_of: Any
) -> None:
    work, ground = WORKS["import scores"], Ground(widgets, tiny_clip, tmp_path)
    whole, _ = undisturbed(work)
    with cases_of("clock going backwards") as cases, cases.case("files from the next year"):
        work.again(forks, ground)
        ahead = (datetime.now(UTC) + timedelta(days=365)).timestamp()
        for path in ground.out.rglob("*"):
            os.utime(path, (ahead, ahead))
        before = store_signature(ground.out)
        work.check(ground.out, whole, whole.units, look=look(("overview", "runs")))
        unit = next(ground.out.glob("widgets/*/bolt/unit.json"))
        os.utime(unit)  # as a unit that is computed anew after the clock was set right
        assert store_signature(ground.out) != before
        read_commands([ground.out])


@pytest.fixture
def photos(tmp_path: Path, tiny_dataset: Callable[..., Path]) -> Path:
    """A data set with one category whose photos are too large for a small machine."""
    data = tiny_dataset(tmp_path / "data" / "widgets", categories=("bolt", "felt"), train=1, normal=1, defective=1)
    for path in data.glob("felt/test/*/*.png"):
        Image.fromarray(np.full((6000, 6000, 3), 128, np.uint8)).save(path)
    for path in data.glob("felt/ground_truth/*/*.png"):
        Image.fromarray(np.full((6000, 6000), 255, np.uint8)).save(path)
    return data


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="NOT TESTED HERE: memory can't be bounded")
@pytest.mark.parametrize("megabytes", [64, *(pytest.param(some, marks=pytest.mark.slow) for some in (1, 8, 16, 32))])
def test_a_worker_out_of_memory_says_so_and_the_others_go_on(
    megabytes: int, photos: Path, forks: Forks, tiny_clip: Path, tmp_path: Path, look: Any, cases_of: Any
) -> None:
    """The first job needs more than there is; the second comes after it, on a machine that has enough."""
    workspace, store = tmp_path / "workspace", tmp_path / "store"
    plan = {"datasets": [str(photos)], "methods": [*METHODS], "backbone": str(tiny_clip), "batch_size": 4}
    plan |= {"threads": 1, "latency_images": 0}
    with cases_of("worker out of memory") as cases, cases.case(f"{megabytes} MB"):
        hungry = queue.submit(workspace, make_options({**plan, "store": str(store)}), "hungry")
        modest = make_options({**plan, "store": str(tmp_path / "other"), "categories": ["bolt"]})
        second = queue.submit(workspace, modest, "modest")
        forks.run([WORKER, str(workspace)], Surroundings(memory=megabytes * 2**20))
        first = next(job for job in list_jobs(workspace) if job.id == hungry.id)
        assert first.state.stands in ("done", "failed", "stopped"), first.words
        assert first.state.reason, "it says nothing"
        assert first.can_go_on
        assert forks.run([WORKER, str(workspace)]).code == 0
        other = next(job for job in list_jobs(workspace) if job.id == second.id)
        assert (other.state.stands, other.state.units) == ("done", {"computed": 2}), other.words
        if store.is_dir():
            before = finished(store)
            assert all(not verify_files(open_store(store), run.id) for run in open_store(store).runs)
            look(("overview", "runs"))(store)
        else:
            before = {}
        queue.go_on(workspace, hungry.id)
        assert forks.run([WORKER, str(workspace)]).code == 0
        after = finished(store)
        assert len(after) == 4
        assert [name for name in before if after[name] != before[name]] == [], "finished units changed"
