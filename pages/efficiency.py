from __future__ import annotations

import streamlit as st

from pages._shared import data, frame, selection
from vlmad_core.figures.efficiency import COSTS, cost_figure, stage_figure
from vlmad_core.metrics import METRICS
from vlmad_core.results.speed import cost_table, pareto, stage_table

frame.begin("efficiency")
one = frame.comparison()
board = data.board(one)
with st.container(horizontal=True, vertical_alignment="bottom"):
    names = [name for name in METRICS if name in set(board["metric"])]
    metric = selection.choose(
        "metric", "Accuracy as", names, names[0], format_func=lambda n: METRICS[n].label, width=260
    )
    cost = st.segmented_control(
        "Cost as", list(COSTS), default="latency_ms", required=True, key="cost",
        format_func=lambda name: {"latency_ms": "Latency", "peak_gb": "Memory", "parameters": "Weights"}[name],
    )  # fmt: skip
    shots = frame.choose_shots(one)
lines = one.lines(shots)
costs = cost_table(lines)
values = board[board["metric"] == metric][["method", "preset", "shots", "value", "low", "high"]]
ids = {line.id: (line.method, line.preset) for line in lines}
costs["preset"] = [ids[line][1] for line in costs["line"]]
points = costs.merge(values, on=["method", "preset", "shots"], how="left")
machines = points["hardware_id"].unique()
if len(machines) > 1:
    st.warning(
        "These runs come from different machines; their speeds can't be compared. Only one machine is shown at a time.",
        icon=":material/memory:",
    )
    machine = st.selectbox(
        "Machine", list(machines), key="machine",
        format_func=lambda key: selection.tidy(str(points.loc[points["hardware_id"] == key, "processor"].iloc[0])),
    )  # fmt: skip
    points = points[points["hardware_id"] == machine]
row = points.iloc[0]
st.caption(
    f"Measured on {selection.tidy(str(row['processor']), 80)}, {row['precision']}. Elsewhere the order may differ."
)
known = points.dropna(subset=[cost, "value"])
if known.empty:
    st.caption("No method has both an accuracy and this cost.")
else:
    known = known.assign(front=pareto(known[cost], known["value"]))
    known = known.assign(low=known["low"].fillna(known["value"]), high=known["high"].fillna(known["value"]))
    st.plotly_chart(
        cost_figure(known, cost, METRICS[metric].label), config=frame.PLOT,
        alt=f"{METRICS[metric].label} of each method over its {cost.replace('_', ' ')}",
    )  # fmt: skip
    shared = known[known["shared"]]["title"].tolist()
    if shared and cost == "latency_ms":
        st.caption(f"{selection.tidy(', '.join(shared), 200)}: share of a batch, since one image alone was not timed.")
st.subheader("Where the time goes", anchor=False)
stages = stage_table(lines)
stages = stages[stages["line"].isin(points["line"])]
if stages.empty:
    st.caption("These runs kept no times by stage.")
else:
    st.plotly_chart(stage_figure(stages), config=frame.PLOT, alt="Milliseconds per image by stage for each method")
    st.caption("Reading and vision tower are spent once for all methods of a plan; evaluation is no inference.")
table = points[["title", "shots", "latency_ms", "p95_ms", "images_per_second", "peak_gb", "parameters"]]
st.dataframe(
    table, hide_index=True, placeholder="–", alt="Cost of each method",
    column_config={
        "title": "Method", "shots": "References",
        "latency_ms": st.column_config.NumberColumn("Latency, median (ms)", format="%.1f"),
        "p95_ms": st.column_config.NumberColumn("Latency, 95% (ms)", format="%.1f"),
        "images_per_second": st.column_config.NumberColumn("Images/s, vision, batched", format="%.1f"),
        "peak_gb": st.column_config.NumberColumn("Peak memory (GB)", format="%.2f"),
        "parameters": st.column_config.NumberColumn("Weights", format="compact"),
    },
)  # fmt: skip
st.download_button(
    "Download as csv",
    points.to_csv(index=False),
    f"efficiency-{one.dataset}.csv",
    "text/csv",
    icon=":material/download:",
    on_click="ignore",
)
