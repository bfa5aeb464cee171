"""What is reported of the cost of methods, and the command that checks the tables and cites a source.

Costs lie in ``results/reported/efficiency.csv``; its README explains the columns. They were measured by others on
their hardware, which sources often do not name, so they are never ranked or averaged with costs measured here.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Collection, Mapping
from pathlib import Path

import pandas as pd

from vlmad_core.analysis.claims import FIRST_HAND, KIND_NAMES
from vlmad_core.analysis.reported import first_hand, load_reported
from vlmad_core.analysis.sources import Source, bibtex, load_sources, read_claims, refuse_wrong_rows
from vlmad_core.errors import StoreError
from vlmad_core.paths import reported_folder

COST_COLUMNS = (
    "method", "method_id", "variant", "shots", "metric", "value", "unit", "hardware", "backbone", "image_size",
    "source", "location", "origin", "read", "note",
)  # fmt: skip
COST_UNITS: Mapping[str, tuple[str, ...]] = {
    "latency": ("ms/image",),
    "throughput": ("images/s",),
    "params_total": ("million",),
    "params_frozen": ("million",),
    "params_learnable": ("million",),
    "gpu_memory_allocated": ("MiB", "MB"),
    "gpu_memory_reserved": ("MiB",),
    "size_backbone": ("MB",),
    "size_added": ("MB",),
    "training_time_per_epoch": ("min/epoch",),
    "training_epochs": ("epochs",),
}
"""What is reported of costs, and the units it may have."""
COST_LABELS: Mapping[str, str] = {
    "latency": "Latency (ms per image)",
    "throughput": "Throughput (images per second)",
    "params_total": "Parameters (millions)",
    "params_frozen": "Frozen parameters (millions)",
    "params_learnable": "Learnable parameters (millions)",
    "gpu_memory_allocated": "GPU memory, allocated (MiB or MB)",
    "gpu_memory_reserved": "GPU memory, reserved (MiB)",
    "size_backbone": "Size of the backbone (MB)",
    "size_added": "Size of what is added (MB)",
    "training_time_per_epoch": "Training (minutes per epoch)",
    "training_epochs": "Training (epochs)",
}
NOT_SAID = "not said"
"""What stands for hardware that a source does not name."""


def load_efficiency(folder: str | Path | None = None) -> pd.DataFrame:
    """Read the table of reported costs.

    Args:
        folder: The folder with ``efficiency.csv`` and ``sources.json``; ``paths.reported_folder()`` if None.

    Returns:
        One row per value with the columns of ``COST_COLUMNS`` and ``whose``; ``value`` is in ``unit``, ``shots``
        may be missing, unknown texts are empty (an empty ``hardware``: not said).

    Raises:
        StoreError: If the table is missing or not as it should be; names the first row that is wrong.
    """
    path = Path(folder or reported_folder()) / "efficiency.csv"
    frame = read_claims(path, COST_COLUMNS)
    frame["value"] = pd.to_numeric(frame["value"], errors="coerce")
    frame["shots"] = pd.to_numeric(frame["shots"], errors="coerce").astype("Int64")
    fits = [
        unit in COST_UNITS.get(metric, (unit,)) for metric, unit in zip(frame["metric"], frame["unit"], strict=True)
    ]
    wrong = {
        "a value that is no number of zero or more": ~frame["value"].ge(0),
        "an unknown metric": ~frame["metric"].isin(list(COST_UNITS)),
        "a unit that its metric has not": ~pd.Series(fits, index=frame.index),
    }
    refuse_wrong_rows(frame, path, wrong, set(load_sources(folder)))
    return frame


def cost_claims(
    costs: pd.DataFrame,
    sources: Mapping[str, Source],
    metric: str,
    *,
    methods: Collection[str] | None = None,
    second_hand: bool = False,
) -> pd.DataFrame:
    """What is reported of one kind of cost, one row per claim; nothing is averaged or ranked.

    Args:
        costs: As ``load_efficiency`` gives them.
        sources: As ``load_sources`` gives them.
        metric: One of ``COST_UNITS``.
        methods: Only methods with these identifiers or names; None for all.
        second_hand: Also those that were read in a digest only, or that nobody says whose they are.

    Returns:
        method (its identifier, its name where it has none), name, shots, value, unit, hardware (``not said`` where the
        source does not), whose, variant, backbone, image_size, citation, source, location, url, note; the method with
        the least value first.
    """
    rows = costs[costs["metric"] == metric]
    if methods is not None:
        rows = rows[rows["method_id"].isin(list(methods)) | rows["method"].isin(list(methods))]
    if not second_hand:
        rows = first_hand(rows)
    rows = rows.assign(
        name=rows["method"],
        method=rows["method_id"].where(rows["method_id"] != "", rows["method"]),
        hardware=rows["hardware"].where(rows["hardware"] != "", NOT_SAID),
        whose=rows["whose"].map(KIND_NAMES),
        citation=[sources[key].label for key in rows["source"]],
        url=rows["source"].map({key: source.url for key, source in sources.items()}),
        least=rows.groupby("method")["value"].transform("min"),
    )
    columns = [
        "method", "name", "shots", "value", "unit", "hardware", "whose", "variant", "backbone", "image_size",
        "citation", "source", "location", "url", "note",
    ]  # fmt: skip
    return rows.sort_values(["least", "name", "value"])[columns].reset_index(drop=True)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    every = {"check": "check the tables: every row has a source and where in it", "cite": "print sources as BibTeX"}
    for name, text in every.items():
        action = actions.add_parser(name, help=text, description=text)
        action.add_argument("--folder", type=Path, default=None, metavar="DIR", help="default: what comes along")
        if name == "check":
            action.add_argument("--json", action="store_true", help="print json")
        else:
            action.add_argument("source", nargs="*", help="keys of sources; all if none is given")


def run(args: argparse.Namespace) -> int:
    """Do what was asked.

    Raises:
        StoreError: If a table is wrong, or a source unknown.
    """
    sources = load_sources(args.folder)
    if args.action == "cite":
        unknown = [key for key in args.source if key not in sources]
        if unknown:
            raise StoreError(f"There is no source {unknown[0]!r}.", f"Known are {', '.join(sources)}.")
        print("\n\n".join(bibtex(sources[key]) for key in args.source or sources))
        return 0
    results, costs = load_reported(args.folder), load_efficiency(args.folder)
    found = {
        "results": len(results),
        "second_hand": int((~results["whose"].isin(FIRST_HAND)).sum()),
        "datasets": int(results["dataset"].nunique()),
        "methods": int(results["method"].nunique()),
        "costs": len(costs),
        "sources": len(sources),
        "unused": sorted(set(sources) - set(results["source"]) - set(costs["source"])),
    }
    if args.json:
        print(json.dumps(found, indent=1))
    else:
        print(
            f"{found['results']} results of {found['methods']} methods on {found['datasets']} data sets "
            f"({found['second_hand']} second hand), {found['costs']} costs, {found['sources']} sources: each row has "
            "its source and where in it."
        )
    return 0
