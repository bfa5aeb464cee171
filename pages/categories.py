from __future__ import annotations

import streamlit as st

from pages._categories import reported
from pages._ui import data, frame, selection, take_along
from vlmad_core.analysis.entries import differences_to, wide_cells, with_means
from vlmad_core.figures.grid import SELECTION, category_grid, category_label
from vlmad_core.metrics import METRICS

NONE = "none"
VIEWS = {"grid": "Grid", "table": "Table"}

frame.begin("categories")
if (benchmark := frame.published()) is not None:
    reported.show(benchmark)
    frame.nothing_measured()
    st.stop()
one = frame.comparison()
with st.container(horizontal=True, vertical_alignment="bottom"):
    names = [name for name in METRICS if name in data.metric_names(one)]
    metric = selection.choose("metric", "Metric", names, names[0], format_func=lambda n: METRICS[n].label, width=230)
    shots = frame.choose_shots(one)
    lines = one.entries(shots)
    by_id = {line.id: line for line in lines}
    parts = frame.choose_parts(one)
    reference = selection.choose(
        "versus", "Show as difference to", [NONE, *by_id], NONE, width=200,
        format_func=lambda name: "Nothing (absolute)" if name == NONE else by_id[name].title,
    )  # fmt: skip
    as_table = (
        selection.choose("view", "View", list(VIEWS), "grid", segmented=True, format_func=VIEWS.__getitem__) == "table"
    )

spec = METRICS[metric]
shown = data.cells(lines, metric)
shown = shown[shown["category"].isin(parts)]
relative = reference != NONE
if relative:
    shown = differences_to(shown, reference)
st.caption(
    f"{spec.label} in percent{', minus ' + selection.tidy(by_id[reference].title) if relative else ''}. "
    "Choose a cell to open the failures behind its number."
)
if beside := [selection.tidy(line.title) for line in lines if line.evidence == "imported"]:
    st.caption(f"{frame.EVIDENCE['imported']} {', '.join(beside)}: made by another program, judged here.")
clicked: tuple[str, str] | None = None
if as_table:
    wide = wide_cells(shown)
    event = st.dataframe(
        wide, hide_index=True, placeholder="–", height="content", key="cell_table",
        on_select="rerun", selection_mode="single-cell", alt=f"{spec.label} for each category and method, in percent",
        column_config={
            "category": st.column_config.TextColumn("Category", pinned=True),
            **{line.id: st.column_config.NumberColumn(line.title, format="%.1f") for line in lines},
        },
    )  # fmt: skip
    for row, column in event.selection.cells:
        if column in by_id:
            clicked = str(wide.iloc[row]["category"]), column
else:
    picked = st.altair_chart(
        category_grid(with_means(shown), spec.label, dark=frame.is_dark(), difference=relative),
        on_select="rerun", selection_mode=SELECTION, key="cell_grid",
        alt=f"Grid of {spec.label} for each category and method; choose a cell to open its failures",
    )  # fmt: skip
    for point in picked.selection.get(SELECTION, []):
        clicked = str(point["category"]), str(point["line"])
if clicked is not None and clicked[0] in one.categories and clicked[1] in by_id:
    selection.open_page("failures", category=clicked[0], method=clicked[1], shots=str(shots))

blanks = shown[shown["value"].isna()]
if len(blanks):
    with st.expander(f"{len(blanks)} blank cells, and why", icon=":material/remove:"):
        reasons = blanks.assign(category=blanks["category"].map(category_label))
        st.dataframe(
            reasons[["category", "title", "reason"]], hide_index=True, alt="Reasons of the blank cells",
            column_config={"category": "Category", "title": "Method", "reason": "Why it is blank"},
        )  # fmt: skip
take_along.table(
    shown.assign(evidence=shown["line"].map({line.id: line.evidence for line in lines})),
    f"categories-{one.dataset}-{metric}", "All cells",
    {"category": "Category", "title": "Method", "evidence": "Number is", "value": spec.label, "n": "Images"},
)  # fmt: skip
with st.expander(f"How {spec.label} is defined", icon=":material/info:"):
    st.markdown(f"{spec.definition}\n\n:gray[Source: {spec.source}.]")
