"""Cards of the overview: the short answer to a question, how sure it is, and the way to the evidence."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import streamlit as st

from pages._ui import data, drawing, frame, pictures, selection
from vlmad_core import paths
from vlmad_core.analysis.answers import (
    clearest_misses,
    entry_to_look_at,
    fastest_of,
    in_words,
    overview_table,
    trust,
    weakest_category,
)
from vlmad_core.analysis.best import Best
from vlmad_core.analysis.best import best as best_entry
from vlmad_core.analysis.entries import Comparison, in_the_running
from vlmad_core.figures.grid import category_label
from vlmad_core.metrics import METRICS


def what_is_compared(one: Comparison) -> str:
    """What is compared, on what, and by whom it was measured."""
    every = one.entries()
    lines = in_the_running(every)
    run = one.runs[0]
    methods = len({line.method for line in lines})
    images = max(sum(unit.images for unit in line.runs[0].units.values()) for line in lines)
    machine = selection.tidy(str(run.provenance.hardware.get("processor", "an unnamed machine")), 50)
    few = f", with {', '.join(map(str, one.shots))} normal references" if len(one.shots) > 1 else ""
    whose = "all **imported**" if one.imported else "all **measured by this program**"
    beside = f"; {len(every) - len(lines)} more results were imported" if len(every) > len(lines) else ""
    return (
        f"**{methods} methods**{few}, "
        f"on **{images:,} images** of {len(one.categories)} kinds of parts, {whose} "
        f":gray[({selection.tidy(run.provenance.code_version, 40)}, {machine})]{beside}."
    )


def best_card(
    one: Comparison, board: pd.DataFrame, categories: tuple[str, ...], metric: str, question: str
) -> Best | None:
    """The best method in one metric, what is not significantly different from it, and the way to the ranking."""
    keys = [entry.key for entry in in_the_running(one.entries())]
    gaps = data.differences(one, keys, metric, categories)
    best = best_entry(one, board, metric, differences=gaps)
    spec = METRICS[metric]
    with st.container(border=True, height="stretch"):
        st.caption(question)
        if best is None:
            st.markdown("**No method has a value yet**")
            reasons = board[(board["metric"] == metric) & board["reason"].notna()]["reason"]
            st.caption(selection.tidy(str(reasons.iloc[0]), 160) if len(reasons) else "It was not computed.")
            return None
        st.subheader(selection.tidy(best.name), anchor=False)
        st.metric(spec.label, f"{100 * best.value:.1f}%", border=False, help=spec.definition)
        interval = in_words(best.low, best.high)
        st.caption(
            f"95% interval {interval} (over categories)."
            if interval
            else "No interval: one category, or none was computed."
        )
        if not gaps.tested:
            st.caption("Its lead over the others could not be tested.")
        elif best.tied:
            rest = f" and {len(best.tied) - 2} more" if len(best.tied) > 2 else ""
            st.caption(
                f"**No clear lead** over {selection.tidy(', '.join(best.tied[:2]), 90)}{rest} (compared {gaps.design})."
            )
        else:
            st.caption(f"**Clearly ahead** of all others (compared {gaps.design}).")
        if best.single is not None:
            name, value = best.single
            st.caption(
                f"It needs all test images at once. One image at a time: {selection.tidy(name)}, {100 * value:.1f}%."
            )
        if best.language is not None:
            name, value = best.language
            said = f"Best vision-language method: {selection.tidy(name)}, {100 * value:.1f}%."
            st.caption(f"It is **no vision-language model**, here for reference. {said}")
        if st.button("See the ranking", key=f"see-{metric}", icon=":material/arrow_forward:", type="tertiary"):
            selection.forget("category")
            selection.open_page("leaderboard", metric=metric, shots="all", **_parts())
    return best


def speed_card(costs: pd.DataFrame, best: Best | None) -> None:
    """The fastest method, the fastest of the best, and the machine they were timed on."""
    row = fastest_of(costs, ())
    with st.container(border=True, height="stretch"):
        st.caption("Which method is fastest, and on what hardware?")
        if row is None:
            st.markdown("**No latency was measured one image at a time**")
            st.caption("The option --latency of precompute times images one by one.")
        else:
            st.subheader(selection.tidy(str(row["name"])), anchor=False)
            p95 = f"95% within {row['p95_ms']:.0f} ms; " if row["p95_ms"] == row["p95_ms"] else ""
            st.metric("Median latency", f"{row['latency_ms']:.0f} ms", border=False, help="From file to score.")
            st.caption(f"{p95}one image at a time, {selection.tidy(row['processor'], 40)}, {row['precision']}.")
            top = fastest_of(costs, (best.name, *best.tied)) if best else None
            if top is not None and top["name"] != row["name"]:
                name = selection.tidy(str(top["name"]))
                st.caption(f"Fastest that no other clearly beats: **{name}**, {top['latency_ms']:.0f} ms.")
        if st.button("Speed on my hardware", key="see-speed", icon=":material/arrow_forward:", type="tertiary"):
            selection.open_page("efficiency")


def failure_card(one: Comparison, best: Best, metric: str, categories: Sequence[str]) -> None:
    """Where the best method is weakest, with the defects it misses most clearly."""
    found = weakest_category(data.store(), best.entry, metric, categories)
    with st.container(border=True, height="stretch"):
        st.caption("Where does it fail, and how does that look?")
        if found is None:
            st.markdown("**No category has a value**")
            return
        category, value = found
        name = selection.tidy(best.name)
        st.markdown(
            f"**{name}** is weakest on **{category_label(category)}** ({METRICS[metric].label} {100 * value:.1f}%)."
        )
        line = entry_to_look_at(data.store(), one, best.entry, category)
        missed = clearest_misses(data.store(), line, category)
        run = line.run_with(category)
        small = pictures.thumbnails(run.id, category, [image for image, _ in missed]) if run else {}
        if small:
            with st.grid(len(small), min_column_width=90, gap="small"):
                for image, defect in missed:
                    if image in small:
                        drawing.picture(
                            small[image], caption=f"missed: {category_label(defect)}",
                            alt=f"A {category_label(category)} with a defect ({category_label(defect)}) that is missed",
                        )  # fmt: skip
        elif not missed:
            st.caption("At its default threshold it misses no defect there.")
        if not line.same_as(best.entry):
            st.caption(f"Shown with {line.shots} normal references, of which anomaly maps were kept.")
        if st.button("See its failures", key="see-failures", icon=":material/arrow_forward:", type="tertiary"):
            selection.open_page("failures", category=category, method=line.id, shots=str(line.shots))


def trust_card(one: Comparison, best: Best) -> None:
    """What the best method's number rests on."""
    facts = trust(best.entry)
    demonstration = one.backbone.get("demonstration")
    with st.container(border=True, height="stretch"):
        st.caption("Can I trust the number?")
        badges = [frame.SEEN[facts.seen], frame.EVIDENCE[best.entry.evidence]]
        badges += [":orange-badge[:material/science: demonstration backbone]"] if demonstration else []
        st.markdown(" ".join(badges))
        draws = f", mean of {facts.draws} draw{'s' if facts.draws > 1 else ''} of references" if facts.draws else ""
        when = facts.finished or "no date"
        st.markdown(
            f"- {facts.images:,} test images in {facts.categories} categories{draws}\n"
            f"- {selection.tidy(facts.reason, 160)}\n"
            f"- Code {selection.tidy(facts.code, 30)}, {selection.tidy(facts.machine, 60)}, {when}"
        )
        with st.container(horizontal=True):
            if st.button("Where it comes from", key="see-run", icon=":material/arrow_forward:", type="tertiary"):
                selection.open_page("runs", run=facts.run_id)
            if st.button("Held against papers", key="see-papers", icon=":material/arrow_forward:", type="tertiary"):
                selection.open_page("reproduction")


def summary(one: Comparison, metrics: Sequence[str]) -> pd.DataFrame:
    """One row per entry of a comparison, for the table of all results."""
    roots = paths.stores()
    return _summary(roots, data.signature(roots), (one.dataset, one.conditions), tuple(metrics), one)


@st.cache_data(max_entries=16, show_spinner=False)
def _summary(
    roots: tuple[Path, ...], mark: str, place: tuple[str, str], metrics: tuple[str, ...], _one: Comparison
) -> pd.DataFrame:
    table = overview_table(_one, data.board(_one), data.costs(_one), metrics)
    return table.assign(backbone=frame.backbone_title(_one.backbone))


def _parts() -> dict[str, str]:
    given = st.query_params.get("parts")
    return {"parts": given} if given else {}
