"""A job started in a real browser outlives the dashboard that started it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from vlmad_core.datasets.loading import load_dataset
from vlmad_core.workspace import parts
from vlmad_core.workspace.jobs import list_jobs

playwright = pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")
CHROMIUM = Path("/usr/bin/chromium")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no Chromium at {CHROMIUM}"),
]
PATIENCE = 240_000


@pytest.fixture
def part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> parts.Part:
    """Twelve good and eight defective bundled images as a part on the server."""
    monkeypatch.setenv("VLMAD_WORKSPACE", str(tmp_path / "workspace"))
    monkeypatch.setenv("VLMAD_DATA_DIR", str(tmp_path / "data"))
    samples = load_dataset("bundled_a").select("capsule", "test")
    for label, folder, count in ((0, "good", 12), (1, "bad", 8)):
        place = tmp_path / "data" / "capsules" / folder
        place.mkdir(parents=True)
        for number, sample in enumerate([one for one in samples if one.label == label][:count]):
            (place / f"{number:02d}.png").write_bytes(sample.image_path.read_bytes())
    return parts.keep(parts.new_part("Capsule", Path("capsules")))


def test_the_dashboard_restarted_midway_shows_the_job_going_on(app_server, open_tab, part, tmp_path: Path) -> None:
    store = tmp_path / "results"
    store.mkdir()
    server, address = app_server.start_server(store)
    try:
        tab = open_tab(f"{address}/your_parts?dataset={part.slug}")
        tab.get_by_role("button", name="Start").click(timeout=PATIENCE)
        playwright.expect(tab.get_by_text("CLIP-AC, WinCLIP, Patch memory")).to_be_visible(timeout=PATIENCE)
        tab.goto("about:blank")  # a page that loses its server says so in the console
    finally:
        app_server.stop_server(server)
    (job,) = list_jobs(tmp_path / "workspace")
    assert job.state.stands == "running"
    server, address = app_server.start_server(store)
    try:
        again = open_tab(f"{address}/your_parts?dataset={part.slug}")
        playwright.expect(again.get_by_text(re.compile(r"done, \d units computed"))).to_be_visible(timeout=PATIENCE)
        playwright.expect(again.get_by_role("heading", name="4. Decision")).to_be_visible(timeout=PATIENCE)
        again.goto("about:blank")
    finally:
        app_server.stop_server(server)
