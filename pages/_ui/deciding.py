"""A decision on a page: what sets the threshold, the recommendation with its reason, a card for each method."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import streamlit as st

from pages._ui import frame, selection, take_along
from vlmad_core.analysis.decision import Card, Recommended, SharedScores, cards, choose, scale_table
from vlmad_core.analysis.recommendation import (
    alarm_line,
    cost_line,
    found_line,
    promise_limit,
    sentence,
    surer,
)
from vlmad_core.metrics.rules import Costs, Promise, Rule, least_promise

RATES = (0.01, 0.02, 0.03, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5)
"""Shares of false alarms that can be promised, where there are good parts enough."""
USUAL = 0.05
CARD = 250
"""Narrowest a card may get, in pixels."""
WHAT = {"promise": "At most so many false alarms", "costs": "What mistakes cost"}
CHOICE_HELP = (
    "Whoever picks the best of many methods on a few photos picks luck too. So the choice is made again on draws of "
    "the photos, and looked at on those outside each draw; the figures here are these."
)
SCALE_HELP = (
    "0.5 is the threshold of each method, 0.1 a typical good part; the curve rises everywhere, so no two photos change "
    "places. These are no probabilities."
)


@dataclass(frozen=True)
class Decided:
    """What a page has shown of a decision.

    Attributes:
        rule: What sets the thresholds, as the visitor chose.
        cards: A card for each method.
        recommended: The method to use, or None.
    """

    rule: Rule
    cards: tuple[Card, ...]
    recommended: Recommended | None


def show_deciding(scored: SharedScores, name: str, more: Callable[[int, Card], None]) -> Decided:
    """The recommendation, what sets the threshold, a card for each method, and each photo's scores.

    Args:
        scored: The scores; at least one good part.
        name: Tells the choosers of several pages apart.
        more: Draws what follows in the card of a method, by its place.
    """
    first = st.container()
    rule = _choose_rule(scored, name)
    mark = scored.names, scored.ids, scored.labels.tobytes(), scored.scores.tobytes(), repr(rule)
    found, choice = _decided(mark, scored, rule)
    with first:
        _show_choice(choice, scored, rule)
    _show_cards(found, choice, rule, more)
    _show_scale(scored, found, choice)
    return Decided(rule, found, choice)


@st.cache_data(max_entries=64, show_spinner="Repeating the choice …")
def _decided(
    mark: tuple[object, ...], _scored: SharedScores, _rule: Rule
) -> tuple[tuple[Card, ...], Recommended | None]:
    return cards(_scored, _rule), choose(_scored, _rule)


def _choose_rule(scored: SharedScores, name: str) -> Rule:
    """Choosers of what sets the thresholds."""
    least = least_promise(scored.good)
    kinds = list(WHAT) if min(scored.good, scored.defects) > 1 else ["promise"]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        kind = "promise"
        if len(kinds) > 1:
            kind = st.segmented_control(
                "The threshold follows from", kinds, default="promise", required=True, key=f"{name}_rule",
                format_func=WHAT.__getitem__,
            )  # fmt: skip
        if kind == "costs":
            miss = st.number_input(
                "A miss costs as much as … false alarms", 0.1, 1e6, 10.0, key=f"{name}_miss", width=250
            )
            share = st.number_input(
                "Defective parts, in percent", 0.01, 99.0, 2.0, key=f"{name}_defective", width=200,
                help="Where the threshold will be used; not among these photos.",
            )  # fmt: skip
            return Costs(float(miss), float(share) / 100)
        rates = sorted({least, *(rate for rate in RATES if rate >= least)})
        rate = st.select_slider(
            "At most so many false alarms", rates, max(rate for rate in rates if rate <= max(USUAL, least)),
            key=f"{name}_rate-{scored.good}", format_func=lambda share: f"{100 * share:.3g} %", width=330,
            help="Promised to a new good part, from those that are no references: whatever the scores look like.",
        )  # fmt: skip
    said = promise_limit(scored.good)
    st.caption(said[0].upper() + said[1:])
    return Promise(float(rate))


def _show_choice(choice: Recommended | None, scored: SharedScores, rule: Rule) -> None:
    """The recommendation first, then its figures and what would make it surer."""
    if choice is None:
        st.info("There are too few photos of good and defective parts to choose by.", icon=":material/help:")
    else:
        sure = choice.sure
        box = st.success if sure else st.warning
        box(selection.tidy(sentence(choice, scored), 600), icon=":material/recommend:" if sure else ":material/help:")
        lines = [f"**{found_line(choice)}**", f"**{alarm_line(choice)}**"]
        lines += [cost_line(choice.cost, rule)] if isinstance(rule, Costs) else []
        repeated = f"Chosen in {100 * choice.steady:.0f} % of the draws that repeat the choice."
        st.markdown("  \n".join(lines))
        st.caption(repeated, help=CHOICE_HELP)
    wanted = surer(choice, scored, rule)
    if wanted:
        with st.expander("What would make it surer", icon=":material/add_a_photo:"):
            st.markdown("\n".join(f"- {selection.tidy(one, 300)}" for one in wanted))


def _show_cards(
    found: Sequence[Card], choice: Recommended | None, rule: Rule, more: Callable[[int, Card], None]
) -> None:
    """A card for each method, the recommended one first, then by image AUROC."""
    first = None if choice is None else choice.place
    order = sorted(range(len(found)), key=lambda k: (k != first, -(found[k].auroc.value or 0.0)))
    grid = st.grid("auto", min_column_width=CARD, gap="small")
    for place in order:
        with grid.cell(), st.container(border=True, gap="xsmall"):
            badge = " :green-badge[recommended]" if place == first and choice and choice.sure else ""
            st.markdown(f"**{selection.tidy(found[place].name)}**{badge}")
            st.markdown("  \n".join(_lines(found[place], rule)))
            threshold = found[place].threshold
            st.caption(f"Anomalous from a score of {threshold.value:.4g}", help=threshold.detail)
            more(place, found[place])


def _show_scale(scored: SharedScores, found: Sequence[Card], choice: Recommended | None) -> None:
    """Each photo's scores on a scale where 0.5 is the threshold, mistakes first."""
    table = scale_table(scored, found, 0 if choice is None else choice.place)
    with st.expander("Scores of each photo, 0.5 is the threshold", icon=":material/straighten:"):
        columns = {
            card.name: st.column_config.ProgressColumn(format="%.2f", min_value=0, max_value=1) for card in found
        }
        st.dataframe(
            table, hide_index=True, alt="Scores of each photo, by method",
            column_config={**columns, "image": st.column_config.TextColumn("Photo", pinned=True), "part": "Part is"},
        )  # fmt: skip
        st.caption(SCALE_HELP)
    take_along.table(table, "scores", "Scores, 0.5 is the threshold", latex=False)


def _lines(card: Card, rule: Rule) -> list[str]:
    """Image AUROC with its interval, what is found and flagged, and what that costs."""
    auroc = card.auroc
    ends = "" if auroc.low is None else f" :gray[[{frame.percent(auroc.low)}, {frame.percent(auroc.high)}]]"
    lines = [f"Image AUROC **{frame.percent(auroc.value)}**{ends}", found_line(card), alarm_line(card)]
    return [*lines, cost_line(card.cost, rule)] if isinstance(rule, Costs) else lines
