"""Take a picture of every page, light and dark, wide and narrow: ``python tests/app/screenshots.py [--out DIR]``.

Not a test: pictures are made to be looked at. The functions that serve the app are shared with the browser tests.
"""

from __future__ import annotations

import argparse
import ast
import io
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from PIL import Image

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # called as a script, only its own folder is known

from vlmad_core.bench.serving import FLAGS, PATIENCE, find_browser, start_server, stop_server  # noqa: E402

THEMES = ("light", "dark")
WIDTHS = (1280, 390)
TALLEST = 2600
MILLISECONDS = 1000 * PATIENCE

CHOSEN = (
    ("overview", "light"),
    ("categories?dataset=bundled_a&metric=pixel_auroc", "dark"),
    ("failures?dataset=bundled_a&category=all&method=patch_memory&shots=4&list=found", "light"),
    ("leaderboard", "dark"),
)
"""Pages and themes of the pictures for the README."""
CHOSEN_SIZE = (1280, 980)
CHOSEN_WIDTH = 1000
"""Width of those pictures as files, in pixels."""

__all__ = ["FLAGS", "all_pages", "settle", "start_server", "stop_server", "take"]


def all_pages() -> tuple[str, ...]:
    """Names of all pages, as the navigation in ``app.py`` lists them."""
    tree = ast.parse((ROOT / "app.py").read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "VIEWS":
            views: dict[str, list[tuple[str, ...]]] = ast.literal_eval(node.value)
            return tuple(view[0] for section in views.values() for view in section)
    raise RuntimeError("app.py has no VIEWS.")


def settle(tab: Any) -> None:
    """Wait until the script behind a page has finished and its figures are drawn."""
    tab.wait_for_selector("h1", timeout=MILLISECONDS)
    tab.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]", timeout=MILLISECONDS)
    tab.wait_for_function("() => !document.querySelector('[data-testid=stSkeleton]')", timeout=MILLISECONDS)


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
        browser = driver.chromium.launch(executable_path=str(find_browser()), args=list(FLAGS))
        for theme in themes:
            for width in widths:
                context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)
                tab = context.new_page()
                for page in pages:
                    name, _, parameters = page.partition("?")
                    path = "" if name == "overview" else name
                    tab.set_viewport_size({"width": width, "height": 900})
                    tab.goto(f"{address}/{path}{'?' + parameters if parameters else ''}", timeout=MILLISECONDS)
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


def take_chosen(address: str, out: Path) -> list[Path]:
    """Take the pictures for the README, small enough to be kept with the code.

    Args:
        address: Where the app is served.
        out: Folder for the pictures; made if it isn't there.

    Returns:
        The files, ``<page>.webp``.
    """
    from playwright.sync_api import sync_playwright

    out.mkdir(parents=True, exist_ok=True)
    files = []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(find_browser()), args=list(FLAGS))
        for page, theme in CHOSEN:
            width, height = CHOSEN_SIZE
            context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=theme)
            tab = context.new_page()
            name, _, parameters = page.partition("?")
            tab.goto(f"{address}/{'' if name == 'overview' else name}?{parameters}", timeout=MILLISECONDS)
            settle(tab)
            tab.wait_for_timeout(2500)  # figures fade in
            files.append(out / f"{name}.webp")
            picture = Image.open(io.BytesIO(tab.screenshot())).convert("RGB")
            small = picture.resize((CHOSEN_WIDTH, round(height * CHOSEN_WIDTH / width)), Image.Resampling.LANCZOS)
            small.save(files[-1], "WEBP", quality=82, method=6)
            context.close()
        browser.close()
    return files


def main(arguments: list[str] | None = None) -> int:
    """Serve the app, take the pictures, end the app."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "screenshots", help="folder for the pictures")
    parser.add_argument("--store", type=Path, help="results to show (default: those of the checkout)")
    parser.add_argument("--pages", nargs="+", default=list(all_pages()), help="only these, with parameters if need be")
    parser.add_argument("--themes", nargs="+", default=list(THEMES), choices=THEMES)
    parser.add_argument("--widths", nargs="+", type=int, default=list(WIDTHS))
    parser.add_argument("--address", help="where the app is served already; else it is started")
    parser.add_argument("--readme", type=Path, help="only the four pictures of the README, small, into this folder")
    given = parser.parse_args(arguments)
    process = None
    address = given.address
    if address is None:
        process, address = start_server(given.store.resolve() if given.store else None)
    try:
        if given.readme is not None:
            for file in take_chosen(address, given.readme):
                print(file, file.stat().st_size)
            return 0
        for file in take(address, given.out, given.pages, given.themes, given.widths):
            print(file)
    finally:
        if process is not None:
            stop_server(process)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
