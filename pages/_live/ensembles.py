"""Which prompts the live demo's methods are to read: the program's ensembles and saved ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import streamlit as st

from pages._live import visit
from pages._ui import machine, selection
from vlmad_core.prompts import EnsembleEntry, PromptEnsemble, available_ensembles, tuning_warning

if TYPE_CHECKING:
    from pages._live.inputs import Asked
    from vlmad_core.live.remote import RemotePanel

NAMED = 12
"""Most phrases of each kind that are listed where an ensemble is shown in brief."""


def choose(asked: Asked, methods: Sequence[str]) -> str:
    """A chooser for the prompts, with who reads them; damaged ensembles are named with what is wrong.

    Args:
        asked: Where the image comes from; a warning is given where the words were chosen on that.
        methods: The methods chosen.

    Returns:
        Name of the ensemble.
    """
    from vlmad_core.methods import create_method, takes_prompts

    entries = available_ensembles()
    damaged = {one.name: one for one in entries if one.ensemble is None}
    usable = {one.name: one for one in entries if one.ensemble is not None}
    given = st.query_params.get("prompts", "")
    if given in damaged:
        selection.forget("prompts")
        selection.notice(f"The saved prompts `{given}` can't be used. {_problem(damaged[given])}")
    chosen = selection.choose(
        "prompts", "Prompts", list(usable), visit.FIRST_PROMPTS, format_func=lambda name: _title(usable[name]),
        help="For methods that are made to take any prompts. The prompt lab edits and saves them.",
    )  # fmt: skip
    if damaged:
        with st.popover(f"{len(damaged)} not available", icon=":material/block:", type="tertiary"):
            for one in damaged.values():
                st.markdown(f"**{selection.tidy(one.title)}**: {_problem(one)}")
    ensemble = usable[chosen].ensemble
    assert ensemble is not None
    readers = [create_method(name).title() for name in methods if takes_prompts(name)]
    if not readers:
        st.caption("None of the methods chosen takes other prompts than its own.")
        return chosen
    others = "; the others keep theirs" if len(readers) < len(methods) else ""
    st.caption(f"{ensemble.count} prompts for {selection.tidy(' and '.join(readers), 200)}{others}.")
    warning = _warning(asked, ensemble)
    if warning is not None:
        st.warning(selection.shown(warning), icon=":material/fitness_center:")
    return chosen


def show_own(panel: RemotePanel, method_id: str) -> None:
    """The id of a method that reads other prompts than usual, with its words as help."""
    member = next((one for one in panel.members if one.method_id == method_id), None)
    if member is not None and member.ensemble is not None and not method_id.endswith(":canonical"):
        st.caption(f"`{method_id}`", help=in_brief(member.ensemble))


def in_brief(ensemble: PromptEnsemble) -> str:
    """An ensemble's words as markdown, long lists cut."""
    kinds = {"Normal": ensemble.normal_states, "Abnormal": ensemble.abnormal_states, "Templates": ensemble.templates}
    lines = []
    for label, phrases in kinds.items():
        more = f" and {len(phrases) - NAMED} more" if len(phrases) > NAMED else ""
        lines.append(f"**{label}:** {', '.join(selection.shown(phrase, 80) for phrase in phrases[:NAMED])}{more}")
    return "\n\n".join(lines)


def _title(entry: EnsembleEntry) -> str:
    title = selection.tidy(entry.title)
    if not entry.saved:
        return title
    return f"{entry.name} (saved)" if title == entry.name else f"{entry.name} (saved): {title}"


def _problem(entry: EnsembleEntry) -> str:
    return selection.tidy(entry.problem or "", 300)


def _warning(asked: Asked, ensemble: PromptEnsemble) -> str | None:
    """What must be said where the words were chosen on the category the image comes from."""
    if asked.dataset is None or not asked.category:
        return None
    listed = machine.examples(asked.dataset)
    names = dict.fromkeys(name for name in (asked.dataset, listed.name, listed.official) if name)
    return tuning_warning(ensemble, names, [asked.category])
