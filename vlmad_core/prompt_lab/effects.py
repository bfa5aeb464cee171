"""What each phrase and prompt does: how similar images are to it, and what the AUROC would be without it.

A prototype is the mean of its prompts' embeddings, so leaving prompts out is a subtraction: no image and no text passes
the backbone again. Of many ensembles over the same prompts each is a choice of rows, and a choice costs one matrix
product.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vlmad_core.libraries import F, stats, torch
from vlmad_core.prompt_lab.material import LabCategory, LabData
from vlmad_core.prompt_lab.scoring import PromptBank
from vlmad_core.prompts.ensemble import PromptEnsemble, compose
from vlmad_core.prompts.prototypes import AverageRule

if TYPE_CHECKING:
    from torch import Tensor

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


ALONE = "The only one of its kind: the ensemble can't do without it."
KINDS = ("normal state", "abnormal state", "template", "prompt")


def auroc_columns(labels: Bools, scores: NDArray[np.floating]) -> Floats:
    """Image AUROC of many score columns at once; ties count half.

    Args:
        labels: Boolean [N] with both classes.
        scores: [N, G].

    Returns:
        float64 [G]; equal to ``image_auroc`` of each column but for rounding.

    Examples:
        >>> auroc_columns(np.array([False, True]), np.array([[0.1, 0.5], [0.9, 0.5]])).tolist()
        [1.0, 0.5]
    """
    positives = int(labels.sum())
    ranks = stats.rankdata(scores, axis=0)[labels].sum(axis=0)
    return np.asarray((ranks - positives * (positives + 1) / 2) / (positives * (labels.size - positives)))


@dataclass(frozen=True)
class PromptTable:
    """All prompts of states x templates on one category: row t * S + s is state s in template t.

    Attributes:
        images: [N, e] unit vectors.
        labels: Boolean [N].
        vectors: [n, e], what is averaged to prototypes.
        similarities: [N, n] cosines, float32.
        abnormal: Boolean [n], which prompts are abnormal ones.
        shape: Templates T and states S (normal ones first); n = T S.
    """

    images: Tensor
    labels: Bools
    vectors: Tensor
    similarities: NDArray[np.float32]
    abnormal: Bools
    shape: tuple[int, int]

    @property
    def judges(self) -> bool:
        """Whether there are normal and defective images, so that there is an AUROC."""
        return bool(self.labels.any() and not self.labels.all())

    def aurocs(self, chosen: Bools) -> Floats:
        """Image AUROC of several ensembles.

        Args:
            chosen: Boolean [G, n], the prompts of each; at least one normal and one abnormal one, or its value
                means nothing.

        Returns:
            float64 [G].
        """
        keep = torch.from_numpy(chosen.astype(np.float32))
        mask = torch.from_numpy(self.abnormal.astype(np.float32))
        # A sum points where the mean points, and only the direction counts.
        normal, abnormal = (F.normalize((keep * side) @ self.vectors, dim=-1) for side in (1 - mask, mask))
        return auroc_columns(self.labels, (self.images @ (abnormal - normal).T).numpy())


def prompt_table(
    category: LabCategory,
    normal_states: tuple[str, ...],
    abnormal_states: tuple[str, ...],
    templates: tuple[str, ...],
    bank: PromptBank,
    rule: AverageRule = "each",
) -> PromptTable:
    """Make the table of a category.

    Args:
        category: The category in memory.
        normal_states: Normal states.
        abnormal_states: Abnormal states.
        templates: Templates.
        bank: Embeddings of prompts.
        rule: How embeddings become a prototype.
    """
    assert category.features.image_embedding is not None
    states = (*normal_states, *abnormal_states)
    raw = bank.embed([compose(template, state, category.noun) for template in templates for state in states])
    unit = F.normalize(raw, dim=-1)
    images = F.normalize(category.features.image_embedding, dim=-1)
    return PromptTable(
        images=images,
        labels=category.labels,
        vectors=unit if rule == "each" else raw,
        similarities=(images @ unit.T).numpy(),
        abnormal=np.tile(np.arange(len(states)) >= len(normal_states), len(templates)),
        shape=(len(templates), len(states)),
    )


@dataclass(frozen=True)
class Effect:
    """What one phrase, or one prompt, does; means over categories where several are meant.

    Attributes:
        kind: One of ``KINDS``.
        phrase: The state, the template, or for a prompt the template with the state in it.
        prompts: Number of prompts it stands for, in one category.
        to_normal: Mean cosine similarity of its prompts to the normal images.
        to_defective: The same to the defective images.
        adds: Image AUROC of the whole ensemble minus that without it; above zero it helps. None where a class
            would be left without prompts, or there is no AUROC.
        why_blank: Why ``adds`` is None, or None.
    """

    kind: str
    phrase: str
    prompts: int
    to_normal: float | None
    to_defective: float | None
    adds: float | None
    why_blank: str | None = None

    @property
    def leans(self) -> float | None:
        """How much more similar it is to defective images than to normal ones."""
        if self.to_normal is None or self.to_defective is None:
            return None
        return self.to_defective - self.to_normal


def dataset_effects(
    data: LabData, ensemble: PromptEnsemble, bank: PromptBank, rule: AverageRule = "each"
) -> tuple[Effect, ...]:
    """Effects of each state and template, as means over all categories; single prompts are left out.

    A mean of ``adds`` covers the categories that have an AUROC.
    """
    by_category = [category_effects(category, ensemble, bank, rule, prompts=False) for category in data.categories]
    return tuple(_mean(same) for same in zip(*by_category, strict=True))


def category_effects(
    category: LabCategory,
    ensemble: PromptEnsemble,
    bank: PromptBank,
    rule: AverageRule = "each",
    *,
    prompts: bool = True,
) -> tuple[Effect, ...]:
    """Effects of each state, each template and each prompt on one category.

    Args:
        category: The category in memory.
        ensemble: The ensemble.
        bank: Embeddings of prompts.
        rule: How embeddings become a prototype.
        prompts: Whether single prompts are wanted too.
    """
    e = ensemble
    table = prompt_table(category, e.normal_states, e.abnormal_states, e.templates, bank, rule)
    numbers = np.arange(len(table.abnormal)).reshape(table.shape)
    normal = len(ensemble.normal_states)
    states = (*ensemble.normal_states, *ensemble.abnormal_states)
    groups = [numbers[:, k] for k in range(table.shape[1])] + [numbers[k] for k in range(table.shape[0])]
    names = [(KINDS[k >= normal], state) for k, state in enumerate(states)]
    names += [("template", template) for template in ensemble.templates]
    if prompts:
        groups += [number.reshape(1) for number in numbers.ravel()]
        names += [("prompt", compose(template, state, "{}")) for template in ensemble.templates for state in states]
    adds = _changes(table, groups)
    return tuple(
        Effect(kind, phrase, len(group), *_similarity(table, group), change, why)
        for (kind, phrase), group, (change, why) in zip(names, groups, adds, strict=True)
    )


def _similarity(table: PromptTable, group: NDArray[np.int64]) -> tuple[float | None, float | None]:
    """Mean cosine of a group of prompts to normal and to defective images."""
    mean = table.similarities[:, group].mean(axis=1)
    normal, defective = mean[~table.labels], mean[table.labels]
    return float(normal.mean()) if normal.size else None, float(defective.mean()) if defective.size else None


def _changes(table: PromptTable, groups: Sequence[NDArray[np.int64]]) -> list[tuple[float | None, str | None]]:
    """For each group the AUROC of all prompts minus that without the group, or why there is none."""
    if not table.judges:
        return [(None, "AUROC needs normal and defective images.")] * len(groups)
    kept = np.ones((len(groups) + 1, len(table.abnormal)), np.bool_)
    for row, group in enumerate(groups):
        kept[row, group] = False
    areas = table.aurocs(kept)
    left = [np.count_nonzero(kept & side, axis=1) for side in (table.abnormal, ~table.abnormal)]
    both = np.minimum(left[0], left[1]) > 0
    return [(float(areas[-1] - areas[row]), None) if both[row] else (None, ALONE) for row in range(len(groups))]


def _mean(effects: Sequence[Effect]) -> Effect:
    first = effects[0]

    def over(values: Sequence[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return float(np.mean(known)) if known else None

    adds = over([effect.adds for effect in effects])
    why = next((effect.why_blank for effect in effects if effect.why_blank), None) if adds is None else None
    return Effect(
        first.kind,
        first.phrase,
        first.prompts,
        over([effect.to_normal for effect in effects]),
        over([effect.to_defective for effect in effects]),
        adds,
        why,
    )
