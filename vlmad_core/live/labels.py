"""A batch whose folders say what is in them: labels by folder, and all methods judged at thresholds set on the batch.

Which names mean good, defective or masks stands in the table of ``vlmad_core.datasets.labelled``; a folder of another
name beside one of these is a type of defect.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

import numpy as np

from vlmad_core.analysis.decision import Card, Recommended, SharedScores
from vlmad_core.analysis.recommendation import alarm_line, found_line, sentence, surer
from vlmad_core.datasets.archives import is_archive
from vlmad_core.datasets.labelled import means
from vlmad_core.datasets.sample import NORMAL_TYPE
from vlmad_core.live.inputs import Given, Item
from vlmad_core.live.record import ImageResult
from vlmad_core.live.verdicts import Opinion
from vlmad_core.metrics.rules import Rule
from vlmad_core.metrics.thresholds import verdict

Labels = tuple[str | None, ...]
"""What is in each image: ``good``, a type of defect, or None where its folder does not say."""


@dataclass(frozen=True)
class Conclusion:
    """What a batch with labels comes to.

    Attributes:
        scored: The scores of images that are no references and were judged by all methods.
        methods: Ids of the methods, [J].
        cards: A card for each.
        recommended: The method to use, or None.
        rule: What set the thresholds.
    """

    scored: SharedScores
    methods: tuple[str, ...]
    cards: tuple[Card, ...]
    recommended: Recommended | None
    rule: Rule

    @property
    def pictured(self) -> frozenset[str]:
        """Ids of the images that cards name."""
        return frozenset(name for card in self.cards for name in (card.hit, card.miss) if name is not None)

    def said(self) -> tuple[str, ...]:
        """The recommendation, its figures, and what would make it surer."""
        one = self.recommended
        told = () if one is None else (sentence(one, self.scored), found_line(one) + ".", alarm_line(one) + ".")
        return (*told, *surer(one, self.scored, self.rule))


def without_masks(given: Given) -> Given:
    """What was given without the images in folders of masks; they count as left out."""
    kept = tuple(item for item in given.items if not any(means(part, "masks") for part in _folders(item.name)))
    if len(kept) == len(given.items) or not any(folder_labels(given.items)):
        return given
    return replace(given, items=kept, left_out=given.left_out + len(given.items) - len(kept))


def folder_labels(items: Sequence[Item]) -> Labels:
    """What the folder of each image says is in it; all None where no folder is one of good parts.

    Args:
        items: The images, named with their folders.

    Examples:
        >>> names = ["a.zip/ok/1.png", "a.zip/scratch/1.png", "a.zip/NG/dent/1.png", "a.zip/2.png"]
        >>> folder_labels([Item(name, None) for name in names])
        ('good', 'scratch', 'dent', None)
    """
    folders = [_folders(item.name) for item in items]
    known = {
        parts[:depth]
        for parts in folders
        for depth, part in enumerate(parts)
        if means(part, "normal") or means(part, "defective")
    }
    found = tuple(_label(parts, known) for parts in folders)
    return found if NORMAL_TYPE in found else (None,) * len(found)


def shared_scores(
    results: Sequence[ImageResult], labels: Labels, titles: Mapping[str, str], references: Collection[str] = ()
) -> tuple[SharedScores | None, tuple[str, ...]]:
    """The scores of a batch's labelled images by all methods; references are left out, and an image twice given.

    Args:
        results: The results, in the order of the images.
        labels: What is in each.
        titles: How methods are shown, by their id, in order.
        references: Content hashes of the references.

    Returns:
        The scores, None without any; and the ids of the methods they are of. A method that judged no image is left
        out; an image that one of the others did not judge too.
    """
    taken: dict[str, tuple[int, str, dict[str, float]]] = {}
    for place, (one, label) in enumerate(zip(results, labels, strict=False)):
        if one.error is None and label is not None and one.content not in references:
            scores = {o.prediction.method_id: o.prediction.image_score for o in one.opinions}
            known = {method: float(score) for method, score in scores.items() if score is not None}
            taken.setdefault(one.content, (place, label, known))
    methods = tuple(method for method in titles if any(method in known for _, _, known in taken.values()))
    kept = [row for row in taken.values() if methods and all(method in row[2] for method in methods)]
    if not kept:
        return None, ()
    scored = SharedScores(
        names=tuple(titles[method] for method in methods),
        ids=tuple(results[place].name for place, _, _ in kept),
        labels=np.array([label != NORMAL_TYPE for _, label, _ in kept]),
        scores=np.array([[known[method] for _, _, known in kept] for method in methods]),
        alone=(True,) * len(methods),
    )
    return scored, methods


def judged_again(results: Sequence[ImageResult], concluded: Conclusion) -> tuple[ImageResult, ...]:
    """The same results with verdicts at the thresholds of the cards; a threshold set by the user still goes first."""
    cards = dict(zip(concluded.methods, concluded.cards, strict=True))
    return tuple(replace(one, opinions=tuple(_at(cards, opinion) for opinion in one.opinions)) for one in results)


def _at(cards: Mapping[str, Card], opinion: Opinion) -> Opinion:
    card, score = cards.get(opinion.prediction.method_id), opinion.prediction.image_score
    if card is None or score is None or (opinion.thresholds and opinion.thresholds[0].origin == "user"):
        return opinion
    thresholds = (card.threshold, *opinion.thresholds)
    return replace(opinion, thresholds=thresholds, verdict=verdict(score, card.threshold), reason="")


def _label(parts: tuple[str, ...], known: Collection[tuple[str, ...]]) -> str | None:
    for depth, part in enumerate(parts):
        if means(part, "masks"):
            return None
        if means(part, "normal"):
            return NORMAL_TYPE
        if means(part, "defective") or parts[:depth] in known:
            return parts[-1]
    return None


def _folders(name: str) -> tuple[str, ...]:
    """The folders of an image inside what was given, without the archive's name."""
    parts = PurePosixPath(name.replace("\\", "/")).parts[:-1]
    return parts[1:] if parts and is_archive(parts[0]) else parts
