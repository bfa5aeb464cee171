"""What one visitor of the live demo has: panel, results as they come in, and the yardstick they are judged by."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import streamlit as st

from pages._ui import data, machine, selection
from vlmad_core import paths
from vlmad_core.datasets import Sample
from vlmad_core.errors import VlmadError

if TYPE_CHECKING:
    from vlmad_core.backbones import BackboneInfo
    from vlmad_core.inference.client import Place
    from vlmad_core.live.choices import Choice
    from vlmad_core.live.inputs import Picture
    from vlmad_core.live.panel import LivePrediction
    from vlmad_core.live.record import ImageResult
    from vlmad_core.live.remote import RemoteEngine, RemotePanel
    from vlmad_core.live.verdicts import Opinion, Yardstick

FIRST_PROMPTS = "winclip"
"""The ensemble that methods use which take any."""

MOST_KEPT = 48
"""Results of single methods that a session keeps; each holds a map of 256 KB."""


@dataclass
class Batch:
    """A visitor's batch.

    Attributes:
        key: What it was started for; another key means another batch.
        running: Whether it goes on with the next run of the page.
        results: What is done so far, without maps.
        stopped_by: Why it does not go on by itself; empty if nothing is wrong.
    """

    key: str
    running: bool = False
    results: list[ImageResult] = field(default_factory=list)
    stopped_by: str = ""


@dataclass
class Visit:
    """What one visitor has: results of the images looked at last.

    Attributes:
        results: Predictions by image, method and all they depend on.
        panel: The panel used last, with its key.
        batch: The batch, if there is one.
        stopped: Key of the image whose judging was cancelled.
        read: The uploads read last, by file id and name.
    """

    results: OrderedDict[tuple[str, ...], LivePrediction] = field(default_factory=OrderedDict)
    panel: tuple[str, RemotePanel] | None = None
    batch: Batch | None = None
    stopped: str = ""
    read: OrderedDict[tuple[str, str], Picture | VlmadError] = field(default_factory=OrderedDict)


@dataclass(frozen=True)
class Task:
    """An image to be judged, and by whom.

    Attributes:
        picture: The image.
        panel: The methods.
        dataset: The data set the image comes from, or None.
        known: What the data set says of the image; empty if nothing.
        key: Stands for image, methods and all that results depend on.
    """

    picture: Picture
    panel: RemotePanel
    dataset: str | None
    known: str
    key: str


@st.cache_data(max_entries=64, ttl=30, show_spinner=False)
def methods(_info: BackboneInfo, mark: str, shots: int, dataset: str | None) -> tuple[Choice, ...]:
    """Methods with the reason where one can't judge a single image."""
    from vlmad_core.live.remote import choices

    found: tuple[Choice, ...] = machine.inference().look_up(machine.visitor(), choices, _info, shots, dataset)
    return found


def held() -> Visit:
    """What this visitor has; made at the first call."""
    if "live" not in st.session_state:
        st.session_state["live"] = Visit()
    mine: Visit = st.session_state["live"]
    return mine


def panel(
    engine: RemoteEngine,
    words: str,
    names: Sequence[str],
    references: Sequence[Picture],
    dataset: str | None,
    prompts: str = FIRST_PROMPTS,
) -> RemotePanel:
    """The visitor's panel; the same one as long as nothing about it changes, so that nothing is prepared twice.

    Raises:
        VlmadError: If the words, the methods or the prompts can't be used.
    """
    from vlmad_core.live.choices import with_prompts
    from vlmad_core.live.remote import PanelAsked, open_panel

    info = engine.info
    names = with_prompts(names, prompts)
    parts = (info.weights_hash, info.precision, info.image_size, words, dataset, *names, "|")
    key = repr((*parts, *(one.content for one in references)))
    mine = held()
    if mine.panel is None or mine.panel[0] != key:
        asked = PanelAsked(machine.visitor(), key, engine.asked, words, names, dataset, tuple(references))
        mine.panel = key, open_panel(machine.inference(), engine, asked)
    return mine.panel[1]


def task(picture: Picture, panel: RemotePanel, dataset: str | None, known: str) -> Task:
    """A task with its key."""
    return Task(picture, panel, dataset, known, repr((picture.content, *_depends(panel, dataset))))


def judged(task: Task) -> list[LivePrediction]:
    """Predictions this session has already, in the order of the panel."""
    found = []
    for member in task.panel.members:
        one = held().results.get(_key(task, member.method_id))
        if one is not None:
            found.append(one)
    return found


def judge(task: Task, place: Place) -> Iterator[LivePrediction]:
    """Judge an image by the methods that have not done so yet; every result is kept at once, cancelled or not.

    Args:
        task: The image.
        place: Told how many are before this visitor.

    Raises:
        InferenceError: If too much waits already, or the process that computes ends.
    """
    mine = held()
    panel = replace(task.panel, place=place)
    for prediction in panel.judge(task.picture, skip={one.method_id for one in judged(task)}):
        mine.results[_key(task, prediction.method_id)] = prediction
        while len(mine.results) > MOST_KEPT:
            mine.results.popitem(last=False)
        yield prediction


def opinion(task: Task, prediction: LivePrediction) -> Opinion:
    """A prediction with its verdict: by the visitor's own threshold, the references, or a stored run."""
    from vlmad_core.live.verdicts import give_opinion

    own = st.session_state.get(own_key(prediction))
    prefer = st.session_state.get("live_origin")
    return give_opinion(prediction, yardstick(task.panel, task.dataset, prediction), own, prefer)


def own_key(prediction: LivePrediction) -> str:
    """Where the visitor's own threshold for a method is kept."""
    return f"own-{prediction.method_id}-{prediction.shots}"


def yardstick(panel: RemotePanel, dataset: str | None, prediction: LivePrediction) -> Yardstick | None:
    """A stored run of the same method, backbone and category; one of the data set the image is from goes first."""
    info = panel.info
    roots = paths.stores()
    marks = (data.signature(roots), info.weights_hash, info.precision, str(info.image_size), info.activation)
    return _yardstick(marks, prediction.method_id, prediction.shots, panel.category, dataset, info, prediction)


@st.cache_resource(max_entries=64, show_spinner=False)
def _yardstick(
    marks: tuple[str, ...], method: str, shots: int, category: str, dataset: str | None, _info: Any, _prediction: Any
) -> Yardstick | None:
    from vlmad_core.live.verdicts import find_yardstick

    return find_yardstick(data.store(), data.all_comparisons(), _info, _prediction, category, dataset)


def showcase(samples: Sequence[Sample], chosen: str, most: int = 7) -> tuple[Sample, ...]:
    """A few examples: a normal one, one of each defect type, and the one that is chosen."""
    test = [sample for sample in samples if sample.split == "test"]
    first_of_type: dict[str, Sample] = {}
    for sample in sorted(test, key=lambda s: (s.label, s.id)):
        first_of_type.setdefault(sample.defect_type, sample)
    picked = list(first_of_type.values())[:most]
    extra = [sample for sample in samples if sample.id == chosen and sample not in picked]
    return tuple(picked[: most - len(extra)] + extra)


def what_it_is(sample: Sample) -> str:
    """Normal, or its defect type in words."""
    return "normal" if sample.label == 0 else selection.tidy(sample.defect_type.replace("_", " "))


def _depends(panel: RemotePanel, dataset: str | None) -> tuple[object, ...]:
    info = panel.info
    facts = (info.weights_hash, info.precision, info.image_size, info.activation, panel.category, dataset)
    return (*facts, *(one.content for one in panel.references))


def _key(task: Task, method: str) -> tuple[str, ...]:
    return (task.key, method)
