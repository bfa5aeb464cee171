from __future__ import annotations

import csv
import io
import zipfile
from pathlib import Path

import pytest

from vlmad_core.analysis.comparable import comparisons
from vlmad_core.analysis.entries import Entry
from vlmad_core.analysis.failures import areas_of, csv_of, may_copy, narrow, picture_name, zip_of
from vlmad_core.analysis.verdicts import judge_entry, ranked
from vlmad_core.store.annotations import Annotation
from vlmad_core.store.reader import Missing, Store, open_store


@pytest.fixture(scope="module")
def store(made_up_store, tmp_path_factory) -> Store:
    path = made_up_store(tmp_path_factory.mktemp("store"), without_masks=("felt",), unfinished=(("clip_ac", "bolt"),))
    return open_store(path)


@pytest.fixture(scope="module")
def line(store: Store) -> Entry:
    (one,) = comparisons(store)
    return next(line for line in one.entries() if line.id == "winclip")


def test_each_category_is_judged_at_its_own_threshold(store: Store, line: Entry) -> None:
    judged = judge_entry(store, line, ["bolt", "felt", "missing"], "normal_05")
    assert set(judged["category"]) == {"bolt", "felt"}
    assert judged.groupby("category")["threshold"].nunique().tolist() == [1, 1]
    assert judged["threshold"].nunique() == 2
    assert (judged["score"] - judged["threshold"]).tolist() == judged["margin"].tolist()


def test_a_threshold_by_hand_holds_for_all(store: Store, line: Entry) -> None:
    judged = judge_entry(store, line, ["bolt", "felt"], None, 9.0)
    assert set(judged["verdict"]) == {"missed", "passed"}
    assert set(judged["threshold"]) == {9.0}


def test_over_categories_the_clearest_mistake_counts_in_spreads_of_its_category(store: Store, line: Entry) -> None:
    order = ranked(judge_entry(store, line, ["bolt", "felt"], None, 9.0), ["missed"])
    assert order["distance"].is_monotonic_decreasing
    assert order["rank"].tolist() == list(range(1, len(order) + 1))


def test_a_line_without_results_gives_an_empty_list(store: Store) -> None:
    (one,) = comparisons(store)
    (other,) = (line for line in one.entries() if line.id == "clip_ac")
    judged = judge_entry(store, other, ["bolt"], None)
    assert ranked(judged, ["missed"]).empty
    assert narrow(judged, types=["scratch"], areas=["0–0.1%"]).empty


def test_filters_by_type_area_and_tag(store: Store, line: Entry) -> None:
    judged = judge_entry(store, line, ["bolt", "felt"], None)
    assert set(narrow(judged, types=["stain"])["defect_type"]) == {"stain"}
    assert areas_of(judged) == ("2–10%",)  # felt has no masks
    kept = narrow(judged, areas=["2–10%"])
    assert set(kept["category"]) == {"bolt"}
    assert set(kept["label"]) == {1}
    image = judged["image_id"].iloc[0]
    notes = {image: Annotation("widgets", "bolt", image, "winclip", tags=("blur",))}
    assert narrow(judged, tags=["blur"], notes=notes)["image_id"].tolist() == [image]
    assert len(narrow(judged)) == len(judged)


def test_the_table_can_be_opened_without_harm(store: Store, line: Entry) -> None:
    listed = ranked(judge_entry(store, line, ["bolt"], None, 9.0), ["missed"])
    image = listed["image_id"].iloc[0]
    notes = {image: Annotation("widgets", "bolt", image, "winclip", note='=1+1\n"quoted"', tags=("a", "b"))}
    rows = list(csv.DictReader(io.StringIO(csv_of(listed, notes, {"dataset": "widgets", "method": "winclip"}))))
    assert len(rows) == len(listed)
    assert rows[0]["note"] == '\'=1+1\n"quoted"'
    assert rows[0]["tags"] == "a, b"
    assert rows[0]["dataset"] == "widgets"
    assert float(rows[1]["score"]) == listed["score"].iloc[1]
    assert rows[1]["note"] == ""


def test_pictures_come_with_the_table_and_what_is_missing_is_named() -> None:
    content = zip_of("a,b\n", [("001.webp", b"picture"), ("002.webp", Missing("It is gone."))])
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert sorted(archive.namelist()) == ["failures.csv", "images/001.webp", "missing.txt"]
        assert archive.read("missing.txt").decode() == "002.webp: It is gone.\n"


@pytest.mark.parametrize("image_id", ["../../etc/passwd", "C:\\x\\..\\y.png", "a/\x00<b>.png", "x" * 500])
def test_names_in_an_archive_stay_inside_it(image_id: str) -> None:
    name = picture_name(1, image_id, ".webp")
    assert ".." not in name
    assert not set(name) & set('/\\<>:\x00"')
    assert len(name) < 160


def test_pictures_go_along_only_where_the_licence_says_so() -> None:
    assert may_copy({"licence": "Apache-2.0", "redistributable": True}) is None
    assert "CC BY-NC-SA" in str(may_copy({"licence": "CC BY-NC-SA 4.0", "redistributable": False}))
    assert "not known" in str(may_copy({}))


def test_ids_are_those_of_the_store(store: Store, line: Entry, tmp_path: Path) -> None:
    judged = judge_entry(store, line, ["bolt"], None)
    assert judged["image_id"].str.startswith("bolt/test/").all()
