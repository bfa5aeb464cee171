"""What differs between the protocols of two runs, and a run in a few lines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import pandas as pd

from vlmad_core.store.reader import Store
from vlmad_core.store.schema import Protocol, RunRecord


def protocol_differences(first: Protocol, second: Protocol) -> pd.DataFrame:
    """Every setting in which two protocols differ.

    Args:
        first: One protocol.
        second: The other.

    Returns:
        setting (dotted path), first, second; a setting that only one has is blank (None) in the other.
    """
    one, two = flat(asdict(first)), flat(asdict(second))
    rows = [
        {"setting": name, "first": one.get(name), "second": two.get(name)}
        for name in sorted(one.keys() | two.keys())
        if one.get(name) != two.get(name)
    ]
    return pd.DataFrame(rows, columns=["setting", "first", "second"])


def flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """A nested mapping as dotted names and texts.

    >>> flat({"a": {"b": 1}, "c": [1, 2]})
    {'a.b': '1', 'c': '1, 2'}
    """
    found: dict[str, str] = {}
    for name, entry in value.items():
        path = f"{prefix}{name}"
        if isinstance(entry, Mapping):
            found |= flat(entry, f"{path}.")
        elif isinstance(entry, list | tuple):
            found[path] = ", ".join(str(item) for item in entry)
        else:
            found[path] = str(entry)
    return found


def runs_table(store: Store) -> pd.DataFrame:
    """One row per run: what it is of, how far it is, and where it was computed.

    Returns:
        id, dataset, title, preset, shots, seed, backbone, mode, categories, failed, images, errors, hardware,
        finished (ISO 8601 of the last unit, None without one), conditions.
    """
    failed: dict[str, int] = {}
    for unit in store.failed:
        failed[unit.run_id] = failed.get(unit.run_id, 0) + 1
    rows = []
    for run in store.runs:
        units = run.units.values()
        rows.append(
            {
                "id": run.id,
                "dataset": run.key.dataset,
                "title": run.title,
                "preset": run.key.preset,
                "shots": run.key.shots,
                "seed": run.key.seed,
                "backbone": str(run.protocol.backbone.get("title") or run.key.backbone),
                "mode": run.mode,
                "categories": len(run.units),
                "failed": failed.get(run.id, 0),
                "images": sum(unit.images for unit in units),
                "errors": sum(unit.errors for unit in units),
                "hardware": hardware_text(run),
                "finished": max((unit.finished_at for unit in units), default=None),
                "conditions": run.protocol.conditions,
            }
        )
    columns = [
        "id", "dataset", "title", "preset", "shots", "seed", "backbone", "mode", "categories", "failed", "images",
        "errors", "hardware", "finished", "conditions",
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def hardware_text(run: RunRecord) -> str:
    """The machine of a run in a few words."""
    hardware = run.provenance.hardware
    parts = [str(hardware[key]) for key in ("processor", "cpu", "model") if hardware.get(key)][:1]
    if hardware.get("cores"):
        parts.append(f"{hardware['cores']} cores")
    if hardware.get("accelerator"):
        parts.append(str(hardware["accelerator"]))
    return ", ".join(parts) or "unknown"
