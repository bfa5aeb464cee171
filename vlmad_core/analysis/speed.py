"""What runs cost: latency, throughput, memory, and which are on the Pareto front."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from vlmad_core.analysis.entries import Entry, in_the_running
from vlmad_core.store.benches import BenchRecord
from vlmad_core.store.commands import CommandRecord
from vlmad_core.store.schema import RunRecord, UnitRecord


def cost_table(entries: Sequence[Entry]) -> pd.DataFrame:
    """Cost of each entry.

    Latency is that of the method alone, one image at a time, from file to score and map, where a run measured it;
    else its share of a batch that other methods used too (``shared`` says which).

    Args:
        entries: The competitors; imported ones, which nobody timed here, are left out where there are others.

    Returns:
        line, method, preset, title, name, shots, protocol, latency_ms, p95_ms, shared, images_per_second (batched,
        reading left out), batch, peak_gb, peak_scope (``method``, or ``process``: all that ran with it),
        parameters, gflops (per image), hardware_id, processor, cores, threads, precision, reason (why there is no
        latency of the method alone); blank (NaN) where nothing was measured.
    """
    rows = []
    for entry in in_the_running(entries):
        units = [unit for run in entry.runs for unit in run.units.values()]
        if units:
            rows.append(_costs(entry, units))
    columns = [
        "line", "method", "preset", "title", "name", "shots", "protocol", "latency_ms", "p95_ms", "shared",
        "images_per_second", "batch", "peak_gb", "peak_scope", "parameters", "gflops", "hardware_id", "processor",
        "cores", "threads", "precision", "reason",
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def throughput_table(entries: Sequence[Entry]) -> pd.DataFrame:
    """Images per second by batch size: line, method, title, name, batch, images_per_second.

    One at a time is the inverse of the latency, reading included; the larger batch leaves reading out. Entries for
    which nothing was measured alone are left out.

    Args:
        entries: The competitors.
    """
    rows = []
    for entry in entries:
        speed = _speed(entry)
        common = {"line": entry.id, "method": entry.method, "title": entry.title, "name": entry.name}
        median = _value((speed.get("batch_1") or {}).get("median_ms"))
        if median > 0:
            rows.append({**common, "batch": 1, "images_per_second": 1000 / median})
        many = speed.get("batch_n") or {}
        if _number(many.get("images_per_second")) and _number(many.get("batch")):
            rows.append({**common, "batch": int(many["batch"]), "images_per_second": float(many["images_per_second"])})
    return pd.DataFrame(rows, columns=["line", "method", "title", "name", "batch", "images_per_second"])


STAGES: Mapping[str, str] = {
    "read": "reading",
    "preprocess": "reading",
    "vision": "vision tower",
    "windows": "windows",
    "references": "references",
    "text": "text tower",
    "scoring": "scoring",
    "explain": "explaining",
    "truth": "evaluation",
    "upsampling": "evaluation",
    "metrics": "evaluation",
    "bootstrap": "evaluation",
}
"""What the stages of a run's profile are shown as; others keep their name."""


def stage_table(entries: Sequence[Entry]) -> pd.DataFrame:
    """Milliseconds per image by stage, stages in the order of ``STAGES``.

    Args:
        entries: The competitors.

    Returns:
        line, title, name, stage, ms, alone. ``alone``: the method by itself, one image at a time; else as the run
        spent it, where stages up to the vision tower were shared by all methods of its plan.
    """
    rows: list[dict[str, Any]] = []
    for entry in entries:
        common = {"line": entry.id, "title": entry.title, "name": entry.name}
        stages = _speed(entry).get("stages_ms") or {}
        if stages:
            rows += [
                {**common, "stage": STAGES.get(stage, stage), "ms": float(value), "alone": True}
                for stage, value in stages.items()
                if _number(value)
            ]
            continue
        units: list[UnitRecord] = [unit for run in entry.runs for unit in run.units.values()]
        images = sum(unit.images for unit in units)
        rows += [
            {**common, "stage": STAGES.get(stage, stage), "ms": 1000 * float(value) / max(1, images), "alone": False}
            for unit in units
            for stage, value in unit.seconds.items()
        ]
    frame = pd.DataFrame(rows, columns=["line", "title", "name", "stage", "ms", "alone"])
    summed = frame.groupby(["line", "title", "name", "stage", "alone"], sort=False)["ms"].sum()
    frame = summed.reset_index()
    order = {name: place for place, name in enumerate(dict.fromkeys(STAGES.values()))}
    return frame.sort_values("stage", key=lambda s: s.map(order).fillna(len(order)), kind="stable", ignore_index=True)


def command_table(record: CommandRecord) -> pd.DataFrame:
    """Where the time of a command went, the most expensive first.

    Returns:
        stage, who, seconds, share (of the wall-clock time); what could not be told is the last row.
    """
    rows = [{"stage": one.stage, "who": one.who, "seconds": one.seconds} for one in record.spent]
    rest = record.wall_seconds - sum(one.seconds for one in record.spent)
    frame = pd.DataFrame(rows, columns=["stage", "who", "seconds"]).sort_values("seconds", ascending=False)
    frame = pd.concat([frame, pd.DataFrame([{"stage": "not told", "who": "", "seconds": max(0.0, rest)}])])
    return frame.assign(share=frame["seconds"] / max(record.wall_seconds, 1e-9)).reset_index(drop=True)


