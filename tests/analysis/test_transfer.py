"""Trained on against judged on; entries told apart by their training data, and which of them may be called best."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import pytest

from vlmad_core.analysis.best import best, best_values, differences_between
from vlmad_core.analysis.claims import UNASKED
from vlmad_core.analysis.comparable import comparisons
from vlmad_core.analysis.contamination import training_data
from vlmad_core.analysis.entries import Comparison
from vlmad_core.analysis.exports import Format, leaderboard_text
from vlmad_core.analysis.leaderboard import leaderboard
from vlmad_core.analysis.published import PublishedSet, published_sets
from vlmad_core.analysis.reported import load_reported
from vlmad_core.analysis.sources import load_sources
from vlmad_core.analysis.transfer import (
    NOTHING,
    cells_frame,
    fill_commands,
    on_other_data,
    published_methods,
    published_transfer,
    trained_methods,
    transfer_cells,
)
from vlmad_core.figures.matrices import transfer_data
from vlmad_core.methods.trained import read_record
from vlmad_core.paths import SHIPPED_PARAMETERS
from vlmad_core.store.reader import Store, open_store
from vlmad_core.store.schema import RunRecord


@pytest.fixture(scope="module")
def path(made_up_store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_up_store(
        tmp_path_factory.mktemp("transfer"), datasets=("widgets", "gadgets"), methods=("clip_cpe", "winclip")
    )


def trained(run: RunRecord, on: Sequence[str], parameters: str) -> RunRecord:
    """The same run as if its method had been trained."""
    return dataclasses.replace(
        run,
        id=f"{run.id}-{parameters}",
        protocol=dataclasses.replace(run.protocol, method={**run.protocol.method, "parameters": parameters}),
        provenance=dataclasses.replace(
            run.provenance, data={**run.provenance.data, "trained": {"training_data": list(on), "hash": parameters}}
        ),
    )


@pytest.fixture(scope="module")
def store(path: Path) -> Store:
    """WinCLIP's runs stand for a trained method: on both data sets across, and within on one."""
    found = open_store(path)
    runs: list[RunRecord] = []
    for run in found.runs:
        if run.key.method != "winclip":
            runs.append(run)
            continue
        other = "gadgets" if run.key.dataset == "widgets" else "widgets"
        runs.append(trained(run, [other], "across"))
        if run.key.dataset == "widgets":
            runs.append(trained(run, ["widgets"], "within"))
    return Store(found.roots, runs)


def both(store: Store) -> tuple[Comparison, ...]:
    return comparisons(store)


def test_lines_with_other_parameters_are_told_apart(store: Store) -> None:
    widgets = next(one for one in both(store) if one.dataset == "widgets")
    lines = {line.id: line for line in widgets.entries() if line.method == "winclip"}
    assert set(lines) == {"winclip", "winclip@widgets"}
    assert lines["winclip@widgets"].title == "WinCLIP, trained on widgets"
    assert not lines["winclip"].same_as(lines["winclip@widgets"])


def test_what_has_seen_the_data_is_never_named_best(store: Store) -> None:
    widgets = next(one for one in both(store) if one.dataset == "widgets")
    board = leaderboard(store, dataset="widgets")
    board.loc[board["name"].str.contains("trained on widgets"), "value"] = 1.0
    gaps = differences_between(store, widgets.entries(), "image_auroc", widgets.categories)
    found = best(widgets, board, "image_auroc", differences=gaps)
    assert found is not None
    assert "trained on" not in found.name
    assert not any("trained on" in name for name in found.tied)
    assert best_values(board)["image_auroc"] == found.value < 1.0


def test_of_two_protocols_of_one_method_the_better_one_is_named(store: Store) -> None:
    """Matched by method, preset and references alone, the answer would show the other protocol's runs."""
    plain = [run for run in store.runs if run.key.dataset == "widgets" and run.key.method == "clip_cpe"]
    first = next(run for run in store.runs if run.id.endswith("-across") and run.key.dataset == "widgets")
    again = trained(first, ["elsewhere"], "elsewhere")
    one = Comparison("widgets", plain[0].protocol.conditions, (*plain, first, again))
    board = leaderboard(Store(store.roots, one.runs), ["image_auroc"])
    for better in (first, again):
        rows = board["protocol"] == better.protocol.hash
        found = best(one, board.assign(value=board["value"].mask(rows, 0.99)), "image_auroc")
        assert found is not None
        assert found.entry.runs == (better,)
        assert found.entry.protocol == better.protocol.hash


def test_where_all_have_seen_the_data_the_best_of_them_is_named(store: Store) -> None:
    widgets = next(one for one in both(store) if one.dataset == "widgets")
    runs = tuple(run for run in widgets.runs if "widgets" in training_data(run))
    only = Comparison("widgets", widgets.conditions, runs)
    found = best(only, leaderboard(Store(store.roots, runs)), "image_auroc")
    assert found is not None
    assert found.entry.seen == "yes"


@pytest.mark.parametrize("form", ["markdown", "latex"])
def test_exported_tables_keep_them_apart(store: Store, form: Format) -> None:
    lines = leaderboard_text(store, form, dataset="widgets").splitlines()
    assert sum("WinCLIP" in line for line in lines) == 2
    assert sum("WinCLIP, trained on widgets" in line for line in lines) == 1


