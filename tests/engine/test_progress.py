from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from vlmad_core.engine import progress
from vlmad_core.engine.progress import Reporter, Standing, Workload


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_plain_lines_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(progress, "LINE_EVERY", 0.0)
    stream = io.StringIO()
    with Reporter(stream) as reporter:
        reporter.expect({"bolt": Workload(20)})
        reporter.begin("bolt")
        reporter.stage("bolts")
        reporter.advance(5)
        reporter.say("a [note]")
    lines = stream.getvalue().splitlines()
    assert lines[0].startswith("bolts: 5 of 20 images, ")
    assert "images/s, about" in lines[0]
    assert lines[0].endswith("s left")
    assert lines[1] == "a [note]"
    assert "\x1b" not in stream.getvalue()


def test_what_judges_a_set_says_how_far_it_is(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(progress, "LINE_EVERY", 0.0)
    stream = io.StringIO()
    with Reporter(stream) as reporter:
        reporter.part("run", "bolts: MuSc, all images", 0.4)
    assert stream.getvalue() == "bolts: MuSc, all images: 40 %\n"


class Clock:
    """A clock that goes on only where a test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(progress.time, "perf_counter", lambda: self.now)

    def wait(self, seconds: float) -> None:
        self.now += seconds


def test_the_time_left_counts_sets_and_measuring_when_all_images_have_passed(monkeypatch: pytest.MonkeyPatch):
    """It said "about 1 s left" for the minutes in which a set was judged."""
    clock = Clock(monkeypatch)
    told: list[Standing] = []
    reporter = Reporter(io.StringIO(), told=told.append)
    work = Workload(10, {"musc": 300.0}, 20)
    reporter.expect({"bolt": work, "nut": work})
    assert (told[-1].seconds_left, told[-1].left, told[-1].share) == (None, "", 0.0)
    reporter.begin("bolt")
    clock.wait(20)
    reporter.advance(10)
    measuring = 40 * progress.MEASURING_SECONDS
    assert told[-1].seconds_left == pytest.approx(20 + 600 + measuring)
    clock.wait(60)  # twice as quick as expected
    reporter.part("musc", "MuSc", 0.4)
    assert told[-1].seconds_left == pytest.approx(20 + (600 - 120) / 2 + measuring)
    clock.wait(90)
    reporter.part("musc", "MuSc", 1.0)
    clock.wait(10)
    reporter.measured(10)
    assert told[-1].seconds_left == pytest.approx(20 + 150 + 30)
    reporter.end("bolt")
    assert told[-1].seconds_left == pytest.approx(20 + 150 + 20)
    assert told[-1].left == "about 3 min left"
    reporter.begin("nut")
    clock.wait(20)
    reporter.advance(10)
    reporter.end("nut")  # its run failed: nothing of it is left
    assert (told[-1].seconds_left, told[-1].share) == (0.0, 1.0)
    assert (told[-1].images, told[-1].images_in_all) == (20, 20)


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    for name in ("NO_COLOR", "TTY_INTERACTIVE", "TTY_COMPATIBLE", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    stream = Terminal()
    with Reporter(stream) as reporter:
        reporter.expect({"bolt": Workload(20)})
        reporter.begin("bolt")
        reporter.stage("bolts")
        reporter.advance(5)
        reporter.say("a note")
    shown = stream.getvalue()
    for part in ("bolts", "5/20", "images/s", "a note"):
        assert part in shown


def test_a_log_for_machines(tmp_path: Path):
    log = tmp_path / "log.jsonl"
    with Reporter(io.StringIO(), log) as reporter:
        reporter.stage("bolts")
        reporter.advance(4)
        reporter.say("done", event="unit", run="r", category="bolt")
    events = [json.loads(line) for line in log.read_text().splitlines()]
    assert [event["event"] for event in events] == ["stage", "unit"]
    assert events[1]["images"] == 4
    assert (events[1]["run"], events[1]["category"], events[1]["message"]) == ("r", "bolt", "done")
    assert all("at" in event for event in events)


def test_a_log_that_can_not_be_written_stops_nothing(tmp_path: Path):
    stream = io.StringIO()
    with Reporter(stream, tmp_path / "missing" / "log.jsonl") as reporter:
        reporter.stage("bolts")
        reporter.say("goes on")
    assert stream.getvalue().count("The log can't be written any more") == 1
    assert "goes on" in stream.getvalue()
