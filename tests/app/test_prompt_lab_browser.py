"""The prompt lab in a real browser: an edit moves the numbers, and only those of whoever made it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")
CHROMIUM = Path("/usr/bin/chromium")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no Chromium at {CHROMIUM}"),
]
PATIENCE = 180_000


@pytest.fixture(scope="module")
def address(
    app_server: ModuleType,
    tiny_clip: Path,
    tiny_dataset: Callable[..., Path],
    empty: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[str]:
    """The app, served with one tiny data set, a tiny backbone and nothing stored."""
    folder = tmp_path_factory.mktemp("lab_browser")
    tiny_dataset(folder / "data" / "parts")
    extra = {"VLMAD_DATA_DIR": "data", "VLMAD_CACHE_DIR": "cache", "VLMAD_PROMPTS_DIR": "prompts"}
    extra = {name: str(folder / place) for name, place in extra.items()} | {"VLMAD_BACKBONE": str(tiny_clip)}
    process, served = app_server.start_server(empty, extra)
    yield served
    app_server.stop_server(process)


def numbers(tab: Any) -> list[str]:
    return [value.inner_text() for value in tab.locator("[data-testid=stMetricValue]").all()]


def test_an_edit_moves_ones_own_numbers(address: str, open_tab: Callable[..., Any]) -> None:
    tab = open_tab(f"{address}/prompt_lab?dataset=parts&ensemble=states&against=states&metric=pixel_auroc")
    tab.get_by_role("button", name="Extract features").click(timeout=PATIENCE)
    tab.locator("[data-testid=stMetricValue]").first.wait_for(timeout=PATIENCE)
    same = tab.get_by_text(re.compile("is the same as with States"))
    same.wait_for(timeout=PATIENCE)
    before = numbers(tab)
    assert len(before) == 3
    words = tab.get_by_role("textbox", name="Abnormal")
    words.fill("zzz {}\nqqqqqq {}")
    words.press("Control+Enter")
    tab.get_by_text("9 prompts").wait_for(timeout=PATIENCE)
    same.wait_for(state="hidden", timeout=PATIENCE)
    after = numbers(tab)
    assert after != before
    other = open_tab(tab.url)
    other.get_by_text(re.compile("is the same as with States")).wait_for(timeout=PATIENCE)
    assert numbers(other) == before, "another visitor has the words the link names, not those typed here"
    assert numbers(tab) == after
    words.fill("<b>bad</b> {}")
    words.press("Control+Enter")
    tab.get_by_text("looks like html").wait_for(timeout=PATIENCE)
    assert numbers(tab) == after
