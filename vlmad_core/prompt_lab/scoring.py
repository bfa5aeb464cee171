"""Scoring a data set with an ensemble from features in memory: the same numbers as a run, without the images."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vlmad_core.backbones import BackboneInfo, FeatureRequest
from vlmad_core.backbones.text import MOST_STRINGS, Encode, TextCache
from vlmad_core.engine.session import judge
from vlmad_core.errors import MethodError
from vlmad_core.methods import MapRule, Method, create_method, full_maps
from vlmad_core.methods.clip_text import ClipCpe
from vlmad_core.methods.winclip import WinClip
from vlmad_core.metrics import (
    MetricValue,
    Replicates,
    evaluate_pixels,
    image_metrics,
    image_replicates,
)
from vlmad_core.metrics.pixel_bootstrap import pixel_replicates
from vlmad_core.prompt_lab.material import EVAL_SIZE, LabCategory, LabData
from vlmad_core.prompts.ensemble import PromptEnsemble
from vlmad_core.prompts.prototypes import AverageRule, TextClasses, text_classes

if TYPE_CHECKING:
    import torch
    from torch import Tensor

LAB_METHODS = ("clip_cpe", "winclip")
"""Methods whose score is nothing but the similarity to prompts, and so can be had from features at once."""

PIXEL_METRICS = ("pixel_auroc", "pixel_ap", "pixel_f1max", "aupro_30", "aupro_05")
RESAMPLES = 1000
"""Bootstrap draws over the images, for differences of image metrics."""

MAPS_AT_ONCE = 8
WORKERS = 2


class PromptBank:
    """Embeddings by string for one backbone: after an edit only what changed passes the text tower.

    May be used from several threads.
    """

    def __init__(self, encode: Encode, most: int = MOST_STRINGS) -> None:
        """Start empty.

        Args:
            encode: Embeds what is not known yet, e.g. ``ClipBackbone.encode_text_shared``.
            most: Strings held; if more are asked for, those asked for longest ago go.
        """
        self._encode = encode
        self._texts = TextCache(most)

    def __len__(self) -> int:
        """Number of strings held."""
        return len(self._texts)

    def missing(self, prompts: Iterable[str]) -> tuple[str, ...]:
        """Which of the prompts are not known yet, each once, in order."""
        return tuple(prompt for (prompt,) in self._texts.missing((prompt,) for prompt in prompts))

    def embed(self, prompts: Sequence[str]) -> Tensor:
        """Embed prompts: [n, e] float32, not normalised; only unknown ones pass the tower.

        Raises:
            BackboneError: If a prompt is longer than the text tower takes; nothing of the call is kept then.
        """
        return self._texts.embed(self._encode, [(prompt,) for prompt in prompts])

    def classes(self, ensemble: PromptEnsemble, noun: str, rule: AverageRule) -> TextClasses:
        """An ensemble's prompts and prototypes for a category in words; as ``embed_ensemble`` but from the bank."""
        normal, abnormal = ensemble.normal_prompts(noun), ensemble.abnormal_prompts(noun)
        return text_classes(normal, abnormal, self.embed([*normal, *abnormal]), rule)


def all_prompts(ensemble: PromptEnsemble, nouns: Iterable[str]) -> list[str]:
    """Every prompt of an ensemble for every category."""
    return [p for noun in nouns for p in (*ensemble.normal_prompts(noun), *ensemble.abnormal_prompts(noun))]


@dataclass(frozen=True)
class CategoryResult:
    """What an ensemble reaches on one category.

    Attributes:
        scores: Image scores, float32 [N], in the order of the category's images.
        values: Image and pixel metrics by name.
        replicates: Bootstrap draws of the image metrics, and of pixel metrics where they were asked for.
    """

    scores: NDArray[np.float32]
    values: Mapping[str, MetricValue]
    replicates: Mapping[str, Replicates]


@dataclass(frozen=True)
class LabResult:
    """What an ensemble reaches on a data set.

    Attributes:
        ensemble: The ensemble.
        method: Name of the method.
        categories: Results by category.
        seconds: Time for embedding new prompts (``text``) and for all the rest (``scoring``).
        new_prompts: Prompts that were not known before.
    """

    ensemble: PromptEnsemble
    method: str
    categories: Mapping[str, CategoryResult]
    seconds: Mapping[str, float] = field(default_factory=dict)
    new_prompts: int = 0

    def values(self, metric: str) -> dict[str, float | None]:
        """A metric by category."""
        return {name: result.values[metric].value for name, result in self.categories.items()}

    def mean(self, metric: str) -> float | None:
        """Mean of a metric over the categories that have it; None if none has."""
        known = [value for value in self.values(metric).values() if value is not None]
        return float(np.mean(known)) if known else None


