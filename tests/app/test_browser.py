"""The app in a real browser: from the grid to an image, an upload to a verdict, links, themes, narrow pages."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pandas as pd
import pytest
from PIL import Image

CHROMIUM = Path("/usr/bin/chromium")
playwright = pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no Chromium at {CHROMIUM}"),
]

playwright.expect.set_options(timeout=60_000)

OpenTab = Callable[..., Any]


def settle(tab: Any) -> None:
    """Wait until the script behind the page has finished."""
    tab.wait_for_selector("h1")
    tab.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]")


def test_the_first_visitor_after_a_start_may_come_by_a_deep_link(serve, measured: Path, open_tab: OpenTab) -> None:
    address = serve(measured)
    link = f"{address}/failures?dataset=widgets&category=hex_nut&method=winclip&shots=0&threshold=0.45"
    tab = open_tab(link)
    playwright.expect(tab.get_by_role("heading", name="Failures")).to_be_visible()
    playwright.expect(tab.get_by_text("WinCLIP on hex nut at 0.45 (set by hand)")).to_be_visible()
    playwright.expect(tab.get_by_role("link", name="Leaderboard")).to_be_visible()
    assert "Page not found" not in tab.content()
    for part in ("dataset=widgets", "category=hex_nut", "method=winclip", "threshold=0.45"):
        assert part in tab.url


def test_from_the_grid_to_the_failures_to_an_image(serve, measured: Path, open_tab: OpenTab) -> None:
    tab = open_tab(f"{serve(measured)}/categories?dataset=widgets&shots=0")
    chart = tab.locator("[data-testid=stVegaLiteChart]")
    chart.locator("svg text", has_text="hex nut").wait_for()
    column = chart.locator("svg text", has_text="WinCLIP").bounding_box()
    row = chart.locator("svg text", has_text="hex nut").bounding_box()
    tab.mouse.click(column["x"] + column["width"] / 2, row["y"] + row["height"] / 2)
    tab.wait_for_url(re.compile("/failures"))
    settle(tab)
    assert "category=hex_nut" in tab.url
    assert "method=winclip" in tab.url
    playwright.expect(tab.get_by_text("WinCLIP on hex nut at")).to_be_visible()
    playwright.expect(tab.get_by_role("radio", name="Missed defects (5)")).to_be_checked()
    for alt in ("True defect of", "Anomaly map of WinCLIP over", "Image "):
        playwright.expect(tab.get_by_role("img", name=re.compile(f"^{alt}")).first).to_be_visible()
    settle(tab)
    before = tab.url
    tab.get_by_role("button", name="Next").click()
    tab.wait_for_function("before => location.href !== before", arg=before)
    assert "image=hex_nut%2Ftest" in tab.url
    settle(tab)
    second = open_tab(tab.url)
    playwright.expect(second.locator("span", has_text=re.compile(r"^2 of \d+$"))).to_be_visible()
    tab.get_by_role("link", name="Categories").click()  # coming back must not open the cell again
    playwright.expect(tab.get_by_role("heading", name="Categories")).to_be_visible()
    settle(tab)
    tab.wait_for_timeout(1000)
    assert "/categories" in tab.url


def test_images_can_be_walked_through_by_keyboard(serve, measured: Path, open_tab: OpenTab) -> None:
    tab = open_tab(f"{serve(measured)}/failures?dataset=widgets&category=bolt&method=winclip&shots=0&threshold=0.99")
    playwright.expect(tab.get_by_text("1 of 6", exact=False).first).to_be_visible()
    tab.keyboard.press("n")
    playwright.expect(tab.get_by_text(re.compile("2 of 6"))).to_be_visible()
    settle(tab)
    tab.keyboard.press("p")
    playwright.expect(tab.get_by_text(re.compile("1 of 6"))).to_be_visible()


def test_the_threshold_slider_moves_images_to_the_other_side(serve, measured: Path, open_tab: OpenTab) -> None:
    tab = open_tab(f"{serve(measured)}/failures?dataset=widgets&category=bolt&method=winclip&shots=0")
    slider = tab.get_by_role("slider", name="Score")
    slider.focus()
    slider.press("End")
    playwright.expect(tab.get_by_text(re.compile("Missed defects \\(6\\)"))).to_be_visible()
    assert "threshold=" in tab.url


def test_a_failure_is_explained_noted_and_taken_along(serve, made_up_store, tmp_path: Path, open_tab: OpenTab) -> None:
    store = made_up_store(tmp_path / "own", categories=("bolt",), methods=("clip_ac", "winclip"))
    link = f"{serve(store)}/failures?category=bolt&method=winclip&threshold=0.99"
    tab = open_tab(link)
    tab.get_by_text("Why WinCLIP gives this score").click()
    playwright.expect(tab.get_by_text("gives no reasons")).to_be_visible()
    tab.get_by_role("button", name=re.compile("Note")).first.click()
    words = tab.get_by_role("textbox", name="Note")
    words.press_sequentially("no pin")  # n and p step through images, but not while one writes
    tab.get_by_role("button", name=re.compile("Save")).click()
    playwright.expect(tab.get_by_role("button", name=re.compile("Noted"))).to_be_visible()
    settle(tab)
    tab.get_by_role("button", name="Take it along").click()
    with tab.expect_download() as waiting:
        tab.get_by_test_id("stPopoverBody").get_by_role("button", name="zip", exact=True).click()
    with zipfile.ZipFile(waiting.value.path()) as archive:
        names = archive.namelist()
        assert "no pin" in archive.read("failures.csv").decode()
    assert sum(name.endswith("-map.webp") for name in names) == 6
    assert len(names) == 13
    second = open_tab(link)
    playwright.expect(second.get_by_role("button", name=re.compile("Noted"))).to_be_visible()


def test_from_the_grid_of_pairs_to_the_images_two_methods_disagree_on(serve, measured: Path, open_tab: OpenTab) -> None:
    tab = open_tab(f"{serve(measured)}/failures?dataset=widgets&category=bolt&method=winclip&shots=0")
    tab.get_by_role("tab", name="Agreement between methods").click()
    chart = tab.locator("[data-testid=stVegaLiteChart]")
    chart.locator("svg text", has_text="WinCLIP").first.wait_for()
    settle(tab)
    chart.scroll_into_view_if_needed()
    rows = chart.locator("svg text", has_text="CLIP-AC")
    places = sorted((rows.nth(i).bounding_box() for i in range(rows.count())), key=lambda box: box["y"])
    body = chart.locator("svg g.mark-rect path").last.bounding_box()
    tab.mouse.click(body["x"] + body["width"] / 2, places[-1]["y"] + places[-1]["height"] / 2)
    tab.wait_for_url(re.compile(r"(?=.*method=clip_ac)(?=.*shared=winclip)"))  # set one after the other


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_page_follows_the_theme(serve, measured: Path, open_tab: OpenTab, theme: str) -> None:
    tab = open_tab(f"{serve(measured)}/leaderboard", theme=theme)
    background = tab.evaluate("getComputedStyle(document.querySelector('[data-testid=stApp]')).backgroundColor")
    brightness = sum(int(value) for value in re.findall(r"\d+", background)[:3])
    assert (brightness < 150) if theme == "dark" else (brightness > 700)


@pytest.mark.parametrize("page", ["", "leaderboard", "categories", "failures", "accuracy", "segmentation", "live_demo"])
def test_nothing_is_wider_than_a_narrow_page(serve, measured: Path, open_tab: OpenTab, page: str) -> None:
    tab = open_tab(f"{serve(measured)}/{page}", width=390)
    playwright.expect(tab.get_by_text("Made-up CLIP").first).to_be_visible()
    too_wide = tab.evaluate(
        """() => [...document.querySelectorAll('[data-testid=stMain] *')]
            .filter(e => e.getBoundingClientRect().right > innerWidth + 1 && !e.closest('[data-testid=stDataFrame]')
                && getComputedStyle(e).overflowX !== 'auto' && e.checkVisibility()
                && !(function inside(p) { return p && p !== document.body &&
                    (['auto', 'scroll', 'hidden'].includes(getComputedStyle(p).overflowX) || inside(p.parentElement)) })
                    (e.parentElement))
            .map(e => e.outerHTML.slice(0, 120))"""
    )
    assert too_wide == []
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390


def test_two_clicks_from_the_first_page_to_a_published_cell_and_its_claims(serve, measured: Path, open_tab) -> None:
    """From the first page to MVTec AD, WinCLIP against APRIL-GAN, per category, published."""
    tab = open_tab(serve(measured))
    tab.get_by_role("button", name="Per category").first.click()
    tab.wait_for_url(re.compile("/categories"))
    assert re.search("dataset=mvtec_ad(@|%40)published", tab.url)
    chart = tab.locator("[data-testid=stVegaLiteChart]")
    row = chart.locator("svg text", has_text=re.compile("^screw$"))
    row.wait_for()
    columns = {
        name: chart.locator("svg text", has_text=re.compile(f"^{name}$")).first for name in ("WinCLIP", "APRIL-GAN")
    }
    for column in columns.values():
        playwright.expect(column).to_be_visible()
    settle(tab)
    chart.scroll_into_view_if_needed()
    place, height = columns["WinCLIP"].bounding_box(), row.bounding_box()
    tab.mouse.click(place["x"] + place["width"] / 2, height["y"] + height["height"] / 2)
    playwright.expect(tab.get_by_text("WinCLIP, screw")).to_be_visible()
    settle(tab)
    assert "/categories" in tab.url


def test_from_a_published_cell_to_the_failures_measured_on_it(serve, made_up_store, tmp_path: Path, open_tab) -> None:
    store = made_up_store(tmp_path, datasets=("mvtec_ad",), categories=("bottle", "screw"))
    tab = open_tab(f"{serve(store)}/categories?dataset=mvtec_ad@published")
    chart = tab.locator("[data-testid=stVegaLiteChart]")
    row = chart.locator("svg text", has_text=re.compile("^screw$"))
    row.wait_for()
    settle(tab)
    chart.scroll_into_view_if_needed()
    place = chart.locator("svg text", has_text=re.compile("^WinCLIP$")).first.bounding_box()
    height = row.bounding_box()
    tab.mouse.click(place["x"] + place["width"] / 2, height["y"] + height["height"] / 2)
    tab.get_by_role("button", name=re.compile("Failures measured here on screw: WinCLIP")).click()
    tab.wait_for_url(re.compile("/failures"))
    playwright.expect(tab.get_by_text("WinCLIP on screw at")).to_be_visible()
    assert "dataset=mvtec_ad&" in f"{tab.url}&"


def test_tables_and_figures_are_taken_along_from_the_top(serve, measured: Path, open_tab: OpenTab) -> None:
    tab = open_tab(f"{serve(measured)}/leaderboard?dataset=widgets&shots=0")
    tab.locator("[data-testid=stVegaLiteChart] svg.marks").first.wait_for()
    button = tab.get_by_role("button", name="Take it along")
    assert button.bounding_box()["y"] < 300
    button.click()
    popover = tab.get_by_test_id("stPopoverBody")
    title = "Image AUROC of each method, best first; bars: 95% interval"

    def taken(name: str) -> Path:
        with tab.expect_download() as waiting:
            popover.get_by_role("button", name=name, exact=True).first.click()
        return Path(waiting.value.path())

    drawing = ElementTree.parse(taken(f"{title} as svg")).getroot()
    assert drawing.find("{http://www.w3.org/2000/svg}title").text == title
    assert "WinCLIP" in "".join(drawing.itertext())
    with Image.open(taken(f"{title} as png")) as picture:
        assert picture.size[0] > 1000
        assert len(picture.convert("RGB").getcolors(maxcolors=1 << 24)) > 10
    table = pd.read_csv(taken("csv"))
    assert set(table["evidence"]) == {"measured"}
    assert {"low", "high"} <= set(table.columns)
    assert r"\begin{tabular}" in taken("LaTeX").read_text()


def test_plotly_figures_are_taken_along_whole(serve, measured: Path, open_tab: OpenTab) -> None:
    tab = open_tab(f"{serve(measured)}/accuracy?dataset=widgets&category=bolt&shots=0")
    tab.locator("[data-testid=stPlotlyChart] svg.main-svg").first.wait_for()
    tab.get_by_role("button", name="Take it along").click()
    with tab.expect_download() as waiting:
        tab.get_by_test_id("stPopoverBody").get_by_role("button", name=re.compile("^ROC of .* as svg$")).click()
    text = Path(waiting.value.path()).read_text()
    ElementTree.fromstring(text)
    assert "url(http" not in text  # clips that hang on the page's address would be lost
    assert "False-positive rate" in text
    assert "WinCLIP" in text
