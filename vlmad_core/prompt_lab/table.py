"""Many ensembles over the same prompts at once: each is a choice of rows, and a choice costs one matrix product."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata
from torch import Tensor
from torch.nn import functional as F

from vlmad_core.prompt_lab.bank import PromptBank
from vlmad_core.prompt_lab.material import LabCategory
from vlmad_core.prompts.ensemble import compose
from vlmad_core.prompts.prototypes import AverageRule

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


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
    ranks = rankdata(scores, axis=0)[labels].sum(axis=0)
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