def lab_method(name: str, **settings: object) -> ClipCpe | WinClip:
    """A method as the lab uses it: zero-shot, its canonical settings but for those given.

    Raises:
        MethodError: If the lab can't use it.
    """
    method: Method = create_method(name, **settings)
    if not isinstance(method, ClipCpe | WinClip):
        raise MethodError(
            f"{name} can't be scored from prompts and features alone.", f"Choose one of: {', '.join(LAB_METHODS)}."
        )
    return method


def lab_request(info: BackboneInfo, name: str) -> FeatureRequest:
    """The features a method of the lab needs."""
    return lab_method(name).needs(info, 0)


def score_dataset(
    data: LabData,
    ensemble: PromptEnsemble,
    bank: PromptBank,
    method: str = "clip_cpe",
    *,
    pixel_draws: bool = False,
    workers: int = WORKERS,
) -> LabResult:
    """Score all categories; only prompts the bank does not know pass the text tower.

    Args:
        data: The data set in memory, with the features the method needs.
        ensemble: The ensemble.
        bank: Embeddings of prompts.
        method: One of ``LAB_METHODS``.
        pixel_draws: Whether to draw resamples for pixel metrics as well (several times slower).
        workers: Categories scored at the same time.

    Raises:
        VlmadError: If a prompt is too long for the backbone, or the method is none of the lab's.
    """
    start = time.perf_counter()
    wanted = all_prompts(ensemble, (category.noun for category in data.categories))
    new = bank.missing(wanted)
    if new:
        bank.embed(new)
    ready = time.perf_counter()
    made = lab_method(method)

    def work(category: LabCategory) -> CategoryResult:
        text = bank.classes(ensemble, category.noun, made.settings.text_average)
        return score_category(category, text, made, pixel_draws=pixel_draws)

    with ThreadPoolExecutor(workers, thread_name_prefix="vlmad-lab") as pool:
        results = list(pool.map(work, data.categories))
    seconds = {"text": ready - start, "scoring": time.perf_counter() - ready}
    return LabResult(
        ensemble, method, dict(zip(data.category_names, results, strict=True)), seconds, new_prompts=len(new)
    )


def score_category(
    category: LabCategory, text: TextClasses, method: ClipCpe | WinClip, *, pixel_draws: bool = False
) -> CategoryResult:
    """Score one category and compute all its metrics.

    Args:
        category: The category in memory.
        text: The ensemble's prompts and prototypes.
        method: The method.
        pixel_draws: Whether to draw resamples for pixel metrics as well.
    """
    scorer = method.scorer(text) if category.masks is not None else lab_method("clip_cpe", patch_map=False).scorer(text)
    predictions = judge(scorer, category.features)
    scores = predictions.image_score.numpy()
    values = image_metrics(category.labels, scores)
    replicates = image_replicates(category.labels, scores, resamples=RESAMPLES)
    if category.masks is None or predictions.grids is None or predictions.map_rule is None:
        reason = category.why_no_pixels or "The method makes no anomaly map."
        values |= {name: MetricValue(None, reason, n=len(scores)) for name in PIXEL_METRICS}
        return CategoryResult(scores, values, replicates)
    grids, place = predictions.grids.numpy()[category.masked], category.features.device
    ordering = category.masks.order(_maps(grids, predictions.map_rule, place))
    values |= evaluate_pixels(ordering, curves=False).values
    if pixel_draws:
        maps = full_maps(grids, predictions.map_rule, EVAL_SIZE, place)
        labels = category.labels[category.masked]
        replicates |= pixel_replicates(maps, category.masks.unpacked(), ordering=ordering, labels=labels)
    return CategoryResult(scores, values, replicates)


def _maps(grids: NDArray[np.float32], rule: MapRule, device: torch.device) -> Iterator[NDArray[np.float32]]:
    """Full-size maps, a few at a time."""
    for start in range(0, len(grids), MAPS_AT_ONCE):
        yield full_maps(grids[start : start + MAPS_AT_ONCE], rule, EVAL_SIZE, device)
