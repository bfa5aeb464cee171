"""Each sentence follows from made-up figures whose truth is known, and changes when the truth does."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from vlmad_core.analysis.study.comparing import Measured
from vlmad_core.analysis.study.findings import contrast, costs, ladder, spread
from vlmad_core.metrics.resampling import Replicates

CATEGORIES = [f"part_{index}" for index in range(8)]


def measured(name: str, mean: float, *, noise: float = 0.01, draws: int = 1, between: float = 0.0) -> Measured:
    """A variant whose categories share their difficulty with every other variant of these tests."""
    rng = np.random.default_rng(sum(map(ord, name)))
    difficulty = np.linspace(-0.08, 0.08, len(CATEGORIES))
    values = {c: float(mean + d + rng.normal(0, noise)) for c, d in zip(CATEGORIES, difficulty, strict=True)}
    shifts = np.linspace(-between, between, draws)
    by_draw = {c: [value + shift for shift in shifts] for c, value in values.items()}
    return Measured(name, name, values, by_draw, (f"run-{name}",), 480)


def test_a_clear_winner_is_named_with_its_figures() -> None:
    found = contrast("x", "Which?", "image_auroc", "old", [measured("old", 0.70), measured("new", 0.80)])
    assert found.answered
    assert found.on_others.startswith("On other parts: new beats old (")
    assert "over 8 categories" in found.on_others
    assert found.images == 480
    gain = found.figures[1].gain
    assert gain is not None
    assert gain.clear
    assert gain.low is not None
    assert gain.low > 0.05
    assert found.figures[1].run_ids == ("run-new",)


def test_the_sentence_turns_when_the_truth_does() -> None:
    found = contrast("x", "Which?", "image_auroc", "old", [measured("old", 0.80), measured("new", 0.70)])
    assert found.on_others.startswith("On other parts: new falls behind old (")


def test_no_difference_is_said_to_be_none() -> None:
    pair = [measured("old", 0.75, noise=0.04), measured("new", 0.755, noise=0.04)]
    said = contrast("x", "Which?", "image_auroc", "old", pair).on_others
    assert "is highest, but not clearly ahead of" in said


def test_all_rivals_behind_the_base() -> None:
    three = [measured("old", 0.9), measured("second", 0.8), measured("third", 0.7)]
    sentence = contrast("x", "Which?", "pixel_auroc", "old", three).on_others
    assert sentence.startswith("On other parts: all others fall behind old; nearest is second (")


def test_a_rival_that_varies_is_not_counted_among_those_clearly_behind() -> None:
    wild = Measured("wild", "wild", {c: 0.65 + 0.3 * (-1) ** number for number, c in enumerate(CATEGORIES)})
    three = [measured("old", 0.8), measured("near", 0.75, noise=0.001), wild]
    sentence = contrast("x", "Which?", "pixel_auroc", "old", three).on_others
    assert sentence.startswith("On other parts: old is highest, clearly ahead of near (")
    assert sentence.endswith("but not of wild.")


def test_the_luckiest_of_many_is_not_taken_for_better() -> None:
    """Of thirty equal rivals one leads by chance; at the level of a single test it would often look clear."""
    false_alarms = 0
    for trial in range(60):
        rng = np.random.default_rng(trial)
        base = Measured("base", "base", dict.fromkeys(CATEGORIES, 0.7))
        rivals = [
            Measured(f"r{k}", f"r{k}", {c: 0.7 + float(rng.normal(0, 0.03)) for c in CATEGORIES}) for k in range(30)
        ]
        sentence = contrast("x", "Which?", "image_auroc", "base", [base, *rivals]).on_others
        false_alarms += "not clearly ahead" not in sentence
    assert false_alarms <= 9  # 5 % of 60 is 3; a single test's level would give about 47


def test_a_contaminated_lead_is_no_fair_gain() -> None:
    pair = [measured("across", 0.7), measured("within", 0.9)]
    found = contrast("x", "Which?", "pixel_auroc", "across", pair, contaminated=["within"])
    assert found.lead.startswith("No fair gain: within ")
    assert found.short[0] == found.lead
    assert found.figures[1].note.startswith("contaminated")
    assert not contrast("x", "Which?", "pixel_auroc", "across", pair).lead


@pytest.mark.parametrize("names", [["old"], ["new"], []])
def test_without_both_sides_there_is_no_answer(names: list[str]) -> None:
    found = contrast("x", "Which?", "image_auroc", "old", [measured(name, 0.8) for name in names])
    assert not found.answered
    assert found.sentence.startswith("Not answered")


def test_few_categories_in_common_answer_nothing() -> None:
    pair = [Measured("old", "old", {"a": 0.5, "b": 0.6}), Measured("new", "new", {"b": 0.9, "c": 0.9})]
    found = contrast("x", "Which?", "image_auroc", "old", pair)
    assert not found.answered
    assert found.sentence == "Not answered: only 1 category in common."


@pytest.mark.parametrize(
    ("means", "word"),
    [
        ((0.6, 0.7, 0.75), "they bring accuracy"),
        ((0.75, 0.7, 0.6), "they cost accuracy"),
        ((0.7, 0.7, 0.7), "they make no clear"),
    ],
)
def test_references_bring_cost_or_do_nothing(means: tuple[float, ...], word: str) -> None:
    steps = [(shots, measured(f"s{shots}", mean, noise=0.02)) for shots, mean in zip((0, 1, 4), means, strict=True)]
    sentence = ladder("x", "What?", "image_auroc", steps).on_others
    assert sentence.startswith(f"On other parts: from 0 to 4 references, {word}")


def test_the_choice_of_references_is_the_spread_between_draws() -> None:
    steps = [(1, measured("one", 0.7, draws=3, between=0.05)), (4, measured("four", 0.8, draws=3, between=0.01))]
    found = ladder("x", "What?", "image_auroc", steps)
    assert [round(entry.spread, 3) for entry in found.figures] == [0.05, 0.01]
    assert "moves the mean by 5.0 points" in found.sentence
    single = ladder("x", "What?", "image_auroc", [(1, measured("one", 0.7)), (4, measured("four", 0.8))])
    assert "moves the mean" not in single.sentence


def test_wording_matters_less_with_more_of_it() -> None:
    small = [measured(f"a{k}", 0.6 + 0.05 * k) for k in range(4)]
    large = [measured(f"b{k}", 0.7 + 0.005 * k) for k in range(4)]
    found = spread("x", "How far?", "image_auroc", [(24, large), (1, small)], measured("all", 0.85))
    assert found.answered
    assert found.figures[0].spread > 5 * found.figures[1].spread
    assert "clearly above the average draw of 1" in found.sentence
    worse = spread("x", "How far?", "image_auroc", [(24, large), (1, small)], measured("all", 0.5))
    assert "clearly below" in worse.sentence


def test_the_cheapest_of_the_nearly_best_is_named() -> None:
    places = [(200.0, measured("slow", 0.900)), (20.0, measured("quick", 0.895)), (5.0, measured("rough", 0.7))]
    found = costs("x", "What?", "image_auroc", places)
    assert found.sentence.startswith("Quick reaches ")
    assert "slow (200 ms)" in found.sentence
    assert "rough at 5 ms" in found.sentence
    alone = costs("x", "What?", "image_auroc", [(200.0, measured("slow", 0.95)), (20.0, measured("quick", 0.8))])
    assert "nothing cheaper comes within 1 point" in alone.sentence
    assert not costs("x", "What?", "image_auroc", places[:1]).answered


def resampled(one: Measured, noise: float = 0.01) -> Measured:
    """The same with draws that all variants share, but for a little noise."""
    rng = np.random.default_rng(sum(map(ord, one.name)))
    shared = np.random.default_rng(0).normal(0, 0.05, 200)
    draws = one.mean + shared + rng.normal(0, noise, 200)
    drawn = Replicates("image_auroc", one.mean, draws, 480, 240, "same", parts=len(CATEGORIES))
    return dataclasses.replace(one, replicates=drawn)


def wild_pair() -> list[Measured]:
    """Five points apart on average, with a sign that changes between categories."""
    gaps = [0.05 + 0.1 * (-1) ** number for number in range(len(CATEGORIES))]
    base = Measured("old", "old", dict.fromkeys(CATEGORIES, 0.7))
    return [base, Measured("new", "new", {c: 0.7 + gap for c, gap in zip(CATEGORIES, gaps, strict=True)})]


def test_what_is_clear_on_these_parts_need_not_be_on_others() -> None:
    found = contrast("x", "Which?", "image_auroc", "old", [resampled(one) for one in wild_pair()])
    gain = found.figures[1].gain_here
    assert gain is not None
    assert gain.clear
    assert found.on_these.startswith("On these parts: new beats old (75.0 % against 70.0 % Image AUROC, +5.0 points [")
    assert found.on_these.endswith("over 480 images).")
    assert found.on_others.startswith("On other parts: no clear difference (+5.0 points [")
    assert found.on_others.endswith("over 8 categories); about 38 categories needed to tell.")
    assert found.sentences == (found.on_these, found.on_others)


def test_over_categories_alone_says_why_not_over_images() -> None:
    old, new = wild_pair()
    bare = dataclasses.replace(old, not_replicated="it keeps neither replicates nor maps")
    found = contrast("x", "Which?", "image_auroc", "old", [bare, resampled(new)])
    assert found.answered
    assert found.on_these == "On these parts: not tested (old: it keeps neither replicates nor maps)."
    assert "75.0 % against 70.0 % Image AUROC" in found.on_others


def test_over_images_alone_answers_with_too_few_categories() -> None:
    pair = [Measured(name, name, {"a": mean, "b": mean}) for name, mean in (("old", 0.6), ("new", 0.8))]
    found = contrast("x", "Which?", "image_auroc", "old", [resampled(one) for one in pair])
    assert found.answered
    assert found.on_these.startswith("On these parts: new beats old (")
    assert found.on_others == "On other parts: not tested (only 2 categories in common)."


def test_who_was_left_out_over_images_is_said() -> None:
    bare = dataclasses.replace(measured("bare", 0.9), not_replicated="it keeps neither replicates nor maps")
    three = [resampled(measured("old", 0.7)), resampled(measured("new", 0.8)), bare]
    found = contrast("x", "Which?", "image_auroc", "old", three)
    assert found.on_these.startswith("On these parts: new beats old (")
    assert found.on_these.endswith("; not compared: bare: it keeps neither replicates nor maps.")
    assert found.on_others.startswith("On other parts: bare beats old (")


def test_a_lead_of_the_base_that_is_not_clear_reads_from_the_base() -> None:
    old, new = wild_pair()
    said = contrast("x", "Which?", "image_auroc", "new", [old, new]).on_others
    assert "new is highest, but not clearly ahead of old (75.0 % against 70.0 % Image AUROC, +5.0 points" in said


def test_no_number_of_categories_where_there_is_nothing_to_find() -> None:
    old, new = wild_pair()
    level = dataclasses.replace(new, values={c: value - 0.05 for c, value in new.values.items()})
    assert "needed" not in contrast("x", "Which?", "image_auroc", "old", [old, level]).on_others
    little = dataclasses.replace(new, values={c: value - 0.04 for c, value in new.values.items()})
    said = contrast("x", "Which?", "image_auroc", "old", [old, little]).on_others
    assert "more than 200 categories needed to tell" in said


def test_ladder_spread_and_costs_answer_under_both_designs() -> None:
    steps = [(shots, resampled(measured(f"s{shots}", mean))) for shots, mean in ((0, 0.6), (1, 0.7), (4, 0.72))]
    drawn = [resampled(measured(f"a{k}", 0.6 + 0.05 * k)) for k in range(3)]
    places = [(200.0, resampled(measured("slow", 0.9))), (5.0, resampled(measured("rough", 0.7)))]
    for found in (
        ladder("x", "What?", "image_auroc", steps),
        spread("x", "How far?", "image_auroc", [(1, drawn)], resampled(measured("all", 0.85))),
        costs("x", "What?", "image_auroc", places),
    ):
        assert "points [" in found.on_these
        assert found.on_these.startswith("On these parts: ")
        assert "over 480 images" in found.on_these
        assert found.on_others.startswith("On other parts: ")
        assert "over 8 categories" in found.on_others
