from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from vlmad_core.analysis.leaderboard import leaderboard, mean_over_categories, mean_over_seeds
from vlmad_core.analysis.statistics import mean_interval
from vlmad_core.store.reader import open_store


def table(values: dict[str, float | None], run: str = "r", seed: int = 0, reason: str = "no masks") -> pd.DataFrame:
    rows = [
        {
            "run_id": run,
            "dataset": "d",
            "category": category,
            "method": "m",
            "preset": "p",
            "backbone": "b",
            "mode": "matched",
            "shots": 1,
            "seed": seed,
            "level": "pixel",
            "metric": "pixel_ap",
            "eval_size": 256,
            "value": np.nan if value is None else value,
            "low": 0.1,
            "high": 0.9,
            "n": 10,
            "reason": reason if value is None else None,
        }
        for category, value in values.items()
    ]
    return pd.DataFrame(rows)


def test_macro_mean_with_interval():
    row = mean_over_categories(table({"a": 0.2, "b": 0.4, "c": 0.9})).iloc[0]
    assert row["value"] == pytest.approx(0.5)
    expected = mean_interval([0.2, 0.4, 0.9])
    assert (row["low"], row["high"]) == (expected.low, expected.high)
    assert row["low"] == 0.0  # clipped: a mean of fractions is one
    assert (row["n_categories"], row["n"]) == (3, 30)


def test_one_category_keeps_its_own_interval():
    row = mean_over_categories(table({"a": 0.2}), ["a"]).iloc[0]
    assert (row["value"], row["low"], row["high"]) == (0.2, 0.1, 0.9)


def test_a_blank_category_makes_the_mean_blank_with_its_reason():
    metrics = table({"a": 0.2, "b": None})
    row = mean_over_categories(metrics).iloc[0]
    assert np.isnan(row["value"])
    assert row["reason"] == "1 of 2 categories have no value (b: no masks)"
    skipped = mean_over_categories(metrics, blank="skip").iloc[0]
    assert skipped["value"] == 0.2
    assert "1 of 2" in skipped["reason"]


def test_an_unfinished_category_is_not_passed_over():
    row = mean_over_categories(table({"a": 0.2}), ["a", "b"]).iloc[0]
    assert np.isnan(row["value"])
    assert "b is not finished" in row["reason"]


def test_seeds_give_mean_and_deviation():
    parts = [table({"a": v}, run=f"r{i}", seed=i) for i, v in enumerate((0.2, 0.4))]
    row = mean_over_seeds(mean_over_categories(pd.concat(parts))).iloc[0]
    assert row["value"] == pytest.approx(0.3)
    assert row["sd"] == pytest.approx(np.std([0.2, 0.4], ddof=1))
    assert (row["n_seeds"], row["run_ids"]) == (2, ("r0", "r1"))


def test_the_interval_of_several_seeds_is_that_of_their_mean():
    draws = [{"a": 0.5, "b": 0.7, "c": 0.6}, {"a": 0.7, "b": 0.5, "c": 0.62}]
    parts = [table(values, run=f"r{i}", seed=i) for i, values in enumerate(draws)]
    row = mean_over_seeds(mean_over_categories(pd.concat(parts))).iloc[0]
    expected = mean_interval([0.6, 0.6, 0.61])
    assert (row["low"], row["high"]) == pytest.approx((expected.low, expected.high))


def test_one_seed_has_no_deviation():
    assert np.isnan(mean_over_seeds(mean_over_categories(table({"a": 0.2}))).iloc[0]["sd"])


def test_leaderboard_ranks_within_equal_conditions_only(tmp_path: Path, made_up_store):
    made_up_store(tmp_path, datasets=("widgets", "gears"))
    made_up_store(tmp_path, backbone="other")
    board = leaderboard(open_store(tmp_path), ["image_auroc"])
    assert len(board) == 6
    for _, group in board.groupby(["dataset", "conditions"]):
        assert sorted(group["rank"]) in ([1, 2], [1, 1])
        assert group["backbone"].nunique() == 1


def test_an_unfinished_run_has_no_rank(tmp_path: Path, made_up_store):
    made_up_store(tmp_path, unfinished=[("winclip", "bolt")])
    board = leaderboard(open_store(tmp_path), ["image_auroc"]).set_index("method")
    assert pd.isna(board.loc["winclip", "rank"])
    assert "bolt is not finished" in board.loc["winclip", "reason"]
    assert board.loc["clip_ac", "rank"] == 1


def test_empty_store(tmp_path: Path):
    assert leaderboard(open_store(tmp_path)).empty
