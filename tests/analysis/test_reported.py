from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

from vlmad_core.analysis.claims import FIRST_HAND
from vlmad_core.analysis.contradictions import conflicts
from vlmad_core.analysis.literature import load_efficiency
from vlmad_core.analysis.reported import (
    CATEGORY_COUNTS,
    METRIC_NAMES,
    load_reported,
    reported_leaderboard,
)
from vlmad_core.analysis.sources import load_sources
from vlmad_core.errors import StoreError
from vlmad_core.methods.registry import ALIASES
from vlmad_core.paths import reported_folder

KNOWN_EXCEPTIONS = {
    "visa/MuSc/repo results/0-shot/pixel_auroc": (0.9871, 0.98838),
    "visa/WinCLIP/paper/0-shot/image_ap": (0.812, 0.810),
}
"""Means that their own categories contradict: what the source states, and what its categories give."""


@pytest.fixture(scope="module")
def reported() -> pd.DataFrame:
    return load_reported()


def value(frame: pd.DataFrame, **where: object) -> float:
    for name, wanted in where.items():
        frame = frame[frame[name] == wanted]
    assert len(frame) == 1, where
    return float(frame["value"].iloc[0])


def contradicted(frame: pd.DataFrame) -> tuple[int, dict[str, tuple[float, float]]]:
    """How many means have all their categories beside them; which these contradict by more than rounding.

    The mean may stand elsewhere than the categories (e.g. in an abstract), as long as both are the same claim.
    """
    claim = ["dataset", "method", "variant", "shots", "metric", "source", "backbone", "image_size", "training_data"]
    count, wrong = 0, {}
    is_mean = frame["category"] == "mean"
    share = is_mean.groupby([frame[name] for name in claim], dropna=False).transform("mean")
    for key, group in frame[(share > 0) & (share < 1)].groupby(claim, dropna=False):
        dataset, method, variant, shots, metric = key[:5]
        means = group[group["category"] == "mean"]
        parts = group[(group["category"] != "mean") & ~group["category"].str.startswith("group:")]
        for _, part in parts.groupby("location"):
            if not part["category"].nunique() == len(part) == CATEGORY_COUNTS.get(dataset):
                continue
            for stated, decimals in zip(means["value"], means["decimals"], strict=True):
                count += 1
                rounding = sum(0.5 * 10.0 ** -(int(digits) + 2) for digits in (decimals, part["decimals"].max()))
                if abs(stated - part["value"].mean()) > rounding + 1e-9:
                    wrong[f"{dataset}/{method}/{variant}/{shots}-shot/{metric}"] = (stated, part["value"].mean())
    return count, wrong


def test_every_reported_mean_follows_from_its_categories_but_for_the_known_exceptions(reported: pd.DataFrame) -> None:
    count, found = contradicted(reported)
    assert count >= 140
    assert found.keys() == KNOWN_EXCEPTIONS.keys()
    for name, (stated, computed) in KNOWN_EXCEPTIONS.items():
        assert found[name] == pytest.approx((stated, computed), abs=1e-5)


def test_a_wrong_category_is_noticed(reported: pd.DataFrame) -> None:
    frame = reported.copy()
    where = frame["variant"].eq("official repo log") & frame["method"].eq("AnomalyCLIP") & frame["category"].eq("wood")
    frame.loc[where & frame["metric"].eq("image_auroc"), "value"] -= 0.03
    _, found = contradicted(frame)
    assert found.keys() - KNOWN_EXCEPTIONS.keys() == {"mvtec_ad/AnomalyCLIP/official repo log/0-shot/image_auroc"}


def test_the_numbers_everyone_knows_are_there(reported: pd.DataFrame) -> None:
    means = reported[reported["category"] == "mean"]
    winclip = means[(means["method"] == "WinCLIP") & (means["dataset"] == "mvtec_ad") & (means["shots"] == 0)]
    image = winclip[winclip["metric"] == "image_auroc"]
    assert value(image, variant="paper") == 0.918
    assert value(image, source="zhou2024winclip_reimpl") == 0.904
    assert value(image, source="cao2023winclip_reimpl") == 0.7017
    assert value(image, source="kakda2026analyzing") == 0.612
    study = reported[(reported["source"] == "kakda2026analyzing") & (reported["method"] == "AnomalyCLIP")]
    assert value(study, category="mean", metric="image_auroc") == 0.916
    assert value(study, category="mean", metric="pixel_auroc") == 0.907
    assert value(study, category="group:texture") == 0.989
    assert value(study, category="group:rigid") == 0.870
    assert value(study, category="group:flexible") == 0.875


def test_methods_that_must_be_covered_are(reported: pd.DataFrame) -> None:
    wanted = {"WinCLIP", "WinCLIP+", "CLIP-AC", "APRIL-GAN", "AnomalyCLIP", "MuSc", "AdaCLIP", "AA-CLIP", "PatchCore"}
    for dataset in ("mvtec_ad", "visa"):
        assert wanted <= set(reported.loc[reported["dataset"] == dataset, "method"])
    few = reported[(reported["method"] == "WinCLIP+") & (reported["variant"] == "paper")]
    assert set(few["shots"]) == {1, 2, 4}


