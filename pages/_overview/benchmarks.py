"""What the program holds, in a sentence, and a card for each published benchmark with the way to its tables."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from pages._ui import data, frame, selection
from vlmad_core import paths
from vlmad_core.analysis.published import Held, PublishedSet, evidence_held, reported_label
from vlmad_core.analysis.published_tables import best_published, leaders

CARDS = 3
"""Benchmarks with a card of their own, those with the most values; the others are one click further."""
HEADLINE = ("image_auroc", "pixel_auroc")


def what_this_is() -> str:
    """What the program is and what it holds, counted, in a sentence."""
    roots = paths.stores()
    held = _held(roots, data.signature(roots))
    parts = []
    if held.values:
        parts.append(
            f"**{held.values:,} published values** of {held.methods} methods on {held.benchmarks} benchmarks, from "
            f"{held.sources} papers and repositories"
        )
    if held.runs:
        sets = f"{held.measured_sets} data set{'' if held.measured_sets == 1 else 's'}"
        parts.append(
            f"**{held.runs} runs measured by this program** of {held.measured_methods} methods on {sets}, every image "
            "at hand"
        )
    what = "VLM-AD compares vision-language methods that find defects on parts they have never seen"
    return f"{what}: {'; and '.join(parts)}." if parts else f"{what}."


@st.cache_data(max_entries=2, show_spinner=False)
def _held(roots: tuple[Path, ...], mark: str) -> Held:
    return evidence_held(data.published()[0].values(), data.all_comparisons())


def show() -> None:
    """The published benchmarks, the largest first."""
    sets = list(data.published()[0].values())
    if not sets:
        return
    with st.container(horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute"):
        st.subheader("Published benchmarks", anchor="published", width="content")
        if len(sets) > CARDS:
            with st.popover(f"{len(sets) - CARDS} more", icon=":material/menu_book:"):
                for one in sets[CARDS:]:
                    label = f"{selection.tidy(one.title)}: {len(one.claims):,} values"
                    if st.button(label, key=f"to-{one.key}", type="tertiary"):
                        selection.open_page("leaderboard", dataset=one.id)
    with st.grid(min(CARDS, len(sets)), min_column_width=250):
        for one in sets[:CARDS]:
            _card(one)


def show_leaders(one: PublishedSet) -> None:
    """Who leads on the published set that is chosen, by the authors' own numbers."""
    st.subheader(f"Who leads on {selection.tidy(one.title)}", anchor="leaders")
    st.dataframe(
        _leaders(one.id, one), hide_index=True, placeholder="–",
        alt=f"The highest reported value on {one.title} in each metric",
        column_config={
            "shots": st.column_config.NumberColumn("References", width=90), "metric": "Metric",
            "name": "Method", "value": st.column_config.NumberColumn("Percent", format="%.1f", width=80),
            "kind": "Whose number", "citation": "Source", "seen": "Saw this data",
        },
    )  # fmt: skip
    st.caption(
        "By the authors' own numbers, mean over categories; methods trained on this data set are left out. What is "
        "highest in papers need not be best: backbones, sizes and protocols differ."
    )


@st.cache_data(max_entries=48, show_spinner=False)
def _leaders(key: str, _one: PublishedSet) -> pd.DataFrame:
    return leaders(_one)


@st.cache_data(max_entries=2 * 48, show_spinner=False)
def _best(key: str, metric: str, _one: PublishedSet) -> Mapping[Any, Any] | None:
    return best_published(_one, metric)


def _card(one: PublishedSet) -> None:
    """One benchmark: how much is reported, who leads by the authors' own numbers, and where to go."""
    sources = len({claim.source for claim in one.claims})
    methods = len({entry.method for entry in one.entries})
    with st.container(border=True, height="stretch"):
        st.markdown(f"**{selection.tidy(one.title)}** {frame.EVIDENCE['reported']}")
        st.caption(f"{len(one.claims):,} values of {methods} methods from {sources} sources")
        for metric in HEADLINE:
            best = _best(one.id, metric, one)
            if best is not None:
                st.markdown(
                    f":gray[{reported_label(metric)}, zero-shot] **{best[metric]:.1f}%** "
                    f"{selection.tidy(str(best['name']))} :gray[({selection.tidy(str(best['citation']))})]"
                )
        with st.container(horizontal=True):
            if st.button("Ranking", key=f"ranking-{one.key}", icon=":material/leaderboard:", type="tertiary"):
                selection.open_page("leaderboard", dataset=one.id)
            if one.categories and st.button(
                "Per category", key=f"categories-{one.key}", icon=":material/grid_view:", type="tertiary"
            ):
                selection.open_page("categories", dataset=one.id)
