"""Published sets: which rows of the table make one entry, which claim stands, and what tables show of it."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from typing import Any

import pandas as pd
import pytest

from vlmad_core.analysis.claims import FIRST_HAND, KINDS, Wanted, kind_of
from vlmad_core.analysis.comparable import comparisons
from vlmad_core.analysis.leaderboard import leaderboard
from vlmad_core.analysis.published import (
    PublishedSet,
    claims_of,
    evidence_held,
    line_id,
    measured_twins,
    published_sets,
    wanted_claims,
)
from vlmad_core.analysis.published_tables import (
    best_published,
    claims_table,
    lines_with_cells,
    published_board,
    published_cells,
    ranking_rows,
    side_by_side,
)
from vlmad_core.analysis.reported import COLUMNS, METRIC_NAMES, load_reported
from vlmad_core.analysis.sources import load_sources
from vlmad_core.metrics.spec import MEAN
from vlmad_core.paths import reported_folder
from vlmad_core.store.reader import open_store

AC = ["image_auroc", "image_ap", "image_f1max"]


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """The csv as it lies there, read without the code under test."""
    return pd.read_csv(reported_folder() / "results.csv", keep_default_na=False)


@pytest.fixture(scope="module")
def sets() -> dict[str, PublishedSet]:
    return published_sets(load_reported(), load_sources())


def made_up(*rows: Mapping[str, Any]) -> PublishedSet:
    """The set of some rows; what they do not say is as in a paper's table of WinCLIP on MVTec AD."""
    usual = dict.fromkeys(COLUMNS, "") | {
        "dataset": "mvtec_ad", "category": MEAN, "method": "WinCLIP", "method_id": "winclip", "variant": "paper",
        "kind": "main", "shots": 0, "metric": "image_auroc", "value": 0.9, "std": math.nan, "decimals": 1,
        "training_data": "none", "source": "jeong2023winclip", "location": "Table 1", "origin": "primary",
        "read": "text", "image_size": math.nan,
    }  # fmt: skip
    frame = pd.DataFrame([usual | row for row in rows])
    return published_sets(frame, load_sources())["mvtec_ad@published"]


def test_every_set_that_is_reported_on_is_one(table: pd.DataFrame, sets: dict[str, PublishedSet]) -> None:
    assert set(sets) == {f"{name}@published" for name in table["dataset"]}
    assert sets["mvtec_ad@published"].name == "MVTec AD (published)"
    assert sets["visa@published"].name == "VisA (published)"
    assert {entry.evidence for one in sets.values() for entry in one.entries} == {"reported"}
    assert [len(one.claims) for one in sets.values()] == sorted(
        (len(one.claims) for one in sets.values()), reverse=True
    )


def test_every_row_of_the_table_is_a_claim_and_none_is_two(table: pd.DataFrame, sets: dict[str, PublishedSet]) -> None:
    rows = table[((table["kind"] == "main") | (table["method_id"] == "clip_cpe"))]
    rows = rows[~rows["category"].str.startswith("group:")]
    for one in sets.values():
        own = rows[rows["dataset"] == one.key]
        expected = sorted(zip(own["source"], own["location"], own["value"].astype(float).round(9), strict=True))
        found = sorted((c.source, c.location, round(c.value, 9)) for c in one.claims if c.stated)
        assert found == expected
        assert len({entry.key for entry in one.entries}) == len(one.entries)
        assert len({line_id(entry) for entry in one.entries}) == len(one.entries)
        assert len({entry.name for entry in one.entries}) == len(one.entries)


def test_the_authors_value_stands_and_re_runs_are_a_range_beside_it() -> None:
    one = made_up(
        {"value": 0.80, "origin": "reproduction", "source": "zhou2024winclip_reimpl", "variant": "re-run"},
        {"value": 0.70, "origin": "reproduction", "source": "cao2023winclip_reimpl", "variant": "re-run"},
        {"value": 0.90, "origin": "secondary"},
        {"value": 0.91, "origin": "primary", "variant": "official log"},
        {"value": 0.92, "origin": "primary"},
    )
    board = published_board(one, AC, "image_auroc", shots=0)
    assert ranking_rows(board, "image_auroc", 3)["name"].tolist() == ["WinCLIP"]
    (row,) = board.to_dict("records")
    assert row["image_auroc"] == pytest.approx(92)
    assert math.isnan(row["image_ap"])
    assert row["reruns"] == "70.0 – 80.0 (2 sources)"
    assert (row["low"], row["high"], row["claims"], row["rank"]) == (0.70, 0.80, 5, 1)
    assert claims_table(one.entries[0], "image_auroc")["value"].tolist() == pytest.approx([92, 91, 90, 80, 70])
    only = published_board(one, AC, "image_auroc", wanted=Wanted(kinds=("rerun",)))
    assert only["image_auroc"].tolist() == pytest.approx([80])  # equal weights: the newer source
    assert ranking_rows(only, "image_auroc", 3)["name"].tolist() == ["WinCLIP*"]


