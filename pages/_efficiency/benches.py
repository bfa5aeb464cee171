"""Benchmarks of a machine on the efficiency page: found in the results or handed over, beside stored latencies."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from pages._ui import data, selection, take_along
from vlmad_core.analysis.speed import bench_table
from vlmad_core.errors import VlmadError
from vlmad_core.store.benches import BenchRecord, parse_bench


def show(stored: pd.DataFrame, name: str) -> None:
    """What benchmarks measured, each with its machine and date; nothing but a place for files where there is none.

    Args:
        stored: Costs of stored runs, of one machine.
        name: Of the file in which the table is taken along.
    """
    found, problems = data.benches()
    given = st.file_uploader(
        "Or show what it printed with --json, on this machine or another", type=["json"], key="bench_upload",
        max_upload_size=8, accept_multiple_files=True,
    )  # fmt: skip
    handed: list[BenchRecord] = []
    for file in given:
        try:
            handed.append(parse_bench(file.getvalue(), file.name))
        except VlmadError as error:
            problems = (*problems, str(error))
    for problem in problems:
        st.warning(selection.tidy(problem, 400), icon=":material/broken_image:")
    records = [*handed, *found]
    if not records:
        return
    labels = {
        f"{place} · {record.finished_at[:16].replace('T', ' ')} · {selection.tidy(record.machine, 80)} · "
        f"{selection.tidy(record.device, 20)}, {record.threads} threads": record
        for place, group in (("given", handed), ("found", found))
        for record in group
    }
    chosen = st.selectbox("Benchmark", list(labels))  # without a key: what was just handed over is shown
    record = labels[chosen]
    table = bench_table([record], stored)
    st.caption(
        f"Measured by `{selection.tidy(record.command, 160)}` on **{selection.tidy(record.machine, 80)}** "
        f"({selection.tidy(record.device, 20)}, {record.threads} threads), {record.finished_at[:10]}. Stored latencies "
        "beside it are those of the runs on this page, whose machine is named above; backbone and input may differ."
    )
    number = st.column_config.NumberColumn
    st.dataframe(
        table, hide_index=True, placeholder="–", alt="What the benchmark measured of each method",
        column_order=[
            "name", "shots", "backbone", "precision", "latency_ms", "stored_ms", "p95_ms", "images_per_second", "batch",
            "peak_gb", "gflops", "peak_share", "plain_share",
        ],
        column_config={
            "name": st.column_config.TextColumn("Method", pinned=True), "shots": number("References", format="%d"),
            "backbone": "Backbone", "precision": "Precision",
            "latency_ms": number("Latency here, median (ms)", format="%.1f"),
            "stored_ms": number("Stored latency (ms)", format="%.1f"),
            "p95_ms": number("Latency, 95% (ms)", format="%.1f"),
            "images_per_second": number("Images/s at best batch", format="%.1f"), "batch": number("Batch", format="%d"),
            "peak_gb": number("Peak memory (GB)", format="%.2f"),
            "gflops": number("GFLOP per image", format="%.2f"),
            "peak_share": number("Of the product peak", format="percent"),
            "plain_share": number("Of a plain forward", format="percent", help="The tower's blocks alone."),
        },
    )  # fmt: skip
    take_along.table(table, name, "Benchmark")
