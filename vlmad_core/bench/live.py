"""How soon does an upload have its verdicts? The real server, a real browser, the bundled backbone.

Times run from the moment the file is given to the page to the moment a method's score stands in it, both by the
browser's clock. So they hold the upload, decoding, the page's script, the methods, the way back and the drawing.
Every repetition is a new visitor with another image; only what visitors share (the loaded backbone, embedded
prompts) is there from the second one on.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vlmad_core.bench.serving import chromium, cpu_seconds_of, new_tab, start_server, stop_server
from vlmad_core.engine.profiling import load_average, percentile
from vlmad_core.errors import VlmadError
from vlmad_core.paths import BACKBONE

METHODS = ("clip_ac", "clip_cpe", "winclip", "april_gan")
FIRST, ALL = 1.0, 3.0
"""Targets in seconds: the first method's score, and those of all four."""
REPEATS = 5

WATCH = """
(() => {
  const watch = window.watch = {given: 0, scores: []};
  document.addEventListener('change', event => {
    if (event.target.type === 'file') { watch.given = performance.now(); watch.scores = []; }
  }, {capture: true});
  new MutationObserver(() => {
    if (!watch.given) return;
    const text = document.querySelector('[data-testid=stMain]')?.textContent ?? '';
    const found = (text.match(/score \\d/g) ?? []).length;
    while (watch.scores.length < found) watch.scores.push((performance.now() - watch.given) / 1000);
  }).observe(document, {subtree: true, childList: true, characterData: true});
})();
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``bench live``."""
    parser.add_argument("--repeats", type=int, default=REPEATS, help="visitors after the first (default: %(default)s)")
    parser.add_argument("--backbone", help="a folder or hub id in the place of the bundled backbone")
    parser.add_argument("--json", action="store_true", help="print the figures as json")


def run(args: argparse.Namespace) -> int:
    """Serve the dashboard, upload images, print the figures.

    Returns:
        0, or 1 if a target is missed.

    Raises:
        VlmadError: If there is no browser, or a page does not come.
    """
    if args.repeats < 1:
        raise VlmadError("There is nothing to measure.", "Use at least 1 repeat.")
    figures = measure(_images(args.repeats + 1), args.backbone)
    print(json.dumps(figures, indent=1) if args.json else text(figures))
    return 0 if figures["ok"] else 1


def measure(images: Sequence[Path], backbone: str | None = None) -> dict[str, Any]:
    """Upload one image per visitor, one visitor after the other.

    Args:
        images: The images; the first one's times are reported apart.
        backbone: What to judge with; None for the bundled one.

    Returns:
        Figures as plain values: seconds by visitor, medians, and whether the targets are met.

    Raises:
        VlmadError: If there is no browser, or a page does not come.
    """
    launch = chromium()
    from playwright.sync_api import Error as BrowserError

    before = load_average()
    threads = str(os.cpu_count() or 1)
    extra = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", threads)}
    process, address = start_server(None, extra | ({BACKBONE: backbone} if backbone else {}))
    try:
        with launch() as browser:
            measured = [_visitor(browser, address, image, process.pid) for image in images]
    except BrowserError as error:
        raise VlmadError(
            f"The live demo did not answer: {str(error).splitlines()[0]}", "Look at it: make app."
        ) from None
    finally:
        stop_server(process)
    visitors = [scores for scores, _ in measured]
    later = visitors[1:]
    spent = [seconds for _, seconds in measured[1:] if seconds is not None]
    first = percentile([scores[0] for scores in later], 0.5) or 0.0
    whole = percentile([scores[-1] for scores in later], 0.5) or 0.0
    return {
        "methods": list(METHODS),
        "first_result_seconds": round(first, 3),
        "all_results_seconds": round(whole, 3),
        "first_visitor_seconds": [round(seconds, 3) for seconds in visitors[0]],
        "server_processor_seconds": round(percentile(spent, 0.5) or 0.0, 3) if spent else None,
        "visitors_seconds": [[round(seconds, 3) for seconds in scores] for scores in later],
        "targets": {"first_result_seconds": FIRST, "all_results_seconds": ALL},
        "ok": first <= FIRST and whole <= ALL,
        "cores": os.cpu_count(),
        "threads": int(extra["OMP_NUM_THREADS"]),
        "load_before": before,
    }


def text(figures: dict[str, Any]) -> str:
    """The figures in words."""
    first, count = figures["first_visitor_seconds"], len(figures["visitors_seconds"])
    processor = figures["server_processor_seconds"]
    shown = "not known on this system" if processor is None else f"{processor:.2f} s"
    return "\n".join(
        [
            f"{count} visitors with one upload each, methods {', '.join(figures['methods'])}, "
            f"{figures['threads']} threads on {figures['cores']} cores, load before {figures['load_before']}",
            f"first result after upload, median   {figures['first_result_seconds']:.2f} s    (target {FIRST} s)",
            f"all four methods, median            {figures['all_results_seconds']:.2f} s    (target {ALL} s)",
            f"server's processor time, median     {shown}",
            f"the very first visitor              {first[0]:.2f} s and {first[-1]:.2f} s",
            "all targets met" if figures["ok"] else "a target is missed",
        ]
    )


def _visitor(browser: Any, address: str, image: Path, server: int) -> tuple[list[float], float | None]:
    """A new visitor's seconds from the upload to each of the four scores, and the server's processor time for it."""
    tab = new_tab(browser, WATCH)
    tab.goto(f"{address}/live_demo")
    _settle(tab)
    tab.get_by_role("radio", name="Upload").first.click()
    tab.locator("input[type=file]").first.wait_for(state="attached")
    _settle(tab)
    tab.get_by_role("button", name="AprilLab").first.click()
    _settle(tab)
    words = tab.get_by_label("What is it?", exact=False)
    words.fill("capsule")
    words.press("Enter")
    _settle(tab)
    before = cpu_seconds_of(server)
    tab.locator("input[type=file]").first.set_input_files(image)
    tab.wait_for_function("count => window.watch.scores.length >= count", arg=len(METHODS))
    scores = [float(seconds) for seconds in tab.evaluate("window.watch.scores")]
    after = cpu_seconds_of(server)
    tab.context.close()
    return scores[: len(METHODS)], None if before is None or after is None else after - before


def _settle(tab: Any) -> None:
    tab.wait_for_selector("h1")
    tab.wait_for_timeout(300)
    tab.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]")


def _images(count: int) -> list[Path]:
    """Different images of a bundled category."""
    from vlmad_core.datasets import load_dataset

    samples = load_dataset("bundled_a").select("capsule", "test")
    if count > len(samples):
        raise VlmadError(f"There are only {len(samples)} images to upload.", f"Use at most {len(samples) - 1} repeats.")
    return [sample.image_path for sample in samples[:: max(1, len(samples) // count)][:count]]
