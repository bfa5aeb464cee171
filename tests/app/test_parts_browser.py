"""From a zip of photos to a decision in a real browser: few clicks, one upload, the figures of the command line."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vlmad_core.datasets import load_dataset
from vlmad_core.datasets.parts import find_part
from vlmad_core.store.reader import open_store

CHROMIUM = Path("/usr/bin/chromium")
playwright = pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no Chromium at {CHROMIUM}"),
]
MOST = 8
"""Clicks that the way to a decision may cost."""
PATIENCE = 180_000
METHODS = ("clip_ac", "winclip", "patch_memory")


@pytest.fixture(scope="module")
def capsules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve good and eight defective bundled images, sorted into two folders."""
    root = tmp_path_factory.mktemp("photos") / "capsule"
    samples = load_dataset("bundled_a").select("capsule", "test")
    for label, folder, count in ((0, "good", 12), (1, "bad", 8)):
        (root / folder).mkdir(parents=True)
        for number, sample in enumerate([s for s in samples if s.label == label][:count]):
            path = root / folder / f"{number:03}{sample.image_path.suffix}"
            path.write_bytes(sample.image_path.read_bytes())
    return root


def zipped(root: Path) -> bytes:
    """A folder as one zip, whose files lie in a folder of its name."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for path in sorted(root.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(root.parent).as_posix())
    return content.getvalue()


def aurocs(store: Path) -> dict[tuple[str, int], float]:
    """The image AUROC of each method by number of references."""
    opened = open_store(store)
    metrics = opened.metrics([run.id for run in opened.runs])
    rows = metrics[metrics["metric"] == "image_auroc"]
    return {(row.method, int(row.shots)): float(row.value) for row in rows.itertuples()}


def settle(tab: Any) -> None:
    tab.wait_for_timeout(300)
    tab.wait_for_selector("h1")
    tab.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]", timeout=PATIENCE)


def test_from_the_first_page_to_the_decision(
    serve, capsules: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, open_tab: Callable[..., Any]
) -> None:
    monkeypatch.setenv("VLMAD_WORKSPACE", str(tmp_path / "workspace"))
    (tmp_path / "results").mkdir()
    tab = open_tab(serve(tmp_path / "results"))
    clicks = 0

    def click(target: Any) -> None:
        nonlocal clicks
        target.click()
        clicks += 1
        settle(tab)

    click(tab.get_by_role("link", name="Your parts"))
    tab.locator("input[type=file]").first.set_input_files(
        {"name": "capsule.zip", "mimeType": "application/zip", "buffer": zipped(capsules)}
    )
    playwright.expect(tab.get_by_text("12 good", exact=True)).to_be_visible(timeout=PATIENCE)
    assert not (tmp_path / "workspace").exists()
    name = tab.get_by_label("What is it?", exact=False)
    name.fill("Capsule")
    name.press("Enter")
    settle(tab)
    click(tab.get_by_role("button", name="Start"))
    playwright.expect(tab.get_by_role("heading", name="4. Decision")).to_be_visible(timeout=PATIENCE)
    playwright.expect(tab.get_by_text("done, 4 units computed")).to_be_visible(timeout=PATIENCE)
    settle(tab)
    assert clicks <= MOST
    playwright.expect(tab.get_by_text("WinCLIP").last).to_be_visible()

    part = find_part("capsule")
    assert part is not None
    assert len(list(part.photos.rglob("*.*"))) == 20
    words = ["precompute", "--dataset", str(capsules), "--method", *METHODS, "--shots", "0", "4"]
    command = [sys.executable, "-m", "vlmad_core", *words, "--store", str(tmp_path / "typed")]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    typed = aurocs(tmp_path / "typed")
    assert len(typed) == 4
    assert aurocs(tmp_path / "results") == typed
