"""Suggested words, chosen on some categories and judged on others, so that the gain shown is not fitted.

Greedy forward selection: from the words there are (or from the best pair of states and the best template for it),
whatever phrase adds most to the mean image AUROC is taken, until nothing adds enough. With many categories half of
them are for choosing and the others for judging. With few, each is judged with words chosen on the others
(cross-fitting): the gain is then that of the procedure, and the words offered are those chosen on all. Reserved
categories are never chosen on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import yaml
from numpy.typing import NDArray

from vlmad_core.prompt_lab.comparing import Changes, compare_results
from vlmad_core.prompt_lab.effects import PromptTable, prompt_table
from vlmad_core.prompt_lab.material import LabCategory, LabData
from vlmad_core.prompt_lab.scoring import CategoryResult, LabResult, PromptBank, lab_method, score_category
from vlmad_core.prompts.ensemble import MAX_PROMPTS, PromptEnsemble, PromptError, Tuning

METRIC = "image_auroc"
MOST_STEPS = 12
LEAST_GAIN = 0.001
"""Mean image AUROC that a further phrase must add on the categories it is chosen on."""

MANY = 10
"""Categories from which on half of them are held apart; with fewer the words are cross-fitted."""

FOLDS = 6

Scheme = Literal["split", "cross-fit"]
Advance = Callable[[float, str], object]


@dataclass(frozen=True)
class Pool:
    """Phrases to choose from.

    Attributes:
        normal_states: Normal states.
        abnormal_states: Abnormal states.
        templates: Templates.
    """

    normal_states: tuple[str, ...]
    abnormal_states: tuple[str, ...]
    templates: tuple[str, ...]

    def with_words_of(self, ensemble: PromptEnsemble) -> Pool:
        """The same and an ensemble's own phrases, each once."""

        def joined(own: tuple[str, ...], more: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(dict.fromkeys((*own, *more)))

        return Pool(
            joined(ensemble.normal_states, self.normal_states),
            joined(ensemble.abnormal_states, self.abnormal_states),
            joined(ensemble.templates, self.templates),
        )

    @property
    def prompts(self) -> int:
        """Prompts for one category."""
        return len(self.templates) * (len(self.normal_states) + len(self.abnormal_states))


@dataclass(frozen=True)
class ChosenPhrase:
    """One phrase chosen.

    Attributes:
        kind: ``normal state``, ``abnormal state`` or ``template``.
        phrase: The phrase.
        fitted: Mean image AUROC on the categories it was chosen on, with this phrase.
    """

    kind: str
    phrase: str
    fitted: float


@dataclass(frozen=True)
class Fold:
    """Words chosen on some categories.

    Attributes:
        fitted: The categories they were chosen on.
        held: The categories they are judged on.
        ensemble: The words.
        steps: How they were found.
    """

    fitted: tuple[str, ...]
    held: tuple[str, ...]
    ensemble: PromptEnsemble
    steps: tuple[ChosenPhrase, ...]


@dataclass(frozen=True)
class Suggestion:
    """Suggested words with a gain that was not fitted.

    Attributes:
        ensemble: The words offered; records what it was tuned on.
        scheme: ``split``: the gain is that of these very words on categories held apart; ``cross-fit``: of words
            chosen the same way on the other categories.
        folds: How each judged category came to its words.
        held: Image AUROC on categories that were held apart, beside the ensemble started from.
        steps: How the words offered were found.
        left_out: Categories without an AUROC, which were neither chosen nor judged on.
    """

    ensemble: PromptEnsemble
    scheme: Scheme
    folds: tuple[Fold, ...]
    held: Changes
    steps: tuple[ChosenPhrase, ...]
    left_out: tuple[str, ...]


@cache
def default_pool() -> Pool:
    """The pool that comes with the program (``pool.yaml``)."""
    raw = yaml.safe_load(Path(__file__).with_name("pool.yaml").read_text(encoding="utf-8"))
    return Pool(*(tuple(raw[name]) for name in ("normal_states", "abnormal_states", "templates")))


def plan_folds(
    names: Sequence[str], reserved: frozenset[str] = frozenset()
) -> tuple[Scheme, tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]]:
    """Which categories are chosen on and which are judged on.

    Args:
        names: Categories that have an AUROC.
        reserved: Those on which nothing is ever chosen.

    Returns:
        The scheme, and pairs (chosen on, judged on); every category is judged on at most once. In the scheme
        ``cross-fit`` the words offered are chosen on all that are not reserved.

    Raises:
        PromptError: If no category would be left to judge on.

    Examples:
        >>> plan_folds(["a", "b", "c"])[1]
        ((('b', 'c'), ('a',)), (('a', 'c'), ('b',)), (('a', 'b'), ('c',)))
    """
    free = [name for name in names if name not in reserved]
    kept = tuple(name for name in names if name in reserved)
    if not free or (len(free) == 1 and not kept):
        raise PromptError(
            "Words are chosen on some categories and judged on others, and there are not two to do so.",
            "Use a data set with more categories.",
        )
    order = [free[i] for i in np.random.default_rng(0).permutation(len(free))]
    if len(free) >= MANY:
        half = set(order[: len(free) // 2])
        return "split", ((_in(free, half), (*_in(free, set(free) - half), *kept)),)
    folds = []
    if len(free) > 1:
        count = min(FOLDS, len(free))
        parts = [set(order[k::count]) for k in range(count)]
        parts.sort(key=lambda part: min(free.index(name) for name in part))
        folds = [(_in(free, set(free) - part), _in(free, part)) for part in parts]
    if kept:
        folds.append((tuple(free), kept))
    return "cross-fit", tuple(folds)


def suggest(
    data: LabData,
    base: PromptEnsemble,
    pool: Pool,
    bank: PromptBank,
    advance: Advance = lambda share, what: None,
    *,
    build_on: bool = True,
) -> Suggestion:
    """Choose words and judge them on categories they were not chosen on.

    Args:
        data: The data set in memory; image embeddings are enough.
        base: What the gain is measured against.
        pool: Phrases to choose from; those of the base are added if it is built on.
        bank: Embeddings of prompts.
        advance: Told the share that is done, and what is next.
        build_on: Whether phrases are added to those of the base, or all are chosen from the pool. The best of many
            pairs is soon one that is best by chance, so building on what there is gains more on other categories.

    Raises:
        PromptError: If the pool is too large, or there are too few categories.
    """
    pool = pool.with_words_of(base) if build_on else pool
    start = _place(base, pool) if build_on else None
    if pool.prompts > MAX_PROMPTS:
        raise PromptError(f"The pool makes {pool.prompts} prompts, more than {MAX_PROMPTS}.", "Take phrases out.")
    usable = [category for category in data.categories if category.labels.any() and not category.labels.all()]
    scheme, plan = plan_folds([category.name for category in usable], data.reserved)
    rule = lab_method("clip_cpe").settings.text_average
    tables: dict[str, PromptTable] = {}
    for number, category in enumerate(usable):
        advance(0.8 * number / len(usable), f"reading the pool for {category.noun}")
        words = (pool.normal_states, pool.abnormal_states, pool.templates)
        tables[category.name] = prompt_table(category, *words, bank, rule)
    folds: list[Fold] = []
    for number, (fitted, held) in enumerate(plan):
        advance(0.8 + 0.2 * number / (len(plan) + 1), f"choosing words, {number + 1} of {len(plan)}")
        chosen, steps = _select([tables[name] for name in fitted], pool, start)
        folds.append(Fold(fitted, held, _ensemble(data, base, chosen, fitted), steps))
    last = folds[-1]
    free = tuple(c.name for c in usable if c.name not in data.reserved)
    if scheme == "cross-fit" and last.fitted != free:
        chosen, steps = _select([tables[name] for name in free], pool, start)
        last = Fold(free, (), _ensemble(data, base, chosen, free), steps)
    left_out = tuple(name for name in data.category_names if name not in tables)
    held_changes = _judge(data, base, folds, bank)
    return Suggestion(last.ensemble, scheme, tuple(folds), held_changes, last.steps, left_out)


Choice = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
"""Indices of normal states, abnormal states and templates in a pool."""


def _place(ensemble: PromptEnsemble, pool: Pool) -> Choice:
    """Where an ensemble's phrases stand in a pool that holds them."""
    pairs = [
        (ensemble.normal_states, pool.normal_states),
        (ensemble.abnormal_states, pool.abnormal_states),
        (ensemble.templates, pool.templates),
    ]
    normal, abnormal, templates = (tuple(all_.index(p) for p in dict.fromkeys(own)) for own, all_ in pairs)
    return normal, abnormal, templates


def _select(tables: Sequence[PromptTable], pool: Pool, start: Choice | None) -> tuple[Pool, tuple[ChosenPhrase, ...]]:
    """Greedy forward selection on these categories, from a start or from the best pair and template."""
    sizes = (len(pool.normal_states), len(pool.abnormal_states), len(pool.templates))
    words = (pool.normal_states, pool.abnormal_states, pool.templates)
    kinds = ("normal state", "abnormal state", "template")
    steps: list[ChosenPhrase] = []
    if start is not None:
        now, value = _best(tables, [start], sizes)
    else:
        pairs = [((n,), (a,), tuple(range(sizes[2]))) for n in range(sizes[0]) for a in range(sizes[1])]
        (normal, abnormal, _), _ = _best(tables, pairs, sizes)
        now, value = _best(tables, [(normal, abnormal, (t,)) for t in range(sizes[2])], sizes)
        steps = [ChosenPhrase(kind, word[part[0]], value) for kind, word, part in zip(kinds, words, now, strict=True)]
    for _ in range(MOST_STEPS):
        options = [
            tuple((*part, i) if side == place else part for place, part in enumerate(now))
            for side in range(3)
            for i in range(sizes[side])
            if i not in now[side]
        ]
        if not options:
            break
        following, reached = _best(tables, options, sizes)  # type: ignore[arg-type]
        if reached < value + LEAST_GAIN:
            break
        side = next(k for k in range(3) if len(following[k]) > len(now[k]))
        steps.append(ChosenPhrase(kinds[side], words[side][following[side][-1]], reached))
        now, value = following, reached
    picked = [tuple(word[i] for i in sorted(part)) for word, part in zip(words, now, strict=True)]
    return Pool(*picked), tuple(steps)


def _best(
    tables: Sequence[PromptTable], options: Sequence[Choice], sizes: tuple[int, int, int]
) -> tuple[Choice, float]:
    """The option with the greatest mean image AUROC, the first of equal ones."""
    chosen: NDArray[np.bool_] = np.zeros((len(options), sizes[2], sizes[0] + sizes[1]), np.bool_)
    for row, (normal, abnormal, templates) in enumerate(options):
        states = [*normal, *(sizes[0] + a for a in abnormal)]
        chosen[row][np.ix_(templates, states)] = True
    means = np.mean([table.aurocs(chosen.reshape(len(options), -1)) for table in tables], axis=0)
    # Rounding must not decide between options that are equal.
    winner = int(np.argmax(np.round(means, 9)))
    return options[winner], float(means[winner])


def _ensemble(data: LabData, base: PromptEnsemble, words: Pool, fitted: tuple[str, ...]) -> PromptEnsemble:
    tuning = Tuning(data.dataset, fitted, "greedy forward selection", METRIC)
    return PromptEnsemble(
        name="suggested",
        title="Suggested",
        source=f"Chosen from a pool by greedy forward selection on {data.dataset}: {', '.join(fitted)}.",
        normal_states=words.normal_states,
        abnormal_states=words.abnormal_states,
        templates=words.templates,
        tuned_on=(*base.tuned_on, tuning),
    )


def _judge(data: LabData, base: PromptEnsemble, folds: Sequence[Fold], bank: PromptBank) -> Changes:
    """Image AUROC of each held category with its fold's words, beside the base."""
    method = lab_method("clip_cpe")

    def score(category: LabCategory, ensemble: PromptEnsemble) -> CategoryResult:
        plain = replace(category, masks=None, why_no_pixels="Suggestions are judged by image metrics.")
        return score_category(plain, bank.classes(ensemble, category.noun, method.settings.text_average), method)

    new: dict[str, CategoryResult] = {}
    old: dict[str, CategoryResult] = {}
    words: Mapping[str, PromptEnsemble] = {name: fold.ensemble for fold in folds for name in fold.held}
    for category in data.categories:
        if category.name in words:
            new[category.name] = score(category, words[category.name])
            old[category.name] = score(category, base)
    return compare_results(LabResult(folds[-1].ensemble, "clip_cpe", new), LabResult(base, "clip_cpe", old), METRIC)


def _in(order: Sequence[str], chosen: set[str]) -> tuple[str, ...]:
    return tuple(name for name in order if name in chosen)
