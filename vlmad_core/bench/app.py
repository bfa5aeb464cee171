"""How quick is the dashboard with many results? A made-up store, the real server, a real browser.

Times run from the input event to the last change of the page that it caused, both taken by the browser's clock. So
they hold the way to the server, the page's script, the way back and the drawing.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from vlmad_core.bench.made_up import DATASET, write_made_up_store
from vlmad_core.bench.serving import LONGEST, chromium, cpu_seconds_of, new_tab, start_server, stop_server
from vlmad_core.engine.profiling import PeakSampler, load_average, percentile
from vlmad_core.errors import VlmadError

INTERACTIONS = 50
FIRST_VIEW, INTERACTION, MEMORY = 2.0, 0.7, 10**9
"""Targets: seconds, seconds (95th percentile), bytes."""
QUIET = 300
"""Milliseconds without a change after which a page counts as settled; not part of any time."""

MOST_FAILED = 5

WATCH = """
(() => {
  const watch = window.watch = {input: 0, changed: 0, ran: false};
  const mark = event => {
    if (!event.isTrusted) return;
    watch.input = watch.changed = performance.now();
    watch.ran = false;
  };
  for (const kind of ['pointerdown', 'keydown']) document.addEventListener(kind, mark, {capture: true});
  const state = () => document.querySelector('[data-testid=stApp]')?.getAttribute('data-test-script-state');
  new MutationObserver(() => {
    const now = state();
    if (now && now !== 'notRunning') watch.ran = true;
    watch.changed = performance.now();
  }).observe(document, {subtree: true, childList: true, characterData: true, attributes: true,
                        attributeFilter: ['data-test-script-state', 'src', 'd', 'data-stale']});
  watch.settled = quiet => watch.ran && state() === 'notRunning' && document.querySelector('h1')
      && !document.querySelector('[data-testid=stSkeleton]') && performance.now() - watch.changed > quiet;
})();
"""


@dataclass(frozen=True)
class Interaction:
    """One interaction and how long it took.

    Attributes:
        name: What was done.
        seconds: From the input to the last change of the page.
        server_cpu_seconds: Processor time the server spent on it, which other work on the machine leaves alone;
            None where the system does not say.
    """

    name: str
    seconds: float
    server_cpu_seconds: float | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``bench app``."""
    parser.add_argument("--runs", type=int, default=20, help="made-up runs (default: %(default)s)")
    parser.add_argument("--images", type=int, default=4000, help="images of each run (default: %(default)s)")
    parser.add_argument("--interactions", type=int, default=INTERACTIONS, help="how many (default: %(default)s)")
    parser.add_argument("--store", type=Path, help="keep the made-up store here, or use the one that is here")
    parser.add_argument("--json", action="store_true", help="print the figures as json")


def run(args: argparse.Namespace) -> int:
    """Make the store, serve it, click through it, print the figures; 1 if a target is missed."""
    if args.runs < 1 or args.images < 100 or args.interactions < 1:
        raise VlmadError("There is too little to measure.", "Use at least 1 run, 100 images and 1 interaction.")
    launch = chromium()
    store, temporary = _store(args)
    try:
        figures = measure(store, launch, args.interactions)
    finally:
        if temporary:
            shutil.rmtree(store, ignore_errors=True)
    figures |= {"runs": args.runs, "images": args.images}
    print(json.dumps(figures, indent=1) if args.json else _text(figures))
    return 0 if figures["ok"] else 1


def measure(store: Path, launch: Callable[[], Any], interactions: int = INTERACTIONS) -> dict[str, Any]:
    """Serve a store and click through it.

    Args:
        store: The results.
        launch: Opens a browser, as a context manager.
        interactions: How many.

    Returns:
        Figures as plain values: seconds, bytes, load, the steps, and whether the targets are met.
    """
    before = load_average()
    process, address = start_server(store)
    from playwright.sync_api import TimeoutError as TimedOut

    try:
        with PeakSampler(0.05, process.pid) as memory, launch() as browser:
            cold = _first_view(browser, address)
            first = _first_view(browser, address)
            tab = new_tab(browser, WATCH)
            tab.goto(address)
            _settle(tab)
            steps: list[Interaction] = []
            failed: list[str] = []
            for name, act in _script(tab):
                spent = cpu_seconds_of(process.pid)
                step = _timed(tab, name, act)
                after = cpu_seconds_of(process.pid)
                if step is None:
                    failed.append(name)
                else:
                    known = None if spent is None or after is None else round(after - spent, 2)
                    steps.append(replace(step, server_cpu_seconds=known))
                if len(steps) == interactions or len(failed) > MOST_FAILED:
                    break
    except TimedOut as error:
        raise VlmadError(
            f"The dashboard did not come up within {LONGEST:.0f} s.", "Try again when less runs on this machine."
        ) from error
    finally:
        stop_server(process)
    p95 = percentile([step.seconds for step in steps], 0.95)
    if p95 is None:
        raise VlmadError("No interaction could be done.", "Look at the dashboard: python -m vlmad_core app.")
    return {
        "first_view_seconds": round(first, 3),
        "first_view_after_start_seconds": round(cold, 3),
        "interaction_seconds": {
            "median": round(percentile([step.seconds for step in steps], 0.5) or 0.0, 3),
            "p95": round(p95, 3),
            "max": round(max(step.seconds for step in steps), 3),
        },
        "server_cpu_seconds_p95": percentile(
            [s.server_cpu_seconds for s in steps if s.server_cpu_seconds is not None], 0.95
        ),
        "server_peak_bytes": memory.peak,
        "targets": {"first_view_seconds": FIRST_VIEW, "interaction_p95_seconds": INTERACTION, "bytes": MEMORY},
        "failed_interactions": failed,
        "ok": not failed and first <= FIRST_VIEW and p95 <= INTERACTION and memory.peak < MEMORY,
        "machine": {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()},
        "load_before": before,
        "steps": [asdict(step) for step in steps],
    }


