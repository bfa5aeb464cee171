"""Decisions are kept whole, read back newest first, and a damaged one costs itself only."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from vlmad_core import paths
from vlmad_core.analysis.comparable import comparisons
from vlmad_core.analysis.decision import cards, scored_by
from vlmad_core.datasets.parts import Part
from vlmad_core.errors import StoreError
from vlmad_core.metrics.rules import Costs, Promise, Rule
from vlmad_core.store.reader import open_store
from vlmad_core.workspace.decisions import Decision, decided, keep_decision, read_decisions

PART = Part("widgets", "Widgets", "widget", "2026-01-01T00:00:00+00:00")


@pytest.fixture
def decide(made_up_store, quick_disk: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A function that decides by a rule, on a made-up store, with a workspace of its own."""
    monkeypatch.setenv(paths.WORKSPACE, str(tmp_path / "workspace"))
    store = open_store(made_up_store(tmp_path / "results", methods=("winclip",)))
    (entry,) = comparisons(store)[0].entries()
    scored, _, _ = scored_by(store, [entry], "bolt")

    def make(rule: Rule) -> Decision:
        return decided(PART, entry, "bolt", cards(scored, rule, 20)[0], rule, "Use it.")

    return make


def test_what_is_kept_is_read_back_newest_first(decide) -> None:
    first, second = decide(Promise(0.2)), decide(Costs(10, 0.02))
    first = dataclasses.replace(first, decided_at="2026-01-01T00:00:00+00:00")
    keep_decision(second)
    keep_decision(first)
    assert read_decisions(PART) == ((second, first), ())
    assert (first.rule, first.rate, first.miss) == ("promise", 0.2, None)
    assert (second.rule, second.miss, second.defective) == ("costs", 10, 0.02)
    assert first.found["of"] == 6
    assert first.run.startswith("widgets/")
    assert first.photos == "0" * 16
    assert "promised by 6 good parts" in first.detail


def test_a_damaged_file_costs_itself_only(decide) -> None:
    keep_decision(decide(Promise(0.2)))
    folder = PART.home / "decisions"
    (folder / "20250101T000000-00000000.json").write_text("{")
    newer = next(folder.glob("2*T*.json")).with_name("30000101T000000-00000000.json")
    newer.write_text('{"schema_version": 99}')
    found, problems = read_decisions(PART)
    assert len(found) == 1
    assert len(problems) == 2
    assert any("newer version" in one.message for one in problems)


def test_a_part_without_decisions_has_none(decide) -> None:
    assert read_decisions(PART) == ((), ())


def test_a_workspace_that_cannot_be_written_to_is_named(
    decide, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    decision = decide(Promise(0.2))
    monkeypatch.setenv(paths.WORKSPACE, str(blocked))
    with pytest.raises(StoreError, match="The decision was not kept"):
        keep_decision(decision)


def test_an_unfinished_part_has_nothing_to_decide(decide, made_up_store, tmp_path: Path) -> None:
    store = open_store(tmp_path / "results")
    (entry,) = comparisons(store)[0].entries()
    scored, _, _ = scored_by(store, [entry], "bolt")
    with pytest.raises(StoreError, match="has not finished nut"):
        decided(PART, entry, "nut", cards(scored, Promise(0.2), 20)[0], Promise(0.2), "")
