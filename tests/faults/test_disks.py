"""Disks that are full, read-only or gone, under everything that writes: it is said, nothing is lost, and it goes on."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.invariants import finished
from tests.faults.processes import Forks
from tests.faults.surroundings import Surroundings
from tests.faults.works import WORKS, Ground, Work

PAGES = ("overview", "leaderboard", "failures", "runs", "segmentation", "categories")
PLENTY = "64m"


class Disk:
    """A small disk of its own, on which a fault costs nobody else anything.

    Attributes:
        path: Where it is.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        self._mount("-t", "tmpfs", "-o", f"size={PLENTY}", "tmpfs")

    @property
    def taken(self) -> int:
        """Bytes in use."""
        room = os.statvfs(self.path)
        return (room.f_blocks - room.f_bfree) * room.f_frsize

    def resize(self, size: object) -> None:
        self._mount("-o", f"remount,size={size}", "tmpfs")

    def write_protect(self, on: bool) -> None:
        self._mount("-o", f"remount,{'ro' if on else 'rw'}", "tmpfs")

    def take_away(self) -> None:
        """As if it were pulled out: whoever has a file open keeps it, no name is found any more."""
        subprocess.run(["umount", "-l", str(self.path)], capture_output=True, check=False)

    def _mount(self, *words: str) -> None:
        subprocess.run(["mount", *words, str(self.path)], capture_output=True, check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A disk of its own; whoever may not mount one skips what needs it, and says so."""
    if not hasattr(os, "geteuid") or os.geteuid() or shutil.which("mount") is None:
        pytest.skip("NOT TESTED HERE: a disk of its own can be mounted by root only")
    try:
        made = Disk(tmp_path / "disk")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"NOT TESTED HERE: no disk can be mounted: {error.stderr.decode().strip()}")
    yield made
    made.take_away()


def started_again(work: Work, forks: Forks, ground: Ground) -> Callable[[], object]:
    return lambda: work.again(forks, ground)


def refused(code: int | None, said: str) -> None:
    """The command ended by itself, and in words."""
    assert code in (0, 1, 2), f"exit code {code}: {said}"
    assert "Traceback" not in said, said


NAMES = [name for name in WORKS if name != "a job"]


SOME = ("precompute", "a job")
"""Works under a full disk in the short form."""


@pytest.mark.parametrize(
    ("name", "count"),
    [*((name, 1) for name in SOME), *(pytest.param(name, 4, marks=pytest.mark.slow) for name in WORKS)],
)
def test_a_full_disk_costs_what_did_not_fit(
    name: str, count: int, disk: Disk, forks: Forks, undisturbed: Any, widgets: Path, tiny_clip: Path,
    rng: random.Random, look: Any, cases_of: Any,
) -> None:  # fmt: skip
    work, ground = WORKS[name], Ground(widgets, tiny_clip, disk.path / "ground")
    whole, _ = undisturbed(work)
    with cases_of(f"full disk under {name}") as cases:
        for number in range(count):
            ground.folder.mkdir()
            words = work.words(ground)
            page = os.statvfs(disk.path).f_frsize
            most = sum(-(-path.stat().st_size // page) * page for path in whole.store.rglob("*") if path.is_file())
            size = disk.taken + page * rng.randrange(1, max(2, most // page))
            with cases.case(f"{size} bytes"):
                before = work.finished(ground.out)
                disk.resize(size)
                fork = forks.run(words)
                refused(fork.code, fork.said)
                work.check(ground.out, whole, before, look=look(PAGES[number : number + 1]))
                disk.resize(PLENTY)
                work.check(ground.out, whole, before, again=started_again(work, forks, ground))
            disk.resize(PLENTY)
            shutil.rmtree(ground.folder)


@pytest.mark.parametrize(
    ("name", "count"),
    [("train", 1), *(pytest.param(name, 4, marks=pytest.mark.slow) for name in ("precompute", "train", "import maps"))],
)
def test_files_that_may_not_grow_cost_what_did_not_fit(
    name: str, count: int, forks: Forks, undisturbed: Any, widgets: Path, tiny_clip: Path, tmp_path: Path,
    rng: random.Random, cases_of: Any,
) -> None:  # fmt: skip
    """What a full disk does, for whoever may not mount one: the system refuses to write beyond a size."""
    work = WORKS[name]
    whole, _ = undisturbed(work)
    largest = max(path.stat().st_size for path in whole.store.rglob("*") if path.is_file())
    with cases_of(f"bounded files under {name}") as cases:
        for number in range(count):
            ground = Ground(widgets, tiny_clip, tmp_path / str(number))
            ground.folder.mkdir()
            bound = rng.randrange(1, largest)
            with cases.case(f"{bound} bytes"):
                fork = forks.run(work.words(ground), Surroundings(largest_file=bound))
                refused(fork.code, fork.said)
                work.check(ground.out, whole, again=started_again(work, forks, ground))


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name == "import scores" else pytest.mark.slow) for name in NAMES]
)
def test_a_store_that_is_only_read_is_said_and_stays_as_it_is(
    name: str, disk: Disk, forks: Forks, undisturbed: Any, widgets: Path, tiny_clip: Path, look: Any, cases_of: Any
) -> None:
    work, ground = WORKS[name], Ground(widgets, tiny_clip, disk.path / "ground")
    whole, _ = undisturbed(work)
    ground.folder.mkdir()
    words = work.words(ground)
    with cases_of(f"read-only disk under {name}") as cases:
        with cases.case("from the beginning"):
            disk.write_protect(True)
            fork = forks.run(words)
            refused(fork.code, fork.said)
            assert fork.code, "it said that all was done"
            assert "ead-only" in fork.said, fork.said
            disk.write_protect(False)
            work.again(forks, ground)
        with cases.case("when all is done"):
            before = work.finished(ground.out)
            disk.write_protect(True)
            fork = forks.run(words)
            refused(fork.code, fork.said)
            work.check(ground.out, whole, before, look=look(PAGES[:2]))
            disk.write_protect(False)
            work.check(ground.out, whole, before, again=started_again(work, forks, ground))


@pytest.mark.parametrize("count", [1, pytest.param(4, marks=pytest.mark.slow)])
def test_data_that_is_unmounted_midway_costs_what_was_not_read(
    count: int, disk: Disk, forks: Forks, undisturbed: Any, widgets: Path, tiny_clip: Path, tmp_path: Path,
    rng: random.Random, look: Any, cases_of: Any,
) -> None:  # fmt: skip
    work = WORKS["precompute"]
    whole, seconds = undisturbed(work)
    data = disk.path / "widgets"
    with cases_of("data unmounted midway") as cases:
        for number in range(count):
            shutil.copytree(widgets, data)
            ground = Ground(data, tiny_clip, tmp_path / str(number))
            ground.folder.mkdir()
            with cases.case(f"moment {number}"):
                process = forks.start(work.words(ground))
                while process.poll() is None and not list(ground.out.rglob("run.json")):
                    time.sleep(0.002)
                time.sleep(rng.uniform(0, seconds))
                disk.take_away()
                process.poll(wait=True)
                refused(process.code, process.said)
                before = finished(ground.out)
                work.check(ground.out, whole, before, look=look(PAGES[:1]))
                shutil.copytree(widgets, data)  # it is back
                work.check(ground.out, whole, before, again=started_again(work, forks, ground))
            disk.take_away()
            disk.path.mkdir(exist_ok=True)
            shutil.rmtree(data, ignore_errors=True)
            disk._mount("-t", "tmpfs", "-o", f"size={PLENTY}", "tmpfs")
