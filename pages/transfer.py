from __future__ import annotations

import streamlit as st

from pages._transfer import reported
from pages._ui import data, drawing, frame, selection, take_along
from vlmad_core.analysis.transfer import NOTHING, cells_frame, fill_commands, trained_methods, transfer_cells
from vlmad_core.figures.matrices import transfer_chart
from vlmad_core.metrics import METRICS

frame.begin("transfer")
if (benchmark := frame.published()) is not None:
    reported.show(benchmark)
    frame.nothing_measured()
    st.stop()
one = frame.comparison()
together = data.alike(one)
methods = trained_methods(together)
st.markdown(
    "Some methods learn parameters on one data set and are judged on another. Does what they learn carry over? "
    "Rows: what the parameters were trained on. Columns: what they are judged on."
)
if not methods:
    backbone = one.runs[0].key.backbone
    st.info(
        "No method with trained parameters was run under these conditions. APRIL-GAN and AnomalyCLIP are such methods; "
        "these commands train one on a data set and judge it on it:",
        title="Nothing to transfer yet",
        icon=":material/model_training:",
    )
    commands = fill_commands("april_gan", [one.dataset], one.dataset, backbone, str(one.backbone.get("weights_hash")))
    st.code("\n".join(commands), language="bash", wrap_lines=True)
    st.stop()

with st.container(horizontal=True, vertical_alignment="bottom"):
    method = selection.choose(
        "method", "Method", list(methods), next(iter(methods)), slot="trained", width=220,
        known=[line.id for other in together for line in other.entries()], format_func=methods.__getitem__,
    )  # fmt: skip
    names = [name for name in METRICS if name in data.metric_names(one)]
    metric = selection.choose("metric", "Metric", names, names[0], format_func=lambda n: METRICS[n].label, width=240)
    counts = sorted({str(line.shots) for other in together for line in other.entries() if line.method == method})
    shots = counts[0]
    if len(counts) > 1:
        shots = selection.choose(
            "shots", "Normal references", counts, counts[0], segmented=True, slot="trained",
            known=[str(k) for other in together for k in other.shots], format_func=frame.shots_label,
        )  # fmt: skip
boards = {other.dataset: data.board(other) for other in together}
cells = transfer_cells(together, boards, method, metric, shots=int(shots))
table = cells_frame(cells)
label = METRICS[metric].label
drawing.altair(
    transfer_chart,
    table,
    label,
    dark=frame.is_dark(),
    alt=f"{label} of {methods[method]} by what it was trained on and what it is judged on",
)
st.caption(
    f"{label} in percent, mean over the categories of each data set. :orange[**Dashed frame:**] the parameters were "
    "trained on images of the data set they are judged on; such a number shows what the method can fit, not what it "
    "does on new parts. The last row trains nothing."
)
empty = [cell for cell in cells if cell.verdict is None and cell.trained_on != NOTHING]
if empty:
    with st.expander(f"{len(empty)} combinations were not run: commands that fill them", icon=":material/terminal:"):
        weights, backbone = str(one.backbone.get("weights_hash")), one.runs[0].key.backbone
        for cell in empty:
            trained = selection.tidy(cell.trained_on)
            st.markdown(f"Trained on **{trained}**, judged on **{frame.dataset_title(cell.dataset)}**")
            commands = fill_commands(cell.method, cell.trained_on.split(" + "), cell.dataset, backbone, weights)
            st.code("\n".join(commands), language="bash", wrap_lines=True)
blanks = table[table["value"].isna() & (table["verdict"] != "")]
for blank in blanks.to_dict("records"):
    where = f"{selection.tidy(str(blank['trained_on']))} on {frame.dataset_title(str(blank['dataset']))}"
    st.caption(f":material/remove: **{where}** is blank: {selection.tidy(str(blank['reason']), 200)}")
st.dataframe(
    table.assign(**{name: 100 * table[name] for name in ("value", "low", "high")}),
    hide_index=True, placeholder="–", alt="The values behind the figure",
    column_order=["title", "trained_on", "dataset", "value", "low", "high", "categories", "seen", "reason"],
    column_config={
        "title": st.column_config.TextColumn("Method", pinned=True), "trained_on": "Trained on",
        "dataset": "Judged on", "value": st.column_config.NumberColumn(label, format="%.1f"),
        "low": st.column_config.NumberColumn("from (95%)", format="%.1f"),
        "high": st.column_config.NumberColumn("to", format="%.1f"), "categories": "Categories",
        "seen": "Saw this data", "reason": "Why",
    },
)  # fmt: skip
take_along.table(
    table.assign(evidence="measured"), f"transfer-{method}-{metric}", "Values behind the figure",
    {"title": "Method", "evidence": "Number is", "trained_on": "Trained on", "dataset": "Judged on", "value": label,
     "seen": "Saw this data"},
)  # fmt: skip
