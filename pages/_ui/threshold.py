"""The threshold above which an image counts as anomalous: by name, or set by hand."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd
import streamlit as st

from pages._ui import selection
from vlmad_core.analysis.instructive import threshold_to_open
from vlmad_core.analysis.verdicts import StoredThreshold
from vlmad_core.tabular import plain_number

OWN = "own"
OPENS = "Opens where at most 5% of the normal test images are flagged; the best F1 is chosen on the labels it judges."


@dataclass(frozen=True)
class Chosen:
    """A threshold with its origin.

    Attributes:
        value: On the scale of the scores.
        label: A short name.
        origin: Where it comes from, in a sentence.
        name: Its name among the stored ones; None if it was set by hand.
    """

    value: float
    label: str
    origin: str
    name: str | None


def choose_name(stored: Mapping[str, StoredThreshold]) -> str | None:
    """A chooser for a threshold by its name, where every category has its own value; None if there is none.

    Args:
        stored: Thresholds of one of the categories; ``threshold_to_open`` says which is the default.
    """
    given = st.query_params.get("threshold") or st.session_state.get("selection", {}).get("threshold", "")
    if given and given not in stored:
        if _number(given) is None:
            selection.notice(f"This link asks for threshold `{selection.tidy(given)}`, which is not here.")
        selection.forget("threshold")
        given = ""
    chosen = given or threshold_to_open(stored)
    if chosen is None:
        return None
    st.session_state["threshold_name"] = chosen
    st.selectbox(
        "Threshold", list(stored), key="threshold_name", on_change=_named, width=190,
        format_func=lambda name: stored[name].label, help=f"Each category is judged at its own value. {OPENS}",
    )  # fmt: skip
    return chosen


def choose_threshold(images: pd.DataFrame, stored: Mapping[str, StoredThreshold]) -> Chosen | None:
    """Choosers for the threshold: stored ones by name, and a slider; None if the images have no scores.

    Args:
        images: Images with their scores.
        stored: Thresholds that can be chosen by name; ``threshold_to_open`` says which is the default.
    """
    scores = images["score"].dropna()
    if scores.empty:
        return None
    low, high = float(scores.min()), float(scores.max())
    pad = 0.05 * (high - low) or max(1e-3, abs(high) * 0.05)
    low, high = low - pad, high + pad
    chosen = _current(stored, (low + high) / 2)
    st.session_state["threshold_name"] = chosen.name or OWN
    st.session_state["threshold_value"] = min(max(chosen.value, low), high)
    st.selectbox(
        "Threshold", [*stored, OWN], key="threshold_name", on_change=_named, width=190,
        format_func=lambda name: "Set by hand" if name == OWN else stored[name].label,
        help=f"An image counts as anomalous if its score is at least this high. {OPENS}",
    )  # fmt: skip
    st.slider(
        "Score", low, high, key="threshold_value", step=(high - low) / 400, format="%.4g", on_change=_moved, width=210,
        help="Move it to see which images change sides.",
    )  # fmt: skip
    return chosen


def _current(stored: Mapping[str, StoredThreshold], middle: float) -> Chosen:
    given = st.query_params.get("threshold") or st.session_state.get("selection", {}).get("threshold", "")
    number = _number(given)
    if number is not None:
        selection.remember("threshold", given)
        return Chosen(number, "set by hand", "set by hand", None)
    if given and given not in stored:
        selection.notice(f"This link asks for threshold `{selection.tidy(given)}`, which is not here.")
        selection.forget("threshold")
    if given in stored:
        selection.remember("threshold", given)
    if not stored:
        return Chosen(middle, "set by hand", "no stored threshold; the middle of the scores", None)
    one = stored.get(given) or stored[threshold_to_open(stored) or ""]
    return Chosen(one.value, one.label, one.origin, one.name)


def _number(text: str) -> float | None:
    value = plain_number(text) if len(text) < 32 else None
    return value if value is not None and math.isfinite(value) else None


def _named() -> None:
    name = st.session_state["threshold_name"]
    selection.remember("threshold", f"{st.session_state['threshold_value']:.6g}" if name == OWN else name)


def _moved() -> None:
    selection.remember("threshold", f"{st.session_state['threshold_value']:.6g}")
