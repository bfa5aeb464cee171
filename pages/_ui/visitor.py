"""Who looks at a page, and whether he may change what all share."""

from __future__ import annotations

import streamlit as st

from pages._ui import gate, machine, selection, signed
from vlmad_core.access import Role, Visitor
from vlmad_core.errors import AccessError, VlmadError
from vlmad_core.workspace.queue import check_allowed


def admit() -> None:
    """First of all, in every run: show nothing to who is not signed in, or where no gate stands before the server."""
    try:
        who = _who()
    except AccessError as error:
        st.error(selection.shown(str(error), 400), icon=":material/lock:")
        st.stop()
    if who is not None:
        with st.sidebar:
            st.caption(f":material/person: {selection.tidy(who.address, 80)}, {who.role}")
            st.button("Sign out", key="sign_out", icon=":material/logout:", type="tertiary", on_click=st.logout)


def check_operator() -> None:
    """See that whoever looks may change what all share: notes, prompts, demos, parts.

    Where signing in is off, everybody may.

    Raises:
        AccessError: If he is a viewer, or not signed in any more.
    """
    who = _who()
    if who is not None and who.role is not Role.OPERATOR:
        raise AccessError("You are signed in as a viewer: only operators can change this.", "Ask one of them.")


def check_jobs() -> None:
    """See that whoever looks may start, end and delete on this machine.

    Where signing in is off, that follows from who can reach the server (``VLMAD_JOBS``).

    Raises:
        VlmadError: If he may not.
    """
    if _who() is None:
        check_allowed(machine.address())
    else:
        check_operator()


def why_not_jobs() -> str:
    """Why whoever looks may not; nothing where he may."""
    try:
        check_jobs()
    except VlmadError as error:
        return selection.tidy(str(error), 400)
    return ""


def operates() -> bool:
    """Whether whoever looks may change what all share; where not, a sentence in the place of the control says so."""
    try:
        check_operator()
    except AccessError as error:
        st.caption(f":material/lock: {selection.tidy(str(error), 300)}")
        return False
    return True


def _who() -> Visitor | None:
    """Who looks; None where signing in is off.

    Raises:
        AccessError: If he is not signed in, or signing in is set up wrongly.
    """
    access = gate.access()
    return None if access is None else signed.told_visitor(st.context.headers.get(signed.HEADER), access)
