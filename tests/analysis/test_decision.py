"""Which method to use: figures that don't flatter the chosen one, bounds that hold, and what is shown of each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from vlmad_core.analysis.comparable import comparisons
from vlmad_core.analysis.decision import SharedScores, cards, choose, on_scale, scale_table, scored_by
from vlmad_core.metrics import image_auroc
from vlmad_core.metrics.rules import Costs, Promise, Rule
from vlmad_core.store.reader import open_store

GOOD, BAD = 26, 20
LABELS = np.arange(GOOD + BAD) >= GOOD
COSTS = Costs(10, 0.05)


def made_up(scores: np.ndarray, labels: np.ndarray = LABELS, **more) -> SharedScores:
    names = tuple("ABCDEFGH"[: len(scores)])
    ids = tuple(f"{place:03d}.png" for place in range(labels.size))
    return SharedScores(names, ids, labels, scores, more.pop("alone", (True,) * len(scores)), **more)


def drawn(gaps: list[float], random: np.random.Generator) -> SharedScores:
    """Scores of methods that share half of their noise."""
    noise = random.normal(size=LABELS.size) + random.normal(size=(len(gaps), LABELS.size))
    return made_up(noise / np.sqrt(2) + np.array(gaps)[:, None] * LABELS)


@pytest.mark.parametrize("rule", [Promise(0.05), COSTS])
def test_figures_of_the_chosen_of_equal_methods_are_not_those_of_luck(rule: Rule) -> None:
    """Six equal methods: the chosen one's own figures promise too much, those that repeat the choice do not."""
    random = np.random.default_rng(1)
    gap, found = 1.81, []
    truth = stats.norm.cdf(gap / np.sqrt(2))
    for _ in range(120):
        scored = drawn([gap] * 6, random)
        choice = choose(scored, rule, resamples=100)
        assert choice is not None
        card = cards(made_up(scored.scores[[choice.place]]), rule, resamples=10)[0]
        recall = stats.norm.sf(card.threshold.value - gap)
        alarms = stats.norm.sf(card.threshold.value)
        naive = image_auroc(LABELS, scored.scores[choice.place]).value
        row = [naive - truth, choice.auroc.value - truth, card.found.count / BAD - recall]  # type: ignore[operator]
        row += [choice.found.count / BAD - recall, card.alarms.count / GOOD - alarms]
        row += [choice.alarms.count / GOOD - alarms, choice.found.bound <= recall, choice.alarms.bound >= alarms]
        found.append([*row, choice.auroc.low > truth])
    naive, repeated, own_found, found_again, own_alarms, alarms_again, low, high, above = np.mean(found, axis=0)
    assert naive > 0.02
    assert abs(repeated) < 0.01
    assert own_found > 0.02
    assert found_again < own_found - 0.02
    assert own_alarms < alarms_again < 0.01
    assert low >= 0.93
    assert high >= 0.93
    assert above <= 0.09


def test_a_single_method_is_not_made_worse() -> None:
    random = np.random.default_rng(2)
    gaps = []
    for _ in range(60):
        scored = drawn([1.5], random)
        choice = choose(scored, Promise(0.05), resamples=200)
        gaps.append(choice.auroc.value - image_auroc(LABELS, scored.scores[0]).value)
        assert choice.steady == 1.0
        assert choice.runner_up is None
        assert choice.found.count == cards(scored, Promise(0.05), 10)[0].found.count
    assert abs(np.mean(gaps)) < 0.003


def test_a_clear_winner_is_clear_and_a_twin_is_as_good() -> None:
    scored = drawn([0.2, 3.0, 0.0], np.random.default_rng(3))
    choice = choose(scored, Promise(0.05), resamples=200)
    assert (choice.place, choice.name, choice.by) == (1, "B", "image AUROC")
    assert choice.tied == ()
    assert choice.steady > 0.99
    assert choice.runner_up.low > 0
    twins = made_up(np.stack([scored.scores[1], scored.scores[0], scored.scores[1]]))
    again = choose(twins, Promise(0.05), resamples=200)
    assert (again.place, again.tied) == (0, ("C",))
    assert again.runner_up.low <= 0 <= again.runner_up.high


