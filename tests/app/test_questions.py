"""The four questions a quality engineer comes with, each answered within three clicks of the overview."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = Path("/usr/bin/chromium")
BUNDLED = Path(__file__).parents[2] / "results"
playwright = pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no Chromium at {CHROMIUM}"),
]

MOST = 3
"""Clicks that an answer may cost."""


class Visitor:
    """Somebody at the overview, whose clicks are counted."""

    def __init__(self, tab: Any) -> None:
        self.tab = tab
        self.clicks = 0

    def click(self, target: Any) -> None:
        """Click, and wait until the page has settled."""
        target.click()
        self.clicks += 1
        assert self.clicks <= MOST, "the answer took more clicks than promised"
        self.tab.wait_for_timeout(300)
        self.settle()

    def settle(self) -> None:
        """Wait until the script behind the page has finished."""
        self.tab.wait_for_selector("h1")
        self.tab.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]")

    def sees(self, target: Any) -> None:
        """The target is on the page and visible."""
        playwright.expect(target.first).to_be_visible(timeout=60_000)

    def button(self, name: str) -> Any:
        """The first button of that name."""
        return self.tab.get_by_role("button", name=name).first

    def heading(self, name: str) -> Any:
        """A heading that is exactly this."""
        return self.tab.get_by_role("heading", name=name, exact=True)


@pytest.fixture
def visitor(serve, open_tab: Callable[..., Any]) -> Visitor:
    return Visitor(open_tab(serve(BUNDLED)))


def test_which_method_is_best_for_parts_like_mine(visitor: Visitor) -> None:
    visitor.click(visitor.tab.get_by_role("radio", name="Textures"))
    visitor.sees(visitor.tab.get_by_text("Which method best tells defective parts from good ones?"))
    visitor.click(visitor.button("See the ranking"))
    visitor.sees(visitor.heading("Leaderboard"))
    assert "parts=texture" in visitor.tab.url
    assert "metric=image_auroc" in visitor.tab.url
    visitor.sees(visitor.heading("Classification"))
    visitor.sees(visitor.tab.get_by_text("share a letter"))


def test_at_what_speed_on_my_hardware(visitor: Visitor) -> None:
    visitor.click(visitor.button("Speed on my hardware"))
    visitor.sees(visitor.heading("Efficiency"))
    visitor.sees(visitor.tab.get_by_text("Measured on"))
    visitor.sees(visitor.tab.get_by_text("float32"))
    visitor.sees(visitor.tab.get_by_text("python -m vlmad_core bench methods"))


def test_where_does_it_fail_and_how_does_that_look(visitor: Visitor) -> None:
    visitor.click(visitor.button("See its failures"))
    visitor.sees(visitor.heading("Failures"))
    assert re.search("category=.+method=.+|method=.+category=.+", visitor.tab.url)
    maps = visitor.tab.get_by_role("img", name=re.compile("^Anomaly map of .* over"))
    counted = visitor.tab.get_by_text(re.compile(r"misses \d+ of \d+ defective"))
    visitor.sees(counted)
    if "misses 0 of" in counted.first.inner_text():  # its false alarms are its failures
        visitor.click(visitor.tab.get_by_text(re.compile("^False alarms")))
    visitor.sees(maps)
    visitor.sees(visitor.tab.get_by_role("img", name=re.compile("^(True defect of|Image )")))


def test_can_i_trust_the_number(visitor: Visitor) -> None:
    visitor.sees(visitor.tab.get_by_text("measured here"))
    visitor.click(visitor.button("Where it comes from"))
    visitor.sees(visitor.heading("Runs"))
    assert "run=bundled" in visitor.tab.url
    visitor.sees(visitor.heading("Provenance"))
    visitor.sees(visitor.tab.get_by_text(re.compile("seen in training|not recorded")))
    visitor.click(visitor.tab.get_by_text("Protocol: every choice that moves a number"))
    visitor.sees(visitor.tab.get_by_text(re.compile("^Hash [0-9a-f]{8}")))


def test_no_page_of_comparisons_is_wider_than_a_narrow_screen(serve, open_tab: Callable[..., Any]) -> None:
    address = serve(BUNDLED)
    tab = open_tab(f"{address}/transfer", width=390)
    for page in ("transfer", "efficiency", "shots", "methods", "runs"):
        if f"/{page}" not in tab.url:
            tab.goto(f"{address}/{page}")
            tab.wait_for_selector("h1")
            tab.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]")
        playwright.expect(tab.get_by_text("Bundled demonstration CLIP").first).to_be_visible(timeout=60_000)
        assert tab.evaluate("document.documentElement.scrollWidth") <= 390, page
        wide = tab.evaluate(
            """() => [...document.querySelectorAll('[data-testid=stVegaLiteChart], [data-testid=stPlotlyChart], '
                + '[data-testid=stDataFrame], [data-testid=stTable]')]
                .filter(e => e.getBoundingClientRect().right > innerWidth + 1).length"""
        )
        assert wide == 0, page
