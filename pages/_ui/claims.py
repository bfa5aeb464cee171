"""What pages share that show published numbers: which claims are wanted, and every claim behind a number."""

from __future__ import annotations

import streamlit as st

from pages._ui import citing, data, frame, selection
from vlmad_core.analysis.claims import FIRST_HAND, KIND_NAMES, KINDS, Wanted
from vlmad_core.analysis.entries import Entry
from vlmad_core.analysis.published import (
    PublishedSet,
    claims_of,
    measured_twins,
    reported_label,
    reported_level,
    wanted_claims,
)
from vlmad_core.analysis.published_tables import claims_table
from vlmad_core.figures.grid import category_label
from vlmad_core.metrics import METRICS
from vlmad_core.metrics.spec import MEAN

UNSAID = "not said"
MARKS = "`*` a re-run by others, where the authors give no number; `†` second hand."
_DETAILS = ("location", "variant", "backbone", "trained_on", "note")
RULE = (
    "Of several claims on one number the authors' own stands, else theirs as quoted, else a re-run (of the source that "
    "reports most on the method). Nothing is averaged over claims."
)


def choose_metric(names: list[str], slot: str, preferred: str) -> str:
    """A chooser for a metric as sources name them."""
    return selection.choose(
        "metric", "Metric", names, frame.first_of(names, preferred), slot=slot, known=[*METRICS, frame.ONLY_REPORTED],
        format_func=reported_label, width=230,
    )  # fmt: skip


def choose_shots(options: tuple[int, ...], *, every: bool = False) -> str:
    """A chooser for the number of references; with ``every``, all together may be chosen (``frame.ALL``)."""
    names = [*([frame.ALL] if every else []), *map(str, options)]
    return selection.choose(
        "shots", "Normal references", names, "0" if "0" in names else names[0], segmented=True,
        format_func=lambda k: "All" if k == frame.ALL else frame.shots_label(k),
    )  # fmt: skip


def choose_wanted(one: PublishedSet) -> Wanted:
    """Filters by whose number it is, backbone, training data and year."""
    claims = one.claims
    years = sorted({claim.year for claim in claims if claim.year})
    with st.popover("Filters", icon=":material/filter_alt:"):
        kinds = st.pills(
            "Whose number", list(KINDS), default=list(FIRST_HAND), selection_mode="multi", key="claims_kinds",
            format_func=KIND_NAMES.__getitem__,
            help="Second hand, and off unless chosen: digests of a paper, and lists that do not say whose run it is.",
        )  # fmt: skip
        backbones = st.multiselect(
            "Backbone", sorted({claim.backbone for claim in claims}), key=f"claims_backbones-{one.key}",
            format_func=lambda name: name or UNSAID, placeholder="Any",
        )  # fmt: skip
        trained = st.multiselect(
            "Trained on", sorted({claims_of(entry).training_data for entry in one.entries}),
            key=f"claims_trained-{one.key}", placeholder="Anything",
            format_func=lambda name: {"": UNSAID, "none": "nothing"}.get(name, name.replace("+", ", ")),
        )  # fmt: skip
        span = None
        if len(years) > 1:
            ends = years[0], years[-1]
            picked = st.slider("Year of the source", *ends, ends, key=f"claims_years-{one.key}")
            span = None if picked == ends else picked
    return Wanted(tuple(kinds), tuple(backbones), tuple(trained), span)


def show_claims(one: PublishedSet, entry: Entry, metric: str, category: str, wanted: Wanted) -> None:
    """Every claim on one number with source and location; and the way to failures measured on that category."""
    table = claims_table(entry, metric, category, wanted)
    where = "mean over categories" if category == MEAN else category_label(category)
    with st.container(border=True):
        st.markdown(
            f"**{selection.tidy(entry.name)}, {selection.tidy(where)}**: {reported_label(metric)} "
            f"{frame.EVIDENCE['reported']}"
        )
        if table.empty:
            st.caption("No source that is read here gives this number.")
        else:
            st.dataframe(
                table, hide_index=True, placeholder="–", key="claims_table",
                column_order=["value", "std", "kind", "citation", "url", *_DETAILS],
                alt=f"Every claim on {reported_label(metric)} of {entry.name}, {where}, with its source",
                column_config={
                    "value": st.column_config.NumberColumn("Percent", format="%.2f", width=70, pinned=True),
                    "std": st.column_config.NumberColumn("± seeds", format="%.2f", width=70),
                    "kind": "Whose number", "citation": "Source", "location": "Where in it", "variant": "Which run",
                    "backbone": "Backbone", "trained_on": "Trained on", "note": "Note",
                    "url": st.column_config.LinkColumn("Link", display_text="open"),
                },
            )  # fmt: skip
            citing.cite((claim.source for claim in wanted_claims(entry, metric, category, wanted)), "claims")
        if category != MEAN:
            _offer_failures(one, entry, category)


def level_of(one: PublishedSet, level: str) -> list[str]:
    """The metrics of a level that sources report on a set."""
    return [name for name in one.metrics if reported_level(name) == level]


def _offer_failures(one: PublishedSet, entry: Entry, category: str) -> None:
    """A button to what was measured on the images of this category, of the same method where it was run."""
    for other in measured_twins(one, data.all_comparisons()):
        lines = [line for line in other.entries() if line.run_with(category) is not None]
        same = next((line for line in lines if (line.method, line.shots) == (entry.method, entry.shots)), None)
        if not lines:
            continue
        line = same or lines[0]
        if st.button(
            f"Failures measured here on {category_label(category)}: {selection.tidy(line.name)}",
            key="claims_failures", icon=":material/search:",
        ):  # fmt: skip
            selection.open_page(
                "failures", dataset=other.dataset, conditions=other.conditions, category=category, method=line.id,
                shots=str(line.shots),
            )  # fmt: skip
        return


def second_hand() -> bool:
    """A toggle: whether the viewer wants numbers at second hand too."""
    return st.toggle(
        "Second hand too", key="second_hand", bind="query-params",
        help="Also numbers that were read in a digest only, or of which the source does not say whose run they are.",
    )  # fmt: skip