def test_notes_say_what_was_seen(store: Store) -> None:
    widgets = next(one for one in both(store) if one.dataset == "widgets")
    notes = {entry.id: entry for entry in widgets.entries()}
    assert notes["winclip@widgets"].seen == "yes"
    assert notes["winclip"].seen == "not recorded"  # the made-up backbone's training data is not recorded
    assert notes["winclip"].remarks == ("trained on gadgets",)
    assert notes["clip_cpe"].remarks == ()


def test_every_combination_has_a_cell_and_contamination_is_named(store: Store) -> None:
    pair = both(store)
    assert [one.dataset for one in on_other_data(pair[0], pair)] == [one.dataset for one in pair]
    assert trained_methods(pair) == {"winclip": "WinCLIP"}
    boards = {one.dataset: leaderboard(store, dataset=one.dataset) for one in pair}
    cells = {(c.trained_on, c.dataset): c for c in transfer_cells(pair, boards, "winclip", "image_auroc")}
    assert set(cells) == {(a, b) for a in ("widgets", "gadgets", NOTHING) for b in ("widgets", "gadgets")}
    assert cells["widgets", "widgets"].verdict == "contaminated"
    assert cells["gadgets", "widgets"].verdict == "unknown"
    missing = cells["gadgets", "gadgets"]
    assert missing.value is None
    assert missing.verdict is None
    assert missing.reason == "Not run yet."
    board = boards["widgets"]
    base = board[(board["method"] == "clip_cpe") & (board["metric"] == "image_auroc")].iloc[0]
    assert cells[NOTHING, "widgets"].value == pytest.approx(base["value"])


def test_cells_become_a_table_with_blanks(store: Store) -> None:
    pair = both(store)
    boards = {one.dataset: leaderboard(store, dataset=one.dataset) for one in pair}
    frame = cells_frame(transfer_cells(pair, boards, "winclip", "no_such_metric"))
    assert frame["value"].isna().all()
    assert set(frame.loc[frame["verdict"] != "", "reason"]) == {"This metric was not computed in the run."}


def test_commands_fill_an_empty_cell_with_shipped_parameters_or_train_first() -> None:
    train, run = fill_commands("april_gan", ["bundled_a"], "bundled_a", "my/clip", "0" * 16)
    assert train == "python -m vlmad_core train april_gan --data bundled_a --backbone my/clip"
    assert run.endswith(f"april_gan=checkpoints/april_gan/bundled_a-{'0' * 16}.safetensors")
    shipped = [read_record(path) for path in (SHIPPED_PARAMETERS / "april_gan").glob("bundled_a-*.json")]
    assert shipped
    for record in shipped:
        weights = str((record.backbone or {})["weights_hash"])
        (only,) = fill_commands("april_gan", ["bundled_a"], "bundled_a", "bundled", weights)
        assert "precompute --dataset bundled_a --method april_gan" in only
        assert Path(only.rpartition("april_gan=")[2]).is_file()


def test_no_trained_method_means_nothing_to_show(path: Path) -> None:
    assert trained_methods(comparisons(open_store(path))) == {}


@pytest.fixture(scope="module")
def benchmarks() -> dict[str, PublishedSet]:
    return {one.key: one for one in published_sets(load_reported(), load_sources()).values()}


def test_published_transfer_is_by_what_the_claims_say_was_trained_on(benchmarks: dict[str, PublishedSet]) -> None:
    reported = load_reported()
    methods = published_methods(benchmarks.values(), "image_auroc", 0, UNASKED)
    assert {"mvtec_ad", "visa", "btad"} <= set(methods["AnomalyCLIP"])
    assert "WinCLIP" not in methods  # trains nothing
    sets = [benchmarks[key] for key in ("mvtec_ad", "visa", "btad")]
    cells = published_transfer(sets, "AnomalyCLIP", "image_auroc", wanted=UNASKED)
    by_place = {(cell.trained_on, cell.dataset): cell for cell in cells}
    assert len(by_place) == len(cells) == 3 * len({cell.trained_on for cell in cells})
    for trained, judged, key in (("visa", "mvtec_ad", "VisA"), ("mvtec_ad", "visa", "MVTec AD")):
        cell = by_place[key, benchmarks[judged].title]
        rows = reported[(reported["method"] == "AnomalyCLIP") & (reported["dataset"] == judged)]
        rows = rows[(rows["metric"] == "image_auroc") & (rows["training_data"] == trained)]
        row = rows[(rows["variant"] == "paper") & (rows["category"] == "mean")].iloc[0]
        assert (cell.value, cell.source) == (row["value"], row["source"])
        assert cell.verdict == "clean"
        assert row["location"] in cell.reason
    assert by_place[NOTHING, "MVTec AD"].title == "WinCLIP"
    assert by_place[NOTHING, "MVTec AD"].value == 0.918
    rows = {(cell.trained_on, cell.title) for cell in cells}
    assert len(rows) == len({cell.trained_on for cell in cells})  # one method in each row, blanks included
    empty = [cell for cell in cells if cell.value is None]
    assert all(cell.reason == "No source gives this number." for cell in empty)
    assert set(transfer_data(cells_frame(cells), blank="not reported")["word"]) <= {"new data", "not reported"}


def test_published_values_on_the_training_data_are_marked(benchmarks: dict[str, PublishedSet]) -> None:
    found = []
    for key, one in benchmarks.items():
        for method in published_methods([one], "image_auroc", 0):
            cells = published_transfer([one], method, "image_auroc")
            found += [(key, cell) for cell in cells if cell.verdict == "contaminated"]
    for key, cell in found:
        assert benchmarks[key].title in cell.trained_on
