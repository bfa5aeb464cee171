"""What the dashboard does beside drawing: drawing anew what changed meanwhile, getting ready, and tidying up."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from pages._ui import data
from vlmad_core import paths
from vlmad_core.figures import style
from vlmad_core.store.reader import Store

COLLECTED = 20
"""Seconds between two collections of garbage."""


@contextmanager
def steady() -> Iterator[None]:
    """While a page is drawn: where the results change under it, it is drawn anew from what there is then.

    A page looks at them many times; what it chose at first may be gone when it comes to draw it.
    """
    roots = paths.stores()
    seen = data.signature(roots)
    try:
        yield
    except Exception:
        data.signature.clear()
        if data.signature(roots) == seen:
            raise
        st.rerun()


@st.cache_resource
def warm_up() -> None:
    """Prepare in the background what the next pages would otherwise have to wait for."""
    # Streamlit's scripts run in daemon threads, and what they start would be one too. Python takes the interpreter down
    # around a daemon; one that is computing in pandas just then aborts the process or keeps it from ever ending.
    threading.Thread(target=_load, args=(data.store(),), name="vlmad-warm-up", daemon=False).start()


def _load(results: Store) -> None:
    style.prepare()
    for run in results.runs:
        results.metrics([run.id])
        results.images(run.id)
    # What is loaded by now is never garbage: leaving it out makes every later collection shorter.
    gc.collect()
    gc.freeze()


@st.cache_data(ttl=COLLECTED, show_spinner=False)
def collect_garbage() -> None:
    """Collect what closed sessions leave behind, for all visitors together and not after each run of a page.

    A collection stops all threads, and takes longer the more sessions there are; Python's own comes when there are many
    new objects, however large they are.
    """
    gc.collect()
