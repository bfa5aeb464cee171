from __future__ import annotations

import argparse
import hashlib
import json
import re
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from vlmad_core.analysis.leaderboard import leaderboard
from vlmad_core.errors import StoreError
from vlmad_core.report import cli
from vlmad_core.report.content import collect
from vlmad_core.report.page import Bar, axis_range, interval_chart, render
from vlmad_core.store.reader import Store, open_store
from vlmad_core.store.schema import sealed

pytestmark = pytest.mark.usefixtures("quick_disk")

Make = Callable[..., Path]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


class Page(HTMLParser):
    """Tags with their attributes, and the visible text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def write(store: Path, out: Path, *more: str) -> Page:
    parser = argparse.ArgumentParser()
    cli.add_arguments(parser)
    assert cli.run(parser.parse_args(["--store", str(store), "--out", str(out), *more])) == 0
    return Page(out.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory, made_up_store: Make) -> Path:
    where = tmp_path_factory.mktemp("report") / "store"
    return made_up_store(where, categories=("bolt", "felt", "nut"), images=12, shots=(0, 2), seeds=2)


@pytest.fixture(scope="module")
def store(path: Path) -> Store:
    return open_store(path)


def test_the_answers_are_the_leaderboards(store: Store) -> None:
    (section,) = collect(store, title="t").sections
    board = leaderboard(store, ["image_auroc"])
    first = board[board["shots"] == 0].sort_values("value", ascending=False).iloc[0]
    answer = section.answers[0]
    assert answer.headline == f"{first['title']}, {100 * first['value']:.1f}%"
    assert f"95% interval {100 * first['low']:.1f} to {100 * first['high']:.1f}" in answer.detail
    questions = [answer.question for answer in section.answers]
    assert "Which method best shows where, with 2 normal reference images per category?" in questions
    wrong = next(answer for answer in section.answers if answer.question == "What would it get wrong?")
    assert re.fullmatch(r"\d+ of 18 defects missed, \d+ of 18 good parts flagged", wrong.headline)


def test_the_answer_follows_the_results(tmp_path: Path, made_up_store: Make) -> None:
    def headline(loser: str) -> str:
        where = made_up_store(tmp_path / loser, images=8, thumbnails=False)
        lower_metric(where, loser, "image_auroc", 0.1)
        return collect(open_store(where), title="t").sections[0].answers[0].headline

    assert headline("clip_ac").startswith("WinCLIP, ")
    assert headline("winclip").startswith("CLIP-AC, ")


def lower_metric(path: Path, method: str, metric: str, value: float) -> None:
    """Rewrite a metric of all units of a method."""
    for file in path.glob(f"*/{method}-*/*/metrics.parquet"):
        frame = pd.read_parquet(file)
        frame.loc[frame["metric"] == metric, ["value", "low", "high"]] = value
        frame.to_parquet(file)
        mark = file.with_name("unit.json")
        record = json.loads(mark.read_text())
        content = file.read_bytes()
        record["files"]["metrics.parquet"] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        mark.write_bytes(sealed(record))


def test_a_lead_is_clear_only_where_the_design_shows_it(tmp_path: Path, made_up_store: Make) -> None:
    where = made_up_store(tmp_path / "store", categories=("a", "b", "c", "d"), images=8, thumbnails=False)
    (section,) = collect(open_store(where), title="t").sections
    assert "over categories not a clear difference" in section.answers[0].detail
    lower_metric(where, "winclip", "image_auroc", 0.01)
    (section,) = collect(open_store(where), title="t").sections
    assert "over categories a clear lead" in section.answers[0].detail


def train_on(where: Path, method: str, dataset: str) -> None:
    """Make the runs of a method look as if its parameters had been trained on a data set."""
    for file in where.glob(f"*/{method}-*/run.json"):
        record = json.loads(file.read_text())
        record["provenance"]["data"]["trained"] = {"training_data": [dataset]}
        file.write_bytes(sealed(record))


def test_what_has_seen_the_data_is_never_the_answer(tmp_path: Path, made_up_store: Make) -> None:
    where = made_up_store(tmp_path / "store", images=8, thumbnails=False)
    lower_metric(where, "clip_ac", "image_auroc", 0.1)
    assert collect(open_store(where), title="t").sections[0].answers[0].headline.startswith("WinCLIP, ")
    train_on(where, "winclip", "widgets")
    (section,) = collect(open_store(where), title="t").sections
    assert section.answers[0].headline.startswith("CLIP-AC, ")
    assert section.mistakes_note.startswith("The clearest of") is (len(section.mistakes) > 0)
    assert "CLIP-AC" in section.mistakes_note


def test_the_page_loads_nothing_and_runs_nothing(path: Path, tmp_path: Path) -> None:
    page = write(path, tmp_path / "report.html")
    names = {tag for tag, _ in page.tags}
    assert not names & {"script", "iframe", "link", "object", "embed", "form", "base"}
    for tag, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes), tag
        for name in ("src", "href", "srcset", "poster", "data"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:image/webp;base64,", "#")), (tag, value)
    text = (tmp_path / "report.html").read_text()
    assert "@import" not in text
    assert "url(" not in text
    policy = next(a["content"] for t, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert (tmp_path / "report.html").stat().st_size < 10_000_000


def test_it_has_question_answer_evidence_protocol_and_provenance(path: Path, tmp_path: Path) -> None:
    page = write(path, tmp_path / "report.html", "--title", "Widgets & more")
    for heading in ("Widgets & more", "The question", "The answer", "The evidence", "Where it fails", "The protocol"):
        assert heading in page.text
    assert "Where it comes from" in page.text
    assert "small demonstration model" in page.text
    assert "rendered, not photographed" in page.text
    assert "clip_ac makes no anomaly map" in page.text
    pictures = [a for tag, a in page.tags if tag == "img"]
    assert pictures
    assert all(a["alt"] for a in pictures)
    assert sum(tag == "svg" for tag, _ in page.tags) == 2


def test_pictures_only_where_the_licence_allows_copies(tmp_path: Path, made_up_store: Make) -> None:
    where = made_up_store(tmp_path / "store", images=12, methods=("winclip",), thumbnails=False)
    page = write(where, tmp_path / "report.html")
    assert not [a for tag, a in page.tags if tag == "img"]
    assert "The licence does not allow copies." in page.text


def test_names_from_outside_stay_text(tmp_path: Path, made_up_store: Make) -> None:
    where = made_up_store(tmp_path / "store", images=6, methods=("winclip",))
    evil = '<img src=x onerror="alert(1)">'
    for file in where.glob("*/*/run.json"):
        record = json.loads(file.read_text())
        record["title"] = evil
        record["provenance"]["hardware"]["processor"] = evil
        record["protocol"]["backbone"]["title"] = evil
        file.write_bytes(sealed(record))
    page = write(where, tmp_path / "report.html", "--title", evil)
    assert evil in page.text
    assert all(str(a["src"]).startswith("data:") for tag, a in page.tags if tag == "img")


def test_several_data_sets_and_a_choice_of_them(tmp_path: Path, made_up_store: Make) -> None:
    where = made_up_store(tmp_path / "store", datasets=("gears", "widgets"), images=6, thumbnails=False)
    both = collect(open_store(where), title="t")
    assert [section.heading.split(",")[0] for section in both.sections] == ["gears", "widgets"]
    one = collect(open_store(where), title="t", datasets=["gears"])
    assert len(one.sections) == 1
    links = [a["href"] for tag, a in Page(render(both)).tags if tag == "a"]
    assert links == ["#part-0", "#part-1"]
    with pytest.raises(StoreError, match="no results of 'nuts'"):
        collect(open_store(where), title="t", datasets=["nuts"])


def test_reported_numbers_are_shown_apart_on_published_data(tmp_path: Path, made_up_store: Make) -> None:
    where = made_up_store(tmp_path / "store", datasets=("mvtec",), categories=("bottle",), images=6, thumbnails=False)
    for file in where.glob("*/*/run.json"):
        record = json.loads(file.read_text())
        record["provenance"]["data"]["official"] = "mvtec_ad"
        file.write_bytes(sealed(record))
    page = write(where, tmp_path / "report.html")
    assert "What papers report on this data set" in page.text
    assert "Not measured here" in page.text
    assert "91.8" in page.text


def test_nothing_to_report_is_said(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(StoreError, match="There are no results"):
        write(tmp_path / "empty", tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_a_damaged_run_costs_the_report_nothing_else(tmp_path: Path, made_up_store: Make) -> None:
    where = made_up_store(tmp_path / "store", images=6, thumbnails=False)
    next(where.glob("*/clip_ac*/run.json")).write_text("{")
    page = write(where, tmp_path / "report.html")
    assert "What could not be read" in page.text
    assert "WinCLIP" in page.text


def test_a_run_without_maps_has_a_reason_instead_of_a_figure(tmp_path: Path, made_up_store: Make) -> None:
    where = made_up_store(tmp_path / "store", images=6, methods=("clip_ac",), thumbnails=False)
    (section,) = collect(open_store(where), title="t").sections
    answer = next(answer for answer in section.answers if "shows where" in answer.question)
    assert answer.headline == "No answer"
    assert "makes no anomaly map" in answer.detail
    assert section.tasks[1].blank is not None
    assert "has no value" in Page(render(collect(open_store(where), title="t"))).text


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0.61, 0.93, (0.6, 1.0)), (0.913, 0.918, (0.91, 0.92)), (0.5, 0.5, (0.49, 0.5)), (0.0, 1.0, (0.0, 1.0))],
)
def test_axes_have_round_ends_that_hold_all_values(low: float, high: float, expected: tuple[float, float]) -> None:
    first, last, marks = axis_range(low, high)
    assert (first, last) == expected
    assert first <= low <= high <= last
    assert 2 <= len(marks) <= 8


def test_a_value_stands_at_its_place() -> None:
    nan = float("nan")
    svg = interval_chart([Bar("a & b", "winclip", 0.5, nan, nan), Bar("c", "clip_ac", 1.0, 0.75, 1.0)], "x")
    places = [float(x) for x in re.findall(r'circle cx="([\d.]+)"', svg)]
    ends = re.findall(r'<line x1="([\d.]+)"[^>]*x2="([\d.]+)"[^>]*stroke-width="4"', svg)
    assert len(ends) == 1  # the interval that isn't there is not drawn
    assert float(ends[0][0]) == pytest.approx((places[0] + places[1]) / 2, abs=0.1)
    assert "a &amp; b" in svg


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_it_opens_offline_and_prints(path: Path, tmp_path: Path) -> None:
    playwright = pytest.importorskip("playwright.sync_api")
    out = tmp_path / "report.html"
    write(path, out)
    trouble: list[str] = []

    def visit() -> tuple[int, int]:
        with playwright.sync_playwright() as session:
            browser = session.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            context = browser.new_context(offline=True, viewport={"width": 390, "height": 800})
            page = context.new_page()
            page.on("console", lambda message: trouble.append(message.text))
            page.on("requestfailed", lambda request: trouble.append(request.url[:80]))
            page.goto(out.as_uri())
            broken = page.evaluate("[...document.images].filter(i => !i.complete || !i.naturalWidth).length")
            width = page.evaluate("document.documentElement.scrollWidth")
            page.pdf(path=tmp_path / "report.pdf", prefer_css_page_size=True)
            browser.close()
        return broken, width

    # In a thread of its own: Playwright allows one event loop a thread, and the app's tests keep theirs open.
    with ThreadPoolExecutor(1) as pool:
        broken, width = pool.submit(visit).result()
    assert trouble == []
    assert broken == 0
    assert width <= 390
    pdf = (tmp_path / "report.pdf").read_bytes()
    assert 2 <= len(re.findall(rb"/Type\s*/Page\b", pdf)) <= 20
    assert re.search(rb"/MediaBox\s*\[\s*0 0 59[45][\d.]* 84[12]", pdf)  # A4
