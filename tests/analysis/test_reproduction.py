from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest

from vlmad_core.analysis.contradictions import contradictions, contradictions_table
from vlmad_core.analysis.reported import load_reported, reported_leaderboard
from vlmad_core.analysis.reproduction import (
    HERE,
    KNOWLEDGE,
    PAPER,
    PUBLIC,
    implementations,
    knowledge,
    method_knowledge,
    reproduction_table,
    story,
)
from vlmad_core.analysis.sources import load_sources
from vlmad_core.errors import StoreError
from vlmad_core.store.reader import Store, open_store
from vlmad_core.store.schema import sealed

pytestmark = pytest.mark.usefixtures("quick_disk")


@pytest.fixture(scope="module")
def reported() -> pd.DataFrame:
    return load_reported()


def measured(path: Path, make: Callable[..., Path], categories: tuple[str, ...], **more: object) -> Store:
    make(path, datasets=("mvtec",), categories=categories, images=6, thumbnails=False, **more)
    for file in path.glob("*/*/run.json"):
        record = json.loads(file.read_text())
        record["provenance"]["data"]["official"] = "mvtec_ad"
        file.write_bytes(sealed(record))
    return open_store(path)


def test_paper_and_public_runs_stand_side_by_side(reported: pd.DataFrame) -> None:
    table = reproduction_table(reported, load_sources(), "mvtec_ad", metrics=["image_auroc"])
    rows = table[(table["method"] == "WinCLIP") & (table["shots"] == 0)]
    assert rows["who"].iloc[0] == PAPER
    assert (rows["who"] == PAPER).sum() == 1
    cao = rows[rows["source"] == "cao2023winclip_reimpl"].iloc[0]
    assert cao["who"] == PUBLIC
    assert cao["difference"] == pytest.approx(0.7017 - 0.918)
    assert "backbone: not said" in cao["protocol"]
    clip = table[table["method"] == "CLIP-AC"]
    assert clip["difference"].isna().all()
    assert clip["reason"].str.contains("not in the table").all()


def test_a_rerun_with_other_training_data_says_so(reported: pd.DataFrame) -> None:
    table = reproduction_table(reported, load_sources(), "mvtec_ad", metrics=["image_auroc"])
    rows = table[(table["method"] == "APRIL-GAN") & (table["shots"] == 0)].set_index("source")
    assert rows.loc["cao2024adaclip", "protocol"] == ("trained on visa+clinicdb instead of visa",)
    assert rows.loc["tuk2026aprilgan_rerun", "protocol"] == ()
    assert abs(rows.loc["tuk2026aprilgan_rerun", "difference"]) < 0.001


def test_own_runs_are_held_against_the_same_categories(
    reported: pd.DataFrame, tmp_path: Path, made_up_store: Callable[..., Path]
) -> None:
    store = measured(tmp_path, made_up_store, ("bottle", "metal_nut"), methods=("winclip",))
    table = reproduction_table(reported, load_sources(), "mvtec_ad", store, metrics=["image_auroc", "image_ap"])
    here = table[table["who"] == HERE].set_index("metric")
    paper = reported[(reported["variant"] == "paper") & (reported["metric"] == "image_auroc")]
    paper = paper[(paper["method"] == "WinCLIP") & paper["category"].isin(["bottle", "metal_nut"])]
    row = here.loc["image_auroc"]
    ours = store.metrics().query("metric == 'image_auroc'")["value"].mean()
    assert row["method"] == "WinCLIP"
    assert row["value"] == pytest.approx(ours)
    assert row["difference"] == pytest.approx(ours - paper["value"].mean())
    assert "2 of 15 categories" in row["protocol"]
    assert any("instead of CLIP ViT-B-16-plus-240" in text for text in row["protocol"])
    assert "input of 64 instead of 240 pixels" in row["protocol"]
    without = here.loc["image_ap"]  # of which the paper's single categories are not known
    assert pd.isna(without["difference"])
    assert "2 of 15 categories" in without["reason"]


def test_own_runs_use_their_native_size_and_the_mean_over_seeds(
    reported: pd.DataFrame, tmp_path: Path, made_up_store: Callable[..., Path]
) -> None:
    store = measured(tmp_path, made_up_store, ("bottle",), methods=("winclip",), shots=(1,), seeds=2)
    table = reproduction_table(reported, load_sources(), "mvtec_ad", store)
    here = table[table["who"] == HERE].set_index("metric")
    assert "pixels compared at 64 x 64" in here.loc["pixel_auroc", "protocol"]
    frame = store.metrics().query("metric == 'pixel_auroc' and eval_size == 64")
    assert here.loc["pixel_auroc", "value"] == pytest.approx(frame["value"].mean())
    assert here.loc["pixel_auroc", "std"] == pytest.approx(frame["value"].std(ddof=1))
    assert "aupro_30" not in here.index  # exact AUPRO is never held against a reported one


def test_runs_on_other_data_are_left_out(
    reported: pd.DataFrame, tmp_path: Path, made_up_store: Callable[..., Path]
) -> None:
    store = open_store(made_up_store(tmp_path, images=6, thumbnails=False))
    table = reproduction_table(reported, load_sources(), "mvtec_ad", store)
    assert HERE not in set(table["who"])


