"""The live demo's methods in the process that computes: what is asked of it, and a panel that stands for one there."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from vlmad_core.inference.client import Inference, Place, no_place
from vlmad_core.live.inputs import Picture
from vlmad_core.prompts import PromptEnsemble

if TYPE_CHECKING:
    from vlmad_core.backbones import BackboneInfo
    from vlmad_core.backbones.info import AskedPrecision
    from vlmad_core.inference.process import Holdings, Tell
    from vlmad_core.live.choices import Choice
    from vlmad_core.live.panel import LivePrediction, Panel

MOST_VISITORS = 16
"""Visitors whose panel and whose images' features are held; for others they are made anew."""

MOST_IMAGES = 16
"""Images of one visitor whose features are held."""


class ForgottenError(Exception):
    """A panel must be made anew, and its references were not sent along."""


@dataclass(frozen=True)
class RemoteEngine:
    """A backbone that is loaded in the process.

    Attributes:
        asked: Name, precision and device it was asked for by.
        info: What it is.
        why: Why it computes in its precision, where that was left to the machine.
    """

    asked: tuple[str, AskedPrecision, str]
    info: BackboneInfo
    why: str


@dataclass(frozen=True)
class RemoteMember:
    """A method on a panel, without what computes.

    Attributes:
        method_id: As in ``Member``.
        title: As in ``Member``.
        ensemble: The prompts it reads; None if it reads no ensemble.
    """

    method_id: str
    title: str
    ensemble: PromptEnsemble | None


@dataclass(frozen=True)
class PanelAsked:
    """All that a panel depends on.

    Attributes:
        visitor: Whose it is.
        key: Stands for all that follows.
        engine: The backbone, as it was asked for.
        words: The part in words.
        names: Identifiers of the methods.
        dataset: The data set the images come from, or None.
        references: Images of normal parts; None where the process has them.
    """

    visitor: str
    key: str
    engine: tuple[str, AskedPrecision, str]
    words: str
    names: tuple[str, ...]
    dataset: str | None
    references: tuple[Picture, ...] | None


@dataclass(frozen=True)
class PanelFacts:
    """What is known of a panel that was made ready.

    Attributes:
        category: The part in words, as prompts name it.
        members: The methods.
        setup: All settings, see ``setup_of``.
    """

    category: str
    members: tuple[RemoteMember, ...]
    setup: Mapping[str, Any]


@dataclass(frozen=True)
class RemotePanel:
    """Stands for a ``Panel`` in the process, and judges as it does.

    Attributes:
        inference: The way to the process.
        asked: The panel, with its references.
        facts: What is known of it.
        info: The backbone.
        place: Told how many requests are before one.
    """

    inference: Inference
    asked: PanelAsked
    facts: PanelFacts
    info: BackboneInfo
    place: Place = field(default=no_place, compare=False)

    @property
    def category(self) -> str:
        """The part in words."""
        return self.facts.category

    @property
    def members(self) -> tuple[RemoteMember, ...]:
        """The methods."""
        return self.facts.members

    @property
    def references(self) -> tuple[Picture, ...]:
        """Images of normal parts."""
        return self.asked.references or ()

    @property
    def setup(self) -> Mapping[str, Any]:
        """All settings that results depend on, as plain json values."""
        return self.facts.setup

    def judge(self, picture: Picture, skip: Collection[str] = ()) -> Iterator[LivePrediction]:
        """As ``Panel.judge``.

        Raises:
            InferenceError: If too much waits already, or the process ends.
        """
        skip = frozenset(skip)
        # References are sent again only where the process has forgotten the panel.
        for asked in (replace(self.asked, references=None), self.asked):
            found = self.inference.stream(self.asked.visitor, judge, asked, picture, skip, place=self.place)
            if (yield from found):
                return


def open_panel(inference: Inference, engine: RemoteEngine, asked: PanelAsked) -> RemotePanel:
    """Have a panel made ready.

    Raises:
        VlmadError: If the words, the methods or the backbone can't be used.
    """
    return RemotePanel(inference, asked, inference.look_up(asked.visitor, prepare, asked), engine.info)


def load(held: Holdings, tell: Tell, *asked: Any) -> RemoteEngine:
    """In the process: load a backbone; arguments as ``Holdings.engine``."""
    engine = held.engine(*asked)
    return RemoteEngine(asked, engine.info, engine.why)


def offers(held: Holdings, tell: Tell, device: str) -> tuple[tuple[str, ...], tuple[Choice, ...]]:
    """In the process: the devices there are, and the precisions on one of them."""
    from vlmad_core.backbones.devices import devices_here
    from vlmad_core.live.choices import precision_choices

    return devices_here(), precision_choices(device)


def choices(held: Holdings, tell: Tell, info: BackboneInfo, shots: int, dataset: str | None) -> tuple[Choice, ...]:
    """In the process: what ``method_choices`` says; it reads trained parameters."""
    from vlmad_core.live.choices import method_choices

    return method_choices(info, shots, dataset)


def prepare(held: Holdings, tell: Tell, asked: PanelAsked) -> PanelFacts:
    """In the process: make a panel ready."""
    from vlmad_core.live.record import setup_of

    panel = _panel(held, asked)
    members = tuple(RemoteMember(one.method_id, one.title, one.ensemble) for one in panel.members)
    return PanelFacts(panel.category, members, setup_of(panel))


def judge(held: Holdings, tell: Tell, asked: PanelAsked, picture: Picture, skip: frozenset[str]) -> bool:
    """In the process: judge an image, telling each method's result; False if the panel is not there any more."""
    try:
        panel = _panel(held, asked)
    except ForgottenError:
        return False
    for prediction in panel.judge(picture, skip):
        tell(prediction)
    return True


def _panel(held: Holdings, asked: PanelAsked) -> Panel:
    """A visitor's panel; ``ForgottenError`` if it must be made and its references are not there."""
    from vlmad_core.backbones.feature_cache import FeatureMemory
    from vlmad_core.live.members import choose_members
    from vlmad_core.live.panel import Panel

    engine = held.engine(*asked.engine)

    def make() -> Panel:
        if asked.references is None:
            raise ForgottenError
        references = asked.references
        memory = held.kept("memories", MOST_VISITORS).get(asked.visitor, lambda: FeatureMemory(MOST_IMAGES))
        members = choose_members(asked.names, engine.info, len(references), asked.dataset)
        return Panel(engine, asked.words, members, references, memory)

    panel: Panel = held.kept("panels", MOST_VISITORS, on_backbone=True).get((asked.visitor, asked.key), make)
    return panel
