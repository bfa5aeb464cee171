"""What runs cost: latency, throughput, memory, and which are on the Pareto front."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from vlmad_core.results.comparison import Line
from vlmad_core.results.schema import RunRecord, UnitRecord


def cost_table(lines: Sequence[Line]) -> pd.DataFrame:
    """Cost of each line: medians over its finished units.

    Latency is that of the method alone, one image at a time, from file to score, where a run measured it; else
    its share of a batch that other methods used too (``shared`` says which).

    Args:
        lines: The competitors.

    Returns:
        line, method, title, shots, latency_ms, p95_ms, shared, images_per_second, peak_gb, parameters,
        hardware_id, processor, precision; blank (NaN) where nothing was measured.
    """
    rows = []
    for line in lines:
        units = [unit for run in line.runs for unit in run.units.values()]
        if not units:
            continue
        run = line.runs[0]
        alone = [unit.profile.get("latency_alone_ms") or {} for unit in units]
        shared = not any(_number(entry.get("median")) for entry in alone)
        chosen = [unit.profile.get("latency_ms") or {} for unit in units] if shared else alone
        rows.append(
            {
                "line": line.id,
                "method": line.method,
                "title": line.title,
                "shots": line.shots,
                "latency_ms": _median(entry.get("median") for entry in chosen),
                "p95_ms": _median(entry.get("p95") for entry in chosen),
                "shared": shared,
                "images_per_second": _median(unit.profile.get("images_per_second_vision") for unit in units),
                "peak_gb": _largest(unit.profile.get("peak_rss_bytes") for unit in units) / 2**30,
                "parameters": run.provenance.parameters,
                **_machine(run),
            }
        )
    columns = [
        "line", "method", "title", "shots", "latency_ms", "p95_ms", "shared", "images_per_second", "peak_gb",
        "parameters", "hardware_id", "processor", "precision",
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


STAGES: Mapping[str, str] = {
    "read": "reading",
    "preprocess": "reading",
    "vision": "vision tower",
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


def stage_table(lines: Sequence[Line]) -> pd.DataFrame:
    """Milliseconds per image by stage: line, title, stage, ms; stages in the order of ``STAGES``.

    Args:
        lines: The competitors. Stages up to the vision tower are spent once for all methods of a run together.
    """
    rows = []
    for line in lines:
        units: list[UnitRecord] = [unit for run in line.runs for unit in run.units.values()]
        images = sum(unit.images for unit in units)
        seconds: dict[str, float] = {}
        for unit in units:
            for stage, value in (unit.profile.get("seconds") or {}).items():
                name = STAGES.get(stage, stage)
                seconds[name] = seconds.get(name, 0.0) + float(value)
        rows += [
            {"line": line.id, "title": line.title, "stage": stage, "ms": 1000 * value / max(1, images)}
            for stage, value in seconds.items()
        ]
    frame = pd.DataFrame(rows, columns=["line", "title", "stage", "ms"])
    order = {name: place for place, name in enumerate(dict.fromkeys(STAGES.values()))}
    return frame.sort_values("stage", key=lambda s: s.map(order).fillna(len(order)), kind="stable", ignore_index=True)


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


def _machine(run: RunRecord) -> Mapping[str, Any]:
    hardware = run.provenance.hardware
    return {
        "hardware_id": str(hardware.get("id", "unknown")),
        "processor": str(hardware.get("processor", "unknown")),
        "precision": str(run.protocol.backbone.get("precision", "unknown")),
    }


def _number(value: object) -> bool:
    return isinstance(value, int | float)


def _median(values: Any) -> float:
    kept = [float(value) for value in values if _number(value)]
    return float(np.median(kept)) if kept else float("nan")


def _largest(values: Any) -> float:
    return max((float(value) for value in values if _number(value)), default=float("nan"))