def _store(args: argparse.Namespace) -> tuple[Path, bool]:
    """The store to show, and whether it is to be removed afterwards."""
    if args.store is None:
        folder = Path(tempfile.mkdtemp(prefix="vlmad-made-up-"))
        return write_made_up_store(folder, args.runs, args.images), True
    if (args.store / DATASET).is_dir():
        return args.store.resolve(), False
    if args.store.exists() and any(args.store.iterdir()):
        raise VlmadError(f"{args.store} holds something else than a made-up store.", "Name an empty or new folder.")
    return write_made_up_store(args.store.resolve(), args.runs, args.images), False


def _settle(tab: Any) -> None:
    tab.wait_for_function("quiet => window.watch && window.watch.settled(quiet)", arg=QUIET)


def _first_view(browser: Any, address: str) -> float:
    """Seconds from opening the address in a fresh session to the last change of the page."""
    tab = new_tab(browser, WATCH)
    tab.goto(address, wait_until="commit")
    _settle(tab)
    seconds = float(tab.evaluate("window.watch.changed")) / 1000  # the browser's clock starts with the visit
    tab.context.close()
    return seconds


def _timed(tab: Any, name: str, act: Callable[[], None]) -> Interaction | None:
    """Do something and wait for the page; None if what is to be done is not there, or the page never settles."""
    from playwright.sync_api import TimeoutError as TimedOut

    try:
        act()
        _settle(tab)
    except TimedOut:
        return None
    return Interaction(name, round(float(tab.evaluate("window.watch.changed - window.watch.input")) / 1000, 3))


def _script(tab: Any) -> Iterator[tuple[str, Callable[[], None]]]:
    """Interactions without end: through all pages, and through the filters of those that have many."""
    links = tab.locator("[data-testid=stSidebarNavLink]")
    names = [urlparse(str(link.get_attribute("href"))).path.strip("/") for link in links.all()]

    def go(name: str) -> tuple[str, Callable[[], None]]:
        return f"page {name or 'overview'}", links.nth(names.index(name)).click

    def pick(label: str, place: int) -> tuple[str, Callable[[], None]]:
        def act() -> None:
            box = tab.get_by_role("combobox", name=re.compile(label)).first
            # A list of options closes when the page scrolls: what lies further down is brought into view first.
            box.scroll_into_view_if_needed()
            _settle(tab)
            box.click()
            options = tab.get_by_role("option")
            options.first.wait_for()
            options.nth(min(place, options.count() - 1)).click()

        return f"{label} {place}", act

    def press(name: str) -> tuple[str, Callable[[], None]]:
        return name, tab.get_by_role("button", name=re.compile(rf"\b{name}\b")).first.click

    def slide(key: str) -> tuple[str, Callable[[], None]]:
        slider = tab.get_by_role("slider", name="Score")
        return f"threshold {key}", lambda: slider.press(key)

    round_number = 0
    while True:
        round_number += 1
        yield from (go(name) for name in names[1:])
        yield go("categories")
        yield from (pick("^Metric", place) for place in (3 + round_number, 1))
        yield pick("difference", round_number)
        yield go("failures")
        yield from (pick("^Category", place) for place in (3 + round_number, 5))
        yield from (press("Next") for _ in range(3))
        yield from (slide(key) for key in ("ArrowRight", "ArrowRight", "ArrowLeft"))
        yield pick("^Method", 2)
        yield pick("^Threshold", 2)
        yield go("accuracy")
        yield from (pick("^Category", place) for place in (2 + round_number, 6))
        yield from (slide(key) for key in ("ArrowRight", "ArrowLeft"))
        yield go("segmentation")
        yield pick("^Category", 4 + round_number)
        yield pick("^Method", 3)
        yield go(names[0])


def _text(figures: dict[str, Any]) -> str:
    spent, memory = figures["interaction_seconds"], figures["server_peak_bytes"]
    slowest = sorted(figures["steps"], key=lambda step: -step["seconds"])[:5]
    return "\n".join(
        [
            f"{figures['runs']} made-up runs of {figures['images']} images, {len(figures['steps'])} interactions, "
            f"load before {figures['load_before']}",
            f"first view, server warm   {figures['first_view_seconds']:.2f} s    (target {FIRST_VIEW} s)",
            f"first view after start    {figures['first_view_after_start_seconds']:.2f} s",
            f"interaction, median       {spent['median']:.2f} s",
            f"interaction, p95          {spent['p95']:.2f} s    (target {INTERACTION} s)",
            f"server processor time, p95 {figures['server_cpu_seconds_p95'] or 0:.2f} s    (of an interaction)",
            f"server memory, peak       {memory / 1e6:.0f} MB    (target {MEMORY / 1e6:.0f} MB)",
            "slowest: " + ", ".join(f"{step['name']} {step['seconds']:.2f} s" for step in slowest),
            "all targets met" if figures["ok"] else "a target is missed",
        ]
    )
