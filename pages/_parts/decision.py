"""Step 4: which method, how sure, and at what threshold."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from pages._parts import cards
from pages._ui import data, deciding, frame, selection, visitor
from vlmad_core.analysis.decision import SharedScores, scored_by
from vlmad_core.analysis.entries import Comparison, Entry
from vlmad_core.analysis.recommendation import sentence
from vlmad_core.datasets.parts import Part
from vlmad_core.figures.grid import category_label
from vlmad_core.workspace.decisions import decided, keep_decision, read_decisions


def show_decision(part: Part) -> None:
    """Show what the part's results say; draws nothing where there are none yet.

    Its results stand in the store under the data set ``part.slug``.

    Args:
        part: Kept in the workspace, or not yet (``part.kept``).
    """
    measured = [one for one in data.all_comparisons() if one.dataset == part.slug]
    if not measured:
        return
    st.subheader("4. Decision", anchor=False)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        one, category = _choose(measured)
    scored, entries, without = scored_by(data.store(), one.entries(), category)
    for name, reason in without.items():
        st.caption(f"{selection.tidy(name)}: {reason}")
    if scored is None or not scored.good:
        st.info("No good part was tested, so there is nothing to set a threshold on.", icon=":material/help:")
        return
    if one.backbone.get("demonstration"):
        st.caption(f":material/warning: {frame.DEMONSTRATION}")
    shown = deciding.show_deciding(scored, "part", lambda place, card: cards.show_more(entries[place], card, category))
    if part.kept:
        _keep(part, entries, category, shown, scored)
    if st.button("See the ranking", icon=":material/leaderboard:", key="part_ranking"):
        selection.open_page("leaderboard", dataset=part.slug)


def _choose(measured: Sequence[Comparison]) -> tuple[Comparison, str]:
    """Choosers of what it was measured with and of the kind of part, drawn only where there is a choice."""
    by_key = {one.conditions: one for one in sorted(measured, key=lambda one: -len(one.runs))}
    key = next(iter(by_key))
    if len(by_key) > 1:
        key = st.selectbox(
            "Measured with", list(by_key), key="part_conditions", width=260,
            format_func=lambda name: frame.conditions_title(by_key[name]),
        )  # fmt: skip
    one = by_key[key]
    category = one.categories[0]
    if len(one.categories) > 1:
        category = st.selectbox("Category", one.categories, key="part_category", format_func=category_label, width=220)
    return one, category


def _keep(part: Part, entries: Sequence[Entry], category: str, shown: deciding.Decided, scored: SharedScores) -> None:
    """Keep a decision, for the recommended method or another; and those kept before."""
    if visitor.operates():
        _keep_one(part, entries, category, shown, scored)
    kept, problems = read_decisions(part)
    cards.tell([one.message for one in problems])
    if kept:
        with st.expander(f"{len(kept)} kept", icon=":material/bookmarks:"):
            for one in kept:
                st.markdown(
                    f"**{selection.tidy(one.title)}** :gray[{one.decided_at[:16].replace('T', ' ')} UTC]  \n"
                    f"Anomalous from a score of {one.threshold:.4g}: {selection.tidy(one.detail, 200)}"
                )


def _keep_one(
    part: Part, entries: Sequence[Entry], category: str, shown: deciding.Decided, scored: SharedScores
) -> None:
    """Choose whom to decide for, and keep it."""
    found, choice = shown.cards, shown.recommended
    best = choice.place if choice else 0
    with st.container(horizontal=True, vertical_alignment="bottom"):
        place = st.selectbox(
            "Decide for", range(len(found)), best, key=f"part_decide-{len(found)}-{best}", width=300,
            format_func=lambda k: selection.tidy(found[k].name),
        )  # fmt: skip
        if st.button("Keep this decision", icon=":material/bookmark_add:", key="part_keep"):
            visitor.check_operator()
            said = sentence(choice, scored) if choice else ""
            keep_decision(decided(part, entries[place], category, found[place], shown.rule, said))
            st.toast("Kept in the workspace.", icon=":material/bookmark_added:")
