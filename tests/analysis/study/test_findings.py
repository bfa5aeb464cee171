"""Each sentence follows from made-up figures whose truth is known, and changes when the truth does."""

from __future__ import annotations

import numpy as np
import pytest

from vlmad_core.analysis.study.findings import Measured, contrast, costs, ladder, spread

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
    assert found.sentence.startswith("New beats old: ")
    assert "over 8 categories" in found.sentence
    assert found.images == 480
    gain = found.figures[1].gain
    assert gain is not None
    assert gain.clear
    assert gain.low > 0.05
    assert found.figures[1].run_ids == ("run-new",)


def test_the_sentence_turns_when_the_truth_does() -> None:
    found = contrast("x", "Which?", "image_auroc", "old", [measured("old", 0.80), measured("new", 0.70)])
    assert found.sentence.startswith("New falls behind old: ")


def test_no_difference_is_said_to_be_none() -> None:
    pair = [measured("old", 0.75, noise=0.04), measured("new", 0.755, noise=0.04)]
    assert contrast("x", "Which?", "image_auroc", "old", pair).sentence.startswith("No clear difference")


def test_all_rivals_behind_the_base() -> None:
    three = [measured("old", 0.9), measured("second", 0.8), measured("third", 0.7)]
    sentence = contrast("x", "Which?", "pixel_auroc", "old", three).sentence
    assert sentence.startswith("All others fall behind old; nearest is second: ")


def test_a_rival_that_varies_is_not_counted_among_those_clearly_behind() -> None:
    wild = Measured("wild", "wild", {c: 0.65 + 0.3 * (-1) ** number for number, c in enumerate(CATEGORIES)})
    three = [measured("old", 0.8), measured("near", 0.75, noise=0.001), wild]
    sentence = contrast("x", "Which?", "pixel_auroc", "old", three).sentence
    assert sentence.startswith("Old is highest, clearly ahead of near (")
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
        sentence = contrast("x", "Which?", "image_auroc", "base", [base, *rivals]).sentence
        false_alarms += not sentence.startswith("No clear")
    assert false_alarms <= 9  # 5 % of 60 is 3; a single test's level would give about 47


def test_a_contaminated_lead_is_no_fair_gain() -> None:
    pair = [measured("across", 0.7), measured("within", 0.9)]
    found = contrast("x", "Which?", "pixel_auroc", "across", pair, contaminated=["within"])
    assert "no fair gain" in found.sentence
    assert found.figures[1].note.startswith("contaminated")
    assert "no fair gain" not in contrast("x", "Which?", "pixel_auroc", "across", pair).sentence


@pytest.mark.parametrize("names", [["old"], ["new"], []])
def test_without_both_sides_there_is_no_answer(names: list[str]) -> None:
    found = contrast("x", "Which?", "image_auroc", "old", [measured(name, 0.8) for name in names])
    assert not found.answered
    assert found.sentence.startswith("Not answered")


def test_few_categories_in_common_answer_nothing() -> None:
    pair = [Measured("old", "old", {"a": 0.5, "b": 0.6}), Measured("new", "new", {"b": 0.9, "c": 0.9})]
    found = contrast("x", "Which?", "image_auroc", "old", pair)
    assert not found.answered
    assert "fewer than 3 categories" in found.sentence


@pytest.mark.parametrize(
    ("means", "word"),
    [((0.6, 0.7, 0.75), "they bring"), ((0.75, 0.7, 0.6), "they cost"), ((0.7, 0.7, 0.7), "they make no clear")],
)
def test_references_bring_cost_or_do_nothing(means: tuple[float, ...], word: str) -> None:
    steps = [(shots, measured(f"s{shots}", mean, noise=0.02)) for shots, mean in zip((0, 1, 4), means, strict=True)]
    sentence = ladder("x", "What?", "image_auroc", steps).sentence
    assert sentence.startswith(f"From 0 to 4 references: {word}")


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
    assert "rough (5 ms)" in found.sentence
    alone = costs("x", "What?", "image_auroc", [(200.0, measured("slow", 0.95)), (20.0, measured("quick", 0.8))])
    assert "nothing cheaper comes within 1 point" in alone.sentence
    assert not costs("x", "What?", "image_auroc", places[:1]).answered
