"""Fetching a backbone from the hub as a job, from a small hub of our own on this machine."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from vlmad_core.backbones import load_backbone
from vlmad_core.workspace import queue
from vlmad_core.workspace.jobs import find_job

NAME = "someone/tiny"
COMMIT = "c" * 40


class SmallHub:
    """Serves the files of a folder as the hub would: descriptions, HEAD with etag and size, GET with ranges.

    Attributes:
        served: Of each GET for the weights: the first byte that was asked for, and how many bytes were given.
        most: Bytes after which a connection breaks; None for all.
        held: While it is set, connections that are to break wait instead, as on a line that has gone dead.
    """

    def __init__(self, folder: Path) -> None:
        self.files = {path.name: path.read_bytes() for path in folder.iterdir()}
        self.served: list[tuple[int, int]] = []
        self.most: int | None = None
        self.held = threading.Event()
        hub = self

        class Answer(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args: Any) -> None:
                """Say nothing."""

            def do_HEAD(self) -> None:
                hub.answer(self, send=False)

            def do_GET(self) -> None:
                hub.answer(self, send=True)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def answer(self, to: BaseHTTPRequestHandler, *, send: bool) -> None:
        path = to.path.partition("?")[0]
        name = path.rpartition("/")[2]
        if path == f"/api/models/{NAME}":
            siblings = [{"rfilename": name, "size": len(content)} for name, content in self.files.items()]
            about = {"id": NAME, "sha": COMMIT, "siblings": siblings, "cardData": {"license": "cc0-1.0"}}
            self._give(to, 200, json.dumps(about).encode(), {"Content-Type": "application/json"}, send)
        elif path.startswith(f"/{NAME}/resolve/") and name in self.files:
            content = self.files[name]
            etag = hashlib.sha256(content).hexdigest()
            headers = {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
            asked = to.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")[0]
            first = int(asked) if send else 0
            if first:
                headers["Content-Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
            breaks = self.most if name == "model.safetensors" and send else None
            part = content[first:]
            if name == "model.safetensors" and send:
                self.served.append((first, len(part) if breaks is None else min(breaks, len(part))))
            self._give(to, 206 if first else 200, part, headers, send, breaks)
        else:
            self._give(to, 404, b"", {}, send)

    def _give(
        self, to: Any, code: int, content: bytes, headers: dict[str, str], send: bool, breaks: int | None = None
    ) -> None:
        to.send_response(code)
        for key, value in {**headers, "Content-Length": str(len(content))}.items():
            to.send_header(key, value)
        to.end_headers()
        if send:
            to.wfile.write(content[:breaks])
            if breaks is not None and breaks < len(content):
                to.wfile.flush()
                while self.held.is_set():
                    time.sleep(0.01)
                to.close_connection = True


@pytest.fixture
def hub(tiny_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SmallHub]:
    made = SmallHub(tiny_clip)
    for name, value in {
        "HF_ENDPOINT": made.address, "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path / "hf"), "NO_PROXY": "127.0.0.1"
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    yield made
    made.held.clear()
    made.server.shutdown()


def test_a_download_goes_on_where_a_broken_line_and_a_kill_left_it(hub, tmp_path, tiny_clip, until, ended):
    workspace, size = tmp_path / "workspace", len(hub.files["model.safetensors"])
    hub.most = size // 3
    hub.held.set()  # the line goes dead after a third
    job = queue.submit_download(workspace, NAME)
    assert queue.submit_download(workspace, NAME).id == job.id  # asked for twice, fetched once
    queue.ensure_worker(workspace)
    weights = f"{hashlib.sha256(hub.files['model.safetensors']).hexdigest()}.vlmad-partial"
    partial = until(lambda: next((tmp_path / "hf").rglob(weights), None))
    until(lambda: partial.stat().st_size == size // 3)
    seen = until(lambda: now if (now := find_job(workspace, job.id)).progress.done >= size // 3 else None)
    assert (seen.record.doing, seen.state.stands) == ("download", "running")
    assert size < seen.progress.in_all < size + 100_000
    os.kill(seen.state.process, signal.SIGKILL)
    until(lambda: find_job(workspace, job.id).state.stands == "stopped")
    hub.held.clear()  # now it breaks after each third
    queue.go_on(workspace, job.id)
    queue.ensure_worker(workspace)
    job = ended(workspace, job.id)
    assert (job.state.stands, job.state.reason) == ("done", "")
    third = size // 3
    assert hub.served == [
        (0, third),
        (third, third),
        (2 * third, third),
        *([(3 * third, size % 3)] if size % 3 else []),
    ]
    folder = next((tmp_path / "hf").glob(f"hub/*/snapshots/{COMMIT}"))
    assert load_backbone(str(folder)).info.weights_hash == load_backbone(str(tiny_clip)).info.weights_hash
    assert not list((tmp_path / "hf").rglob("*.vlmad-partial"))


def test_without_a_connection_it_says_so(hub, tmp_path, monkeypatch, ended):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    workspace = tmp_path / "workspace"
    job = queue.submit_download(workspace, NAME)
    queue.ensure_worker(workspace)
    job = ended(workspace, job.id)
    assert job.state.stands == "failed"
    assert "offline" in job.state.reason
    assert hub.served == []