def test_digests_and_listings_are_second_hand_and_not_shown_unless_asked_for(reported: pd.DataFrame) -> None:
    assert set(reported.loc[reported["read"] == "digest", "whose"]) == {"digest"}
    assert set(reported.loc[reported["origin"] == "unclear", "whose"]) == {"unclear", "digest"}
    assert set(reported.loc[reported["read"] == "digest, confirmed", "whose"]) <= set(FIRST_HAND)
    shown = reported_leaderboard(reported, "mvtec_ad", shots=0)
    every = reported_leaderboard(reported, "mvtec_ad", shots=0, second_hand=True)
    assert len(every) > len(shown)
    cpe = shown[~shown["whose"].isin(FIRST_HAND)]
    assert set(cpe["method_id"]) == {"clip_cpe"}
    assert value(cpe, metric="image_auroc") == 0.908


def test_values_are_fractions_and_no_row_is_there_twice(reported: pd.DataFrame) -> None:
    assert reported["value"].between(0, 1).all()
    assert set(reported["metric"]) == set(METRIC_NAMES)
    assert reported.loc[reported["metric"] == "image_auroc", "value"].median() > 0.8
    keys = ["dataset", "category", "method", "variant", "shots", "metric", "source", "location", "backbone"]
    assert not reported.duplicated([*keys, "image_size"]).any()


METHOD_IDS = {
    **ALIASES,
    "winclip": "winclip",
    "musc": "musc",
    "af-clip": "af_clip",
    "adaclip": "ada_clip",
    "aa-clip": "aa_clip",
    "anomalydino": "anomaly_dino",
    "anomalydino-s": "anomaly_dino",
    "subspacead": "subspace_ad",
}


def test_identifiers_agree_with_the_table_of_aliases(reported: pd.DataFrame) -> None:
    for frame in (reported, load_efficiency()):
        for method, group in frame.groupby("method"):
            assert set(group["method_id"]) == {METHOD_IDS.get(str(method).lower(), "")}, method


def test_every_source_is_described_and_none_names_a_private_place(reported: pd.DataFrame) -> None:
    sources = load_sources()
    assert set(reported["source"]) <= sources.keys()
    assert all(source.read for source in sources.values())
    assert sources["jeong2023winclip"].label == "Jeong et al. 2023"
    assert sources["haider2026winclip_rerun"].label == "hammadhaideer/winclip-reproduced"


def test_leaderboard_keeps_claims_apart_and_marks_what_was_computed(reported: pd.DataFrame) -> None:
    board = reported_leaderboard(reported, "mvtec_ad", metrics=["image_auroc"], shots=0)
    assert (board["kind"] == "main").all()
    assert list(board["value"]) == sorted(board["value"], reverse=True)
    claims = reported[(reported["dataset"] == "mvtec_ad") & (reported["metric"] == "image_auroc")]
    claims = claims[(claims["kind"] == "main") & (claims["shots"] == 0) & (claims["category"] == "mean")]
    of_winclip = claims[(claims["method"] == "WinCLIP") & claims["whose"].isin(FIRST_HAND)]
    assert (board["method"] == "WinCLIP").sum() == len(of_winclip) >= 8
    few = reported_leaderboard(reported, "mvtec_ad", metrics=["image_auroc"], shots=4)
    computed = few[~few["stated"]]
    assert list(computed["variant"]) == ["re-run with official weights, seed 42"]
    assert computed["value"].iloc[0] == pytest.approx(0.92629, abs=1e-5)
    assert not board["contaminated"].any()
    trained = reported.assign(training_data="mvtec_ad+colondb")
    assert reported_leaderboard(trained, "mvtec_ad", shots=0)["contaminated"].all()


def test_leaderboard_of_nothing_is_empty(reported: pd.DataFrame) -> None:
    assert reported_leaderboard(reported, "unheard_of").empty


def test_conflicts_are_kept_and_rounding_is_none(reported: pd.DataFrame) -> None:
    found = conflicts(reported)
    aa = found[(found["method"] == "AA-CLIP") & (found["dataset"] == "visa")]
    assert sorted(aa["value"]) == [0.815, 0.846]
    assert aa["spread"].iloc[0] == pytest.approx(0.031)
    musc = found[(found["method"] == "MuSc") & (found["dataset"] == "mvtec_ad")]
    assert "image_auroc" not in set(musc["metric"])  # 97.8 and 97.77 are one number


def damaged(folder: Path, name: str, change: tuple[str, str]) -> Path:
    """The tables with line 9 of one of them changed in one column."""
    shutil.copytree(reported_folder(), folder / "reported")
    path = folder / "reported" / name
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    frame.loc[7, change[0]] = change[1]
    frame.to_csv(path, index=False)
    return folder / "reported"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("value", "91.8"), "value that is no fraction"),
        (("metric", "auroc"), "unknown metric"),
        (("source", "hearsay"), "sources.json lacks"),
        (("shots", "few"), "no number of shots"),
        (("source", " "), "no source"),
        (("location", ""), "no location in its source"),
        (("dataset", "mvtec-ad"), "unknown data set"),
    ],
)
def test_a_damaged_table_is_refused_with_its_line(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    folder = damaged(tmp_path, "results.csv", change)
    with pytest.raises(StoreError, match=rf"line 9, has .*{message}"):
        load_reported(folder)


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"results\.csv: can't be read"):
        load_reported(tmp_path)