def test_the_story_takes_its_numbers_from_the_table(reported: pd.DataFrame) -> None:
    told = story(reported, load_sources())
    assert [step.value for step in told.steps] == [0.918, 0.904, 0.8996, 0.7017, 0.612]
    assert told.steps[0].difference is None
    assert told.steps[-1].difference == pytest.approx(-0.306)
    assert all(step.url and step.location for step in told.steps)
    established = [step.implementation.source for step in told.steps if step.implementation.established]
    assert established == ["haider2026winclip_rerun"]
    with pytest.raises(StoreError, match="0 numbers of cao2023winclip_reimpl"):
        story(reported[reported["source"] != "cao2023winclip_reimpl"], load_sources())


def test_what_is_claimed_of_the_sources_holds_in_the_table(reported: pd.DataFrame) -> None:
    def zero_shot(source: str, dataset: str, method: str = "WinCLIP") -> pd.Series:
        board = reported_leaderboard(reported, dataset, shots=0)
        found = board[(board["source"] == source) & (board["method"] == method)]
        return found.set_index("metric")["value"]

    for dataset in ("mvtec_ad", "visa"):
        original = zero_shot("zhou2024winclip_reimpl", dataset)
        for copy in ("gao2024metauas", "gao2026uniadet"):
            listed = zero_shot(copy, dataset)
            assert listed.to_dict() == original[listed.index].to_dict()
    log = reported[(reported["variant"] == "official repo log") & (reported["method"] == "AnomalyCLIP")]
    log = log[(log["dataset"] == "mvtec_ad") & (log["metric"] == "image_auroc")].set_index("category")["value"]
    study = reported[(reported["source"] == "kakda2026analyzing") & (reported["method"] == "AnomalyCLIP")]
    study = study[study["metric"] == "image_auroc"].set_index("category")["value"]
    assert round(log[["carpet", "grid", "leather", "tile", "wood"]].mean(), 3) == study["group:texture"]
    assert log["mean"] == study["mean"]


def test_what_is_known_names_sources_and_methods_of_the_table(reported: pd.DataFrame) -> None:
    assert implementations().keys() <= load_sources().keys()
    assert method_knowledge().keys() <= set(reported["method_id"]) | set(reported["method"])


def texts(value: object, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """All texts of the knowledge with where they stand."""
    if isinstance(value, dict):
        for key, one in value.items():
            yield from texts(one, (*path, str(key)))
    elif isinstance(value, list):
        for one in value:
            yield from texts(one, path)
    elif isinstance(value, str):
        yield path, value


def test_no_sentence_of_what_is_known_is_cut() -> None:
    """In YAML, `` #`` begins a comment: a sentence with an issue's number must stand in quotes."""
    sentences = ("how", "differences", "established", "open", "here", "lead", "moral")
    found = [text for path, text in texts(knowledge()) if path[-1] in sentences and text]
    assert len(found) > 40
    assert [text for text in found if not text.endswith((".", ":"))] == []
    lines = KNOWLEDGE.read_text(encoding="utf-8").splitlines()
    bare = [line for line in lines if " #" in line and not line.lstrip().startswith(("#", '- "'))]
    assert bare == []


CONTRADICTED = {
    ("AA-CLIP", "visa", 0, "image_auroc"): {84.6, 79.0, 80.3, 79.2, 81.5, 46.2},
    ("AnomalyCLIP", "sdd", 0, "image_auroc"): {84.7, 98.4},
    ("AnomalyCLIP", "headct", 0, "image_auroc"): {90.8, 93.4, 95.3},
    ("AdaCLIP", "brainmri", 0, "image_auroc"): {36.0, 93.5},
    ("Bayes-PFL", "real_iad", 0, "image_auroc"): {70.0, 85.2},
    ("WinCLIP", "btad", 0, "image_auroc"): {68.2, 83.3},
    ("WinCLIP", "visa", 0, "pixel_auroc"): {79.6, 60.0},
    ("MuSc", "visa", 0, "image_auroc"): {92.8, 94.1, 91.0},
    ("SubspaceAD", "mvtec_ad", 1, "image_auroc"): {98.0, 97.1},
    ("InCTRL", "visa", 2, "image_auroc"): {85.8, 82.0},
    ("FE-CLIP", "visa", 0, "image_auroc"): {84.6, 87.8},
}


def test_contradictions_are_those_of_the_rows_each_with_its_source(reported: pd.DataFrame) -> None:
    sources = load_sources()
    found = {(one.method, one.dataset, one.shots, one.metric): one for one in contradictions(reported, sources)}
    assert found.keys() == CONTRADICTED.keys()
    for key, values in CONTRADICTED.items():
        claims = found[key].claims
        assert values <= set((100 * claims["value"]).round(1)), key
        assert set(claims["source"]) <= sources.keys()
        assert claims["location"].str.len().all()
    table = contradictions_table(tuple(found.values()))
    assert (table["spread"] > 0.8).all()
    assert (table["claims"] >= 2).all()
    one_sided = reported[reported["source"] != "hwang_feclip_reimpl"]
    with pytest.raises(StoreError, match="do not disagree on image_auroc of FE-CLIP"):
        contradictions(one_sided, sources)


def test_the_paper_at_first_hand_stands_before_quotations_of_it(reported: pd.DataFrame) -> None:
    for dataset in sorted(set(reported["dataset"])):
        table = reproduction_table(reported, load_sources(), dataset, second_hand=True)
        assert table["value"].between(0, 1).all()
        paper = table[table["who"] == PAPER].groupby(["method", "shots", "metric"])["value"].agg(set)
        compared = table[(table["who"] == PUBLIC) & table["difference"].notna()]
        for row in compared.to_dict("records"):
            stated = row["value"] - row["difference"]
            assert any(abs(stated - value) < 1e-9 for value in paper[row["method"], row["shots"], row["metric"]])
