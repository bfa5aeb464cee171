"""What the prompt lab asks of the process that computes; what was answered is kept for all visitors."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import streamlit as st

from pages._ui import machine
from vlmad_core import paths
from vlmad_core.inference.engine import Kept
from vlmad_core.prompts import PromptEnsemble

if TYPE_CHECKING:
    from vlmad_core.live.remote import RemoteEngine
    from vlmad_core.prompt_lab import Effect, LabResult, Pool, Suggestion
    from vlmad_core.prompt_lab.remote import LabFacts, LabPlace

MOST_RESULTS = 64


@st.cache_resource
def _results() -> Kept[LabResult]:
    """What ensembles reached last, for all visitors."""
    return Kept(MOST_RESULTS)


@st.cache_resource
def _effects() -> Kept[tuple[Effect, ...]]:
    """What phrases added last, for all visitors."""
    return Kept(MOST_RESULTS)


def engine() -> RemoteEngine:
    """The backbone that the live demo uses too, in float32.

    Raises:
        VlmadError: If it can't be loaded.
    """
    return machine.engine(paths.named_backbone() or "bundled", "float32", "auto")


def place_of(dataset: str, method: str) -> LabPlace:
    """What words are judged on, with the backbone.

    Raises:
        VlmadError: If the backbone can't be loaded.
    """
    from vlmad_core.prompt_lab.remote import LabPlace

    return LabPlace(dataset, method, engine().asked)


@st.cache_data(ttl=60, max_entries=16, show_spinner="Looking for stored features …")
def stored_images(place: LabPlace, _visitor: str) -> tuple[int, int]:
    """How many of a data set's test images have stored features, and how many there are."""
    from vlmad_core.prompt_lab import remote

    found: tuple[int, int] = machine.inference().look_up(_visitor, remote.stored_images, place)
    return found


def in_memory(place: LabPlace) -> LabFacts | None:
    """What is known of a data set in memory; None if it must be loaded first."""
    from vlmad_core.prompt_lab import remote

    found: LabFacts | None = machine.inference().look_up(machine.visitor(), remote.in_memory, place)
    return found


def load(place: LabPlace, show: Callable[[int, str], object]) -> LabFacts:
    """A data set in memory.

    Args:
        place: The data set.
        show: Told how many images were read or extracted so far, and the place in the line.

    Raises:
        VlmadError: If nothing of it can be used, or too much waits already.
    """
    from vlmad_core.prompt_lab import remote

    done, before = 0, ""

    def told(count: int) -> None:
        nonlocal done
        done += count
        show(done, before)

    def place_in_line(number: int | None) -> None:
        nonlocal before
        before = machine.in_line(number)
        show(done, before)

    found: LabFacts = machine.inference().ask(machine.visitor(), remote.load, place, told=told, place=place_in_line)
    return found


def result(place: LabPlace, ensemble: PromptEnsemble, draws: bool = False) -> LabResult:
    """What an ensemble reaches; kept, so that going back costs nothing.

    Raises:
        VlmadError: If a prompt is too long for the backbone, or too much waits already.
    """
    from vlmad_core.prompt_lab.remote import score

    key = (engine().info, place, ensemble.content_hash, draws)
    found: LabResult = _results().find(key) or _asked("Scoring …", score, place, ensemble, draws)
    return _results().get(key, lambda: found)


def effects(place: LabPlace, ensemble: PromptEnsemble, category: str | None, prompts: bool) -> tuple[Effect, ...]:
    """What each phrase adds on all categories, or on one and then each prompt, too; kept.

    Raises:
        VlmadError: If too much waits already.
    """
    from vlmad_core.prompt_lab import remote

    key = (engine().info, place, ensemble.content_hash, category, prompts)
    found: tuple[Effect, ...] = _effects().find(key) or _asked(
        "Comparing …", remote.effects, place, ensemble, category, prompts
    )
    return _effects().get(key, lambda: found)


@st.cache_data(max_entries=MOST_RESULTS, show_spinner=False)
def too_long(place: LabPlace, words: str, _ensemble: PromptEnsemble, _visitor: str) -> str | None:
    """Which prompts the backbone can't read whole, in a sentence, or None; ``words`` is the ensemble's hash."""
    from vlmad_core.prompt_lab.remote import too_long_in

    found: str | None = machine.inference().look_up(_visitor, too_long_in, place, _ensemble)
    return found


def suggestion(
    place: LabPlace, ensemble: PromptEnsemble, pool: Pool, build_on: bool, show: Callable[[float, str], object]
) -> Suggestion:
    """Words chosen for the visitor.

    Args:
        place: What they are chosen on.
        ensemble: What the gain is measured against.
        pool: Phrases to choose from.
        build_on: As ``suggest`` takes it.
        show: Told what share is done, and what is next.

    Raises:
        VlmadError: As ``suggest``, or if too much waits already.
    """
    from vlmad_core.prompt_lab.remote import suggest_words

    share, what = 0.0, "Reading the pool …"

    def told(step: tuple[float, str]) -> None:
        nonlocal share, what
        share, what = step
        show(share, what)

    found: Suggestion = machine.inference().ask(
        machine.visitor(), suggest_words, place, ensemble, pool, build_on, told=told,
        place=lambda before: show(share, what + machine.in_line(before)),
    )  # fmt: skip
    return found


def _asked(what: str, operation: Callable[..., Any], *arguments: Any) -> Any:
    """What the process answers; while it is waited for, what is done is said, with the place in the line."""
    line = st.empty()
    found = machine.inference().ask(
        machine.visitor(), operation, *arguments,
        place=lambda before: line.caption(f":material/hourglass: {what}{machine.in_line(before)}"),
    )  # fmt: skip
    line.empty()
    return found
