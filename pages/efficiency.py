from __future__ import annotations

import streamlit as st

from pages._efficiency import benches, reported
from pages._ui import data, drawing, frame, selection, take_along
from vlmad_core.analysis.speed import command_table, pareto, stage_table, throughput_table
from vlmad_core.figures.efficiency import COSTS, cost_figure, stage_figure, throughput_figure
from vlmad_core.metrics import METRICS
from vlmad_core.tabular import csv_text

SHORT = {"latency_ms": "Latency", "peak_gb": "Memory", "parameters": "Parameters", "gflops": "Arithmetic"}
KEY = ["method", "preset", "shots", "protocol"]

frame.begin("efficiency")
if (benchmark := frame.published()) is not None:
    reported.show(benchmark)
    frame.nothing_measured()
    st.stop()
one = frame.comparison()
board = data.board(one)
costs = data.costs(one)
with st.container(horizontal=True, vertical_alignment="bottom"):
    names = [name for name in METRICS if name in set(board["metric"])]
    metric = selection.choose(
        "metric", "Accuracy as", names, names[0], format_func=lambda n: METRICS[n].label, width=240
    )
    known_costs = [name for name in COSTS if costs[name].notna().any()] or ["latency_ms"]
    cost = selection.choose(
        "cost", "Cost as", known_costs, known_costs[0], known=list(COSTS), segmented=True, format_func=SHORT.__getitem__
    )
    shots = frame.choose_shots(one)
values = board[board["metric"] == metric][[*KEY, "value", "low", "high", "evidence"]]
points = costs[costs["shots"] == shots].merge(values, on=KEY, how="left")
machines = list(dict.fromkeys(points["hardware_id"]))
if len(machines) > 1:
    st.warning(
        "These runs come from different machines; their speeds can't be compared. One machine is shown at a time.",
        icon=":material/memory:",
    )
    machine = selection.choose(
        "machine", "Machine", machines, machines[0], width=320,
        format_func=lambda key: selection.tidy(str(points.loc[points["hardware_id"] == key, "processor"].iloc[0])),
    )  # fmt: skip
    points = points[points["hardware_id"] == machine]
if points.empty:
    st.caption("No run with this number of references.")
    st.stop()
row = points.iloc[0]
cores = f", {row['cores']:.0f} cores" if row["cores"] == row["cores"] else ""
threads = f", {row['threads']:.0f} threads" if row["threads"] == row["threads"] else ""
precisions = ", ".join(sorted(set(points["precision"])))
st.markdown(
    f":material/memory: Measured on **{selection.tidy(str(row['processor']), 80)}**{cores}{threads}, "
    f"**{selection.tidy(precisions)}**. On another machine the numbers differ, and the order may."
)
known = points.dropna(subset=[cost, "value"])
if known.empty:
    st.caption("No method has both an accuracy and this cost.")
else:
    known = known.assign(front=pareto(known[cost], known["value"]))
    known = known.assign(low=known["low"].fillna(known["value"]), high=known["high"].fillna(known["value"]))
    drawing.plotly(
        cost_figure, known, cost, METRICS[metric].label,
        alt=f"{METRICS[metric].label} of each method over its {SHORT[cost].lower()}",
    )  # fmt: skip
    front = ", ".join(known[known["front"]].sort_values(cost)["name"])
    st.caption(f"On the Pareto front (no other method is both cheaper and better): {selection.tidy(front, 240)}.")
    shared = known[known["shared"]]["name"].tolist()
    if shared and cost == "latency_ms":
        st.caption(f"{selection.tidy(', '.join(shared), 200)}: share of a batch, since one image alone was not timed.")
