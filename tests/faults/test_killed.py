"""Everything that writes, ended by a signal at random moments: nothing is lost, and another start ends the same."""

from __future__ import annotations

import random
import shutil
import signal
from collections.abc import Callable
from typing import Any

import pytest

from tests.faults.processes import Forks, end_at_random
from tests.faults.works import WORKS, Ground, Work

PAGES = ("overview", "leaderboard", "failures", "runs", "categories")
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)

TRIES = 8
"""Rounds in which a signal must come at least once before the work is done; each looks for it in half the time."""


def disturb(
    work: Work, by: signal.Signals, times: int, forks: Forks, undisturbed: Any, ground: Ground, rng: random.Random
) -> Callable[..., None]:
    """End a work at several random moments, one start after the other, until it was still at it once at least.

    Returns:
        What checks it, given what opens pages: first as it lies there, then after a start that comes to its end.
    """
    whole, seconds = undisturbed(work)
    ended = 0
    for _ in range(TRIES):
        if ended:
            break
        shutil.rmtree(ground.folder, ignore_errors=True)  # done before it could be ended: the machine is quicker now
        ground.folder.mkdir()
        for left in range(times, 0, -1):
            before = work.finished(ground.out)
            ended += end_at_random(forks, work.words(ground), by, seconds * left / times, rng) is not None
            if left > 1:
                work.check(ground.out, whole, before)
        seconds /= 2
    assert ended, f"{by.name} never came while {work} was at it"
    return lambda look: work.check(ground.out, whole, before, look=look, again=lambda: work.again(forks, ground))


SHORT = {
    ("precompute", signal.SIGKILL), ("train", signal.SIGTERM), ("import maps", signal.SIGINT), ("a job", signal.SIGKILL)
}  # fmt: skip
"""What ``make test`` tries, once each."""

CASES = [
    pytest.param(name, by, number, marks=() if number == 0 and (name, by) in SHORT else pytest.mark.slow)
    for name in WORKS
    for by in SIGNALS
    for number in range(4)
]
"""Each work with each signal: a start that is ended, or two or three, one after the other."""


@pytest.mark.parametrize(("name", "by", "number"), CASES)
def test_ended_at_random_moments_nothing_is_lost_and_it_ends_the_same(
    name, by, number, forks, undisturbed, widgets, tiny_clip, tmp_path, look, cases_of, rng
):
    work, ground = WORKS[name], Ground(widgets, tiny_clip, tmp_path / "ground")
    with cases_of(f"{by.name} in {name}") as cases, cases.case(f"start {number}"):
        disturb(work, by, 1 + number % 3, forks, undisturbed, ground, rng)(look(PAGES[number : number + 2]))
