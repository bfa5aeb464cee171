"""The prompt lab's desk: what a visitor chose and typed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import streamlit as st

from pages._ui import selection
from vlmad_core.metrics import METRICS
from vlmad_core.prompts import PromptEnsemble, available_ensembles, load_ensemble

if TYPE_CHECKING:
    from vlmad_core.prompt_lab import Suggestion

FIRST = "winclip"
"""The ensemble to start from and to compare with."""

METHODS = {"clip_cpe": "Patches (CPE)", "winclip": "Windows (WinCLIP)"}
METRIC_NAMES = tuple(name for name in METRICS if name != "aupro_legacy200")


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
