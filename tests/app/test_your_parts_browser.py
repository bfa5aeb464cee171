"""From photos to a decision in a real browser, the dashboard restarted midway."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest

from vlmad_core.cli import main
from vlmad_core.datasets.loading import load_dataset
from vlmad_core.store.reader import open_store
from vlmad_core.workspace.jobs import list_jobs

playwright = pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")
CHROMIUM = Path("/usr/bin/chromium")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no Chromium at {CHROMIUM}"),
]
PATIENCE = 240_000


def photos() -> dict[str, bytes]:
    """Twelve good and eight defective bundled images, by name in folders ``good`` and ``bad``."""
    samples = load_dataset("bundled_a").select("capsule", "test")
    heaps = {"good": [s for s in samples if s.label == 0][:12], "bad": [s for s in samples if s.label == 1][::4][:8]}
    return {
        f"{heap}/{number:02d}.png": sample.image_path.read_bytes()
        for heap, some in heaps.items()
        for number, sample in enumerate(some)
    }


def zipped(files: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with ZipFile(content, "w") as archive:
        for name, photo in files.items():
            archive.writestr(name, photo)
    return content.getvalue()


def aurocs(store: Path) -> dict[tuple[str, int], float]:
    frame = open_store(store).metrics()
    frame = frame[frame["metric"] == "image_auroc"]
    return {(row.method, row.shots): row.value for row in frame.itertuples()}


def test_from_the_first_page_to_the_decision_and_the_dashboard_restarted_midway(
    app_server, open_tab, tmp_path: Path
) -> None:
    """Two clicks, a few words and one upload; the same values as ``precompute`` on the same files."""
    expect = playwright.expect
    store, workspace, files = tmp_path / "results", tmp_path / "workspace", photos()
    store.mkdir()
    where = {"VLMAD_WORKSPACE": str(workspace)}
    server, address = app_server.start_server(store, where)
    try:
        tab = open_tab(address)
        tab.get_by_role("link", name="Your parts").first.click()
        expect(tab.get_by_role("heading", name="1. Photos")).to_be_visible(timeout=PATIENCE)
        tab.locator("input[type=file]").first.set_input_files(
            [{"name": "capsules.zip", "mimeType": "application/zip", "buffer": zipped(files)}]
        )
        tab.get_by_label("What is it?", exact=False).fill("capsule")
        tab.keyboard.press("Enter")
        tab.get_by_role("button", name="Start").click(timeout=PATIENCE)
        expect(tab.get_by_text(re.compile(r"CLIP-AC, WinCLIP, Patch memory"))).to_be_visible(timeout=PATIENCE)
        tab.goto("about:blank")  # a page that loses its server says so in the console
    finally:
        app_server.stop_server(server)
    (job,) = list_jobs(workspace)
    assert job.open  # it outlives the dashboard
    server, address = app_server.start_server(store, where)
    try:
        again = open_tab(f"{address}/your_parts?dataset={job.record.part}")
        expect(again.get_by_text(re.compile("done, 4 units computed"))).to_be_visible(timeout=PATIENCE)
        expect(again.get_by_role("heading", name="4. Decision")).to_be_visible(timeout=PATIENCE)
        shown: Any = again.locator("[data-testid=stMain]")
        measured = aurocs(store)
        for value in measured.values():
            expect(shown).to_contain_text(f"{100 * value:.1f}")
        again.goto("about:blank")
    finally:
        app_server.stop_server(server)
    for name, photo in files.items():
        path = tmp_path / "capsule" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(photo)
    methods = ["--method", "clip_ac", "winclip", "patch_memory", "--shots", "0", "4"]
    assert main(["precompute", "--dataset", str(tmp_path / "capsule"), *methods, "--store", str(tmp_path / "own")]) == 0
    assert aurocs(tmp_path / "own") == pytest.approx(measured, abs=1e-12)