def test_costs_choose_another_method_than_auroc_where_they_should() -> None:
    """A finds nine in ten for sure; B has the better order, but one good part in four above most defects."""
    rank = np.arange(LABELS.size, dtype=float)
    a = np.where(LABELS, 100 + rank, rank)
    a[GOOD : GOOD + 3] = -1 - rank[:3]  # three defects below all good parts
    b = np.where(LABELS, 50 + rank, rank)
    b[:2] = 49.5 + GOOD + 8
    scored = made_up(np.stack([a, b]))
    assert choose(scored, Promise(0.05), 200).name == "B"
    assert choose(scored, Costs(miss=0.2, defective=0.2), 200).name == "A"


def test_a_method_that_needs_all_images_at_once_is_shown_and_not_recommended() -> None:
    scored = drawn([3.0, 1.0], np.random.default_rng(4))
    scored = made_up(scored.scores, alone=(False, True))
    assert len(cards(scored, Promise(0.05), 50)) == 2
    assert choose(scored, Promise(0.05), 50).name == "B"
    assert choose(made_up(scored.scores, alone=(False, False)), Promise(0.05), 50) is None


def test_a_card_names_a_typical_hit_and_the_worst_miss() -> None:
    scores = np.where(LABELS, 10.0, 0.0) + np.arange(LABELS.size) / 100
    scores[30] = 0.05
    card = cards(made_up(scores[None]), Promise(0.05), 50)[0]
    assert (card.miss, card.missed) == ("030.png", True)
    found = [place for place in range(GOOD, GOOD + BAD) if place != 30]
    assert card.hit == f"{found[(len(found) - 1) // 2]:03d}.png"
    assert (card.found.count, card.found.of) == (19, 20)
    assert card.alarms.count == 1
    assert card.cost is None
    scores[30] = 10.0
    card = cards(made_up(scores[None]), Promise(0.05), 50)[0]
    assert (card.miss, card.missed) == ("030.png", False)


def test_without_defects_a_promise_stands_alone() -> None:
    labels = np.zeros(30, bool)
    scored = made_up(np.random.default_rng(5).normal(size=(2, 30)), labels)
    card = cards(scored, Promise(0.1), 50)[0]
    assert card.auroc.value is None
    assert card.found is card.hit is card.miss is None
    assert card.alarms.of == 30
    assert choose(scored, Promise(0.1), 50) is None


def test_the_scale_puts_the_threshold_in_the_middle_and_changes_no_order() -> None:
    random = np.random.default_rng(6)
    scores, good = random.normal(size=50), random.normal(size=20)
    for threshold in (1.0, float(np.median(good)), -3.0):
        shown = on_scale(scores, threshold, good)
        assert np.array_equal(np.argsort(shown), np.argsort(scores))
        assert np.array_equal(shown >= 0.5, scores >= threshold)
        assert 0 <= shown.min() <= shown.max() <= 1
    assert on_scale(good, 1.0, good).round(6)[np.argsort(good)[9:11]].mean() == pytest.approx(0.1, abs=0.02)


def test_the_table_of_scores_begins_with_mistakes() -> None:
    scores = np.where(LABELS, 10.0, 0.0) + np.arange(LABELS.size) / 100
    scores[30], scores[31], scores[3] = -2.0, 0.1, 12.0
    scored = made_up(np.stack([scores, -scores]))
    table = scale_table(scored, cards(scored, Costs(10, 0.1), 20))
    assert table["image"].tolist()[:3] == ["030.png", "003.png", "031.png"]
    assert table["part"].tolist()[:3] == ["defective", "good", "defective"]
    assert (table["A"] < 0.5).tolist()[:3] == [True, False, True]
    assert list(table.columns) == ["image", "part", "A", "B"]


@pytest.mark.usefixtures("quick_disk")
def test_entries_are_judged_on_the_images_they_share(made_up_store, tmp_path: Path) -> None:
    store = open_store(made_up_store(tmp_path, methods=("clip_ac", "winclip"), unfinished=[("clip_ac", "felt")]))
    (one,) = comparisons(store)
    scored, kept, without = scored_by(store, one.entries(), "bolt")
    assert [entry.id for entry in kept] == ["clip_ac", "winclip"]
    assert without == {}
    assert (scored.good, scored.defects, scored.masks) == (6, 6, True)
    images = store.images(kept[1].runs[0].id, "bolt").set_index("image_id")
    assert scored.scores[1].tolist() == [images.loc[name, "score"] for name in scored.ids]
    scored, kept, without = scored_by(store, one.entries(), "felt")
    assert [entry.id for entry in kept] == ["winclip"]
    assert without == {"CLIP-AC": "It has not finished this part."}
    assert scored_by(store, one.entries(), "nothing")[0] is None
