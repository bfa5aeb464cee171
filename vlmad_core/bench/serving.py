"""The dashboard as a process of its own, and a browser to look at it with."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import psutil

from vlmad_core import paths
from vlmad_core.dashboard import server_command
from vlmad_core.errors import VlmadError

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
PATIENCE = 120.0
"""Seconds; a machine that trains a model beside it is slow."""
LONGEST = 120.0
"""Seconds after which a page is given up."""


def find_browser() -> Path | None:
    """Where Chromium is installed, or None."""
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    return Path(found) if found else None


def chromium() -> Callable[[], AbstractContextManager[Any]]:
    """Something that opens Chromium and closes it again.

    Raises:
        VlmadError: If the browser, or the package that drives it, is missing; says how to get it.
    """
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        raise VlmadError(
            "This measurement drives a browser with the package playwright, which is not installed.",
            f"Install what development needs: {paths.how_to_install('dev')}.",
        ) from error
    path = find_browser()
    if path is None:
        raise VlmadError("No Chromium was found.", "Install it, on Debian: apt install chromium.")

    @contextmanager
    def launch() -> Iterator[Any]:
        with sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=str(path), args=list(FLAGS))
            yield browser
            browser.close()

    return launch


def new_tab(browser: Any, script: str) -> Any:
    """A tab of a new visitor, in which a script runs before the page's own."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.add_init_script(script)
    tab = context.new_page()
    tab.set_default_timeout(1000 * LONGEST)
    return tab


def free_port() -> int:
    """A port of this machine on which nobody answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start_server(
    store: Path | None, extra: Mapping[str, str] | None = None, *, port: int | None = None, log: Path | None = None
) -> tuple[subprocess.Popen[bytes], str]:
    """Serve the dashboard and wait until it answers.

    Args:
        store: The results to show; None for those that would be shown anyway.
        extra: Further environment variables.
        port: Where it answers; a free one if None.
        log: Where to write what it says; nowhere if None.

    Returns:
        The process, which the caller ends with ``stop_server``, and the address.

    Raises:
        VlmadError: If there is no dashboard, or it does not answer.
    """
    port = port or free_port()
    command = [*server_command(port, "127.0.0.1"), "--server.headless", "true", "--server.fileWatcherType", "none"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **(extra or {})}
    environment |= {paths.STORE: str(store)} if store else {}
    with Path(log or os.devnull).open("ab") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    address = f"http://127.0.0.1:{port}"
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{address}/_stcore/health", timeout=1):
                return process, address
        except OSError:
            time.sleep(0.1)
    stop_server(process)
    raise VlmadError(f"The dashboard did not answer at {address}.", "See what it says: python -m vlmad_core app.")


def stop_server(process: subprocess.Popen[bytes]) -> None:
    """End a server that ``start_server`` started."""
    process.terminate()
    try:
        process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def cpu_seconds_of(pid: int) -> float | None:
    """Processor time a process has used so far, all threads together, in seconds; None if it is gone.

    Unlike the clock it hardly depends on what else the machine is doing.
    """
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.NoSuchProcess:
        return None
    return float(times.user + times.system)