def test_second_hand_is_off_unless_asked_for_but_for_cpe() -> None:
    one = made_up(
        {"value": 0.95, "origin": "unclear"},
        {"method": "CPE", "method_id": "clip_cpe", "value": 0.898, "read": "digest", "kind": "ablation",
         "variant": "ablation: + state ensemble"},
        {"method": "CPE", "method_id": "clip_cpe", "value": 0.908, "read": "digest"},
        {"method": "MaskCLIP", "method_id": "", "value": 0.6, "read": "digest"},
        {"method": "WinCLIP", "kind": "ablation", "variant": "ablation: tiling", "value": 0.5},
    )  # fmt: skip
    board = published_board(one, AC, "image_auroc")
    assert dict(zip(board["name"], board["kind"], strict=True)) == {
        "CPE": "a digest of the paper",
        "CPE (state ensemble)": "a digest of the paper",
    }
    asked = published_board(one, AC, "image_auroc", wanted=Wanted(kinds=KINDS))
    assert asked["name"].tolist() == ["WinCLIP", "CPE", "CPE (state ensemble)", "MaskCLIP"]


def test_training_data_and_versions_make_entries_and_what_is_not_said_goes_to_the_main_one() -> None:
    april = {"method": "APRIL-GAN", "method_id": "april_gan"}
    one = made_up(
        {**april, "training_data": "visa", "value": 0.86},
        {**april, "training_data": "visa+clinicdb", "value": 0.82, "origin": "reproduction", "variant": "rerun"},
        {**april, "training_data": "", "value": 0.81, "origin": "reproduction", "variant": "rerun"},
        {**april, "training_data": "mvtec_ad+visa", "value": 0.99, "origin": "reproduction", "variant": "rerun"},
        {"method": "Crane", "method_id": "", "training_data": "", "variant": "paper", "value": 0.93},
        {"method": "Crane", "method_id": "", "training_data": "", "variant": "paper, Crane+", "value": 0.94},
        {"method": "VFM", "method_id": "", "training_data": "", "variant": "repo results, CLIP", "value": 0.8},
        {"method": "VFM", "method_id": "", "training_data": "", "variant": "repo results, DINOv2", "value": 0.7},
    )
    board = published_board(one, AC, "image_auroc").set_index("name")
    assert set(board.index) == {
        "APRIL-GAN", "APRIL-GAN, trained on visa, clinicdb", "APRIL-GAN, trained on mvtec_ad, visa", "Crane", "Crane+",
        "VFM (CLIP)", "VFM (DINOv2)",
    }  # fmt: skip
    assert board.loc["APRIL-GAN", ["trained_on", "seen", "claims"]].tolist() == ["visa", "no", 2]
    assert board.loc["APRIL-GAN, trained on mvtec_ad, visa", "seen"] == "yes"
    assert board.loc["Crane", "seen"] == "not recorded"
    best = best_published(one, "image_auroc")
    assert best is not None
    assert best["name"] == "Crane+"  # the highest was trained on the data set, and is not the authors'
    trained = published_board(one, AC, "image_auroc", wanted=Wanted(training_data=("visa",)))
    assert trained["name"].tolist() == ["APRIL-GAN"]


def test_filters_by_backbone_and_year() -> None:
    one = made_up(
        {"backbone": "CLIP ViT-B-16", "value": 0.9},
        {"backbone": "", "value": 0.8, "origin": "reproduction", "source": "zhou2024winclip_reimpl"},
    )
    for wanted, values in (
        (Wanted(backbones=("",)), [80]),
        (Wanted(backbones=("CLIP ViT-B-16",)), [90]),
        (Wanted(years=(2024, 2026)), [80]),
        (Wanted(years=(2027, 2028)), []),
    ):
        assert published_board(one, AC, "image_auroc", wanted=wanted)["image_auroc"].tolist() == pytest.approx(values)


