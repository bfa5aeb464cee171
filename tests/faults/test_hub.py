"""A hub that can't be reached, answers slowly, or answers nonsense: it is said, and nothing of it is ever taken."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.processes import ROOT, WAIT
from tests.workspace.test_downloads import NAME, SmallHub
from vlmad_core import paths

HTML = b"<!doctype html><html><body>Please sign in to the network.</body></html>"
WEIGHTS = "model.safetensors"


class FaultyHub(SmallHub):
    """A hub with a model for each fault: ``someone/<fault>`` is that model as such a hub gives it."""

    def __init__(self, folder: Path) -> None:
        self.over = threading.Event()
        super().__init__(folder)

    def answer(self, to: Any, *, send: bool) -> None:
        owner, _, rest = to.path.partition("someone/")
        fault, slash, what = rest.partition("/")
        fault, question, query = fault.partition("?")
        to.path = f"{owner}{NAME}{question}{query}{slash}{what}"
        last = to.path.partition("?")[0].rpartition("/")[2]
        if fault in FAULTS:
            FAULTS[fault](self, to, last, send)
        else:
            super().answer(to, send=send)

    def close(self) -> None:
        self.over.set()
        self.server.shutdown()
        self.server.server_close()


Fault = Callable[[FaultyHub, Any, str, bool], None]


def _html(hub: FaultyHub, to: Any, last: str, send: bool) -> None:
    """What a hotel's network answers to everything."""
    hub._give(to, 200, HTML, {"Content-Type": "text/html", "ETag": '"x"', "X-Repo-Commit": "c" * 40}, send)


def _slow(hub: FaultyHub, to: Any, last: str, send: bool) -> None:
    """It takes the question and never answers."""
    hub.over.wait(WAIT)
    to.close_connection = True


def _busy(hub: FaultyHub, to: Any, last: str, send: bool) -> None:
    hub._give(to, 503, b"busy", {}, send)


def _no_json(hub: FaultyHub, to: Any, last: str, send: bool) -> None:
    hub._give(to, 200, b'{"id": ', {"Content-Type": "application/json"}, send)


def _other_form(hub: FaultyHub, to: Any, last: str, send: bool) -> None:
    hub._give(to, 200, b'{"siblings": 3, "sha": []}', {"Content-Type": "application/json"}, send)


def _html_for_weights(hub: FaultyHub, to: Any, last: str, send: bool) -> None:
    """The description is right, and the weights are a page that says so."""
    if last == WEIGHTS and send:
        hub._give(to, 200, HTML, {"Content-Type": "text/html"}, send)
    else:
        SmallHub.answer(hub, to, send=send)


def _changed_weights(hub: FaultyHub, to: Any, last: str, send: bool) -> None:
    """One bit on the way."""
    if last == WEIGHTS and send:
        content = bytearray(hub.files[WEIGHTS])
        content[-5] ^= 4
        etag = hashlib.sha256(hub.files[WEIGHTS]).hexdigest()
        hub._give(to, 200, bytes(content), {"ETag": f'"{etag}"', "X-Repo-Commit": "c" * 40}, send)
    else:
        SmallHub.answer(hub, to, send=send)


FAULTS: dict[str, Fault] = {
    "html": _html, "slow": _slow, "busy": _busy, "no-json": _no_json, "other-form": _other_form,
    "html-for-weights": _html_for_weights, "changed-weights": _changed_weights,
}  # fmt: skip

LOOK_UP = """
import json, sys
from pathlib import Path
from vlmad_core.backbones import hub, load_backbone
from vlmad_core.errors import VlmadError
from vlmad_core.workspace import jobs, queue, worker
hub.CONNECT_SECONDS, hub.PAUSE = 1, 0.01
workspace, told = Path(sys.argv[1]), {}
for name in sys.argv[2:]:
    job = queue.submit_download(workspace, name)
    worker.work(workspace)
    job = jobs.find_job(workspace, job.id)
    told[name] = {"stands": job.state.stands, "reason": job.state.reason, "weights": "", "loading": ""}
    told[name]["cached"] = hub.cached_model(name) is not None
    try:
        told[name]["weights"] = load_backbone(name).info.weights_hash
    except VlmadError as error:
        told[name]["loading"] = str(error)
print(json.dumps(told))
"""
"""Downloads models as jobs and loads them, one after the other, and prints what came of it."""


@pytest.fixture
def hub(tiny_clip: Path) -> Iterator[FaultyHub]:
    made = FaultyHub(tiny_clip)
    yield made
    made.close()


def ask(address: str, folder: Path, names: list[str]) -> dict[str, Any]:
    environment = {**os.environ, "HF_ENDPOINT": address, "HF_HUB_OFFLINE": "0", "HF_HOME": str(folder / "hf")}
    environment[paths.CACHE_DIR] = str(folder / "kept")  # where what the weights were at first use is noted
    environment |= {"NO_PROXY": "127.0.0.1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    environment.pop("HF_HUB_CACHE", None)
    command = [sys.executable, "-c", LOOK_UP, str(folder / "workspace"), *names]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=WAIT, check=False)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def check_refused(told: dict[str, Any]) -> None:
    assert told["stands"] == "failed", told
    assert "hub" in told["reason"], told
    assert not told["cached"], "half a model is taken for a whole one"
    assert not told["weights"], "weights were loaded all the same"
    assert "hub" in told["loading"], told


@pytest.mark.parametrize(
    "names", [["html", "changed-weights"], pytest.param([*FAULTS], marks=pytest.mark.slow)], ids=["short", "all"]
)
def test_a_faulty_hub_is_named_and_nothing_of_it_is_taken(
    names: list[str], hub: FaultyHub, tmp_path: Path, tiny_clip: Path, cases_of: Any
) -> None:
    from vlmad_core.backbones import load_backbone

    told = ask(hub.address, tmp_path, [*(f"someone/{name}" for name in names), NAME])
    with cases_of("faulty hub") as cases:
        for name in names:
            with cases.case(name):
                check_refused(told[f"someone/{name}"])
        with cases.case("whole again"):
            assert told[NAME]["stands"] == "done", told[NAME]
            assert told[NAME]["weights"] == load_backbone(str(tiny_clip)).info.weights_hash


@pytest.mark.slow
def test_a_hub_that_is_not_there_is_named(hub: FaultyHub, tmp_path: Path, cases_of: Any) -> None:
    address = hub.address
    hub.close()
    told = ask(address, tmp_path, ["someone/anything"])
    with cases_of("faulty hub") as cases, cases.case("unreachable"):
        check_refused(told["someone/anything"])
