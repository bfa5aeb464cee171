"""Take a picture of every page, light and dark, wide and narrow: ``python tests/app/screenshots.py [--out DIR]``.

Not a test: pictures are made to be looked at. The functions that serve the app are shared with the browser tests.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
PAGES = (
    "overview", "leaderboard", "categories", "accuracy", "segmentation", "efficiency", "shots", "failures",
    "live_demo", "methods", "reproduction", "runs",
)  # fmt: skip
THEMES = ("light", "dark")
WIDTHS = (1280, 390)
TALLEST = 2600
PATIENCE = 120_000
"""Milliseconds; a machine that trains a model beside it is slow."""


def start_server(store: Path | None, extra: Mapping[str, str] | None = None) -> tuple[subprocess.Popen[bytes], str]:
    """Serve the app on a free port and wait until it answers.

    Args:
        store: The results to show; None for those of the checkout.
        extra: Further environment variables.

    Returns:
        The process, which the caller ends, and the address.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", str(ROOT / "app.py"), "--server.port", str(port)]
    command += ["--server.headless", "true", "--server.fileWatcherType", "none", "--server.address", "127.0.0.1"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **(extra or {})}
    environment |= {"VLMAD_STORE": str(store)} if store else {}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT)
    address = f"http://127.0.0.1:{port}"
    for _ in range(PATIENCE // 100):
        try:
            with urllib.request.urlopen(f"{address}/_stcore/health", timeout=1):
                return process, address
        except OSError:
            time.sleep(0.1)
    stop_server(process)
    raise RuntimeError(f"The app did not answer at {address}.")


def stop_server(process: subprocess.Popen[bytes]) -> None:
    """End a server that ``start_server`` started."""
    process.terminate()
    try:
        process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def settle(tab: Any) -> None:
    """Wait until the script behind a page has finished and its figures are drawn."""
    tab.wait_for_selector("h1", timeout=PATIENCE)
    tab.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]", timeout=PATIENCE)
    tab.wait_for_function("() => !document.querySelector('[data-testid=stSkeleton]')", timeout=PATIENCE)


def take(address: str, out: Path, pages: Iterable[str], themes: Iterable[str], widths: Iterable[int]) -> list[Path]:
    """Take the pictures.

    Args:
        address: Where the app is served.
        out: Folder for the pictures; made if it isn't there.
        pages: Names of pages, each optionally with parameters (``failures?category=felt``).
        themes: ``light``, ``dark``.
        widths: In pixels.

    Returns:
        The files, ``<page>-<theme>-<width>.png``.
    """
    from playwright.sync_api import sync_playwright

    out.mkdir(parents=True, exist_ok=True)
    files = []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        for theme in themes:
            for width in widths:
                context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)
                tab = context.new_page()
                for page in pages:
                    name, _, parameters = page.partition("?")
                    path = "" if name == "overview" else name
                    tab.set_viewport_size({"width": width, "height": 900})
                    tab.goto(f"{address}/{path}{'?' + parameters if parameters else ''}", timeout=PATIENCE)
                    settle(tab)
                    tab.wait_for_timeout(1500)  # figures fade in
                    height = tab.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight")
                    tab.set_viewport_size({"width": width, "height": min(max(900, height + 16), TALLEST)})
                    tab.wait_for_timeout(1000)  # figures take their new width
                    files.append(out / f"{name}-{theme}-{width}.png")
                    tab.screenshot(path=str(files[-1]))
                context.close()
        browser.close()
    return files


def main(arguments: list[str] | None = None) -> int:
    """Serve the app, take the pictures, end the app."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "screenshots", help="folder for the pictures")
    parser.add_argument("--store", type=Path, help="results to show (default: those of the checkout)")
    parser.add_argument("--pages", nargs="+", default=list(PAGES), help="only these, with parameters if need be")
    parser.add_argument("--themes", nargs="+", default=list(THEMES), choices=THEMES)
    parser.add_argument("--widths", nargs="+", type=int, default=list(WIDTHS))
    parser.add_argument("--address", help="where the app is served already; else it is started")
    given = parser.parse_args(arguments)
    process = None
    address = given.address
    if address is None:
        process, address = start_server(given.store.resolve() if given.store else None)
    try:
        for file in take(address, given.out, given.pages, given.themes, given.widths):
            print(file)
    finally:
        if process is not None:
            stop_server(process)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
