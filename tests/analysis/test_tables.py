from __future__ import annotations

import io
import math
from pathlib import Path

import pandas as pd
import pytest

from vlmad_core.analysis.comparable import as_texts, comparisons, protocol_differences, runs_table
from vlmad_core.analysis.entries import cells, wide_cells
from vlmad_core.analysis.leaderboard import leaderboard, rank_again
from vlmad_core.analysis.slices import area_label, recalls_known, region_recall
from vlmad_core.analysis.speed import cost_table, pareto, stage_table
from vlmad_core.analysis.tables import latex_text, leaderboard_csv, leaderboard_latex
from vlmad_core.store.reader import Store, open_store


@pytest.fixture(scope="module")
def store(made_up_store, tmp_path_factory: pytest.TempPathFactory) -> Store:
    path = tmp_path_factory.mktemp("store")
    return open_store(made_up_store(path, unfinished=(("winclip", "felt"),)))


def test_csv_has_a_row_per_line_and_metric_and_fractions(store: Store) -> None:
    board = leaderboard(store)
    back = pd.read_csv(io.StringIO(leaderboard_csv(board)))
    assert len(back) == len(board)
    assert back["value"].max() <= 1
    assert {"low", "high", "reason", "conditions"} <= set(back.columns)


def test_latex_names_a_preset_once(store: Store) -> None:
    board = leaderboard(store).assign(preset="imported", title="PatchCore (imported)")
    assert "PatchCore (imported) &" in leaderboard_latex(board)


def test_latex_marks_the_best_and_leaves_blanks_blank(store: Store) -> None:
    text = leaderboard_latex(leaderboard(store))
    lines = text.splitlines()
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 1
    row = next(line for line in lines if line.startswith("CLIP-AC"))
    assert r"\textbf{" in row
    assert "--" in row  # it makes no maps
    assert not any("AUPRO@30%" in line for line in lines)  # the percent sign would begin a comment
    columns = {line.count("&") for line in lines if line.endswith(r"\\")}
    assert len(columns) == 1


def test_latex_with_intervals_says_where_the_numbers_come_from(store: Store) -> None:
    board = leaderboard(store, ["image_auroc"])
    row = board.iloc[0]
    text = leaderboard_latex(board, intervals=True)
    assert f"[{100 * row['low']:.1f}, {100 * row['high']:.1f}]" in text
    assert text.count("& measured &") == board.dropna(subset="value")["title"].nunique()
    assert "95 % interval" in text.splitlines()[0]
    assert "measured" not in leaderboard_latex(board)


def test_any_table_becomes_latex_with_intervals_in_brackets() -> None:
    frame = pd.DataFrame(
        {
            "name": [r"a_b & 50 % \input{x}", "c"], "evidence": ["imported", "measured"], "value": [0.5, math.nan],
            "low": [0.42, math.nan], "high": [0.61, math.nan], "latency": [12.345, 7.0], "ece": [0.0123, math.nan],
            "shots": pd.array([0, None], dtype="Int64"),
        }
    )  # fmt: skip
    heads = {"name": "Method", "evidence": "Number is", "value": "AUROC", "low": "low", "high": "high"}
    heads |= {"latency": "ms", "ece": "ECE", "shots": "k", "unknown": "?"}
    lines = latex_text(frame, heads, "two\nlines").split("\n")
    assert lines[0] == "% two lines"
    assert lines[4] == r"Method & Number is & AUROC (\%) & ms & ECE & k \\"
    assert lines[6] == r"a\_b \& 50 \% \textbackslash{}input\{x\} & imported & 50.0 [42.0, 61.0] & 12.3 & 0.012 & 0 \\"
    assert lines[7] == r"c & measured & -- & 7.0 & -- & -- \\"


def test_ranks_begin_at_one_in_a_part_of_the_leaderboard() -> None:
    board = pd.DataFrame(
        {
            "dataset": "d",
            "conditions": "c",
            "metric": "image_auroc",
            "eval_size": pd.array([None] * 3, dtype="Int64"),
            "value": [0.9, math.nan, 0.7],
            "rank": pd.array([4, None, 9], dtype="Int64"),
            "evidence": "measured",
        }
    )
    assert rank_again(board)["rank"].tolist()[::2] == [1, 2]
    assert pd.isna(rank_again(board)["rank"].iloc[1])


def test_wide_cells_keep_blanks_and_order(store: Store) -> None:
    (one,) = comparisons(store)
    wide = wide_cells(cells(store, one.entries(), "image_auroc"))
    assert list(wide.columns) == ["category", "clip_ac", "winclip"]
    assert wide["category"].tolist() == ["bolt", "felt"]
    assert math.isnan(wide["winclip"].iloc[1])


def test_protocols_differ_only_in_the_method(store: Store) -> None:
    first, second = store.runs
    table = protocol_differences(first.protocol, second.protocol)
    assert table["setting"].tolist() == ["method.name"]
    assert protocol_differences(first.protocol, first.protocol).empty
    assert as_texts({"a": {"b": (1, 2)}}) == {"a.b": "1, 2"}


def test_runs_table_counts_units_and_failures(store: Store) -> None:
    table = runs_table(store).set_index("title")
    assert table.loc["WinCLIP", "failed"] == 1
    assert table.loc["WinCLIP", "categories"] == 1
    assert table.loc["CLIP-AC", "images"] == 24


def test_costs_and_stages_come_from_the_profile(store: Store) -> None:
    (one,) = comparisons(store)
    costs = cost_table(one.entries()).set_index("line")
    assert costs.loc["clip_ac", "latency_ms"] == 12.5
    assert costs.loc["clip_ac", "shared"]
    assert costs.loc["clip_ac", "hardware_id"] == "0" * 8
    assert math.isnan(costs.loc["clip_ac", "peak_gb"])
    stages = stage_table(one.entries())
    assert stages.query("line == 'clip_ac' and stage == 'vision tower'")["ms"].item() == pytest.approx(2000 / 24)


def test_pareto_keeps_ties_and_drops_the_beaten() -> None:
    front = pareto(pd.Series([1.0, 1.0, 2.0, math.nan]), pd.Series([0.5, 0.5, 0.4, 0.9]))
    assert front.tolist() == [True, True, False, False]


def test_recall_by_type_and_area(store: Store) -> None:
    (one,) = comparisons(store)
    lines = one.entries()
    assert recalls_known(store, lines, "bolt") == ("recall_fpr05", "recall_f1max")
    by_type = region_recall(store, lines, "bolt", "recall_fpr05", "type")
    regions = store.regions(one.entries()[1].runs[0].id, "bolt")
    assert by_type.set_index("group").loc["scratch", "value"] == pytest.approx(
        regions[regions["defect_type"] == "scratch"]["recall_fpr05"].mean()
    )
    by_area = region_recall(store, lines, "bolt", "recall_fpr05", "area")
    assert by_area["group"].unique().tolist() == ["2–10%"]
    assert by_area["n"].sum() == len(regions)
    assert area_label(0.9) == "10–100%"


def test_an_empty_store_gives_empty_tables(tmp_path: Path) -> None:
    empty = open_store(tmp_path)
    assert runs_table(empty).empty
    assert cost_table(()).empty
    assert stage_table(()).empty
