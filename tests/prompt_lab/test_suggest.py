from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from vlmad_core.prompt_lab import Pool, default_pool, score_dataset, suggest
from vlmad_core.prompt_lab.suggest import MANY, plan_folds
from vlmad_core.prompts import PromptEnsemble, PromptError, Tuning, load_ensemble, problem_of, tuning_warning

BASE = load_ensemble("single")
POOL = Pool(
    normal_states=("plain {}", "intact {}", "usual {}"),
    abnormal_states=("odd {}", "strange {}", "cracked {}", "queer {}"),
    templates=("{}", "a photo of a {}.", "one {}"),
)
NAMES = [f"part{k:02d}" for k in range(30)]


@pytest.mark.parametrize("build_on", [True, False])
def test_the_words_that_tell_are_found_and_their_gain_is_held_out(made_up, telling_bank, build_on):
    data = made_up(4)
    shares: list[float] = []
    found = suggest(data, BASE, POOL, telling_bank, lambda share, what: shares.append(share), build_on=build_on)
    assert found.scheme == "cross-fit"
    assert ("anomalous {}" in found.ensemble.abnormal_states) == build_on
    assert "cracked {}" in found.ensemble.abnormal_states
    assert "intact {}" in found.ensemble.normal_states
    assert set(found.held.categories) == set(data.category_names)
    assert found.held.mean.gap.value > 0.1
    assert found.held.mean.gap.low > 0
    assert shares == sorted(shares)
    for fold in found.folds:
        assert not set(fold.fitted) & set(fold.held)
        reached = score_dataset(data, fold.ensemble, telling_bank).values("image_auroc")
        assert [found.held.categories[name].value for name in fold.held] == [reached[name] for name in fold.held]
    fitted = score_dataset(data, found.ensemble, telling_bank).mean("image_auroc")
    assert found.steps[-1].fitted == pytest.approx(fitted, abs=0.003), "but for pairs that rounding decides"


def test_choosing_from_noise_gains_where_it_was_fitted_and_not_elsewhere(made_up, telling_bank):
    nothing = Pool(tuple(f"n{i} {{}}" for i in range(12)), tuple(f"a{i} {{}}" for i in range(12)), ("{}",))
    data = made_up(12, told=False, images=30)
    found = suggest(data, BASE, nothing, telling_bank, build_on=False)
    assert found.scheme == "split"
    base = score_dataset(data, BASE, telling_bank).values("image_auroc")
    fitted_gain = found.steps[-1].fitted - np.mean([base[name] for name in found.folds[0].fitted])
    assert fitted_gain > 0.03
    assert found.held.mean.gap.value < fitted_gain / 2
    assert not found.held.mean.gap.low > 0


def test_what_was_chosen_on_is_recorded_and_warned_of(made_up, telling_bank):
    tuned = replace(BASE, tuned_on=(Tuning("others", ("x",), "by hand", "image_auroc"),))
    found = suggest(made_up(MANY + 1, reserved=["part00"]), tuned, POOL, telling_bank)
    fold = found.folds[0]
    assert found.ensemble.tuned_on == (
        *tuned.tuned_on,
        Tuning("parts", fold.fitted, "greedy forward selection", "image_auroc"),
    )
    assert "part00" in fold.held
    assert tuning_warning(found.ensemble, ["parts"], fold.held) is None
    assert "on all categories" in tuning_warning(found.ensemble, ["parts"], fold.fitted)


@pytest.mark.parametrize("count", [2, 3, 6, 7, MANY - 1, MANY, 15, 30])
@pytest.mark.parametrize("reserved", [0, 1, 2])
def test_every_category_is_judged_once_or_chosen_on_and_reserved_ones_never_chosen_on(count, reserved):
    kept = frozenset(NAMES[:reserved])
    scheme, folds = plan_folds(NAMES[: count + reserved], kept)
    assert scheme == ("split" if count >= MANY else "cross-fit")
    held = [name for _, names in folds for name in names]
    assert len(held) == len(set(held))
    assert kept <= set(held)
    for fitted, names in folds:
        assert fitted
        assert not set(fitted) & (set(names) | kept)
    if scheme == "cross-fit":
        assert set(held) == set(NAMES[: count + reserved])
    else:
        assert {*held, *folds[0][0]} == set(NAMES[: count + reserved])


def test_one_category_is_not_enough_unless_another_is_reserved(made_up, telling_bank):
    with pytest.raises(PromptError, match="more categories"):
        suggest(made_up(1), BASE, POOL, telling_bank)
    with pytest.raises(PromptError, match="more categories"):
        plan_folds(["a", "b"], frozenset({"a", "b"}))
    assert plan_folds(["a", "b"], frozenset({"b"}))[1] == ((("a",), ("b",)),)


def test_categories_without_both_classes_are_left_out(made_up, telling_bank):
    data = made_up(3)
    one_sided = replace(data.categories[0], labels=np.ones(40, bool))
    found = suggest(replace(data, categories=(one_sided, *data.categories[1:])), BASE, POOL, telling_bank)
    assert found.left_out == ("part00",)
    assert set(found.held.categories) == {"part01", "part02"}


def test_the_pool_is_made_of_phrases_and_grows_with_ones_own():
    pool = default_pool()
    for kind, phrases in (("state", (*pool.normal_states, *pool.abnormal_states)), ("template", pool.templates)):
        assert all(problem_of(phrase, kind) is None for phrase in phrases)
        assert len(set(phrases)) == len(phrases)
    own = PromptEnsemble("x", "x", "", ("fine {}", "{}"), ("bad {}",), ("{}!",))
    more = pool.with_words_of(own)
    assert more.normal_states[:2] == ("fine {}", "{}")
    assert set(more.normal_states) == {*pool.normal_states, "fine {}"}
    huge = replace(pool, templates=tuple(f"{i} {{}}" for i in range(400)))
    with pytest.raises(PromptError, match="more than 4096"):
        suggest(None, BASE, huge, None)


def test_words_that_nothing_can_better_are_left_as_they_are(made_up, telling_bank):
    best = PromptEnsemble("best", "Best", "", ("intact {}",), ("cracked {}",), ("{}",))
    silent = Pool(("intact {}",), ("cracked {}",), ("{}",))
    found = suggest(made_up(3), best, silent, telling_bank)
    assert found.steps == ()
    assert found.ensemble.same_words(best)
    assert found.held.mean.gap.value == 0.0