def bench_table(records: Sequence[BenchRecord], stored: pd.DataFrame) -> pd.DataFrame:
    """What benchmarks measured beside what stored runs did: a row for each method of each record, in their order.

    Args:
        records: What `bench methods` printed.
        stored: Stored costs, see ``cost_table``; of one machine.

    Returns:
        name, method, preset, shots, stored_ms (latency of stored runs with the same settings and references),
        backbone, image_size, precision, latency_ms, p95_ms, images_per_second, batch, peak_gb, gflops (per image),
        peak_share (of the product peak), plain_share (of a plain forward of the tower), machine, device, threads,
        finished_at; blank (NaN) where nothing was measured.
    """
    rows = [
        {
            "name": row.title if row.preset == "canonical" else f"{row.title} ({row.preset})",
            "method": row.method,
            "preset": row.preset,
            "shots": row.shots,
            "backbone": row.backbone,
            "image_size": row.image_size,
            "precision": row.precision,
            "latency_ms": _value(row.batch_1 and row.batch_1.median_ms),
            "p95_ms": _value(row.batch_1 and row.batch_1.p95_ms),
            "images_per_second": _value(row.batch_n.images_per_second),
            "batch": row.batch_n.batch,
            "peak_gb": _value(row.peak_bytes) / 2**30,
            "gflops": _value(row.flops_per_image) / 1e9,
            "peak_share": _value(row.peak_share),
            "plain_share": _value(row.plain_share),
            "machine": record.machine,
            "device": record.device,
            "threads": record.threads,
            "finished_at": record.finished_at,
        }
        for record in records
        for row in record.methods
    ]
    columns = [
        "name", "method", "preset", "shots", "stored_ms", "backbone", "image_size", "precision", "latency_ms", "p95_ms",
        "images_per_second", "batch", "peak_gb", "gflops", "peak_share", "plain_share", "machine", "device", "threads",
        "finished_at",
    ]  # fmt: skip
    same = ["method", "preset", "shots"]
    kept = stored[~stored["shared"].astype(bool)].drop_duplicates(same)
    kept = kept[[*same, "latency_ms"]].rename(columns={"latency_ms": "stored_ms"})
    return pd.DataFrame(rows, columns=[name for name in columns if name != "stored_ms"]).merge(
        kept, on=same, how="left"
    )[columns]


def pareto(costs: pd.Series, values: pd.Series) -> pd.Series:
    """Which points no other point beats in both: lower cost and higher value.

    Args:
        costs: Smaller is better; blanks are never on the front.
        values: Larger is better.

    Returns:
        Boolean, with the index of ``costs``.

    Examples:
        >>> pareto(pd.Series([1.0, 2.0, 3.0]), pd.Series([0.5, 0.9, 0.8])).tolist()
        [True, True, False]
    """
    cost, value = costs.to_numpy(float), values.to_numpy(float)
    known = ~(np.isnan(cost) | np.isnan(value))
    front = [
        bool(known[i])
        and not any(
            known[j] and cost[j] <= cost[i] and value[j] >= value[i] and (cost[j] < cost[i] or value[j] > value[i])
            for j in range(len(cost))
        )
        for i in range(len(cost))
    ]
    return pd.Series(front, index=costs.index)


def _costs(entry: Entry, units: Sequence[UnitRecord]) -> dict[str, Any]:
    run, speed = entry.runs[0], _speed(entry)
    single = speed.get("batch_1") or {}
    alone = [unit.profile.get("latency_alone_ms") or {} for unit in units]
    shared = not _number(single.get("median_ms")) and not any(_number(one.get("median")) for one in alone)
    if _number(single.get("median_ms")):
        latency, p95 = float(single["median_ms"]), _value(single.get("p95_ms"))
    else:
        chosen = [unit.profile.get("latency_ms") or {} for unit in units] if shared else alone
        latency = _median(one.get("median") for one in chosen)
        p95 = _median(one.get("p95") for one in chosen)
    many = speed.get("batch_n") or {}
    own_peak = _value(speed.get("peak_rss_bytes"))
    peak = own_peak if own_peak == own_peak else _largest(unit.profile.get("peak_rss_bytes") for unit in units)
    return {
        "line": entry.id,
        "method": entry.method,
        "preset": entry.preset,
        "title": entry.title,
        "name": entry.name,
        "shots": entry.shots,
        "protocol": run.protocol.hash,
        "latency_ms": latency,
        "p95_ms": p95,
        "shared": shared,
        "images_per_second": _value(many.get("images_per_second")),
        "batch": _value(many.get("batch")),
        "peak_gb": peak / 2**30,
        "peak_scope": str(speed.get("peak_scope") or "process"),
        "parameters": _value(speed.get("parameters") or run.provenance.parameters),
        "gflops": _value(speed.get("flops_per_image")) / 1e9,
        **_machine(run, speed),
        "reason": str(speed.get("reason") or ("" if not shared else "One image alone was not timed in this run.")),
    }


def _speed(entry: Entry) -> Mapping[str, Any]:
    """What a run measured of the method alone; it stands in one of its units."""
    for run in entry.runs:
        for unit in run.units.values():
            speed = unit.profile.get("speed")
            if isinstance(speed, Mapping):
                return speed
    return {}


def _machine(run: RunRecord, speed: Mapping[str, Any]) -> Mapping[str, Any]:
    hardware = run.provenance.hardware
    processor = [str(hardware.get("processor", "unknown")), *map(str, filter(None, [hardware.get("accelerator")]))]
    return {
        "hardware_id": str(hardware.get("id", "unknown")),
        "processor": " with ".join(processor),
        "cores": _value(hardware.get("cores")),
        "threads": _value(speed.get("threads") or run.plan.get("threads")),
        "precision": str(speed.get("precision") or run.protocol.backbone.get("precision", "unknown")),
    }


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _value(value: object) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else float("nan")


def _median(values: Any) -> float:
    kept = [float(value) for value in values if _number(value)]
    return float(np.median(kept)) if kept else float("nan")


def _largest(values: Any) -> float:
    return max((float(value) for value in values if _number(value)), default=float("nan"))
