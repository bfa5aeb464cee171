"""Parts of the study page: a question with its answer, figures and papers; the adviser."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import streamlit as st

from pages._ui import citing, data, drawing, selection, take_along
from vlmad_core import paths
from vlmad_core.analysis.entries import Comparison
from vlmad_core.analysis.slices import KINDS
from vlmad_core.analysis.study.advice import Candidate, Constraints, advise, references_at_hand, summary
from vlmad_core.analysis.study.answers import StudyAnswer, answers, commands_for, study_comparisons, study_roots
from vlmad_core.analysis.study.findings import findings_table
from vlmad_core.figures.variants import finding_figure
from vlmad_core.metrics import METRICS
from vlmad_core.store.reader import Store, store_signature

ANY = "any"
PERCENT = ("value", "low", "high", "gain", "spread")


@st.cache_resource(max_entries=2, show_spinner="Reading the study …")
def _opened(roots: tuple[Path, ...], mark: str) -> tuple[Store, tuple[Comparison, ...]]:
    return study_comparisons(roots, data.store())


@st.cache_data(max_entries=8, show_spinner="Answering …")
def _answers(roots: tuple[Path, ...], mark: str, dataset: str, conditions: str) -> tuple[StudyAnswer, ...]:
    store, found = _opened(roots, mark)
    same = [one for one in found if (one.dataset, one.conditions) == (dataset, conditions)]
    return answers(store, same[0]) if same else ()  # nothing of it is whole any more


def six_answers(one: Comparison) -> tuple[StudyAnswer, ...]:
    """The answers for what is chosen at the top of the page, ablations included."""
    roots = paths.stores()
    mark = "-".join(store_signature(root) for root in study_roots(roots) if root.is_dir())
    return _answers(roots, mark, one.dataset, one.conditions)


@st.cache_data(max_entries=64, show_spinner=False)
def _advice(
    roots: tuple[Path, ...], mark: str, place: tuple[str, str], wanted: Constraints, _one: Comparison
) -> tuple[Candidate, ...]:
    return advise(data.store(), _one, wanted)


def in_short(answer: StudyAnswer) -> None:
    """A question with its answer: one line for other images of these parts, one for other parts."""
    asked = f"**{answer.question.title}.** {answer.question.ask} *{answer.first.ask}*"
    st.markdown("  \n".join([asked, *answer.short]))


def folded(one: Comparison, found: Sequence[StudyAnswer]) -> None:
    """What has no answer, out of the way, with the commands that would give it one."""
    missing = [(answer.question, finding) for answer in found for finding in answer.unanswered]
    if not missing:
        return
    total = sum(len(answer.findings) for answer in found)
    with st.expander(f"{len(missing)} of {total} parts have no answer yet", icon=":material/hourglass_empty:"):
        st.markdown("\n".join(f"- **{question.title}.** {part.ask} {part.sentence}" for question, part in missing))
        st.markdown("These commands run what is missing; what is done already is kept.")
        st.code("\n".join(commands_for(one, found)), language="bash", wrap_lines=True)


def show_answer(answer: StudyAnswer) -> None:
    """One question: the answer, the figure and numbers of each part, and what papers report."""
    for finding in answer.answered:
        st.markdown(f"###### {finding.ask}")
        st.markdown("\n".join(f"- {sentence}" for sentence in finding.sentences))
        label = METRICS[finding.metric].label
        drawing.plotly(
            finding_figure, findings_table([finding]), label, finding.kind,
            key=f"{answer.question.name}-{finding.name}", alt=f"{label} for each variant: {finding.ask}",
        )  # fmt: skip
        if finding.images:
            categories = max(one.estimate.categories for one in finding.figures)
            st.caption(f"{finding.images} test images in {categories} categories.")
    with st.expander("The numbers and their runs", icon=":material/table:"):
        _numbers(answer)
    with st.expander("What papers report on MVTec AD and VisA", icon=":material/menu_book:"):
        _papers(answer)


def _numbers(answer: StudyAnswer) -> None:
    table = findings_table(answer.answered).drop(columns="x")
    take_along.table(
        table.assign(evidence="measured"), f"study-{answer.question.name}", "Numbers of this question",
        {"part": "Part", "variant": "Variant", "evidence": "Number is", "metric": "Metric", "value": "Value",
         "gain": "Against the base", "spread": "sd over draws", "categories": "Categories"},
    )  # fmt: skip
    table = table.assign(**{name: 100 * table[name] for name in PERCENT})
    st.dataframe(
        table, hide_index=True, placeholder="–", alt="The values behind the figures",
        column_config={
            "variant": st.column_config.TextColumn("Variant", pinned=True), "part": "Part", "metric": "Metric",
            **{name: st.column_config.NumberColumn(label, format="%.1f") for name, label in (
                ("value", "Value"), ("low", "from (95%)"), ("high", "to"), ("gain", "Against the base"),
                ("spread", "sd over draws"))},
            **{name: st.column_config.NumberColumn(label, format="%.3f", help="Corrected for all pairs of its part")
               for name, label in (("p_images", "p over images"), ("p_categories", "p over categories"))},
            "categories": "Categories", "note": "To know", "runs": "Runs",
        },
    )  # fmt: skip
    st.page_link("pages/runs.py", label="Where each run comes from", icon=":material/receipt_long:")


def _papers(answer: StudyAnswer) -> None:
    if answer.papers.empty:
        st.caption("No number in the reported tables bears on this question.")
        return
    st.caption("Reported, not measured here, and with other backbones and data; never averaged with the numbers above.")
    table = answer.papers.assign(
        value=100 * answer.papers["value"], metric=[METRICS[name].label for name in answer.papers["metric"]]
    )
    st.dataframe(
        table.drop(columns="source"), hide_index=True, placeholder="–", alt="Reported numbers with their sources",
        column_config={
            "dataset": "Data set", "method": st.column_config.TextColumn("Method", pinned=True), "variant": "Which",
            "shots": "References", "metric": "Metric", "value": st.column_config.NumberColumn("Percent", format="%.1f"),
            "citation": "Source", "location": "Where in it", "whose": "Whose number",
        },
    )  # fmt: skip
    citing.cite(table["source"], f"papers-{answer.question.name}")


def adviser(one: Comparison) -> None:
    """Ask for constraints and show which methods fit, which of them to take, and why the others are not."""
    metrics = [name for name in ("image_auroc", "pixel_auroc", "aupro_30") if name in data.metric_names(one)]
    kinds = sorted(set(data.kinds(one).values()))
    with st.container(horizontal=True, vertical_alignment="bottom"):
        metric = st.selectbox(
            "What counts", metrics, key="advice_metric", format_func=lambda n: METRICS[n].label, width=220
        )
        known = sorted({0, *one.shots})
        shots = st.selectbox(
            "Good parts at hand", known, index=known.index(references_at_hand(one)), key="advice_shots", width=160
        )
        latency = st.number_input(
            "Most milliseconds per image", min_value=0, value=0, step=10, key="advice_latency", width=220,
            help="0 for any. Measured on the machine of these runs.",
        )  # fmt: skip
        kind = st.segmented_control(
            "Parts", [ANY, *kinds], default=ANY, required=True, key="advice_kind",
            format_func=lambda name: "All" if name == ANY else KINDS[name],
        )  # fmt: skip
    with st.container(horizontal=True):
        trained = st.toggle("Parameters trained on other data are allowed", value=True, key="advice_trained")
        together = st.toggle("All images are there before the first is judged", key="advice_together")
    wanted = Constraints(
        metric=metric,
        latency_ms=float(latency) or None,
        shots=shots,
        may_train=trained,
        all_at_once=together,
        kind=None if kind == ANY else kind,
    )
    roots = paths.stores()
    found = _advice(roots, data.signature(roots), (one.dataset, one.conditions), wanted, one)
    st.success(selection.shown(summary(found, wanted)), icon=":material/lightbulb:")
    st.dataframe(
        _candidates(found), hide_index=True, placeholder="–", alt="Methods with what speaks for or against each",
        column_config={
            "take": st.column_config.TextColumn("", width=30), "method": st.column_config.TextColumn("Method"),
            "shots": "References", "value": st.column_config.NumberColumn(METRICS[metric].label, format="%.1f"),
            "latency_ms": st.column_config.NumberColumn("Latency (ms)", format="%.0f"), "reason": "Why",
        },
    )  # fmt: skip


def _candidates(found: tuple[Candidate, ...]) -> pd.DataFrame:
    rows = [
        {
            "take": "✓" if one.recommended else "",
            "method": selection.tidy(one.entry.title),
            "shots": one.entry.shots,
            "value": 100 * one.value,
            "latency_ms": one.latency_ms,
            "reason": one.reason,
        }
        for one in found
    ]
    return pd.DataFrame(rows, columns=["take", "method", "shots", "value", "latency_ms", "reason"])
