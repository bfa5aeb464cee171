"""What runs cost, from profiles with and without the method timed by itself."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest

from vlmad_core.analysis.comparable import comparisons
from vlmad_core.analysis.entries import Entry
from vlmad_core.analysis.speed import bench_table, cost_table, stage_table, throughput_table
from vlmad_core.store.benches import BenchLatency, BenchRate, BenchRecord, BenchRow
from vlmad_core.store.reader import open_store

SPEED: dict[str, Any] = {
    "precision": "bfloat16",
    "threads": 3,
    "batch_1": {"median_ms": 20.0, "p95_ms": 25.0, "images": 10, "warm_up": 2},
    "batch_n": {"batch": 16, "images_per_second": 80.0, "seconds": 1.0},
    "stages_ms": {"read": 1.0, "preprocess": 2.0, "vision": 12.0, "windows": 4.0},
    "flops_per_image": 3_000_000_000,
    "parameters": 5_000_000,
    "peak_rss_bytes": 2**30,
    "peak_scope": "method",
}


@pytest.fixture
def line(made_up_store, tmp_path: Path) -> Entry:
    (one,) = comparisons(open_store(made_up_store(tmp_path, methods=("winclip",))))
    return one.entries()[0]


def with_speed(line: Entry, speed: dict[str, Any]) -> Entry:
    run = line.runs[0]
    name, unit = next(iter(run.units.items()))
    units = {**run.units, name: dataclasses.replace(unit, profile={**unit.profile, "speed": speed})}
    return dataclasses.replace(line, runs=(dataclasses.replace(run, units=units),))


def test_the_method_alone_is_preferred(line: Entry) -> None:
    row = cost_table([with_speed(line, SPEED)]).iloc[0]
    assert (row["latency_ms"], row["p95_ms"], row["shared"]) == (20.0, 25.0, False)
    assert (row["images_per_second"], row["batch"]) == (80.0, 16)
    assert (row["peak_gb"], row["peak_scope"], row["gflops"]) == (1.0, "method", 3.0)
    assert (row["precision"], row["threads"], row["parameters"]) == ("bfloat16", 3, 5_000_000)


def test_without_it_a_share_of_a_batch_is_said_to_be_one(line: Entry) -> None:
    row = cost_table([line]).iloc[0]
    assert row["shared"]
    assert "not timed" in row["reason"]
    assert math.isnan(row["images_per_second"])
    assert math.isnan(row["gflops"])
    assert row["peak_scope"] == "process"


def test_a_method_that_can_not_be_timed_alone_keeps_its_reason(line: Entry) -> None:
    speed = {"batch_1": None, "reason": "It needs all test images.", "batch_n": SPEED["batch_n"]}
    row = cost_table([with_speed(line, speed)]).iloc[0]
    assert row["shared"]
    assert row["reason"] == "It needs all test images."
    assert row["images_per_second"] == 80.0
    assert throughput_table([with_speed(line, speed)])["batch"].tolist() == [16]


def test_throughput_by_batch_size(line: Entry) -> None:
    table = throughput_table([with_speed(line, SPEED)])
    assert dict(zip(table["batch"], table["images_per_second"], strict=True)) == {1: 50.0, 16: 80.0}
    assert throughput_table([line]).empty


def test_stages_of_the_method_alone_and_of_a_shared_run_are_told_apart(line: Entry) -> None:
    alone = stage_table([with_speed(line, SPEED)]).set_index("stage")
    assert alone["alone"].all()
    assert alone.loc["reading", "ms"] == 3.0
    assert alone.loc["windows", "ms"] == 4.0
    assert not stage_table([line])["alone"].any()


def test_broken_figures_are_blank_not_zero(line: Entry) -> None:
    row = cost_table([with_speed(line, {"batch_1": {"median_ms": "soon"}, "flops_per_image": None})]).iloc[0]
    assert row["shared"]
    assert math.isnan(row["gflops"])


def test_benchmarks_stand_beside_stored_latencies_of_the_same_settings(line: Entry) -> None:
    def row(preset: str, shots: int) -> BenchRow:
        rate, one = BenchRate(8, 90.0), BenchLatency(12.5, 14.0)
        return BenchRow("winclip", preset, "WinCLIP", shots, "bundled", 224, "float32", rate, one, peak_bytes=2**30)

    rows = (row("canonical", 0), row("canonical", 4), row("accurate", 0))
    record = BenchRecord("bench methods", "2026-01-01", "a machine", "cpu", 2, rows)
    table = bench_table([record], cost_table([with_speed(line, SPEED)]))
    assert table["name"].tolist() == ["WinCLIP", "WinCLIP", "WinCLIP (accurate)"]
    assert table["stored_ms"].tolist()[0] == 20.0
    assert table["stored_ms"].isna().tolist() == [False, True, True]
    assert table["peak_gb"].tolist() == [1.0, 1.0, 1.0]
    assert table["peak_share"].isna().all()
    assert bench_table([], cost_table([])).empty
