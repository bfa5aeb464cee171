"""Waiting for what another process does."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vlmad_core.workspace.jobs import Job, find_job

WAIT = 240.0
"""Seconds until a test gives up, on a busy machine."""


@pytest.fixture
def until() -> Callable[[Callable[[], Any]], Any]:
    """A function that waits until something is true, and gives it."""

    def wait(true: Callable[[], Any]) -> Any:
        end = time.monotonic() + WAIT
        while time.monotonic() < end:
            if value := true():
                return value
            time.sleep(0.01)
        raise AssertionError("it never came to that")

    return wait


@pytest.fixture
def ended(until: Callable[[Callable[[], Any]], Any]) -> Callable[[Path, str], Job]:
    """A function that waits for the end of a job."""
    return lambda workspace, job: until(lambda: now if not (now := find_job(workspace, job)).open else None)
