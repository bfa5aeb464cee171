"""What is reported of the cost of methods, and the command that checks the tables and cites a source.

Costs lie in ``results/reported/efficiency.csv``; its README explains the columns. They were measured by others on
their hardware, which sources often do not name, so they are never ranked or averaged with costs measured here.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from vlmad_core.analysis.claims import FIRST_HAND
from vlmad_core.analysis.reported import load_reported
from vlmad_core.analysis.sources import bibtex, load_sources, read_claims, refuse_wrong_rows
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