def test_forty_cells_drawn_at_random_agree_with_the_csv(table: pd.DataFrame, sets: dict[str, PublishedSet]) -> None:
    """Of what is shown by default, in the frames behind Leaderboard and Categories; each with all its claims."""
    table = table.assign(hand=[kind_of(o, r) for o, r in zip(table["origin"], table["read"], strict=True)])
    draw = random.Random(21)
    shown = []
    for one in sets.values():
        for shots in one.shots:
            for metric in one.metrics:
                board = published_board(one, [metric], metric, shots=shots)
                shown += [(one, shots, metric, MEAN, row["line"], row[metric] / 100) for _, row in board.iterrows()]
                cells = published_cells(one, metric, shots)
                cells = cells[cells["value"].notna() & (cells["category"] != MEAN)]
                shown += [
                    (one, shots, metric, row["category"], row["line"], row["value"]) for _, row in cells.iterrows()
                ]
    assert len(shown) > 1000
    means = [place for place in shown if place[3] == MEAN]
    for one, shots, metric, category, line, value in [*draw.sample(means, 20), *draw.sample(shown, 20)]:
        entry = next(entry for entry in one.entries if line_id(entry) == line)
        claims = [claim for claim in wanted_claims(entry, metric, category, Wanted()) if claim.stated]
        for claim in claims:
            rows = table[
                (table["dataset"] == one.key) & (table["shots"] == shots) & (table["metric"] == metric)
                & (table["category"] == category) & (table["source"] == claim.source)
                & (table["location"] == claim.location) & (table["variant"] == claim.variant)
                & (table["hand"] == claim.kind) & entry_of(table, entry.title)
            ]  # fmt: skip
            assert claim.value in rows["value"].astype(float).tolist(), (one.key, line, metric, category)
        first = wanted_claims(entry, metric, category, Wanted())[0]
        assert value == pytest.approx(first.value)
        assert first.kind == min((claim.kind for claim in claims), key=KINDS.index, default=first.kind)


def entry_of(table: pd.DataFrame, title: str) -> pd.Series:
    """The rows whose method is named in a title: the title begins with it, or a version of it does."""
    return pd.Series([title.startswith(str(name)) for name in table["method"]], index=table.index)


def test_cells_of_winclip_and_april_gan_stand_side_by_side(sets: dict[str, PublishedSet]) -> None:
    one = sets["mvtec_ad@published"]
    first = [entry.title for entry in lines_with_cells(one, "image_auroc", 0)][:10]
    assert {"WinCLIP", "APRIL-GAN"} <= set(first)
    cells = published_cells(one, "image_auroc", 0)
    assert cells["category"].iloc[0] == MEAN
    own = cells[cells["title"].isin(["WinCLIP", "APRIL-GAN"])]
    assert own["value"].notna().all()
    assert set(own[own["title"] == "APRIL-GAN"].query("category != 'mean'")["mark"]) == {"*"}
    assert set(own[own["title"] == "WinCLIP"]["mark"]) == {""}


def test_side_by_side_ranks_both_and_keeps_the_evidence(sets: dict[str, PublishedSet], made_up_store, tmp_path) -> None:
    one = sets["mvtec_ad@published"]
    store = open_store(made_up_store(tmp_path, datasets=("mvtec_ad",), categories=("bottle", "screw")))
    (twin,) = measured_twins(one, comparisons(store))
    assert twin.dataset == "mvtec_ad"
    alone = published_board(one, AC, "image_auroc", shots=0)
    both = side_by_side(alone, [(twin, leaderboard(store, dataset="mvtec_ad"))], "image_auroc", shots=0, total=15)
    assert both["evidence"].value_counts().to_dict() == {"reported": len(alone), "measured": 2}
    measured = both[both["evidence"] == "measured"]
    assert measured["kind"].tolist() == ["measured here, 2 of 15 categories"] * 2
    assert both["image_auroc"].dropna().is_monotonic_decreasing
    assert both["rank"].dropna().iloc[0] == 1
    rows = ranking_rows(both, "image_auroc", 100)
    assert rows["name"].is_unique
    assert rows["name"].str.endswith("(measured)").sum() == 2
    again = both[both["evidence"] == "reported"]
    assert again["image_auroc"].tolist() == alone["image_auroc"].tolist()


def test_the_evidence_held_is_counted(table: pd.DataFrame, sets: dict[str, PublishedSet]) -> None:
    held = evidence_held(sets.values(), [])
    assert held.benchmarks == table["dataset"].nunique()
    assert held.values > held.per_category > 1000
    assert held.sources <= table["source"].nunique()
    assert (held.runs, held.measured_sets) == (0, 0)


def test_what_is_shown_by_default_is_first_hand(sets: dict[str, PublishedSet]) -> None:
    for one in sets.values():
        for entry in one.entries:
            for metric, category in claims_of(entry).values:
                kinds = {claim.kind for claim in wanted_claims(entry, metric, category, Wanted())}
                assert kinds <= set(FIRST_HAND) or entry.method == "clip_cpe"


def test_the_usual_metrics_are_there(sets: dict[str, PublishedSet]) -> None:
    assert sets["mvtec_ad@published"].metrics == METRIC_NAMES