with st.expander("At what speed on my hardware?", icon=":material/speed:", expanded=True):
    st.markdown("This command times every method on the machine it is started on, and keeps the figures for this page:")
    st.code(f"python -m vlmad_core bench methods --backbone {one.runs[0].key.backbone} --keep", language="bash")
    benches.show(points, f"efficiency-{one.dataset}-bench")
    st.markdown("The live demo shows the latency of each verdict on the machine that serves this page.")
    st.page_link("pages/live_demo.py", label="Try it in the live demo", icon=":material/photo_camera:")

lines = [line for line in one.entries(shots) if line.id in set(points["line"])]
st.subheader("Where the time goes", anchor=False)
stages = stage_table(lines)
for alone, text in (
    (True, "The method by itself, one image at a time."),
    (False, "As run in batches with other methods: reading and vision tower are spent once for all of them; "
            "evaluation is no inference."),
):  # fmt: skip
    part = stages[stages["alone"].astype(bool) == alone]
    if len(part):
        st.caption(text)
        drawing.plotly(
            stage_figure, part, alone=alone, key=f"stages-{alone}",
            alt=f"Milliseconds per image by stage for each method. {text}",
        )  # fmt: skip
if stages.empty:
    st.caption("These runs kept no times by stage.")
spent = data.last_command(one.dataset)
if spent is not None:
    st.subheader("What the last command spent its time on", anchor=False)
    st.caption(
        f"`{selection.tidy(spent.command, 160)}`: {spent.wall_seconds:.0f} s for {spent.images} images on "
        f"{selection.tidy(spent.hardware)}. Every second is counted once; what methods share is not in their rows."
    )
    st.dataframe(
        command_table(spent), hide_index=True, height=280, alt="Seconds of the last command by stage and method",
        column_config={
            "stage": "Stage", "who": "Spent by",
            "seconds": st.column_config.NumberColumn("Seconds", format="%.1f"),
            "share": st.column_config.NumberColumn("Share", format="percent"),
        },
    )  # fmt: skip
st.subheader("Throughput by batch size", anchor=False)
throughput = throughput_table(lines)
if throughput.empty:
    st.caption("Throughput was not measured in these runs: no method was timed by itself at several batch sizes.")
else:
    drawing.plotly(throughput_figure, throughput, alt="Images per second by batch size")
    st.caption("One at a time: from file to score. Batches: without reading.")
st.subheader("All figures", anchor=False)
columns = [
    "name", "latency_ms", "p95_ms", "images_per_second", "batch", "peak_gb", "peak_scope", "parameters", "gflops",
    "processor", "threads", "precision", "reason",
]  # fmt: skip
number = st.column_config.NumberColumn
st.dataframe(
    points[columns].assign(parameters=points["parameters"] / 1e6), hide_index=True, placeholder="–",
    alt="Cost of each method",
    column_config={
        "name": st.column_config.TextColumn("Method", pinned=True),
        "latency_ms": number("Latency, median (ms)", format="%.1f"),
        "p95_ms": number("Latency, 95% (ms)", format="%.1f"),
        "images_per_second": number("Images/s, batched", format="%.1f"), "batch": number("Batch", format="%d"),
        "peak_gb": number("Peak memory (GB)", format="%.2f"),
        "peak_scope": st.column_config.TextColumn("Memory of", help="The method alone, or all that ran with it."),
        "parameters": number("Parameters (M)", format="%.1f"),
        "gflops": number("GFLOP per image", format="%.2f", help="Two for each multiply-add, attention counted."),
        "processor": "Machine", "threads": number("Threads", format="%d"), "precision": "Precision",
        "reason": "Why blank or shared",
    },
)  # fmt: skip
take_along.table(
    points.assign(parameters=points["parameters"] / 1e6), f"efficiency-{one.dataset}", "All figures",
    {"name": "Method", "evidence": "Number is", "value": METRICS[metric].label, "latency_ms": "Latency (ms)",
     "images_per_second": "Images/s", "peak_gb": "Memory (GB)", "parameters": "Parameters (M)",
     "gflops": "GFLOP", "processor": "Machine"},
    csv=lambda: csv_text(points),
)  # fmt: skip
