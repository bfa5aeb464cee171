"""Jobs: files in a workspace, a queue, and a process that does one after the other."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vlmad_core import paths
from vlmad_core.cli import main
from vlmad_core.engine.options import PlanOptions, make_options, plain_options
from vlmad_core.errors import StoreError, VlmadError
from vlmad_core.io import LOCK_FOLDER, lock
from vlmad_core.signals import Stopped, ending_in_order
from vlmad_core.workspace import jobs, parts, queue, worker
from vlmad_core.workspace.jobs import find_job, list_jobs, log_lines

ROOT = Path(__file__).parents[2]


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VLMAD_JOBS", raising=False)
    return tmp_path / "workspace"


@pytest.fixture
def data(tmp_path: Path, tiny_dataset: Callable[..., Path]) -> Path:
    return tiny_dataset(tmp_path / "widgets", train=1, normal=2, defective=1)


@pytest.fixture
def plan(data: Path, tiny_clip: Path) -> Callable[..., PlanOptions]:
    def make(store: Path, **changes: Any) -> PlanOptions:
        values = {
            "datasets": [str(data)], "methods": ["clip_ac", "winclip"], "backbone": str(tiny_clip), "store": str(store),
            "batch_size": 4, "threads": 1, "latency_images": 0,
        }  # fmt: skip
        return make_options({**values, **changes})

    return make


def units(store: Path) -> list[Path]:
    return list(store.glob("widgets/*/[!.]*/unit.json"))


def test_a_job_outlives_who_started_it_and_killed_goes_on_to_the_same_units_while_the_second_waits(
    workspace, plan, tmp_path, content_of, until, ended
):
    """Killed after its first unit; what looks on is another process than what started it, as a restarted dashboard."""
    (tmp_path / "plan.json").write_text(json.dumps(plain_options(plan(tmp_path / "killed"))))
    command = [sys.executable, "-m", "vlmad_core", "jobs", "run", "--workspace", str(workspace), "--json", "--plan"]
    started = subprocess.run(
        [*command, str(tmp_path / "plan.json")], capture_output=True, text=True, cwd=ROOT, timeout=240, check=True
    )
    first = find_job(workspace, json.loads(started.stdout)["id"])
    second = queue.submit(workspace, plan(tmp_path / "second", categories=["bolt"]), "the second")
    assert not queue.ensure_worker(workspace)  # one is at work
    until(lambda: units(tmp_path / "killed") and find_job(workspace, first.id).progress.in_all)
    first, second = list_jobs(workspace)
    assert (first.state.stands, second.state.stands, second.place) == ("running", "queued", 1)
    assert second.words == "waiting, 1 before it"
    assert first.progress.in_all == 12
    assert first.state.process is not None
    os.kill(first.state.process, signal.SIGKILL)
    until(lambda: find_job(workspace, first.id).state.stands == "stopped")
    first, second = find_job(workspace, first.id), find_job(workspace, second.id)
    assert "was killed" in first.state.reason
    assert first.can_go_on
    assert (second.state.stands, second.place) == ("queued", 0)
    before = len(units(tmp_path / "killed"))
    assert before < 6
    queue.go_on(workspace, first.id)  # behind the second
    assert queue.ensure_worker(workspace)  # whoever looks starts what a killed process did not
    assert ended(workspace, second.id).state.units == {"computed": 2}
    assert ended(workspace, first.id).state.units == {"kept": before, "computed": 6 - before}
    assert main(["precompute", "--plan", str(tmp_path / "plan.json"), "--store", str(tmp_path / "whole")]) == 0
    assert content_of(tmp_path / "killed") == content_of(tmp_path / "whole")


def test_a_job_whose_process_is_ended_says_by_what_and_can_go_on(workspace, plan, tmp_path, monkeypatch, capsys):
    job = queue.submit(workspace, plan(tmp_path / "store"), "widgets")
    monkeypatch.setattr(worker, "_compute", lambda *_: signal.raise_signal(signal.SIGTERM))
    with ending_in_order(), pytest.raises(Stopped):
        worker.work(workspace)
    job = find_job(workspace, job.id)
    assert job.state.stands == "stopped"
    assert "ended by SIGTERM. What is finished is kept" in job.state.reason
    assert "stopped by SIGTERM" in capsys.readouterr().err
    assert job.can_go_on
    assert not (workspace / jobs.FOLDER / LOCK_FOLDER).exists()


def test_who_cancels_keeps_what_is_done(workspace, plan, tmp_path, until):
    job = queue.submit(workspace, plan(tmp_path / "store"), "widgets", part="widget")
    thread = threading.Thread(target=worker.work, args=(workspace,))
    thread.start()
    until(lambda: units(tmp_path / "store"))
    assert queue.cancel(workspace, job.id).ending
    thread.join(240)
    job = find_job(workspace, job.id)
    done = len(units(tmp_path / "store"))
    assert (job.state.stands, job.state.units) == ("cancelled", {"computed": done})
    assert done < 6
    with pytest.raises(StoreError, match="is cancelled: nothing is left to cancel"):
        queue.cancel(workspace, job.id)
    queue.go_on(workspace, job.id)
    worker.work(workspace)
    job = find_job(workspace, job.id)
    assert (job.state.stands, job.state.units) == ("done", {"kept": done, "computed": 6 - done})
    assert job.progress.share == 1.0
    assert any("clip_ac" in line or "CLIP-AC" in line for line in log_lines(job))
    assert not job.can_go_on
    with pytest.raises(StoreError, match="nothing to go on with"):
        queue.go_on(workspace, job.id)


def test_a_crash_is_shown_with_its_reason_and_can_go_on(workspace, plan, data, tmp_path, monkeypatch):
    job = queue.submit(workspace, plan(tmp_path / "store", categories=["bolt"], methods=["clip_ac"]), "widgets")
    shutil.move(data, tmp_path / "elsewhere")
    worker.work(workspace)
    job = find_job(workspace, job.id)
    assert job.state.stands == "failed"
    assert "widgets" in job.state.reason
    assert "failed: " in job.words
    shutil.move(tmp_path / "elsewhere", data)

    def breaks(*args: object, **more: object) -> None:
        raise ArithmeticError("no such number")

    with monkeypatch.context() as broken:
        broken.setattr("vlmad_core.engine.runner.run_plan", breaks)
        queue.go_on(workspace, job.id)
        worker.work(workspace)
    job = find_job(workspace, job.id)
    assert job.state.reason == "ArithmeticError: no such number"
    assert any("in breaks" in line for line in log_lines(job))
    queue.go_on(workspace, job.id)
    worker.work(workspace)
    assert find_job(workspace, job.id).state.units == {"computed": 1}


def test_units_that_fail_are_said_and_tried_again(workspace, plan, data, tmp_path):
    photo = data / "bolt" / "test" / "good" / "000.png"
    whole = photo.read_bytes()
    photo.write_bytes(b"no picture")
    job = queue.submit(workspace, plan(tmp_path / "store", categories=["bolt"], methods=["clip_ac"]), "widgets")
    worker.work(workspace)
    job = find_job(workspace, job.id)
    assert (job.state.stands, job.state.units) == ("done", {"partial": 1})
    assert "1 of 4 images could not be used" in job.state.reason
    photo.write_bytes(whole)
    queue.go_on(workspace, job.id)
    worker.work(workspace)
    job = find_job(workspace, job.id)
    assert (job.state.units, job.state.reason) == ({"computed": 1}, "")


def test_the_queue_has_an_order_and_everybody_a_place(workspace, plan, tmp_path):
    assert list_jobs(workspace) == ()
    with pytest.raises(StoreError, match="no job is called 'x'"):
        find_job(workspace, "x")
    first, second, third = (queue.submit(workspace, plan(tmp_path / "s"), name, part=name) for name in "abc")
    assert [(job.id, job.place) for job in list_jobs(workspace)] == [(first.id, 0), (second.id, 1), (third.id, 2)]
    assert [job.place for job in list_jobs(workspace, part="b")] == [1]
    assert queue.cancel(workspace, first.id).state.stands == "cancelled"
    queue.go_on(workspace, first.id[-4:])
    assert [job.id for job in list_jobs(workspace)] == [second.id, third.id, first.id]
    taken = queue.take_next(workspace)
    assert taken is not None
    assert taken.id == second.id
    assert find_job(workspace, second.id).state.stands == "stopped"  # nobody holds the worker's lock
    with lock(workspace / jobs.FOLDER, jobs.WORKER):
        assert [job.place for job in list_jobs(workspace)] == [None, 1, 2]
        worker.work(workspace)  # another process is at it: nothing is taken
    assert [job.state.stands for job in list_jobs(workspace)] == ["queued", "queued", "stopped"]
    following = queue.take_next(workspace)
    assert following is not None
    assert (following.id, jobs.read_job(second.home).state.stands) == (third.id, "stopped")


def test_the_oldest_that_ended_go(workspace, plan, tmp_path, monkeypatch):
    monkeypatch.setattr(queue, "MOST_KEPT", 2)
    made = [queue.submit(workspace, plan(tmp_path / "s"), str(number)) for number in range(4)]
    for job in made:
        queue.cancel(workspace, job.id)
    queue.submit(workspace, plan(tmp_path / "s"), "waits")
    assert sorted(job.state.stands for job in list_jobs(workspace)) == ["cancelled", "cancelled", "queued"]


def test_a_part_with_an_open_job_is_not_taken_from_under_it(workspace, plan, data, tmp_path, monkeypatch):
    monkeypatch.setenv("VLMAD_WORKSPACE", str(workspace))
    monkeypatch.setenv("VLMAD_DATA_DIR", str(tmp_path))
    part = parts.keep(parts.new_part("Widget", data))
    job = queue.submit(workspace, plan(tmp_path / "store"), "widgets", part.slug)
    for change in (parts.remove, parts.remove_photos):
        with pytest.raises(StoreError, match=r"A job of widget is open: waiting, next.* Cancel it first"):
            change(part)
    queue.cancel(workspace, job.id)
    other = queue.submit(workspace, plan(tmp_path / "store"), "others", "other")
    parts.remove(part)
    assert not part.home.exists()
    assert [one.id for one in list_jobs(workspace)] == [other.id]


def test_a_process_that_can_not_begin_fails_its_job_and_is_not_started_again(workspace, plan, tmp_path, monkeypatch):
    job = queue.submit(workspace, plan(tmp_path / "s"), "widgets")
    monkeypatch.setattr(sys, "executable", "/bin/sh" if os.name != "nt" else "cmd")  # finds no script of that name
    assert queue.ensure_worker(workspace)
    job = find_job(workspace, job.id)
    assert job.state.stands == "failed"
    assert "before it began: " in job.state.reason
    assert not queue.ensure_worker(workspace)
    assert job.can_go_on


def test_a_damaged_record_costs_that_job_only(workspace, plan, tmp_path):
    broken, good = (queue.submit(workspace, plan(tmp_path / "s"), name) for name in ("broken", "good"))
    (broken.home / jobs.STATE).write_text('{"stands": "asleep"}')
    found = {job.id: job for job in list_jobs(workspace)}
    assert found[good.id].place == 0
    assert found[broken.id].state.stands == "failed"
    assert "stands is 'asleep'" in found[broken.id].state.reason
    assert not found[broken.id].can_go_on


def test_jobs_start_only_where_this_machine_asks_or_it_was_allowed(workspace, monkeypatch):
    queue.check_allowed("localhost")
    with pytest.raises(VlmadError, match=f"answers to other machines.*{paths.JOBS}=1"):
        queue.check_allowed("0.0.0.0")
    monkeypatch.setenv("VLMAD_JOBS", "1")
    queue.check_allowed("0.0.0.0")


def test_the_command_line_says_what_it_needs(workspace, capsys):
    assert main(["jobs", "list"]) == 0
    assert "There are no jobs" in capsys.readouterr().out
    assert main(["jobs", "run"]) == 1
    assert main(["jobs", "run", "an-id", "--download", "a/b"]) == 1
    assert capsys.readouterr().err.count("What is to be run is not clear") == 2
    assert main(["jobs", "cancel", "nothing"]) == 1
    assert "jobs list" in capsys.readouterr().err
