"""What views open on: each rule on numbers whose answer is known."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import pandas as pd
import pytest

from vlmad_core.analysis.entries import Entry
from vlmad_core.analysis.instructive import OPEN_AT, opening, threshold_to_open, unseen

CATEGORIES = ("bolt", "felt", "nut")


@dataclasses.dataclass(frozen=True)
class Told(Entry):
    """An entry that says by itself whether it has seen the data."""

    has_seen: str = "no"

    @property
    def seen(self) -> str:
        return self.has_seen


def entry(name: str, seen: str = "no", evidence: str = "measured", shots: int = 0) -> Told:
    return Told(name, "canonical", shots, name.upper(), evidence=evidence, protocol=name, has_seen=seen)


def cells(values: Mapping[str, tuple[float, float, float]]) -> pd.DataFrame:
    rows = [
        {"category": category, "line": name, "value": value}
        for name, own in values.items()
        for category, value in zip(CATEGORIES, own, strict=True)
    ]
    return pd.DataFrame(rows, columns=["category", "line", "value"])


VALUES = {
    "good": (0.9, 0.6, 0.8), "fair": (0.7, 0.7, 0.7), "poor": (0.5, 0.6, 0.4), "weak": (0.3, 0.3, 0.2),
    "cheat": (1.0, 1.0, 0.99),
}  # fmt: skip


def test_it_opens_on_the_worst_category_of_the_best_method_and_draws_the_best_three() -> None:
    some = [entry(name) for name in ("weak", "poor", "good", "fair")]
    found = opening(some, cells(VALUES), "image_auroc", CATEGORIES)
    assert found.entry is some[2]
    assert found.category == "felt"
    assert [one.method for one in found.shown] == ["good", "fair", "poor"]
    assert "GOOD" in found.rule
    assert "mean" in found.rule


def test_who_has_seen_the_data_is_neither_best_nor_drawn() -> None:
    some = [entry("cheat", "yes"), entry("good"), entry("fair", "not recorded")]
    found = opening(some, cells(VALUES), "image_auroc", CATEGORIES)
    assert [one.method for one in found.shown] == ["good", "fair"]
    assert [one.method for one in unseen(some)] == ["good", "fair"]
    alone = [entry("cheat", "yes")]
    assert opening(alone, cells(VALUES), "image_auroc", CATEGORIES).entry is alone[0]
    assert unseen(alone) == tuple(alone)


def test_imported_results_are_opened_only_where_nothing_was_measured() -> None:
    mine = entry("cheat", evidence="imported")
    assert opening([mine, entry("good")], cells(VALUES), "image_auroc", CATEGORIES).entry != mine
    assert opening([mine], cells(VALUES), "image_auroc", CATEGORIES).entry is mine


def test_a_blank_category_keeps_an_entry_from_being_best() -> None:
    some = [entry("good"), entry("fair")]
    found = opening(some, cells({**VALUES, "good": (0.9, math.nan, 0.9)}), "image_auroc", CATEGORIES)
    assert found.entry is some[1]
    assert found.category == "bolt"  # of equal values the first
    assert found.shown == (some[1], some[0])


@pytest.mark.parametrize("frame", [cells({}), cells({"good": (math.nan, math.nan, math.nan)})])
def test_without_values_everything_is_shown_and_the_first_category_opened(frame: pd.DataFrame) -> None:
    some = [entry("good"), entry("cheat", "yes")]
    found = opening(some, frame, "image_auroc", CATEGORIES)
    assert (found.entry, found.category, found.rule) == (None, "bolt", "")
    assert found.shown == (some[0],)


def test_categories_that_can_not_be_shown_do_not_count() -> None:
    found = opening([entry("good")], cells(VALUES), "image_auroc", ("bolt", "nut"))
    assert found.category == "nut"


def test_the_threshold_is_the_one_that_flags_few_normal_images_not_the_oracle() -> None:
    assert threshold_to_open({"image_f1max": 1, OPEN_AT: 2}) == OPEN_AT
    assert threshold_to_open({"image_f1max": 1}) == "image_f1max"
    assert threshold_to_open({}) is None
