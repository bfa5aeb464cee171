"""The decision in words: a recommendation with its reason, what would make it surer, times and promises."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from vlmad_core.analysis.comparable import comparisons
from vlmad_core.analysis.decision import Recommended, SharedScores, cards
from vlmad_core.analysis.recommendation import (
    alarm_line,
    cost_line,
    found_line,
    promise_limit,
    sentence,
    surer,
    time_line,
)
from vlmad_core.metrics import MetricValue
from vlmad_core.metrics.rules import Costs, Promise, at_least, at_most
from vlmad_core.store.reader import open_store


def photos(good: int = 26, defects: int = 20, *, masks: bool = False) -> SharedScores:
    labels = np.arange(good + defects) >= good
    ids = tuple(map(str, range(labels.size)))
    return SharedScores(("A",), ids, labels, np.arange(labels.size, dtype=float)[None], (True,), masks)


CHOICE = Recommended(
    place=0,
    name="WinCLIP+, 4 ref.",
    by="image AUROC",
    methods=5,
    auroc=MetricValue(0.964, None, 0.901, 0.99, 46),
    found=at_least(18, 20),
    alarms=at_most(1, 26),
    cost=None,
    steady=0.7,
    tied=(),
    runner_up=None,
)


def test_the_sentence_has_its_reason_and_says_who_is_as_good() -> None:
    said = sentence(CHOICE, photos())
    assert said == (
        "Use WinCLIP+, 4 ref.: of 5 methods it has the highest image AUROC on 26 good and 20 defective photos, and of "
        "a method chosen like this an image AUROC of 96.4 % (90.1 to 99.0) is to be expected; all others are clearly "
        "behind."
    )
    tied = dataclasses.replace(CHOICE, tied=("Patch memory, 4 ref.",))
    assert "; Patch memory, 4 ref. is as good as far as these photos can tell." in sentence(tied, photos())
    tied = dataclasses.replace(CHOICE, tied=("A", "B", "C"), by="expected cost")
    assert "the least expected cost" in sentence(tied, photos())
    assert "; A and 2 others are as good as far as these photos can tell." in sentence(tied, photos())
    assert "the only method tried" in sentence(dataclasses.replace(CHOICE, methods=1), photos())


def test_what_may_be_chance_is_not_recommended() -> None:
    poor = dataclasses.replace(CHOICE, auroc=MetricValue(0.61, None, 0.48, 0.73, 46))
    assert sentence(poor, photos()).startswith("None can be recommended yet")
    assert (CHOICE.sure, poor.sure) == (True, False)
    assert surer(poor, photos(), Promise(0.05))[0].startswith("Other methods, normal references, or a larger backbone")


def test_what_would_make_it_surer_counts_what_is_missing() -> None:
    tied = dataclasses.replace(CHOICE, tied=("B",))
    said = surer(tied, photos(9, 20), Promise(0.05))
    assert said == (
        "More photos of both kinds: 2 methods can't be told apart on these.",
        "More good parts: it takes 19 to promise 5 %; with 9 good photos no threshold can promise less than 10 % false "
        "alarms.",
        "More defects: even if all 20 are found, that shows at least 86 %; 29 would show 90 %.",
        "Masks of the defects: they would show whether the maps point at them.",
    )
    (more,) = surer(CHOICE, photos(26, 40, masks=True), Promise(0.05))
    assert more.startswith("More good parts: even if none of 26 is flagged, that shows at most 11 % false alarms; 59")
    assert surer(CHOICE, photos(80, 40, masks=True), Costs(10, 0.02)) == ()
    assert "nobody knows" in " ".join(surer(None, photos(80, 0), Promise(0.05)))


def test_the_numbers_named_are_enough() -> None:
    """59 good parts without an alarm show 5 %, 58 do not; 29 defects found show 90 %, 28 do not."""
    assert at_most(0, 59).bound <= 0.05 < at_most(0, 58).bound
    assert at_least(29, 29).bound >= 0.9 > at_least(28, 28).bound


def test_lines_of_a_card() -> None:
    assert found_line(CHOICE) == "18 of 20 found: at least 71 % with 95 % confidence"
    assert alarm_line(CHOICE) == "1 of 26 flagged: at most 17 % with 95 % confidence"
    lonely = cards(photos(1, 0), Promise(0.1), 10)[0]
    assert found_line(lonely) == "no defects to find"
    assert alarm_line(lonely) == "too few good parts"
    assert promise_limit(1).startswith("with 1 good photo no threshold can promise less than 50 %")
    assert cost_line(0.045, Costs(10, 0.02)) == "45 false alarms' worth per 1,000 parts (without inspection 200)"


@pytest.mark.usefixtures("quick_disk")
def test_a_time_says_whose_it_is(made_up_store, tmp_path: Path) -> None:
    (one,) = comparisons(open_store(made_up_store(tmp_path, methods=("clip_ac",))))
    (entry,) = one.entries()
    assert time_line(entry, "0" * 8) == "12 ms per photo, its share of a batch"
    assert time_line(entry, "another").endswith(", on another machine")
    assert time_line(dataclasses.replace(entry, runs=()), "0" * 8) == "not timed"
