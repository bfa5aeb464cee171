"""The prompt lab in the process that computes: data sets and prompts stay there, and plain numbers come back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vlmad_core.inference.again import listed
from vlmad_core.prompt_lab.drafting import too_long
from vlmad_core.prompt_lab.effects import Effect, category_effects, dataset_effects
from vlmad_core.prompt_lab.material import LabData, count_cached, lab_samples, load_lab_data
from vlmad_core.prompt_lab.scoring import LabResult, PromptBank, lab_request, score_dataset
from vlmad_core.prompt_lab.suggest import Pool, Suggestion, suggest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from vlmad_core.backbones.info import AskedPrecision
    from vlmad_core.inference.engine import Engine
    from vlmad_core.inference.process import Holdings, Tell
    from vlmad_core.prompts.ensemble import PromptEnsemble

MOST_DATA = 2
"""Data sets whose features are held, for all visitors."""


@dataclass(frozen=True)
class LabPlace:
    """What words are judged on.

    Attributes:
        dataset: Name of the data set.
        method: Name of the method.
        engine: The backbone, as it is asked for.
    """

    dataset: str
    method: str
    engine: tuple[str, AskedPrecision, str]


@dataclass(frozen=True)
class LabFacts:
    """What is known of a data set in memory.

    Attributes:
        dataset: Its name.
        names: All names it goes by.
        categories: Its categories that have test images, and how many can be used.
        problems: What could not be used, in sentences.
    """

    dataset: str
    names: tuple[str, ...]
    categories: dict[str, int]
    problems: tuple[str, ...]


def stored_images(held: Holdings, tell: Tell, place: LabPlace) -> tuple[int, int]:
    """In the process: how many test images have stored features, and how many there are."""
    from vlmad_core.backbones.feature_cache import FeatureFolder

    dataset, info = listed(held, place.dataset), held.engine(*place.engine).info
    return count_cached(dataset, info, lab_request(info, place.method), FeatureFolder()), len(lab_samples(dataset))


def in_memory(held: Holdings, tell: Tell, place: LabPlace) -> LabFacts | None:
    """In the process: what is known of a data set; None if it must be loaded first."""
    data = held.kept("lab data", MOST_DATA).find(place)
    return None if data is None else _facts(data)


def load(held: Holdings, tell: Tell, place: LabPlace) -> LabFacts:
    """In the process: bring a data set into memory, telling 1 after each image that is read or extracted.

    Raises:
        VlmadError: If nothing of it can be used.
    """
    return _facts(_data(held, place, tell))


def too_long_in(held: Holdings, tell: Tell, place: LabPlace, ensemble: PromptEnsemble) -> str | None:
    """In the process: see ``too_long``."""
    nouns = [one.noun for one in _data(held, place, tell).categories]
    return too_long(held.engine(*place.engine).backbone, ensemble, nouns, _bank(held, place))


def score(held: Holdings, tell: Tell, place: LabPlace, ensemble: PromptEnsemble, draws: bool) -> LabResult:
    """In the process: see ``score_dataset``."""
    return score_dataset(_data(held, place, tell), ensemble, _bank(held, place), place.method, pixel_draws=draws)


def effects(
    held: Holdings, tell: Tell, place: LabPlace, ensemble: PromptEnsemble, category: str | None, prompts: bool
) -> tuple[Effect, ...]:
    """In the process: effects of phrases on all categories, or on one and then of single prompts, too."""
    data, bank = _data(held, place, tell), _bank(held, place)
    if category is None:
        return dataset_effects(data, ensemble, bank)
    return category_effects(data.category(category), ensemble, bank, prompts=prompts)


def suggest_words(
    held: Holdings, tell: Tell, place: LabPlace, ensemble: PromptEnsemble, pool: Pool, build_on: bool
) -> Suggestion:
    """In the process: see ``suggest``; told are the share that is done, and what is next."""
    data = _data(held, place, lambda count: None)
    return suggest(data, ensemble, pool, _bank(held, place), lambda share, what: tell((share, what)), build_on=build_on)


def _facts(data: LabData) -> LabFacts:
    return LabFacts(data.dataset, data.names, {one.name: len(one.labels) for one in data.categories}, data.problems)


def _data(held: Holdings, place: LabPlace, advance: Callable[[int], None]) -> LabData:
    """A data set in memory; image by image, in turns with the live demo."""
    from vlmad_core.backbones.feature_cache import CachingBackbone, FeatureFolder
    from vlmad_core.engine.session import Session

    def read() -> LabData:
        engine = held.engine(*place.engine)
        session = Session(CachingBackbone(engine.backbone, FeatureFolder()), turn=held.turns.take)
        return load_lab_data(listed(held, place.dataset), session, lab_request(engine.info, place.method), advance)

    data: LabData = held.kept("lab data", MOST_DATA).get(place, read)
    return data


def _bank(held: Holdings, place: LabPlace) -> PromptBank:
    """Embeddings of prompts, shared by all visitors; what passes the text tower takes its turn."""
    engine: Engine = held.engine(*place.engine)

    def encode(prompts: Sequence[str]) -> Tensor:
        with held.turns.take():
            return engine.backbone.encode_text_shared(prompts)

    bank: PromptBank = held.kept("banks", MOST_DATA, on_backbone=True).get(place.engine, lambda: PromptBank(encode))
    return bank
