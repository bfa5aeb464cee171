"""The live demo in a real browser: upload, references, cancel, batch, and two visitors at once."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
from PIL import Image

import vlmad_core
from vlmad_core.figures.matrices import SIDE

playwright = pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")
CHROMIUM = Path("/usr/bin/chromium")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no Chromium at {CHROMIUM}"),
]
PATIENCE = 120_000
SLOW = str(Path(__file__).with_name("slow_method.py"))
WATCH_CONTROL = """() => {
  window.seenControls = [];
  const look = () => {
    const found = [...document.querySelectorAll('[data-testid=stMain] button')].flatMap(button => {
      const label = button.textContent.match(/(Cancel|Continue)$/);
      const box = button.getBoundingClientRect();
      return label ? [[label[1], Math.round(box.x), Math.round(box.width)]] : [];
    });
    if (found.length) window.seenControls.push(found);
  };
  new MutationObserver(look).observe(document.body, {childList: true, subtree: true, characterData: true});
}"""
"""Notes the buttons that cancel or go on, with left edge and width, whenever the page changes."""
OpenTab = Callable[..., Any]
playwright.expect.set_options(timeout=PATIENCE)


def expect(locator: Any) -> Any:
    return playwright.expect(locator)


def part(number: int = 0) -> bytes:
    """A picture of a part with a defect."""
    pixels = np.random.default_rng(number).integers(90, 160, (96, 96, 3)).astype(np.uint8)
    pixels[30:50, 30:50] = (250, 20, 20)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def settle(tab: Any) -> None:
    tab.wait_for_timeout(150)
    tab.wait_for_selector("h1", timeout=PATIENCE)
    tab.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]", timeout=PATIENCE)
    # The server forgets a picture when the next run draws another one in its place.
    loaded = "() => [...document.querySelectorAll('[data-testid=stMain] img')].every(image => image.complete)"
    tab.wait_for_function(loaded, timeout=PATIENCE)


@pytest.fixture
def address(serve, measured: Path, tiny_clip: Path) -> str:
    """The app with a tiny backbone and three slow methods."""
    served: str = serve(measured, tiny_clip, SLOW)
    return f"{served}/live_demo"


def start(tab: Any, source: str, words: str) -> None:
    """Choose where the image comes from, and say what it is."""
    tab.get_by_role("radio", name=source).first.click()
    settle(tab)
    if source in ("Upload", "Batch"):  # the field belongs to the source: it must be that of the new one
        tab.locator("input[type=file]").first.wait_for(state="attached", timeout=PATIENCE)
        settle(tab)
    field = tab.get_by_label("What is it?", exact=False)
    field.fill(words)
    field.press("Enter")
    settle(tab)


def open_reference_upload(tab: Any) -> None:
    """Open the part of the page for references, and choose to upload them."""
    tab.get_by_text("Normal references (optional)").click()
    settle(tab)
    tab.get_by_role("radio", name="Upload").last.click()
    settle(tab)
    tab.locator("input[type=file]").nth(1).wait_for(state="attached", timeout=PATIENCE)


def give(tab: Any, files: list[tuple[str, bytes]], place: int = 0) -> None:
    """Upload files."""
    kind = {"zip": "application/zip"}
    payload = [
        {"name": name, "mimeType": kind.get(name.rpartition(".")[2], "image/png"), "buffer": content}
        for name, content in files
    ]
    tab.locator("input[type=file]").nth(place).set_input_files(payload)


def shown_scores(tab: Any, count: int) -> list[str]:
    """The scores on the cards, as they are written."""
    tab.wait_for_function(
        "n => (document.querySelector('[data-testid=stMain]').textContent.match(/score \\d/g) ?? []).length >= n",
        arg=count,
        timeout=PATIENCE,
    )
    settle(tab)
    return re.findall(r"score (\d\.\d+)", tab.locator("[data-testid=stMain]").text_content())


def test_an_upload_gets_a_verdict(address: str, open_tab: OpenTab) -> None:
    tab = open_tab(address)
    start(tab, "Upload", "metal plate")
    give(tab, [("part.png", part())])
    expect(tab.get_by_role("img", name="Anomaly map of WinCLIP over the image")).to_be_visible(timeout=PATIENCE)
    expect(tab.get_by_text("no verdict").first).to_be_visible()
    assert len(shown_scores(tab, 3)) == 3
    settle(tab)
    tab.get_by_role("button", name="Own threshold").first.click()
    own = tab.get_by_label("Anomalous from a score of").first
    own.fill("0")
    own.press("Enter")
    expect(tab.get_by_text("Threshold set by you")).to_be_visible(timeout=PATIENCE)
    expect(tab.get_by_text("anomalous", exact=True).first).to_be_visible()
    tab.keyboard.press("Escape")
    settle(tab)
    with tab.expect_download(timeout=PATIENCE) as waiting:
        tab.get_by_role("button", name="Download").first.click()
        tab.get_by_role("button", name=re.compile("Report, opens offline")).click()
    page = Path(waiting.value.path()).read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert "metal plate" in page


def test_references_make_it_few_shot_and_a_click_shows_the_nearest_patch(address: str, open_tab: OpenTab) -> None:
    tab = open_tab(address)
    start(tab, "Upload", "metal plate")
    open_reference_upload(tab)
    give(tab, [(f"good{number}.png", part(number)) for number in (1, 2)], place=1)
    settle(tab)
    give(tab, [("part.png", part())])
    expect(tab.get_by_role("img", name="Anomaly map of WinCLIP+ over the image")).to_be_visible(timeout=PATIENCE)
    expect(tab.get_by_text("Threshold from normal references").first).to_be_visible()
    settle(tab)
    tab.get_by_role("radio", name="WinCLIP+").click()
    expect(tab.get_by_text("Nearest reference patch", exact=False)).to_be_visible(timeout=PATIENCE)
    chart = tab.locator("[data-testid=stVegaLiteChart]").first
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    tab.mouse.click(box["x"] + SIDE * 0.88, box["y"] + SIDE * 0.12)
    expect(tab.get_by_text("This image, row 1, column 4")).to_be_visible(timeout=PATIENCE)


def test_a_running_demo_can_be_cancelled_and_continued(address: str, open_tab: OpenTab) -> None:
    tab = open_tab(address)
    start(tab, "Upload", "metal plate")
    for name in ("CLIP + CPE", "WinCLIP", "Slow 1", "Slow 2", "Slow 3"):
        tab.get_by_role("button", name=name, exact=True).click()
        settle(tab)
    tab.evaluate(WATCH_CONTROL)
    give(tab, [("part.png", part(7))])
    tab.get_by_role("button", name="Cancel", exact=True).click()
    tab.get_by_role("button", name="Continue", exact=True).click()  # at once, while the page is still being drawn
    assert len(shown_scores(tab, 4)) == 4
    expect(tab.get_by_text("Cancelled")).to_have_count(0)
    seen = tab.evaluate("window.seenControls")
    assert {tuple(label for label, *_ in buttons) for buttons in seen} == {("Cancel",), ("Continue",)}
    assert len({(left, width) for ((_, left, width),) in seen}) == 1, "the button stays under the pointer"


def test_a_batch_becomes_a_table(address: str, open_tab: OpenTab) -> None:
    tab = open_tab(address)
    start(tab, "Batch", "metal plate")
    archive = io.BytesIO()
    with ZipFile(archive, "w") as pack:
        for number in range(4):
            pack.writestr(f"{number}.png", part(number))
        pack.writestr("broken.png", part()[:100])
    give(tab, [("parts.zip", archive.getvalue())])
    tab.get_by_role("button", name="Judge 5 images").click()
    expect(tab.get_by_text("5 images judged", exact=False)).to_be_visible(timeout=PATIENCE)
    expect(tab.get_by_text("1 could not be read", exact=False)).to_be_visible()
    with tab.expect_download(timeout=PATIENCE) as waiting:
        tab.get_by_role("button", name="Table (csv)").click()
    lines = Path(waiting.value.path()).read_text().splitlines()
    assert len(lines) == 6
    assert lines[0].startswith("Image,Flagged by,CLIP-AC: score")


def test_who_waits_sees_his_place(address: str, open_tab: OpenTab) -> None:
    first, second = open_tab(address), open_tab(address)
    start(first, "Upload", "bolt")
    for name in ("Slow 1", "Slow 2", "Slow 3"):
        first.get_by_role("button", name=name, exact=True).click()
        settle(first)
    start(second, "Upload", "woven felt")
    give(first, [("part.png", part(11))])
    first.get_by_role("button", name="Cancel", exact=True).wait_for(timeout=PATIENCE)
    give(second, [("part.png", part(12))])
    expect(second.get_by_text("1 before you", exact=False)).to_be_visible(timeout=PATIENCE)
    assert len(shown_scores(second, 3)) == 3
    assert len(shown_scores(first, 6)) == 6


def test_two_visitors_at_once_each_get_their_own_right_answers(
    address: str, open_tab: OpenTab, tiny_clip: Path
) -> None:
    visits = {"bolt": part(1), "woven felt": part(2)}
    tabs = {words: open_tab(address) for words in visits}
    for words, tab in tabs.items():
        start(tab, "Upload", words)
    for words, tab in tabs.items():
        give(tab, [("part.png", visits[words])])
    for words, tab in tabs.items():
        judged = vlmad_core.predict([("part.png", visits[words])], words, backbone=str(tiny_clip), stores=[])
        expected = [f"{one.prediction.image_score:.4g}" for one in judged.images[0].opinions]
        assert shown_scores(tab, 3) == expected, words
