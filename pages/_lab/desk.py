"""The prompt lab's machinery: data sets in memory and embeddings, shared by all visitors; what a visitor types."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import streamlit as st

from pages._ui import machine, selection
from vlmad_core import paths
from vlmad_core.metrics import METRICS
from vlmad_core.prompts import PromptEnsemble, available_ensembles, load_ensemble

if TYPE_CHECKING:
    from vlmad_core.live.panel import Engine
    from vlmad_core.prompt_lab import LabData, LabResult, PromptBank, Suggestion

FIRST = "winclip"
"""The ensemble to start from and to compare with."""

METHODS = {"clip_cpe": "Patches (CPE)", "winclip": "Windows (WinCLIP)"}
MOST_DATA = 2
"""Data sets held in memory for all visitors."""

MOST_RESULTS = 64
METRIC_NAMES = tuple(name for name in METRICS if name != "aupro_legacy200")


@dataclass(frozen=True)
class Place:
    """What words are judged on.

    Attributes:
        dataset: Name of the data set.
        method: Name of the method.
    """

    dataset: str
    method: str


@dataclass
class Desk:
    """What one visitor works on.

    Attributes:
        chosen: Name of the ensemble started from.
        origin: What the words were taken from: that ensemble, an import, or a suggestion.
        texts: The three texts as typed.
        good: The words that could be used last.
        suggestion: The last suggestion, with what it was asked for.
    """

    chosen: str
    origin: PromptEnsemble
    texts: dict[str, str]
    good: PromptEnsemble
    suggestion: tuple[Any, Suggestion] | None = None


@dataclass
class Shelf:
    """Data sets in memory, those used last."""

    held: OrderedDict[Any, LabData] = field(default_factory=OrderedDict)
    lock: Any = field(default_factory=threading.Lock)

    def get(self, key: Any, load: Callable[[], LabData]) -> LabData:
        """A data set; loaded by one visitor at a time."""
        with self.lock:
            if key not in self.held:
                self.held[key] = load()
            self.held.move_to_end(key)
            while len(self.held) > MOST_DATA:
                self.held.popitem(last=False)
            return self.held[key]


@st.cache_resource
def shelf() -> Shelf:
    """The one shelf."""
    return Shelf()


def engine() -> Engine:
    """The backbone that the live demo uses too, in float32.

    Raises:
        VlmadError: If it can't be loaded.
    """
    return machine.engine(paths.named_backbone() or "bundled", "float32", "auto")


@st.cache_resource(max_entries=2, show_spinner=False)
def _bank(key: str, _engine: Engine) -> PromptBank:
    from vlmad_core.prompt_lab import PromptBank

    return PromptBank(_engine.backbone.encode_text_shared)


def bank() -> PromptBank:
    """Embeddings of prompts, shared by all visitors."""
    return _bank(_mark(engine()), engine())


def _mark(one: Engine) -> str:
    return f"{one.info.weights_hash} {one.info.activation} {one.info.image_size}"


@st.cache_data(ttl=60, max_entries=16, show_spinner="Looking for stored features …")
def stored_images(place: Place, mark: str) -> tuple[int, int]:
    """How many of a data set's test images have stored features, and how many there are."""
    from vlmad_core.backbones.feature_cache import FeatureFolder
    from vlmad_core.prompt_lab import count_cached, lab_request, lab_samples

    dataset, info = machine.examples(place.dataset), engine().info
    held = count_cached(dataset, info, lab_request(info, place.method), FeatureFolder())
    return held, len(lab_samples(dataset))


def in_memory(place: Place) -> bool:
    """Whether a data set need not be loaded first."""
    return (_mark(engine()), place) in shelf().held


def load(place: Place, advance: Callable[[int], None] = lambda count: None) -> LabData:
    """A data set in memory; ``advance`` is told 1 after each image that is read or extracted.

    Raises:
        VlmadError: If nothing of it can be used.
    """
    from vlmad_core.backbones.feature_cache import CachingBackbone, FeatureFolder
    from vlmad_core.engine.session import Session
    from vlmad_core.prompt_lab import lab_request, load_lab_data

    one = engine()
    request = lab_request(one.info, place.method)

    def read() -> LabData:
        # Image by image, in turns with the live demo.
        session = Session(CachingBackbone(one.backbone, FeatureFolder()), turn=one.turns.take)
        return load_lab_data(machine.examples(place.dataset), session, request, advance)

    return shelf().get((_mark(one), place), read)


@st.cache_resource(max_entries=MOST_RESULTS, show_spinner="Scoring …")
def _result(key: tuple[Any, ...], _data: LabData, _ensemble: PromptEnsemble, draws: bool) -> LabResult:
    from vlmad_core.prompt_lab import score_dataset

    return score_dataset(_data, _ensemble, bank(), key[1].method, pixel_draws=draws)


def result(place: Place, data: LabData, ensemble: PromptEnsemble, draws: bool = False) -> LabResult:
    """What an ensemble reaches; kept, so that going back costs nothing.

    Raises:
        VlmadError: If a prompt is too long for the backbone.
    """
    return _result((_mark(engine()), place, ensemble.content_hash), data, ensemble, draws)


def entries() -> dict[str, PromptEnsemble]:
    """Ensembles by name that can be chosen; what is wrong with the others is said."""
    found = {}
    for entry in available_ensembles():
        if entry.ensemble is None:
            selection.notice(
                f"The saved ensemble {entry.name} can't be used. {selection.tidy(entry.problem or '', 200)}"
            )
        else:
            found[entry.name] = entry.ensemble
    return found


def take(chosen: str) -> Desk:
    """What the visitor works on; started anew when another ensemble is chosen."""
    mine: Desk | None = st.session_state.get("lab_desk")
    if mine is None or mine.chosen != chosen:
        origin = load_ensemble(chosen)
        mine = Desk(chosen, origin, {}, origin)
        put(mine, origin)
        st.session_state["lab_desk"] = mine
    return mine


def put(mine: Desk, ensemble: PromptEnsemble) -> None:
    """Lay an ensemble's words on the desk."""
    from vlmad_core.prompt_lab.drafting import texts_of

    mine.origin = mine.good = ensemble
    mine.texts = texts_of(ensemble)
