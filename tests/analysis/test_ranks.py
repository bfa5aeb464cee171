"""Standings, rank moves, data sets side by side, and what others report as a table."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pandas as pd
import pytest

from vlmad_core.analysis import entries as entries_module
from vlmad_core.analysis.answers import clearest_misses, entry_to_look_at, fastest_of, trust, weakest_category
from vlmad_core.analysis.best import best, differences_between
from vlmad_core.analysis.comparable import comparisons
from vlmad_core.analysis.leaderboard import across_data_sets, leaderboard, rank_moves, standings
from vlmad_core.analysis.reported import published
from vlmad_core.analysis.speed import cost_table
from vlmad_core.store.reader import Missing, Store, open_store
from vlmad_core.store.schema import RunRecord, sealed

AC = ["image_auroc", "image_ap"]


@pytest.fixture(scope="module")
def store(made_up_store, tmp_path_factory: pytest.TempPathFactory) -> Store:
    path: Path = made_up_store(
        tmp_path_factory.mktemp("ranks"),
        categories=("bolt", "felt", "nut"),
        methods=("clip_ac", "clip_cpe", "winclip"),
        shots=(0, 2),
        seeds=2,
        unfinished=(("clip_cpe", "nut"),),
    )
    return open_store(path)


@pytest.fixture(scope="module")
def board(store: Store) -> pd.DataFrame:
    return leaderboard(store)


def test_names_tell_lines_apart(board: pd.DataFrame) -> None:
    assert {"CLIP-AC", "WinCLIP", "WinCLIP+, 2 ref."} <= set(board["name"])
    assert board.groupby(["method", "shots"])["name"].nunique().eq(1).all()


def test_standings_rank_what_has_a_value_and_give_the_reason_of_what_has_none(store, board) -> None:
    (one,) = comparisons(store)
    found = differences_between(store, one.entries(), "image_auroc", one.categories)
    entries = {entry.key: entry for entry in one.entries()}
    table = standings(board, AC, "image_auroc", found, entries).set_index("name")
    assert math.isnan(table.loc["clip_cpe", "image_auroc"])
    assert "nut is not finished" in table.loc["clip_cpe", "reason"]
    assert table.loc["clip_cpe", "group"] == ""
    ranked = table[table["rank"].notna()]
    assert ranked["image_auroc"].is_monotonic_decreasing
    assert (ranked["reason"] == "").all()
    assert (ranked["group"] != "").all()
    assert set(table["whose"]) == {"measured"}


def test_ranks_move_among_the_lines_that_have_all_metrics(board: pd.DataFrame) -> None:
    moves = rank_moves(board, AC)
    assert set(moves.left_out) == {"clip_cpe", "clip_cpe, 2 ref."}
    for metric, part in moves.frame.groupby("metric"):
        own = board[(board["metric"] == metric) & board["name"].isin(part["name"])].set_index("name")["value"]
        assert sorted(part["place"]) == list(range(1, len(part) + 1))
        for row in part.to_dict("records"):
            assert row["rank"] == 1 + (own > row["value"]).sum()


def test_data_sets_stand_side_by_side_without_a_mean(board: pd.DataFrame) -> None:
    other = board[board["name"] != "CLIP-AC"].assign(value=0.25)
    table = across_data_sets({"a": board, "b": other}, "image_auroc").set_index("name")
    assert list(table.columns) == ["a", "b"]
    assert table.loc["WinCLIP", "b"] == 25
    assert math.isnan(table.loc["CLIP-AC", "b"])


def test_a_made_up_data_set_is_no_published_one(store: Store) -> None:
    (one,) = comparisons(store)
    assert published(one) is None


def test_the_best_entry_is_first_and_its_ties_are_those_it_shares_a_letter_with(store, board, monkeypatch) -> None:
    (one,) = comparisons(store)
    entries = one.entries()
    found = differences_between(store, entries, "image_auroc", one.categories)
    first = best(one, board, "image_auroc", differences=found)
    values = board[board["metric"] == "image_auroc"].set_index("name")["value"]
    assert first is not None
    assert first.value == values.max()
    assert first.single is None
    for entry in entries:
        if entry.name != first.name and not math.isnan(values[entry.name]):
            shared = set(found.letters[first.entry.key]) & set(found.letters[entry.key])
            assert (entry.name in first.tied) == bool(shared)
    blind = {first.entry.method}
    monkeypatch.setattr(entries_module, "is_vision_language", lambda method: method not in blind)
    reference = best(one, board, "image_auroc", differences=found)
    assert reference is not None
    assert first.language is None
    others = board[(board["metric"] == "image_auroc") & ~board["method"].isin(blind)].set_index("name")["value"]
    assert reference.language == (others.idxmax(), others.max())
    assert best(one, board.assign(value=math.nan), "image_auroc", differences=found) is None


def test_the_weakest_category_and_its_clearest_misses(store: Store) -> None:
    (one,) = comparisons(store)
    line = next(line for line in one.entries(0) if line.method == "winclip")
    found = weakest_category(store, line, "image_auroc", one.categories)
    assert found is not None
    values = store.metrics([line.runs[0].id]).query("metric == 'image_auroc'").set_index("category")["value"]
    assert found == (values.idxmin(), values.min())
    images = store.images(line.runs[0].id, found[0]).set_index("image_id")
    missed = clearest_misses(store, line, found[0], most=2)
    scores = [images.loc[image, "score"] for image, _ in missed]
    assert all(images.loc[image, "label"] == 1 for image, _ in missed)
    assert scores == sorted(scores)
    assert weakest_category(store, line, "image_auroc", ()) is None


def test_failures_are_looked_at_where_maps_were_kept(made_up_store, tmp_path: Path) -> None:
    path: Path = made_up_store(tmp_path, methods=("clip_ac", "winclip"), shots=(0, 1, 4, 8))
    for run in open_store(path).runs:
        if run.key.shots == 8 and run.key.method == "winclip":
            forget_maps(run)
    store = open_store(path)
    (one,) = comparisons(store)
    lines = {line.shots: line for line in one.entries() if line.id == "winclip"}
    assert entry_to_look_at(store, one, lines[1], "bolt").same_as(lines[1])
    assert entry_to_look_at(store, one, lines[8], "bolt").same_as(lines[4])
    why = store.grids(lines[8].runs[0].id, "bolt")
    assert isinstance(why, Missing)
    assert why.reason == "Maps were not kept in this run, but with 0, 1 and 4 normal references."
    without = next(line for line in one.entries() if line.id == "clip_ac")  # it makes no maps
    assert entry_to_look_at(store, one, without, "bolt").same_as(without)


def forget_maps(run: RunRecord) -> None:
    """Make a finished run look as if it had been asked to keep no maps."""
    plan = json.loads((run.path / "run.json").read_text())
    plan["plan"]["grids"] = "none"
    (run.path / "run.json").write_bytes(sealed(plan))
    for category in run.units:
        file = run.path / category / "unit.json"
        unit = json.loads(file.read_text())
        del unit["files"]["grids.npz"]
        file.write_bytes(sealed(unit))


def test_only_what_was_timed_alone_can_be_fastest(store: Store) -> None:
    (one,) = comparisons(store)
    costs = cost_table(one.entries())
    assert fastest_of(costs, ()) is None  # the made-up runs kept shares of a batch only
    alone = costs.assign(shared=False, latency_ms=range(1, len(costs) + 1))
    assert fastest_of(alone, ())["latency_ms"] == 1
    assert fastest_of(alone, ["WinCLIP"])["name"] == "WinCLIP"
    assert fastest_of(alone, ["nobody"]) is None


def test_trust_names_images_draws_and_machine(store: Store) -> None:
    (one,) = comparisons(store)
    line = next(line for line in one.entries(2) if line.method == "winclip")
    facts = trust(line)
    assert (facts.images, facts.categories, facts.draws) == (36, 3, 2)
    assert facts.seen == "not recorded"
    assert facts.machine == "made up"
    assert facts.run_id == line.runs[0].id
